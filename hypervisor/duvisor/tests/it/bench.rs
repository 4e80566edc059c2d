//! `trace bench` measures whatever there is in a recording.

use crate::program::{Ran, duvisor, scratch, text};

#[test]
fn a_recording_is_measured_in_every_way() {
    let file = text(scratch("bench.dvt"));
    // That of an earlier run is not written over.
    let _ = std::fs::remove_file(&file);
    let record = ["record", "-o", &file, "demo", "--warp", "-c", "2", "--max-steps", "3000000"];
    assert_eq!(duvisor(&record).code, Some(124));
    let ran = duvisor(&["trace", "bench", &file, "--count", "3", "--seed", "7"]).ended(0);
    for (what, n) in [
        ("seek, cold", "3"),
        ("step back, whole guest", "3"),
        ("step back, hart that ran", "3"),
        ("step back, random hart", "3"),
        ("last write to a hot word", "3"),
        ("watch that never hits, quiet page", "1"),
        ("watch that never hits, hot page", "1"),
        ("changes of a CSR (vsatp)", "1"),
    ] {
        let row = ran.line(what);
        assert_eq!(row.split_whitespace().next(), Some(n), "{what}: {row}");
        assert!(row.contains(" us") || row.contains(" ms") || row.contains(" s"), "{row}");
    }
}

#[test]
fn a_count_of_nothing_and_a_file_that_is_none_are_refused() {
    let Ran { code, err, .. } = duvisor(&["trace", "bench", "x.dvt", "--count", "0"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("expected a number from 1 to 1000000"), "{err}");
    let Ran { code, err, .. } = duvisor(&["trace", "bench", "/dev/null"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("/dev/null"), "{err}");
}
