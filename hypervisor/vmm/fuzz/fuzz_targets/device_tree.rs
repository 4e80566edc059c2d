//! Any configuration, and any blob of the user's: a device tree in bounds, or a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::{Segment, VmConfig, dump_dtb};

fn word(blob: &[u8], at: usize) -> usize {
    let bytes = blob[at..at + 4].try_into().unwrap_or_default();
    usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
}

/// Devicetree specification, "Flattened Devicetree (DTB) Format": nodes nest, and end.
fn walk(blob: &[u8]) {
    let (mut at, mut depth) = (word(blob, 8), 0_usize);
    loop {
        let token = word(blob, at);
        at += 4;
        match token {
            1 => {
                let len = blob[at..].iter().position(|byte| *byte == 0).unwrap_or(0);
                at = (at + len + 1).next_multiple_of(4);
                depth += 1;
            }
            2 => depth -= 1,
            3 => {
                let (len, name) = (word(blob, at), word(blob, at + 4));
                assert!(name < word(blob, 32), "a name outside of the strings");
                at = (at + 8 + len).next_multiple_of(4);
            }
            4 => {}
            9 => break,
            _ => panic!("token {token} at {at:#x}"),
        }
    }
    assert_eq!(depth, 0);
}

fuzz_target!(|data: (usize, u64, u64, u64, Option<u32>, &str, Option<Vec<u8>>)| {
    let (vcpus, memory, entry, addr, initrd, cmdline, dtb) = data;
    let mut config = VmConfig::new("fuzz", if memory % 3 == 0 { memory } else { memory << 12 });
    config.vcpus = vcpus % 12;
    config.entry = if entry % 3 == 0 { entry } else { 0x8000_0000 };
    let size = entry >> (addr % 64);
    config.segments = vec![Segment { addr, bytes: Vec::new(), mem_size: size }];
    if addr % 3 != 0 {
        config.segments[0].addr = 0x8000_0000 + addr % 0x1000_0000;
    }
    config.initrd = initrd.map(|size| vec![0; usize::try_from(size % 0x10_0000).unwrap_or(0)]);
    config.cmdline = cmdline.to_owned();
    let own = dtb.is_none();
    config.dtb = dtb;
    match dump_dtb(&config) {
        Ok(blob) => {
            assert_eq!(word(&blob, 0), 0xd00d_feed);
            assert_eq!(word(&blob, 4), blob.len());
            if own {
                walk(&blob);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
