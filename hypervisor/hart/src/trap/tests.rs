//! Which mode takes a trap, against the rule as the chapter on DV-ext numbers it.

use isa::{Cause, Csr, Exception, Extensions, Interrupt, Mode};

use crate::hart::{Hart, Report, Trap};
use crate::ram::Ram;

const MODES: [Mode; 6] = [Mode::M, Mode::Hs, Mode::U, Mode::Hu, Mode::Vs, Mode::Vu];

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
struct Case {
    mode: Mode,
    cause: Cause,
    /// The cause's bit in `m*deleg`, `s*deleg` and `h*deleg`.
    bits: [bool; 3],
    hu: bool,
    ta: bool,
}

/// The bits that can be set at all, by the manual and by the chapter.
fn can_be(csr: Csr, cause: Cause) -> Option<bool> {
    let exceptions = |list: &[u64]| list.contains(&cause.code());
    Some(match (csr, cause) {
        (Csr::MEDELEG, Cause::Exception(_)) => {
            exceptions(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 20, 21, 22, 23])
        }
        (Csr::HEDELEG, Cause::Exception(_)) => exceptions(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15]),
        (Csr::SEDELEG, Cause::Exception(_)) => {
            exceptions(&[1, 2, 3, 4, 5, 6, 7, 10, 20, 21, 22, 23])
        }
        (Csr::MIDELEG, Cause::Interrupt(_)) => exceptions(&[0, 1, 4, 5, 8, 9]),
        (Csr::HIDELEG, Cause::Interrupt(_)) => exceptions(&[2, 6, 10]),
        (Csr::SIDELEG, Cause::Interrupt(_)) => exceptions(&[0, 4, 8]),
        _ => return None,
    })
}

/// "Who takes a trap", and nothing is taken to a mode below the one that it comes from.
fn rule(case: Case) -> Mode {
    let Case { mode, cause, bits: [m, s, h], hu, ta } = case;
    let access_fault = matches!(
        cause,
        Cause::Exception(
            Exception::InstructionAccessFault
                | Exception::LoadAccessFault
                | Exception::StoreAccessFault
        )
    );
    let guest_fault = matches!(cause, Cause::Exception(e) if e.is_guest_page_fault());
    let virt = mode.is_virtual();
    if mode == Mode::M {
        return Mode::M;
    }
    if cause == Cause::Exception(Exception::DvFault) || (access_fault && virt && hu) {
        return Mode::Hs;
    }
    // Read-only one: "bits 10, 6, 2" of mideleg, and 12.
    let fixed = matches!(cause, Cause::Interrupt(_)) && matches!(cause.code(), 2 | 6 | 10 | 12);
    if !m && !fixed {
        return Mode::M;
    }
    if virt && h && !guest_fault {
        return Mode::Vs;
    }
    let from_below = mode != Mode::Hs;
    let nested = ta && !virt;
    if from_below && s && hu && !nested {
        return Mode::Hu;
    }
    Mode::Hs
}

fn hart_of(case: &Case, ram: &mut Ram) -> Hart {
    let mut hart = Hart::new(0, Extensions::ALL);
    hart.set_report(Report::Everything);
    let names = match case.cause {
        Cause::Exception(_) => [Csr::MEDELEG, Csr::SEDELEG, Csr::HEDELEG],
        Cause::Interrupt(_) => [Csr::MIDELEG, Csr::SIDELEG, Csr::HIDELEG],
    };
    for (csr, set) in names.into_iter().zip(case.bits) {
        hart.set_csr(ram, csr, u64::from(set) << case.cause.code());
    }
    hart.set_csr(ram, Csr::HSTATUS, u64::from(case.hu) << 9);
    hart.set_csr(ram, Csr::HUSTATUS, u64::from(case.ta) << 24);
    hart.set_mode(case.mode);
    hart
}

fn cases() -> Vec<Case> {
    let exceptions = Exception::ALL.iter().map(|e| Cause::Exception(*e));
    let interrupts = Interrupt::ALL.iter().map(|i| Cause::Interrupt(*i));
    let mut cases = Vec::new();
    for cause in exceptions.chain(interrupts) {
        for mode in MODES {
            for n in 0..32 {
                let bit = |i: u32| n >> i & 1 == 1;
                let hu = match mode {
                    Mode::Hu => true,
                    Mode::U => false,
                    Mode::M | Mode::Hs | Mode::Vs | Mode::Vu => bit(3),
                };
                let bits = [bit(0), bit(1), bit(2)];
                cases.push(Case { mode, cause, bits, hu, ta: bit(4) });
            }
        }
    }
    cases
}

#[test]
fn each_trap_goes_to_the_one_mode_that_the_rule_names() {
    let mut ram = Ram::new(1);
    for mut case in cases() {
        let mut hart = hart_of(&case, &mut ram);
        let names = match case.cause {
            Cause::Exception(_) => [Csr::MEDELEG, Csr::SEDELEG, Csr::HEDELEG],
            Cause::Interrupt(_) => [Csr::MIDELEG, Csr::SIDELEG, Csr::HIDELEG],
        };
        for (bit, csr) in case.bits.iter_mut().zip(names) {
            *bit &= can_be(csr, case.cause).unwrap_or(false);
        }
        let taken = hart.take_trap(Trap::plain(case.cause)).unwrap();
        assert_eq!(taken.to, rule(case), "{case:?}");
        assert_eq!(taken.from, case.mode, "{case:?}");
        assert_eq!(hart.mode(), taken.to, "{case:?}");
    }
}

#[test]
fn huret_leads_to_no_privilege_above_u_without_v() {
    let mut ram = Ram::new(1);
    for n in 0..1 << 16u64 {
        let mut hart = Hart::new(0, Extensions::ALL);
        hart.set_csr(&mut ram, Csr::HSTATUS, 1 << 9);
        // Every setting of the low bits, then of the high ones.
        hart.set_csr(&mut ram, Csr::HUSTATUS, if n >> 15 == 0 { n } else { n << 12 });
        let before = hart.csr(Csr::HUSTATUS).unwrap();
        hart.set_mode(Mode::Hu);
        hart.huret().unwrap();
        let expected = match (before >> 7 & 1, before >> 8 & 1) {
            (0, _) => Mode::Hu,
            (_, 0) => Mode::Vu,
            _ => Mode::Vs,
        };
        assert_eq!(hart.mode(), expected, "{before:#x}");
    }
}

#[test]
fn huret_is_for_hu_only() {
    let mut ram = Ram::new(1);
    for mode in MODES {
        for hu in [false, true] {
            let mut hart = Hart::new(0, Extensions::ALL);
            hart.set_csr(&mut ram, Csr::HSTATUS, u64::from(hu) << 9);
            hart.set_mode(mode);
            let expected = match hart.mode() {
                Mode::Hu => Ok(()),
                Mode::Vs | Mode::Vu => Err(Trap::virtual_instruction()),
                Mode::M | Mode::Hs | Mode::U => Err(Trap::illegal()),
            };
            assert_eq!(hart.huret(), expected);
        }
    }
}
