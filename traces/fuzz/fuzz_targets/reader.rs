//! Any file as a recording: no panic, and no more memory than the limits say. CRCs are not looked
//! at here, so that what is behind them is reached.
#![no_main]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use session::Position;
use traces::Reader;

/// One file for all inputs of this process.
fn file(data: &[u8]) -> File {
    static FILE: OnceLock<File> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("traces-fuzz-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.expect("there is a folder for temporary files");
        let _ = std::fs::remove_file(path);
        file
    });
    file.set_len(data.len() as u64).expect("it can be cut");
    file.write_all_at(data, 0).expect("it can be written");
    file.try_clone().expect("there are descriptors")
}

fuzz_target!(|data: &[u8]| {
    let Ok((mut reader, damages)) = Reader::from_file(file(data)) else { return };
    assert!(damages.iter().all(|damage| !damage.to_string().is_empty()));
    reader.limit(16 << 20);
    let start = Position::default();
    // Small files can decompress to much: enough of it is enough.
    let n = reader.records(start).take(50_000).filter(Result::is_ok).count();
    assert!(reader.events(start).take(50_000).filter(Result::is_ok).count() <= n);
    let _ = (reader.inputs(), reader.disk_reads(), reader.lost(), reader.pre_image(0, 0));
    for index in 0..reader.keyframes().len().min(8) {
        if let Ok(loaded) = reader.load(index) {
            assert!(loaded.pages().is_sorted_by(|(a, _), (b, _)| a < b));
        }
        let _ = reader.load_between(0, index);
    }
    let verified = reader.verify(&mut |done, total| done <= total);
    assert!(verified.is_ok());
});
