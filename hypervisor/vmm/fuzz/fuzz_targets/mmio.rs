//! Any instruction that reached for a device: fetched or transformed, it is the same transfer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u32, u64, u64)| vmm::fuzzing::decode(data.0, data.1, data.2));
