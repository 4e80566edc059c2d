//! Any text as a value of an option: a value in its bounds, or a sentence.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "what options do with their values is not run here")]
#[path = "../../src/values.rs"]
mod values;

use values::{Disk, RtcBase, Seed, Size};

fuzz_target!(|text: &str| {
    match text.parse::<Size>() {
        Ok(Size(bytes)) => assert!(bytes > 0 && bytes % 4096 == 0),
        Err(error) => assert!(!error.is_empty()),
    }
    if let Ok(disk) = text.parse::<Disk>() {
        assert!(!disk.path.as_os_str().is_empty());
    }
    if let Ok(RtcBase::Seconds(seconds)) = text.parse() {
        assert!(seconds <= u64::MAX / 1_000_000_000);
    }
    let _ = text.parse::<Seed>();
    let default = isa::Extensions::ALL;
    if let Ok(extensions) = isa::Extensions::parse(text, default) {
        assert!(extensions.check().is_ok());
    }
});
