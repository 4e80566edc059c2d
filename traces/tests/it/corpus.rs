//! Files of released versions, which every later version opens, and the page that draws them.

use std::path::PathBuf;

use session::{Event, Position};
use traces::layout::{
    BLOB_PAGES, BODY_MAX, CHUNK_FULL, CHUNK_HEADER, CHUNK_MAGIC, CHUNK_RECORDS, CHUNK_VERSION,
    FILE_HEADER, FILE_MAGIC, MAJOR, MINOR, RAW_MAX, TAIL_ALIGN, TAIL_DATA, TAIL_MAGIC, TAIL_ROOM,
    TAIL_SLOT, TRAILER, TRAILER_MAGIC,
};
use traces::{ChunkKind, PAGE, Reader, Writer, schema_table};

use crate::sample;

const EVENTS: u64 = 120;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn updates() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// `UPDATE=1` makes the file of a version that has none yet; one that is there is never changed.
#[test]
fn files_of_every_version_open() {
    let newest = corpus().join(format!("v{MAJOR}.{MINOR}.dvt"));
    if updates() && !newest.exists() {
        let mut writer = Writer::create(&newest, &sample::header()).unwrap();
        sample::write(&mut writer, EVENTS).unwrap();
    }
    assert!(newest.exists(), "UPDATE=1 cargo test -p traces makes {}", newest.display());
    for file in std::fs::read_dir(corpus()).unwrap() {
        let path = file.unwrap().path();
        let (mut reader, damages) = Reader::open(&path).unwrap();
        assert_eq!(damages, [], "{}", path.display());
        assert_eq!(*reader.header(), sample::header());
        let events: Vec<Event> = reader.events(Position::default()).map(Result::unwrap).collect();
        assert_eq!(events, (0..EVENTS).map(sample::event).collect::<Vec<_>>());
        assert_eq!(reader.inputs().unwrap().len() as u64, EVENTS / 10);
        assert_eq!(reader.end(), Some(&sample::end(EVENTS)));
        let loaded = reader.load(0).unwrap();
        let frame = sample::frame(50, 50..70);
        assert_eq!(loaded.state, frame.state);
        for (id, content) in &frame.pages {
            assert!(loaded.pages().any(|(at, page)| at == *id && page == content.as_deref()));
        }
        assert_eq!(reader.pre_image(1, 69).unwrap().as_deref(), Some(&sample::page(69, 0)[..]));
        let verified = reader.verify(&mut |_, _| true).unwrap();
        assert!(verified.damages.is_empty() && verified.chain.is_some());
    }
}

fn text(bytes: &[u8]) -> String {
    let ascii: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    if bytes.iter().all(u8::is_ascii_graphic) {
        return format!("`{ascii}`");
    }
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("`{}`", hex.join(" "))
}

fn numbers() -> String {
    let rows = [
        ("the file's magic", text(&FILE_MAGIC)),
        ("version", format!("{MAJOR}.{MINOR}")),
        ("bytes before the header's body", FILE_HEADER.to_string()),
        ("bytes of the body, at most", BODY_MAX.to_string()),
        ("a chunk's magic", text(&CHUNK_MAGIC)),
        ("version of the chunk's header", CHUNK_VERSION.to_string()),
        ("bytes of the chunk's header", CHUNK_HEADER.to_string()),
        ("a chunk of records is full at so many bytes", CHUNK_FULL.to_string()),
        ("or so many records", CHUNK_RECORDS.to_string()),
        ("bytes of a payload when decompressed, at most", RAW_MAX.to_string()),
        ("bytes of a page", PAGE.to_string()),
        ("pages of a blob, at most", BLOB_PAGES.to_string()),
        ("a tail's magic", text(&TAIL_MAGIC)),
        ("a tail stands at a multiple of", TAIL_ALIGN.to_string()),
        ("bytes of a slot", TAIL_SLOT.to_string()),
        ("records in a tail begin at", TAIL_DATA.to_string()),
        ("and have room for", TAIL_ROOM.to_string()),
        ("the trailer's magic", text(&TRAILER_MAGIC)),
        ("bytes of the trailer", TRAILER.to_string()),
    ];
    let rows = rows.iter().map(|(what, value)| format!("| {what} | {value} |\n"));
    format!("| what | value |\n|---|---|\n{}", rows.collect::<String>())
}

fn kinds() -> String {
    let rows = ChunkKind::ALL.map(|kind| format!("| {} | {} |\n", kind as u8, kind.name()));
    format!("| kind | what the chunk holds |\n|---|---|\n{}", rows.concat())
}

#[path = "../../../docs/tests/it/tables.rs"]
mod tables;

#[test]
fn the_page_says_what_the_code_does() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/src/trace-format.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let fresh = tables::with_tables(&page, |name| match name {
        "numbers" => numbers(),
        "chunks" => kinds(),
        "records" => schema_table(),
        _ => panic!("no table is called {name}"),
    });
    if page != fresh && updates() {
        std::fs::write(&path, &fresh).unwrap();
    } else {
        assert_eq!(page, fresh, "the page is stale: UPDATE=1 cargo test -p traces");
    }
}

/// Offsets that the page draws, of the file that is in the corpus.
#[test]
fn the_page_draws_the_file_that_is_there() {
    let bytes = std::fs::read(corpus().join("v1.0.dvt")).unwrap();
    let number = |at: usize, n: usize| {
        bytes[at..at + n].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    assert_eq!(bytes[..8], FILE_MAGIC);
    assert_eq!((number(8, 2), number(10, 2)), (1, 0));
    let header = FILE_HEADER + usize::try_from(number(12, 4)).unwrap() + 4;
    let crc = crc32c::crc32c(&bytes[..header - 4]);
    assert_eq!(number(header - 4, 4), u64::from(crc));
    // The copy of the header, then the first chunk of records.
    assert_eq!(bytes[header..header + 8], [b'D', b'V', b'T', b'C', 1, bytes[header + 5], 1, 0]);
    let stored = usize::try_from(number(header + 20, 4)).unwrap();
    let at = header + CHUNK_HEADER + stored;
    assert_eq!(bytes[at..at + 4], CHUNK_MAGIC);
    assert_eq!((bytes[at + 6], number(at + 8, 8)), (2, 1));
    let seed = crc32c::crc32c(&sample::header().id);
    let crc = crc32c::crc32c_append(seed, &bytes[at..at + 124]);
    assert_eq!(number(at + 124, 4), u64::from(crc));
    let mut bare = bytes[at..at + 128].to_vec();
    bare[88..120].fill(0);
    bare[124..].fill(0);
    let payload = &bytes[at + 128..at + 128 + usize::try_from(number(at + 20, 4)).unwrap()];
    assert_eq!(number(at + 84, 4), u64::from(crc32c::crc32c(payload)));
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[header + 88..header + 120]).update(&bare).update(payload);
    assert_eq!(bytes[at + 88..at + 120], *hasher.finalize().as_bytes());
    let trailer = bytes.len() - TRAILER;
    assert_eq!(bytes[trailer..trailer + 8], TRAILER_MAGIC);
    let index = usize::try_from(number(trailer + 8, 8)).unwrap();
    assert_eq!((bytes[index + 6], number(trailer + 16, 4)), (6, 1));
    assert_eq!(bytes[trailer + 24..trailer + 56], bytes[index + 88..index + 120]);
}
