//! What an epoch notes, against a copy of everything.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Write { offset: usize, bytes: Vec<u8>, writer: Writer },
    Epoch,
    Clear,
    Put { page: u32, fill: Option<u8> },
    Mark { page: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let write = (0..SIZE, prop::collection::vec(any::<u8>(), 1..80), 0..3_usize).prop_map(
        |(offset, mut bytes, who)| {
            bytes.truncate(SIZE - offset);
            let writer = [Writer::Hart, Writer::Walker, Writer::Dma][who];
            Step::Write { offset, bytes, writer }
        },
    );
    let zeros = (0..PAGES).prop_map(|page| Step::Write {
        offset: page * PAGE,
        bytes: vec![0; PAGE],
        writer: Writer::VmPlane,
    });
    let put = (0..N, prop::option::of(any::<u8>()));
    prop_oneof![
        8 => write,
        1 => zeros,
        2 => Just(Step::Epoch),
        1 => Just(Step::Clear),
        2 => put.prop_map(|(page, fill)| Step::Put { page, fill }),
        2 => (0..PAGES).prop_map(|page| Step::Mark { page }),
    ]
}

const PAGES: usize = 5;
const N: u32 = 5;
const SIZE: usize = PAGES * PAGE;

fn copy(memory: &Memory) -> Copy {
    (0..N).map(|page| memory.page(page).copied()).collect()
}

fn number(page: usize) -> u32 {
    u32::try_from(page).unwrap()
}

type Copy = Vec<Option<[u8; PAGE]>>;

fn before(page: Option<&[u8; PAGE]>, tracking: Tracking) -> Before {
    match (tracking, page) {
        (Tracking::Images, Some(bytes)) => Before::Bytes(std::sync::Arc::new(*bytes)),
        (Tracking::Images, None) => Before::Untouched,
        (Tracking::Off | Tracking::Numbers, _) => Before::NotKept,
    }
}

/// Does one step; what it writes is also written to the copy of who knows nothing of put pages.
fn apply(memory: &mut Memory, step: &Step, expected: &mut Vec<(u32, Option<[u8; PAGE]>)>) {
    let mut dirties = |memory: &Memory, page: usize| {
        let page = number(page);
        if !expected.iter().any(|(known, _)| *known == page) {
            expected.push((page, memory.page(page).copied()));
        }
    };
    match step {
        Step::Write { offset, bytes, writer } => {
            for page in offset / PAGE..=(offset + bytes.len() - 1) / PAGE {
                // Zeros over what is zero, too: whoever looks for a write looks there.
                dirties(memory, page);
            }
            memory.write(BASE + *offset as u64, bytes, *writer).unwrap();
        }
        Step::Clear => {
            for page in 0..PAGES {
                if memory.page(number(page)).is_some() {
                    dirties(memory, page);
                }
            }
            memory.clear();
        }
        Step::Put { page, fill } => {
            let content = fill.map(|fill| [fill; PAGE]);
            memory.put_page(*page, content.as_ref());
            assert_eq!(memory.page(*page), content.as_ref());
        }
        Step::Mark { page } => {
            memory.mark_code(page * PAGE + 64, 128);
            memory.mark_table(page * PAGE);
        }
        Step::Epoch => {}
    }
}

proptest! {
    #[test]
    fn notes_each_page_that_is_written_once_and_what_was_in_it(
        steps in prop::collection::vec(step(), 1..60),
        images in any::<bool>(),
    ) {
        let tracking = if images { Tracking::Images } else { Tracking::Numbers };
        let mut memory = Memory::new(BASE, SIZE);
        memory.write(BASE + 100, &[1], Writer::Loader).unwrap();
        memory.track(tracking);
        let mut expected: Vec<(u32, Option<[u8; PAGE]>)> = Vec::new();
        for step in steps {
            if let Step::Epoch = step {
                let want: Vec<Dirtied> = expected.drain(..).map(|(page, bytes)| {
                    Dirtied { page, before: before(bytes.as_ref(), tracking) }
                }).collect();
                prop_assert_eq!(memory.next_epoch(), want);
            }
            apply(&mut memory, &step, &mut expected);
            let touched = copy(&memory).iter().flatten().count();
            prop_assert_eq!(memory.touched_bytes(), (touched * PAGE) as u64);
        }
    }

    #[test]
    fn images_bring_everything_back(steps in prop::collection::vec(step(), 1..60)) {
        let mut memory = Memory::new(BASE, SIZE);
        memory.track(Tracking::Images);
        let mut undo: Vec<(Copy, Vec<Dirtied>)> = Vec::new();
        let mut begin = copy(&memory);
        for step in steps {
            match &step {
                Step::Put { .. } => {}
                Step::Epoch => {
                    let dirtied = memory.next_epoch();
                    undo.push((std::mem::replace(&mut begin, copy(&memory)), dirtied));
                }
                Step::Write { .. } | Step::Clear | Step::Mark { .. } => {
                    apply(&mut memory, &step, &mut Vec::new());
                }
            }
        }
        undo.push((begin, memory.next_epoch()));
        for (was, dirtied) in undo.into_iter().rev() {
            for Dirtied { page, before } in dirtied {
                match before {
                    Before::Bytes(bytes) => memory.put_page(page, Some(&bytes)),
                    Before::Untouched => memory.put_page(page, None),
                    Before::NotKept => prop_assert!(false, "images were asked for"),
                }
            }
            prop_assert!(copy(&memory) == was);
        }
        prop_assert_eq!(memory.next_epoch(), vec![]);
    }
}

#[test]
fn a_page_that_is_put_back_makes_everybody_forget_what_changes() {
    let mut memory = Memory::new(BASE, SIZE);
    memory.store(PAGE, [1; 8], Writer::Hart);
    memory.mark_code(PAGE, 256);
    memory.mark_table(PAGE);
    let same = *memory.page(1).unwrap();
    let seen = memory.n_changes();
    memory.put_page(1, Some(&same));
    assert_eq!(memory.n_changes(), seen, "nothing changes");
    let mut other = same;
    other[130] = 7;
    memory.put_page(1, Some(&other));
    let code = Change::Code { offset: PAGE + 128, len: 64 };
    let table = Change::Table { offset: PAGE };
    assert_eq!(memory.changes(seen), Some(&[code, table][..]));
    memory.put_page(1, None);
    let code = Change::Code { offset: PAGE, len: 64 };
    assert_eq!(memory.changes(seen + 2), Some(&[code][..]));
}

#[test]
fn nothing_is_noted_when_nobody_asked() {
    let mut memory = Memory::new(BASE, SIZE);
    memory.store(0, [1], Writer::Hart);
    assert_eq!(memory.next_epoch(), vec![]);
    memory.track(Tracking::Numbers);
    memory.store(0, [1], Writer::Hart);
    memory.track(Tracking::Off);
    memory.store(PAGE, [1], Writer::Hart);
    assert_eq!(memory.next_epoch(), vec![]);
}
