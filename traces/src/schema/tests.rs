//! The schema says the truth: what is read by it alone is what was written.

use proptest::prelude::*;
use serde_json::Value;
use session::{
    Access, Event, Exit, ExitCause, Input, Outcome, Region, Stop, Trap, VcpuId, VmState,
};

use super::{Generic, Registers, Schema, Variant, Wire, table};
use crate::record::{Decoder, Encoder, Format, Record, bound};
use crate::varint::Cursor;

fn mode() -> impl Strategy<Value = isa::Mode> {
    prop::sample::select(isa::Mode::ALL.to_vec())
}

fn cause() -> impl Strategy<Value = ExitCause> {
    let access = prop::sample::select(vec![Access::Fetch, Access::Load, Access::Store]);
    let region = prop_oneof![
        Just(Region::Uart),
        Just(Region::Plic),
        Just(Region::Aclint),
        Just(Region::Rtc),
        Just(Region::Finisher),
        any::<u8>().prop_map(Region::Virtio),
        Just(Region::Hole),
    ];
    prop_oneof![
        (access.clone(), any::<u64>(), any::<u64>())
            .prop_map(|(access, gva, gpa)| ExitCause::GuestPageFault { access, gva, gpa }),
        (region, access, any::<[u64; 3]>(), any::<u8>()).prop_map(
            |(region, access, [gpa, offset, value], width)| ExitCause::Mmio {
                region,
                access,
                gpa,
                offset,
                width,
                value
            }
        ),
        (any::<u64>(), any::<u64>(), any::<[u64; 3]>())
            .prop_map(|(eid, fid, args)| ExitCause::Sbi { eid, fid, args }),
        any::<u32>().prop_map(|insn| ExitCause::VirtualInstruction { insn }),
        Just(ExitCause::Wfi),
        any::<u32>().prop_map(|insn| ExitCause::IllegalInstruction { insn }),
        Just(ExitCause::Breakpoint),
        Just(ExitCause::Timer),
        Just(ExitCause::Kick),
        Just(ExitCause::External),
        any::<[u64; 2]>().prop_map(|[cause, tval]| ExitCause::Other { cause, tval }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use session::Interrupt::{External, Software, Timer};
    prop_oneof![
        Just(Outcome::Handled),
        any::<[u64; 3]>().prop_map(|[gpa, hpa, size]| Outcome::Mapped { gpa, hpa, size }),
        (any::<i64>(), any::<u64>()).prop_map(|(error, value)| Outcome::Returned { error, value }),
        Just(Outcome::Refused),
        any::<u64>().prop_map(|cause| Outcome::Injected { cause }),
        prop::sample::select(vec![Software, Timer, External])
            .prop_map(|interrupt| Outcome::Raised { interrupt }),
        Just(Outcome::Parked),
        Just(Outcome::Stopped),
    ]
}

fn stop() -> impl Strategy<Value = Stop> {
    prop_oneof![
        Just(Stop::PowerOff),
        any::<u64>().prop_map(|code| Stop::Failed { code }),
        Just(Stop::Reset),
        Just(Stop::StepLimit),
        Just(Stop::Deadlock),
        any::<String>().prop_map(|reason| Stop::Killed { reason }),
        any::<String>().prop_map(|reason| Stop::Crashed { reason }),
        Just(Stop::User),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let state = prop_oneof![
        Just(VmState::Started),
        any::<u16>().prop_map(|vcpu| VmState::VcpuStarted(VcpuId(vcpu))),
        any::<u16>().prop_map(|vcpu| VmState::VcpuStopped(VcpuId(vcpu))),
        Just(VmState::Resetting),
        stop().prop_map(VmState::Ended),
    ];
    let input = prop_oneof![any::<Vec<u8>>().prop_map(Input::Console), Just(Input::Quit)];
    let exit = (any::<[u64; 4]>(), any::<u16>(), mode(), cause(), outcome());
    let trap = (any::<[u64; 6]>(), any::<u16>(), mode(), mode());
    prop_oneof![
        4 => exit.prop_map(|([seq, step, time_ns, pc], vcpu, mode, cause, outcome)| {
            let vcpu = VcpuId(vcpu);
            Event::Exit(Exit { seq, step, vcpu, time_ns, pc, mode, cause, outcome })
        }),
        1 => trap.prop_map(|([seq, step, time_ns, pc, cause, tval], hart, from, to)| {
            let hart = VcpuId(hart);
            Event::Trap(Trap { seq, step, hart, time_ns, pc, from, to, cause, tval })
        }),
        1 => (any::<[u64; 2]>(), any::<Vec<u8>>())
            .prop_map(|([seq, step], bytes)| Event::Console { seq, step, bytes }),
        1 => (any::<[u64; 2]>(), input)
            .prop_map(|([seq, step], input)| Event::Input { seq, step, input }),
        1 => (any::<[u64; 2]>(), state)
            .prop_map(|([seq, step], state)| Event::Vm { seq, step, state }),
    ]
}

proptest! {
    #[test]
    fn any_events_are_read_as_written_by_code_and_by_schema(
        events in prop::collection::vec(event(), 1..20),
    ) {
        let mut encoder = Encoder::new();
        let mut bytes = Vec::new();
        for event in &events {
            encoder.event(event);
            prop_assert!(encoder.out.len() <= bound(event));
            bytes.extend(&encoder.out);
        }
        let schema = Schema::ours();
        let format = Format::new(schema.clone());
        let (mut decoder, mut cursor) = (Decoder::new(), Cursor::new(&bytes));
        let mut registers = Registers::new();
        let mut again = Cursor::new(&bytes);
        for event in &events {
            let record = decoder.next(&format, &mut cursor).unwrap();
            prop_assert_eq!(&record, &Record::Event(event.clone()));
            let tag = again.byte().unwrap();
            let json = Generic::new(&schema, &mut registers).record(tag, &mut again).unwrap();
            let json: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(json, serde_json::to_value(event).unwrap());
            prop_assert_eq!(again.left(), cursor.left());
        }
        prop_assert!(cursor.is_empty());
    }

    #[test]
    fn any_bytes_are_records_or_not(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let format = Format::new(Schema::ours());
        let (mut decoder, mut cursor) = (Decoder::new(), Cursor::new(&bytes));
        while !cursor.is_empty() && decoder.next(&format, &mut cursor).is_ok() {}
        let mut registers = Registers::new();
        let mut cursor = Cursor::new(&bytes);
        let schema = Schema::ours();
        while let Ok(tag) = cursor.byte() {
            if Generic::new(&schema, &mut registers).record(tag, &mut cursor).is_err() {
                break;
            }
        }
        if let Ok(schema) = Schema::decode(&bytes) {
            prop_assert_eq!(schema.clone(), Schema::decode(&schema.encode()).unwrap());
        }
    }
}

#[test]
fn a_schema_is_read_as_it_was_written() {
    let ours = Schema::ours();
    assert_eq!(Schema::decode(&ours.encode()).unwrap(), ours);
    assert!((1..=11).all(|tag| ours.agrees(&ours, tag)));
    assert!(!ours.agrees(&ours, 12));
}

/// A later version has a kind that this one lacks, and one more field of exits.
#[test]
fn unknown_kinds_are_shown_and_new_fields_are_passed_over() {
    let mut later = Schema::ours();
    let fields = vec![
        ("step".to_owned(), Wire::Delta(table::STEP)),
        ("note".to_owned(), Wire::Text),
        ("list".to_owned(), Wire::Bytes),
    ];
    later.types[0].push(Variant { tag: 99, name: "weather".to_owned(), fields });
    let exit = later.types[0].iter_mut().find(|variant| variant.tag == table::EXIT).unwrap();
    exit.fields.push(("handler_ns".to_owned(), Wire::Number));
    let events: Vec<Event> = (0..3)
        .map(|n| {
            Event::Exit(Exit {
                seq: n,
                step: n * 5,
                vcpu: VcpuId(1),
                time_ns: n * 5,
                pc: 0x8000_0000,
                mode: isa::Mode::Vs,
                cause: ExitCause::Wfi,
                outcome: Outcome::Parked,
            })
        })
        .collect();
    let mut encoder = Encoder::new();
    let mut bytes = Vec::new();
    for event in &events {
        encoder.event(event);
        bytes.extend(&encoder.out);
        bytes.extend([77]);
        bytes.extend([99, 6, 3, b'f', b'o', b'g', 2, 1, 2]);
        // The step of the other kind counts for the next difference.
        bytes.extend([99, 5, 0, 0]);
    }
    let format = Format::new(Schema::decode(&later.encode()).unwrap());
    let (mut decoder, mut cursor) = (Decoder::new(), Cursor::new(&bytes));
    for event in events {
        assert_eq!(decoder.next(&format, &mut cursor), Ok(Record::Event(event.clone())));
        let step = event.position().step;
        let Ok(Record::Unknown { tag: 99, json }) = decoder.next(&format, &mut cursor) else {
            panic!("no weather");
        };
        let expected = format!(
            "{{\"event\":\"weather\",\"step\":{},\"note\":\"fog\",\"list\":[1,2]}}",
            step + 3
        );
        assert_eq!(json, expected);
        assert!(matches!(decoder.next(&format, &mut cursor), Ok(Record::Unknown { .. })));
    }
    assert!(cursor.is_empty());
}
