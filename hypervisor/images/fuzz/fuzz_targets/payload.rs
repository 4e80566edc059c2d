//! Any file as a guest: no panic, and what is accepted keeps what [`Payload`] promises.
#![no_main]

use images::Payload;
use images::payload::MAX_MEMORY;
use libfuzzer_sys::fuzz_target;

fn check(payload: &Payload, file: &[u8]) {
    let stored: usize = payload.segments.iter().map(|segment| segment.bytes.len()).sum();
    assert!(stored <= file.len());
    let total: u64 = payload.segments.iter().map(|segment| segment.mem_size).sum();
    assert!(total <= MAX_MEMORY);
    for segment in &payload.segments {
        assert!(segment.bytes.len() as u64 <= segment.mem_size && segment.mem_size > 0);
    }
    assert!(payload.segments.windows(2).all(|pair| pair[0].end() <= pair[1].addr));
    assert!(payload.segments.iter().any(|s| (s.addr..s.end()).contains(&payload.entry)));
}

fuzz_target!(|data: &[u8]| {
    let Some((head, file)) = data.split_first_chunk() else { return };
    let base = u64::from_le_bytes(*head);
    for base in [0x8020_0000, base] {
        for payload in [Payload::parse(file, base), Payload::raw(file, base)] {
            match payload {
                Ok(payload) => check(&payload, file),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
});
