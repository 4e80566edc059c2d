//! Each operation of `Dv` against the instruction that it stands for, executed in HU by the engine.

use driver::Hu;
use dv::Dv;
use isa::fields::HUSTATUS;
use isa::{Cause, Csr, Insn, Op};
use machine::Ran;

use crate::guest::*;

/// Offset in guest RAM of the instruction that the engine executes.
const CODE: u64 = 0x8000;

/// A vCPU that has trapped; what HU is allowed by PMP, so that HU can fetch.
fn trapped() -> Hu {
    let mut hu = running(&[ecall()]);
    let (hart, platform) = hu.driver_mut().machine_mut().hart_mut(0);
    hart.set_csr(platform, Csr(Csr::PMPADDR0.0 + 15), u64::MAX >> 10);
    let cfg = hart.csr(Csr(Csr::PMPCFG0.0 + 2)).unwrap();
    hart.set_csr(platform, Csr(Csr::PMPCFG0.0 + 2), cfg | 0x1f << 56);
    assert_eq!(trap(&mut hu, 0), 10);
    hu.set_x(0, A0, 0);
    hu
}

/// Executes one instruction in HU.
fn execute(hu: &mut Hu, insn: Insn) -> Result<(), Cause> {
    program(hu, CODE, &[insn]);
    let pc = hu.windows()[0].hpa + CODE;
    let machine = hu.driver_mut().machine_mut();
    machine.hart_mut(0).0.set_pc(pc);
    machine.start(0);
    let ran = machine.run(machine.steps() + 1);
    machine.stop(0);
    if let Ran::Woken { halt: hart::Halt::Trap(taken), .. } = ran {
        return Err(taken.trap.cause);
    }
    assert!(matches!(ran, Ran::StepLimit | Ran::SliceEnd), "{ran:?}");
    Ok(())
}

/// Mode and CSRs, but for what counts steps.
fn state(hu: &Hu) -> Vec<(Csr, u64)> {
    let hart = &hu.driver().machine().harts()[0];
    let counts = [Csr::CYCLE, Csr::INSTRET, Csr::TIME, Csr::MCYCLE, Csr::MINSTRET];
    let csrs = isa::csr::CSRS.iter().map(|row| row.csr).filter(|csr| !counts.contains(csr));
    let mode = (Csr(0xfff), hart.mode() as u64);
    csrs.map(|csr| (csr, hart.csr(csr).unwrap())).chain([mode]).collect()
}

#[track_caller]
fn refused_alike(hu: &Hu, cause: Cause, what: &dyn std::fmt::Debug) {
    let reason = hu.reason().unwrap();
    assert!(reason.ends_with(cause.name()), "{what:?}: {reason}, but the engine: {cause}");
}

#[test]
fn csrr() {
    for row in &isa::csr::CSRS {
        let (mut engine, mut dv) = (trapped(), trapped());
        let executed = execute(&mut engine, crate::guest::csrr(A0, row.csr));
        match (executed, dv.csr(0, row.csr)) {
            (Ok(()), Ok(value)) => {
                assert_eq!(engine.x(0, A0), value, "{}", row.name);
                assert_eq!(state(&engine), state(&dv), "{}", row.name);
            }
            (Err(cause), Err(_)) => refused_alike(&dv, cause, &row.csr),
            (executed, read) => panic!("{}: {executed:?}, but {read:?}", row.name),
        }
    }
}

#[test]
fn csrw() {
    let values = [0, u64::MAX, 0x5555_5555_5555_5555, 0x102_0000, 0x10a_0000, 0x106_0000, 1, 2];
    for (row, value) in isa::csr::CSRS.iter().flat_map(|row| values.map(|value| (row, value))) {
        // Of HU, or of HS with V=0: the others are refused as in the read above.
        if !matches!(row.group, isa::csr::Group::Dv | isa::csr::Group::Hu) && value != 0 {
            continue;
        }
        let what = (row.csr, value);
        let (mut engine, mut dv) = (trapped(), trapped());
        engine.set_x(0, A0, value);
        let executed = execute(&mut engine, crate::guest::csrw(row.csr, A0));
        match (executed, dv.set_csr(0, row.csr, value)) {
            (Ok(()), Ok(())) => assert_eq!(state(&engine), state(&dv), "{what:x?}"),
            (Err(_), Err(_)) if row.csr == Csr::HU_VCPUID => {}
            (Err(cause), Err(_)) => refused_alike(&dv, cause, &what),
            (executed, written) => panic!("{what:x?}: {executed:?}, but {written:?}"),
        }
    }
}

#[test]
fn huret() {
    let fields =
        HUSTATUS::SPV.mask() | HUSTATUS::SPVP.mask() | HUSTATUS::UPIE.mask() | HUSTATUS::UIE.mask();
    let mut status = 0u64;
    loop {
        let (mut engine, mut dv) = (trapped(), trapped());
        for hu in [&mut engine, &mut dv] {
            hu.set_csr(0, Csr::HUSTATUS, status).unwrap();
            hu.set_csr(0, Csr::UEPC, 0x1234_5677).unwrap();
        }
        assert_eq!(execute(&mut engine, Insn::new(Op::Huret)), Ok(()));
        dv.huret(0).unwrap();
        assert_eq!(state(&engine), state(&dv), "hustatus {status:#x}");
        let pc = |hu: &Hu| hu.driver().machine().harts()[0].pc();
        assert_eq!((pc(&engine), pc(&dv)), (0x1234_5676, 0x1234_5676));
        // The next subset of the fields.
        status = status.wrapping_sub(fields) & fields;
        if status == 0 {
            break;
        }
    }
}

/// Addresses with all kinds of trouble: none, unaligned, across pages, half and wholly unmapped.
fn addresses() -> [u64; 8] {
    let end = GPA + 16 * 4096;
    [GPA, GPA + 0x1003, GPA + 0x1ffd, GPA + 0x2fff, end - 8, end - 3, end, u64::MAX - 2]
}

fn with_data() -> Hu {
    let mut hu = trapped();
    let bytes: Vec<u8> = (0..=255u8).cycle().take(15 * 4096).collect();
    let ram = hu.windows()[0].hpa;
    hu.write(ram + 4096, &bytes).unwrap();
    hu
}

#[test]
fn hlv() {
    let loads = [
        (Op::HlvBu, 1),
        (Op::HulvBu, 1),
        (Op::HlvHu, 2),
        (Op::HulvHu, 2),
        (Op::HlvWu, 4),
        (Op::HulvWu, 4),
        (Op::HlvD, 8),
        (Op::HulvD, 8),
    ];
    for (op, width) in loads {
        for gva in addresses() {
            let (mut engine, mut dv) = (with_data(), with_data());
            engine.set_x(0, A1, gva);
            assert_eq!(execute(&mut engine, i(op, A0, A1, 0)), Ok(()));
            let mut bytes = [0; 8];
            let loaded = dv.load(0, gva, &mut bytes[..width]);
            assert_eq!(engine.x(0, A0), u64::from_le_bytes(bytes), "{op:?} {gva:#x}");
            assert_eq!(state(&engine), state(&dv), "{op:?} {gva:#x}");
            let glf = HUSTATUS::GLF.is_set(dv.csr(0, Csr::HUSTATUS).unwrap());
            assert_eq!(loaded.is_err(), glf);
        }
    }
}

#[test]
fn hlvx() {
    for op in [Op::HlvxHu, Op::HulvxHu] {
        for gva in addresses() {
            let (mut engine, mut dv) = (with_data(), with_data());
            // The page after the first may be executed and not read, the next one the reverse.
            for hu in [&mut engine, &mut dv] {
                let ram = hu.windows()[0].hpa;
                map(hu, 1, leaf(ram + 0x1000) & !6);
                map(hu, 2, leaf(ram + 0x2000) & !8);
            }
            engine.set_x(0, A1, gva);
            assert_eq!(execute(&mut engine, i(op, A0, A1, 0)), Ok(()));
            let fetched = dv.fetch(0, gva);
            assert_eq!(engine.x(0, A0), fetched.map_or(0, u64::from), "{op:?} {gva:#x}");
            assert_eq!(state(&engine), state(&dv), "{op:?} {gva:#x}");
        }
    }
}

#[test]
fn hsv() {
    let stores = [(Op::HsvB, 1), (Op::HusvB, 1), (Op::HsvH, 2), (Op::HsvW, 4), (Op::HusvD, 8)];
    for (op, width) in stores {
        for gva in addresses() {
            let (mut engine, mut dv) = (with_data(), with_data());
            let value = 0x1122_3344_5566_7788_u64;
            engine.set_x(0, A1, gva);
            engine.set_x(0, A0, value);
            program(&mut dv, CODE, &[r(op, 0, A1, A0)]);
            assert_eq!(execute(&mut engine, r(op, 0, A1, A0)), Ok(()));
            let stored = dv.store(0, gva, &value.to_le_bytes()[..width]);
            assert_eq!(state(&engine), state(&dv), "{op:?} {gva:#x}");
            let glf = HUSTATUS::GLF.is_set(dv.csr(0, Csr::HUSTATUS).unwrap());
            assert_eq!(stored.is_err(), glf);
            let memory = |hu: &Hu| {
                let mut bytes = vec![0; 17 * 4096];
                hu.read(hu.windows()[0].hpa, &mut bytes).unwrap();
                bytes
            };
            assert_eq!(memory(&engine), memory(&dv), "{op:?} {gva:#x}");
        }
    }
}

#[test]
fn hufence() {
    for op in [Op::HufenceGvma, Op::HufenceVvma] {
        let (mut engine, mut dv) = (trapped(), trapped());
        assert_eq!(execute(&mut engine, Insn::new(op)), Ok(()));
        if op == Op::HufenceGvma {
            dv.hufence_gvma(0)
        } else {
            dv.hufence_vvma(0)
        }
        assert_eq!(dv.reason(), None);
        assert_eq!(state(&engine), state(&dv));
    }
}
