//! A process that records and is killed.

use std::env;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use session::{Event, Position};
use traces::{Packer, Reader, Writer};

use crate::sample::{self, Scratch};

/// The file that the child is to write, and after how many events it is to be killed.
const PATH: &str = "TRACES_CHILD_PATH";
const EVENTS: &str = "TRACES_CHILD_EVENTS";
const SIGKILL: i32 = 9;

/// Numbers that look random, from a seed.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// The child: says after each record that it is committed, and goes on until it is killed.
#[test]
fn child() {
    let (Some(path), Ok(events)) = (env::var_os(PATH), env::var(EVENTS)) else { return };
    let n: u64 = events.parse().unwrap();
    let mut writer = Writer::create(path.as_ref(), &sample::header()).unwrap();
    let mut packer = Packer::new();
    for index in 0..n {
        writer.event(&sample::event(index)).unwrap();
        if index % 10 == 9 {
            writer.input(&sample::input(index)).unwrap();
        }
        if index % 4001 == 4000 {
            writer.keyframe(&mut packer.pack(sample::frame(index, 0..100))).unwrap();
        }
    }
    // Here the parent takes over: nothing is dropped, nothing flushed.
    std::io::stdout().write_all(b"committed\n").unwrap();
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

fn record_and_kill(path: &std::path::Path, events: u64) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--nocapture"])
        .env(PATH, path)
        .env(EVENTS, events.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let said = std::io::BufRead::lines(stdout).map_while(Result::ok);
    assert!(said.into_iter().any(|line| line.ends_with("committed")), "the child failed");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
}

#[test]
fn nothing_committed_is_lost_by_a_kill() {
    let mut seed = 0x5eed;
    for round in 0..200 {
        let file = Scratch::new("killed");
        let n = match round {
            0..100 => random(&mut seed) % 500,
            100..190 => random(&mut seed) % 20_000,
            // Far enough for the tail to move.
            _ => 20_000 + random(&mut seed) % 200_000,
        };
        record_and_kill(&file.0, n);
        let (mut reader, damages) = Reader::open(&file.0).unwrap();
        assert_eq!(damages, [], "{n} events");
        let mut events = 0;
        for event in reader.events(Position::default()) {
            assert_eq!(event.unwrap(), sample::event(events));
            events += 1;
        }
        assert_eq!((events, reader.end()), (n, None));
        assert_eq!(reader.inputs().unwrap().len() as u64, n / 10);
        assert_eq!(reader.keyframes().len() as u64, n / 4001);
        let verified = reader.verify(&mut |_, _| true).unwrap();
        assert_eq!(verified.damages, []);
    }
}

/// Whatever instant a copy of the file is taken at is an instant at which it could be killed.
#[test]
fn a_file_opens_at_every_moment_of_its_writing() {
    let file = Scratch::new("watched");
    let mut writer = Writer::create(&file.0, &sample::header()).unwrap();
    let mut packer = Packer::new();
    for index in 0..3000 {
        writer.event(&sample::event(index)).unwrap();
        if index % 500 == 499 {
            writer.keyframe(&mut packer.pack(sample::frame(index, index..index + 70))).unwrap();
        }
        if index % 13 == 0 {
            let (reader, damages) = Reader::open(&file.0).unwrap();
            assert_eq!(damages, []);
            let last: Option<Event> = reader.events(Position::default()).map(Result::unwrap).last();
            assert_eq!(last, Some(sample::event(index)));
            assert_eq!(reader.last().0, sample::event(index).position());
        }
    }
}
