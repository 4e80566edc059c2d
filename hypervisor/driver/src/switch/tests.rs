//! What is switched is everything, and nothing of it is superfluous.

use hart::{Report, Writer};
use isa::csr::CSRS;
use isa::fields::{HSTATUS, SATP, VTIMECTL};
use isa::{Insn, Op};
use machine::Machine;

use super::*;
use crate::config::VmRequest;
use crate::hs::Setup;

const BASE: u64 = 0x8000_0000;
const WINDOW: Window = Window { hpa: BASE, size: 1 << 20 };
const ELSEWHERE: Window = Window { hpa: BASE + WINDOW.size, size: 1 << 20 };
const A0: u8 = 10;

/// HS's own, which the switch itself uses: where it was entered from, and why.
const OF_TRAPS: [Csr; 5] = [Csr::SEPC, Csr::SCAUSE, Csr::STVAL, Csr::HTVAL, Csr::HTINST];
/// The CSRs of M-mode that a VM can change, all by views of them.
const SEEN_THROUGH_VIEWS: [Csr; 5] = [Csr::MSTATUS, Csr::MIE, Csr::MIP, Csr::MCYCLE, Csr::MINSTRET];

/// Interrupts of S and M.
const KERNEL_INTERRUPTS: u64 = 0xaaa;

/// Bits of a CSR that are no VM's: HS's own, and those that tell it of its last trap.
fn of_kernel(csr: Csr) -> u64 {
    match csr {
        Csr::HSTATUS => HSTATUS::SPV.mask() | HSTATUS::SPVP.mask() | HSTATUS::GVA.mask(),
        Csr::SSTATUS | Csr::MSTATUS => {
            SSTATUS::SPP.mask() | SSTATUS::SPIE.mask() | SSTATUS::SIE.mask()
        }
        Csr::MIE | Csr::MIP => KERNEL_INTERRUPTS,
        _ if OF_TRAPS.contains(&csr) => u64::MAX,
        _ => 0,
    }
}

/// A hart with a vCPU of a VM in HU; guest-physical addresses are physical ones.
fn rig() -> Machine {
    let config = machine::Config { n_blocks: 16, ..machine::Config::new(2 << 20) };
    let mut machine = Machine::new(&config);
    machine.set_report(Report::Hypervisor);
    for vmid in [1, 2] {
        machine.platform_mut().register_vcpu(vmid, 0);
        machine.platform_mut().register_vcpu(vmid, 1);
    }
    let (hart, platform) = machine.hart_mut(0);
    let request = VmRequest::new(WINDOW.size);
    let setup = Setup { request: &request, vmid: 1, vcpu: 0, windows: &[WINDOW], root: 0 };
    hs::set_up(hart, platform, &setup).unwrap();
    hart.hs_csr_write(platform, Csr::HUGATP, 0).unwrap();
    machine
}

/// Everything that there is to be compared.
fn state(machine: &Machine) -> Vec<(Csr, u64)> {
    let hart = &machine.harts()[0];
    let pc = (Csr(0xffe), hart.pc());
    let mode = (Csr(0xfff), hart.mode() as u64);
    CSRS.iter().map(|row| (row.csr, hart.csr(row.csr).unwrap())).chain([pc, mode]).collect()
}

/// Another VM has the hart for a while, and then the list is put back.
fn switch(machine: &mut Machine, list: &[Csr]) {
    let (hart, platform) = machine.hart_mut(0);
    let saved = save(hart, platform, list).unwrap();
    scramble(hart, platform);
    restore(hart, platform, list, &saved, &[WINDOW]).unwrap();
}

/// Whatever any VM, or HS for it, might leave on a hart: as different as can be.
fn scramble<B: Bus>(hart: &mut Hart, bus: &mut B) {
    hs::set_windows(hart, bus, &[ELSEWHERE]);
    // Taken before anything is written: views are to be changed once.
    let all: Vec<(Csr, u64)> =
        CSRS.iter().map(|row| (row.csr, !hart.csr(row.csr).unwrap())).collect();
    for (csr, other) in all {
        // The rest of mstatus is firmware's.
        if csr.level() != 3 || SEEN_THROUGH_VIEWS[1..].contains(&csr) {
            let value = match csr {
                Csr::VSATP | Csr::SATP | Csr::HGATP | Csr::HUGATP => SATP::MODE.set(other, 9),
                Csr::VTIMECTL => VTIMECTL::IRQ.set(other, 6),
                // Nothing is posted, and nobody is somebody else.
                Csr::HU_VITR | Csr::VIPI0 | Csr::VIPI1 | Csr::VIPI2 | Csr::VIPI3 => continue,
                Csr::HSTATUS => HSTATUS::HU.mask(),
                Csr::SSTATUS if SSTATUS::FS.get(other) == 0 => other,
                Csr::SSTATUS => SSTATUS::FS.set(other, 3),
                _ => other,
            };
            hart.set_csr(bus, csr, value);
        }
    }
    for reg in 0..N_REGISTERS {
        hart.set_x(reg, u64::MAX);
        hart.set_f(reg, u64::MAX);
    }
    hart.set_pc(0xdead_0000);
}

/// What a VM has changed comes back after all else has changed.
#[track_caller]
fn comes_back(before: &[(Csr, u64)], machine: &mut Machine, what: &dyn std::fmt::Debug) {
    let changed = state(machine);
    switch(machine, &SWITCHED);
    let after = state(machine);
    for ((old, new), back) in before.iter().zip(&changed).zip(&after) {
        let csr = new.0;
        let own = !of_kernel(csr);
        if old.1 & own == new.1 & own {
            continue;
        }
        let name = csr.name().unwrap_or("pc or mode");
        assert_eq!(new.1 & own, back.1 & own, "{name}, which {what:?} changed, is not switched");
        let of_firmware = csr.level() == 3 && csr.name().is_some() && csr.0 < 0xc00;
        let is_view = SEEN_THROUGH_VIEWS.contains(&csr);
        assert!(!of_firmware || is_view, "{what:?} changed {name}, which is firmware's");
    }
}

const VALUES: [u64; 5] =
    [0, u64::MAX, 0x5555_5555_5555_5554, 8 << 60 | 0x80001, 0x8000_0000_0000_6601];

#[test]
fn whatever_hu_writes_is_switched() {
    for row in &CSRS {
        for value in VALUES {
            let mut machine = rig();
            let before = state(&machine);
            let (hart, platform) = machine.hart_mut(0);
            let _ = hart.hu_csr_write(platform, row.csr, value);
            comes_back(&before, &mut machine, &(row.name, "of HU"));
        }
    }
}

#[test]
fn whatever_a_guest_writes_is_switched() {
    for mode in [Mode::Vs, Mode::Vu] {
        for row in &CSRS {
            for value in VALUES {
                let mut machine = rig();
                let insn = Insn { rs1: A0, imm: i64::from(row.csr.0), ..Insn::new(Op::Csrrw) };
                let word = isa::encode(&insn).to_le_bytes();
                machine.write(Writer::Loader, BASE, &word).unwrap();
                let (hart, platform) = machine.hart_mut(0);
                // Interrupts for the guest only: what it enables by itself does not matter here.
                hart.set_csr(platform, Csr::HUSTATUS, HSTATUS::SPVP.mask());
                hart.set_csr(platform, Csr::HUCOUNTEREN, u64::MAX);
                hart.set_csr(platform, Csr::VSSTATUS, SSTATUS::FS.set(0, 1));
                hart.set_mode(mode);
                hart.set_pc(BASE);
                hart.set_x(A0, value);
                let before = state(&machine);
                machine.run(1);
                assert_eq!(machine.steps(), 1);
                comes_back(&before, &mut machine, &(row.name, mode));
            }
        }
    }
}

/// Every entry of the list differs from what [`scramble`] leaves.
fn busy() -> Machine {
    let mut machine = rig();
    let (hart, platform) = machine.hart_mut(0);
    for (csr, value) in [
        (Csr::FCSR, 0x61),
        (Csr::SENVCFG, 1),
        (Csr::HUIP, 1),
        (Csr::HVIP, 0x44),
        (Csr::HUSTATUS, HSTATUS::VTW.mask()),
        (Csr::SSTATUS, SSTATUS::FS.set(0, 1)),
        (Csr::VSSTATUS, SSTATUS::FS.set(0, 2)),
        (Csr::VSATP, 8 << 60 | 0x12345),
        (Csr::HUGATP, 8 << 60 | 0x80000),
        (Csr::UEPC, BASE),
        (Csr::HU_VCPUID, 1),
    ] {
        hart.hs_csr_write(platform, csr, value).unwrap();
    }
    for reg in 0..N_REGISTERS {
        hart.set_x(reg, 0x100 + u64::from(reg));
        hart.set_f(reg, 0x200 + u64::from(reg));
    }
    hart.set_mode(Mode::Vs);
    hart.set_pc(BASE + 0x1234);
    machine
}

/// State but for what only HS can see.
fn seen(machine: &Machine) -> Vec<(Csr, u64)> {
    let of_hs = |csr: &Csr| {
        let row = csr.row().map(|row| row.group);
        matches!(row, Some(isa::csr::Group::Supervisor | isa::csr::Group::Hypervisor))
            && !SWITCHED.contains(csr)
    };
    let all = state(machine).into_iter();
    all.filter(|(csr, _)| !of_hs(csr)).map(|(csr, value)| (csr, value & !of_kernel(csr))).collect()
}

#[test]
fn the_whole_state_comes_back() {
    let mut machine = busy();
    let registers = |machine: &Machine| {
        let hart = &machine.harts()[0];
        (0..N_REGISTERS).map(|reg| (hart.x(reg), hart.f(reg))).collect::<Vec<_>>()
    };
    let before = (seen(&machine), registers(&machine));
    switch(&mut machine, &SWITCHED);
    let after = (seen(&machine), registers(&machine));
    for (old, new) in before.0.iter().zip(&after.0) {
        assert_eq!(old, new);
    }
    assert_eq!(before.1, after.1);
}

#[test]
fn a_switch_that_forgets_one_csr_is_noticed() {
    let whole = seen(&busy());
    for forgotten in SWITCHED {
        let mut machine = busy();
        let list: Vec<Csr> = SWITCHED.into_iter().filter(|csr| *csr != forgotten).collect();
        switch(&mut machine, &list);
        assert!(seen(&machine) != whole, "nobody misses {forgotten}");
    }
}

#[test]
fn nothing_is_switched_twice() {
    for (at, csr) in SWITCHED.iter().enumerate() {
        assert!(!SWITCHED[..at].contains(csr), "{csr}");
        assert!(!OF_TRAPS[1..].contains(csr), "{csr} is HS's own");
    }
}

#[test]
fn a_hart_that_nobody_has_is_closed() {
    let mut machine = busy();
    let (hart, platform) = machine.hart_mut(0);
    save(hart, platform, &SWITCHED).unwrap();
    assert_eq!(hart.mode(), Mode::Hs);
    for cfg in (Csr::PMPCFG0.0..=Csr::PMPCFG14.0).step_by(2) {
        assert_eq!(hart.csr(Csr(cfg)), Some(0));
    }
}
