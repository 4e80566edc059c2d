//! SBI calls: all extensions and functions, with arguments that mean something, in storms.

use isa::Op;
use vmm::layout::RAM_BASE;

use super::asm::{S0, ZERO};
use super::guest::{EID_HSM, EID_TIME, Guest, stream_of};

const EID_BASE: u64 = 0x10;
const EID_IPI: u64 = 0x0073_5049;
const EID_RFENCE: u64 = 0x5246_4e43;
const EID_SRST: u64 = 0x5352_5354;
const EID_DBCN: u64 = 0x4442_434e;
/// Those that are there, then PMU, SUSP, NACL, STA, CPPC, and the legacy ones.
#[rustfmt::skip]
const EIDS: [u64; 18] = [
    EID_BASE, EID_TIME, EID_IPI, EID_RFENCE, EID_HSM, EID_DBCN,
    EID_IPI, EID_RFENCE, EID_HSM, EID_HSM, EID_DBCN,
    0x0050_4d55, 0x5355_5350, 0x4e41_434c, 0x0053_5441, 0x4350_5043, 0, 8,
];

const HSM_START: u64 = 0;
const HSM_STOP: u64 = 1;
const HSM_STATUS: u64 = 2;
const HSM_SUSPEND: u64 = 3;

pub(crate) fn action(guest: &mut Guest<'_>) {
    if guest.dice.one_in(guest.ends) {
        let kind = guest.dice.pick(&[0, 1, 1, 1, 2, 2, 3, 0x1_0000_0001]);
        let reason = guest.dice.pick(&[0, 0, 1, 2, 0xe000_0000]);
        return guest.call(EID_SRST, 0, &[kind, reason]);
    }
    let n = guest.dice.between(1, 6);
    for _ in 0..n {
        let eid = if guest.dice.one_in(12) { guest.number() } else { guest.dice.pick(&EIDS) };
        let fid = match guest.dice.below(12) {
            0 => guest.number(),
            1 => guest.dice.below(9),
            _ => guest.dice.below(4),
        };
        // A VM of stopped vCPUs is soon over.
        let stops = eid == EID_HSM && fid == HSM_STOP;
        let fid = if stops && guest.vcpu == 0 && !guest.dice.one_in(8) { HSM_STATUS } else { fid };
        let args = arguments(guest, eid, fid);
        match guest.dice.below(5) {
            0 => storm(guest, eid, fid, &args),
            _ => guest.call(eid, fid, &args),
        }
    }
}

/// The same call many times, another vCPU's turn in between now and then.
fn storm(guest: &mut Guest<'_>, eid: u64, fid: u64, args: &[u64]) {
    let n = guest.dice.between(2, 30);
    guest.asm.li(S0, n);
    let again = guest.asm.here();
    guest.call(eid, fid, args);
    if guest.dice.one_in(3) {
        guest.asm.op(Op::Pause);
    }
    guest.asm.i(Op::Addi, S0, S0, -1);
    guest.asm.branch(Op::Bne, S0, ZERO, again);
}

fn arguments(guest: &mut Guest<'_>, eid: u64, fid: u64) -> Vec<u64> {
    match eid {
        _ if guest.dice.one_in(8) => (0..6).map(|_| guest.number()).collect(),
        EID_BASE => vec![guest.dice.pick(&EIDS)],
        EID_TIME => deadline(guest),
        EID_IPI => harts(guest).to_vec(),
        EID_RFENCE => {
            let mut args = harts(guest).to_vec();
            args.push(guest.number());
            let size = guest.number();
            args.push(guest.dice.pick(&[0, 1, 4096, u64::MAX, u64::MAX - 1, size]));
            args.push(guest.dice.below(3));
            args
        }
        EID_HSM => states(guest, fid),
        EID_DBCN => bytes(guest),
        EID_SRST => vec![3, 3],
        _ => (0..3).map(|_| guest.number()).collect(),
    }
}

/// A mask and its base: mostly vCPUs that are there.
fn harts(guest: &mut Guest<'_>) -> [u64; 2] {
    let all = (1 << guest.setting.vcpus) - 1;
    let dice = &mut *guest.dice;
    match dice.below(8) {
        0 => [dice.roll(), u64::MAX],
        1 => [dice.below(256), dice.below(9)],
        2 => [1, dice.pick(&[7, 8, 63, 64, 1 << 32])],
        3 => [dice.roll(), 0],
        _ => [dice.roll() & all, 0],
    }
}

/// A moment soon, over, or never; and the wait for it.
fn deadline(guest: &mut Guest<'_>) -> Vec<u64> {
    let ticks = guest.dice.pick(&[1, 5, 100, 1_000_000]);
    guest.deadline(ticks);
    if guest.dice.coin() {
        guest.asm.op(Op::Wfi);
    }
    let other = guest.number();
    vec![guest.dice.pick(&[0, u64::MAX, other])]
}

/// vCPUs start, stop, ask and suspend.
fn states(guest: &mut Guest<'_>, fid: u64) -> Vec<u64> {
    let dice = &mut *guest.dice;
    let target = if dice.one_in(8) { dice.below(10) } else { dice.below(8) };
    match fid {
        HSM_START => {
            let start = match dice.below(8) {
                0 => stream_of(dice.below(8)) + dice.below(0x600) * 2,
                1 => guest.number(),
                _ => stream_of(target & 7),
            };
            vec![target, start, guest.number()]
        }
        HSM_STOP | HSM_STATUS => vec![target],
        HSM_SUSPEND => {
            // What wakes it: the timer, or nothing but an interrupt of another vCPU.
            if !dice.one_in(4) {
                guest.deadline(5);
            }
            let resume = guest.dice.pick(&[stream_of(guest.vcpu), RAM_BASE + 1, 0]);
            let kind = guest.dice.pick(&[0, 0, 0x8000_0000, 0x8000_0000, 1, 0xffff_ffff_8000_0000]);
            vec![kind, resume, 7]
        }
        _ => vec![target, RAM_BASE, 0],
    }
}

/// Bytes of the console: in RAM, at its end, beyond it, in devices; few, many, all.
fn bytes(guest: &mut Guest<'_>) -> Vec<u64> {
    let n = guest.dice.pick(&[0, 1, 100, 4096, 4097, 0x1_0000, u64::MAX, 1 << 63]);
    let addr = if guest.dice.coin() { guest.buffer() } else { guest.number() };
    vec![n, addr, guest.dice.pick(&[0, 0, 0, 0, 1, u64::MAX])]
}
