//! The device tree, read back by a reader of a few lines.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::VmConfig;

/// Every property by its path.
fn read(blob: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let word = |at: usize| {
        usize::try_from(u32::from_be_bytes(blob[at..at + 4].try_into().unwrap())).unwrap()
    };
    let (mut at, strings) = (word(8), word(12));
    let mut path: Vec<String> = Vec::new();
    let mut properties = BTreeMap::new();
    let text = |at: usize| {
        let len = blob[at..].iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(blob[at..at + len].to_vec()).unwrap()
    };
    loop {
        let token = word(at);
        at += 4;
        match token {
            1 => {
                let name = text(at);
                at += (name.len() + 4) & !3;
                path.push(name);
            }
            2 => {
                path.pop();
            }
            3 => {
                let (len, name) = (word(at), text(strings + word(at + 4)));
                let key = format!("{}/{name}", path.join("/"));
                properties.insert(key, blob[at + 8..at + 8 + len].to_vec());
                at += 8 + ((len + 3) & !3);
            }
            9 => return properties,
            other => panic!("token {other}"),
        }
    }
}

fn cells(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(4).map(|cell| u32::from_be_bytes(cell.try_into().unwrap())).collect()
}

#[test]
fn a_guest_finds_its_machine() {
    let mut config = VmConfig::new("test", 64 << 20);
    config.vcpus = 2;
    config.cmdline = "console=ttyS0 quiet".to_owned();
    config.initrd = Some(vec![1; 5000]);
    config.seed = 9;
    let tree = read(&dump_dtb(&config).unwrap());
    assert_eq!(tree["/chosen/bootargs"], b"console=ttyS0 quiet\0");
    assert_eq!(tree["/chosen/stdout-path"], b"/soc/serial@10000000\0");
    assert_eq!(tree["/chosen/rng-seed"].len(), 64);
    // The initrd ends as high as a whole page allows.
    let end = 0x8400_0000 - 8192 + 5000;
    assert_eq!(cells(&tree["/chosen/linux,initrd-start"]), [0, 0x8400_0000 - 8192]);
    assert_eq!(cells(&tree["/chosen/linux,initrd-end"]), [0, end]);
    assert_eq!(cells(&tree["/memory@80000000/reg"]), [0, 0x8000_0000, 0, 64 << 20]);
    assert_eq!(cells(&tree["/cpus/timebase-frequency"]), [10_000_000]);
    assert_eq!(cells(&tree["/cpus/cpu@1/reg"]), [1]);
    let isa = String::from_utf8(tree["/cpus/cpu@0/riscv,isa"].clone()).unwrap();
    assert!(isa.starts_with("rv64imafdc_") && !isa.contains("xdv"), "{isa}");
    let names = &tree["/cpus/cpu@0/riscv,isa-extensions"];
    assert!(!names.split(|byte| *byte == 0).any(|name| name == b"h"));
    assert_eq!(cells(&tree["/cpus/cpu@0/riscv,cbom-block-size"]), [64]);
    // Both cpus' controllers, interrupt 9.
    assert_eq!(cells(&tree["/soc/plic@c000000/interrupts-extended"]), [3, 9, 4, 9]);
    assert_eq!(cells(&tree["/soc/serial@10000000/interrupts"]), [10]);
    assert_eq!(cells(&tree["/soc/rtc@101000/interrupts"]), [11]);
    assert_eq!(cells(&tree["/poweroff/value"]), [0x5555]);
    assert_eq!(cells(&tree["/reboot/regmap"]), tree_handle(&tree, "/soc/test@100000"));
    // No disk, no slot 0.
    assert!(!tree.contains_key("/soc/virtio_mmio@10001000/reg"));
    assert_eq!(cells(&tree["/soc/virtio_mmio@10002000/interrupts"]), [2]);
    assert_eq!(cells(&tree["/soc/virtio_mmio@10003000/interrupts"]), [3]);
}

fn tree_handle(tree: &BTreeMap<String, Vec<u8>>, node: &str) -> Vec<u32> {
    cells(&tree[&format!("{node}/phandle")])
}

#[test]
fn the_seed_decides_the_random_bytes_and_nothing_else_does() {
    let mut config = VmConfig::new("test", 64 << 20);
    let first = dump_dtb(&config).unwrap();
    assert_eq!(dump_dtb(&config).unwrap(), first);
    config.seed = 1;
    let (first, second) = (read(&first), read(&dump_dtb(&config).unwrap()));
    let differing = first.iter().filter(|(key, value)| second[*key] != **value);
    assert_eq!(differing.map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["/chosen/rng-seed"]);
}

#[test]
fn a_blob_of_the_user_is_looked_at() {
    let ours = dump_dtb(&VmConfig::new("test", 64 << 20)).unwrap();
    assert_eq!(check(&ours).unwrap(), ours);
    let mut padded = ours.clone();
    padded.extend([0; 100]);
    assert_eq!(check(&padded).unwrap(), ours);
    for (bad, why) in [
        (&ours[..ours.len() - 1], "truncated"),
        (&ours[..12], "shorter than a header"),
        (
            &b"\x7fELF\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
            "d00dfeed",
        ),
    ] {
        let error = check(bad).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_blob_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = check(&bytes);
        for (byte, magic) in bytes.iter_mut().zip(MAGIC.to_be_bytes()) {
            *byte = magic;
        }
        if let Ok(used) = check(&bytes) {
            prop_assert!(used.len() >= HEADER && used.len() <= bytes.len());
        }
    }
}
