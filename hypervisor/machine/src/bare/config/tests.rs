//! Which machines can be made.

use super::*;

const MEMORY: u64 = 16 << 20;

fn segment(addr: u64, mem_size: u64) -> Segment {
    Segment { addr, bytes: vec![1; 4], mem_size }
}

fn base() -> BareConfig {
    BareConfig { segments: vec![segment(RAM_BASE, 4096)], ..BareConfig::new("t", MEMORY) }
}

fn wrong(config: BareConfig) -> String {
    place(&config).unwrap_err().to_string()
}

#[test]
fn a_bare_program_gets_nothing_placed() {
    assert_eq!(place(&base()).unwrap(), Placed::default());
}

#[test]
fn firmware_gets_its_images_from_the_top_down() {
    let boot = Boot::Firmware { next: None };
    let placed = place(&BareConfig { boot, initrd: Some(vec![0; 5000]), ..base() }).unwrap();
    let (initrd, (dtb, blob)) = (placed.initrd.unwrap(), placed.dtb.unwrap());
    assert_eq!(initrd, RAM_BASE + MEMORY - 8192);
    assert!(dtb + blob.len() as u64 + DTB_ROOM <= initrd && dtb.is_multiple_of(8));
    assert_eq!(placed.dynamic_info, Some(dtb - DYNAMIC_INFO_BYTES));
}

#[test]
fn says_what_is_wrong() {
    assert_eq!(
        wrong(BareConfig { harts: 9, ..base() }),
        "9 harts were asked for, 1 to 8 are possible"
    );
    let memory = wrong(BareConfig { memory: 4097, ..base() });
    assert!(memory.starts_with("memory of 0x1001 bytes"), "{memory}");
    let outside = BareConfig { segments: vec![segment(0x1000, 4)], ..base() };
    assert!(wrong(outside).starts_with("the program needs memory at 0x1000 to 0x1004"));
    let wraps = BareConfig { segments: vec![segment(u64::MAX - 1, 4)], ..base() };
    assert!(wrong(wraps).starts_with("the program needs memory at 0xfffffffffffffffe"));
    let both = vec![segment(RAM_BASE + 0x800, 4), segment(RAM_BASE, 4096)];
    assert_eq!(
        wrong(BareConfig { segments: both, ..base() }),
        "firmware and kernel overlap: both need the memory at 0x80000800"
    );
    assert!(wrong(BareConfig { entry: RAM_BASE + 1, ..base() }).contains("0x80000001"));
    let tohost = BareConfig { tohost: Some(RAM_BASE + 4), ..base() };
    assert_eq!(wrong(tohost), "tohost at 0x80000004 is not a doubleword in RAM");
    assert!(wrong(BareConfig { cmdline: "a\0b".into(), ..base() }).contains("3 bytes"));
    let full =
        BareConfig { segments: vec![segment(RAM_BASE, MEMORY)], boot: Boot::DeviceTree, ..base() };
    assert!(wrong(full).starts_with("the device tree of"));
}
