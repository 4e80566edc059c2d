//! What watchers find after a run was taken somewhere else.

use isa::Mode;

use super::*;
use crate::{ExitCause, Outcome, VcpuId};

fn exit() -> Exit {
    Exit {
        seq: 0,
        step: 0,
        vcpu: VcpuId(0),
        time_ns: 0,
        pc: 0,
        mode: Mode::Vs,
        cause: ExitCause::Wfi,
        outcome: Outcome::Parked,
    }
}

/// An exit and five bytes of output, and so on.
fn run(stream: &mut Stream, n: usize) {
    for round in 0..n {
        stream.exit(exit(), &mut []);
        stream.console(0, &mut format!("{:04}\n", round % 10_000).into_bytes(), &mut []);
    }
}

fn seqs(stream: &mut Stream) -> Vec<u64> {
    stream.exits_from(0, usize::MAX).iter().map(|exit| exit.seq).collect()
}

#[test]
fn taken_back_the_later_part_is_gone() {
    let mut stream = Stream::default();
    stream.keep_exits();
    run(&mut stream, 3);
    let saved = state::save(&mut stream);
    run(&mut stream, 4);
    assert_eq!(seqs(&mut stream), [0, 2, 4, 6, 8, 10, 12]);
    state::load(&mut stream, &saved).unwrap();
    assert_eq!(stream.seq(), 6);
    assert_eq!(seqs(&mut stream), [0, 2, 4]);
    assert_eq!(stream.console_from(10), (10, b"0002\n".to_vec()));
    assert_eq!(stream.console_from(30), (15, Vec::new()), "the asker sees that time went back");
    run(&mut stream, 1);
    assert_eq!(seqs(&mut stream), [0, 2, 4, 6]);
    assert_eq!(stream.console_from(15), (15, b"0000\n".to_vec()));
}

#[test]
fn taken_forward_there_is_no_hole() {
    let mut stream = Stream::default();
    stream.keep_exits();
    run(&mut stream, 2);
    let early = state::save(&mut stream);
    run(&mut stream, 5);
    let late = state::save(&mut stream);
    state::load(&mut stream, &early).unwrap();
    state::load(&mut stream, &late).unwrap();
    assert_eq!((stream.seq(), seqs(&mut stream)), (14, Vec::new()));
    assert_eq!(stream.console_from(0), (35, Vec::new()));
    run(&mut stream, 1);
    assert_eq!(seqs(&mut stream), [14]);
    assert_eq!(stream.console_from(0), (35, b"0000\n".to_vec()));
}

#[test]
fn taken_back_behind_what_is_kept_all_is_gone() {
    let mut stream = Stream::default();
    stream.keep_exits();
    run(&mut stream, 1);
    let saved = state::save(&mut stream);
    run(&mut stream, CONSOLE_KEPT / 5 + 10);
    assert_eq!(stream.exits.len(), EXITS_KEPT);
    state::load(&mut stream, &saved).unwrap();
    assert_eq!((stream.seq(), seqs(&mut stream)), (2, Vec::new()));
    assert_eq!(stream.console_from(0), (5, Vec::new()));
}

#[test]
fn numbers_that_could_overflow_are_damage() {
    let mut bytes = state::save(&mut Stream::default());
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(state::load(&mut Stream::default(), &bytes).is_err());
}
