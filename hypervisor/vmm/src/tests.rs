//! Exits through the whole path: cause by cause, then anything at all.

use dv::{Dv, Virq, Woken};
use isa::fields::{HUSTATUS, MIP, SSTATUS};
use isa::{Csr, Insn, Op, encode};
use proptest::prelude::*;
use session::{
    Access, Answer, Capabilities, Command, Event, Exit, ExitCause, Idle, Input, Inputs, Outcome,
    Position, Region, Request, Session, Stop, VmState, link,
};

use crate::config::{ConfigError, Leaf, Segment, VmConfig};
use crate::gstage::{MapError, Rights};
use crate::layout::RAM_BASE;
use crate::testing::{FakeDv, POOL_BYTES, RAM, RAM_HPA, State, exits, run, run_with, vm_with};
use crate::vcpu::Host;
use crate::vm::Vm;

const PC: u64 = RAM_BASE + 0x100;
const UART: u64 = 0x1000_0000;

fn booted(change: impl FnOnce(&mut VmConfig)) -> Vm<FakeDv> {
    let mut vm = vm_with(change);
    run(&mut vm);
    vm
}

/// The one exit that a trap with these CSRs makes.
#[track_caller]
fn trap(vm: &mut Vm<FakeDv>, cause: u64, csrs: &[(Csr, u64)]) -> Exit {
    let mut all = vec![(Csr::UCAUSE, cause), (Csr::UEPC, PC)];
    all.extend(csrs);
    vm.dv.trap(0, &all);
    let (_, events) = run(vm);
    let [exit] = exits(&events)[..] else { panic!("not one exit: {events:?}") };
    exit
}

/// A guest-page fault at this address, with what `hutinst` says.
#[track_caller]
fn fault(vm: &mut Vm<FakeDv>, cause: u64, gpa: u64, hutinst: u64) -> Exit {
    let gva = 0x7000_0000_0000 | (gpa & 0xfff);
    let csrs = [(Csr::UTVAL, gva), (Csr::HUTVAL, gpa >> 2), (Csr::HUTINST, hutinst)];
    trap(vm, cause, &csrs)
}

/// A transformed instruction.
fn hutinst(op: Op, data: u8) -> u64 {
    let store = matches!(op, Op::Sb | Op::Sh | Op::Sw | Op::Sd | Op::Fsw | Op::Fsd);
    let (rd, rs2) = if store { (0, data) } else { (data, 0) };
    u64::from(encode(&Insn { rd, rs2, ..Insn::new(op) }))
}

#[track_caller]
fn injected(vm: &Vm<FakeDv>, exit: &Exit, cause: u64, stval: u64) {
    assert_eq!(exit.outcome, Outcome::Injected { cause }, "{exit:?}");
    assert_eq!(vm.dv.get(0, Csr::HUVSCAUSE), cause);
    assert_eq!(vm.dv.get(0, Csr::HUVSTVAL), stval);
    assert_eq!(vm.dv.get(0, Csr::HUVSEPC), PC);
}

#[test]
fn a_guest_begins_as_the_boot_protocol_says() {
    let segment = Segment { addr: RAM_BASE + 0x1000, bytes: vec![0xab; 16], mem_size: 64 };
    let mut vm = vm_with(|config| {
        config.vcpus = 2;
        config.segments = vec![segment];
        config.entry = RAM_BASE + 0x1000;
        config.initrd = Some(vec![0xcd; 100]);
    });
    let (stop, events) = run(&mut vm);
    assert_eq!(stop, Stop::StepLimit);
    assert!(matches!(events[0], Event::Vm { seq: 0, state: VmState::Started, .. }));
    assert_eq!(vm.dv.states, [State::Running, State::Stopped]);
    let (hart, dtb, pc) = (vm.dv.x(0, 10), vm.dv.x(0, 11), vm.dv.pc(0));
    assert_eq!((hart, dtb % 8, pc), (0, 0, RAM_BASE + 0x1000));
    let mut word = [0; 4];
    vm.ram.read(&vm.dv, dtb, &mut word).unwrap();
    assert_eq!(word, [0xd0, 0x0d, 0xfe, 0xed]);
    vm.ram.read(&vm.dv, RAM_BASE + 0x100c, &mut word).unwrap();
    assert_eq!(word, [0xab; 4]);
    vm.ram.read(&vm.dv, RAM_BASE + RAM - 4096, &mut word).unwrap();
    assert_eq!(word, [0xcd; 4]);
    assert!(dtb < RAM_BASE + RAM - 4096);
    let status = vm.dv.get(0, Csr::HUSTATUS);
    assert!(HUSTATUS::VTW.is_set(status) && HUSTATUS::SPVP.is_set(status));
    assert_eq!(vm.dv.driver_calls(), 0);
}

#[test]
fn a_vm_can_run_in_a_thread_of_its_own() {
    fn sendable<T: Send>(_: &T) {}
    sendable(&vm_with(|_| {}));
}

#[test]
fn a_configuration_that_cannot_be_is_refused_in_a_sentence() {
    let refused = |change: &dyn Fn(&mut VmConfig)| {
        let mut config = VmConfig::new("test", RAM);
        change(&mut config);
        let dv = FakeDv::new(1, RAM, POOL_BYTES);
        Vm::new(dv, config).map(|_| ()).unwrap_err().to_string()
    };
    let segment = |addr, mem_size| Segment { addr, bytes: vec![], mem_size };
    type Change<'a> = &'a dyn Fn(&mut VmConfig);
    let cases: [(Change<'_>, &str); 9] = [
        (&|config| config.vcpus = 0, "1 to 8"),
        (&|config| config.vcpus = 2, "registered 1"),
        (&|config| config.memory = 4097, "4 KiB pages"),
        (&|config| config.memory = RAM * 2, "window 0"),
        (&|config| config.segments = vec![segment(RAM_BASE, RAM + 1)], "payload needs"),
        (&|config| config.segments = vec![segment(0, 1)], "payload needs"),
        (&|config| config.entry = RAM_BASE + 1, "begins at"),
        (&|config| config.initrd = Some(vec![0; 9 << 20]), "initrd"),
        (&|config| config.cmdline = "a\0b".to_owned(), "command line"),
    ];
    for (change, why) in cases {
        let text = refused(change);
        assert!(text.contains(why), "{text}");
    }
    let full = |config: &mut VmConfig| config.segments = vec![segment(RAM_BASE, RAM)];
    assert!(refused(&full).contains("device tree"));
    let mut dv = FakeDv::new(1, RAM, POOL_BYTES);
    dv.set(0, Csr::HUGATP, 0);
    let config = VmConfig::new("test", RAM);
    assert!(matches!(Vm::new(dv, config), Err(ConfigError::Root(0))));
}

#[test]
fn ram_is_mapped_when_it_is_touched() {
    for (leaf, size) in [(Leaf::Giga, 2 << 20), (Leaf::Mega, 2 << 20), (Leaf::Page, 4096)] {
        let mut vm = booted(|config| config.leaf = leaf);
        let gpa = RAM_BASE + 0x0030_1234;
        let exit = fault(&mut vm, 23, gpa, 0);
        let base = gpa & !(size - 1);
        let hpa = RAM_HPA + (base - RAM_BASE);
        assert_eq!(exit.outcome, Outcome::Mapped { gpa: base, hpa, size });
        let gva = 0x7000_0000_0234;
        assert_eq!(exit.cause, ExitCause::GuestPageFault { access: Access::Store, gva, gpa });
        assert_eq!(vm.overview().mapped_bytes, size);
        assert_eq!(vm.dv.pc(0), PC, "the access is tried again");
        // A second vCPU that faulted at the same time finds it there.
        assert_eq!(fault(&mut vm, 20, gpa, 0).outcome, Outcome::Handled);
        // A page table of the guest in RAM that is not mapped.
        let other = fault(&mut vm, 21, RAM_BASE + 0x0050_0000, 0x3000);
        assert!(matches!(other.outcome, Outcome::Mapped { .. }));
    }
}

#[test]
fn what_is_taken_from_stage_2_is_an_exit_again() {
    let mut vm = booted(|_| {});
    fault(&mut vm, 23, RAM_BASE, 0);
    let page = RAM_BASE + 0x5000;
    vm.dv.fences = 0;
    vm.unmap(page, 4096).unwrap();
    assert_eq!((vm.dv.fences, vm.mappings().unwrap().len()), (1, 511));
    let again = fault(&mut vm, 21, page + 8, 0);
    let hpa = RAM_HPA + 0x5000;
    assert_eq!(again.outcome, Outcome::Mapped { gpa: page, hpa, size: 4096 });
    vm.protect(page, 4096, Rights::READ).unwrap();
    assert_eq!(fault(&mut vm, 21, page, 0).outcome, Outcome::Handled);
    assert_eq!(fault(&mut vm, 23, page, 0).outcome, Outcome::Injected { cause: 7 });
    assert_eq!(fault(&mut vm, 20, page, 0).outcome, Outcome::Injected { cause: 1 });
    assert_eq!(vm.unmap(page + 1, 4096), Err(MapError::Address));
}

#[test]
fn devices_answer_loads_and_stores() {
    let mut vm = booted(|_| {});
    vm.dv.x[0][12] = 0x1_0058;
    let exit = fault(&mut vm, 23, UART, hutinst(Op::Sb, 12));
    let (region, access) = (Region::Uart, Access::Store);
    let cause = ExitCause::Mmio { region, access, gpa: UART, offset: 0, width: 1, value: 0x58 };
    assert_eq!((exit.cause, exit.outcome), (cause, Outcome::Handled));
    assert_eq!(vm.dv.pc(0), PC + 4);
    assert_eq!(vm.stream.console_from(0).1, b"X");
    // LSR says that the transmitter is empty: lb copies its bit 6 upwards nowhere.
    fault(&mut vm, 21, UART + 5, hutinst(Op::Lb, 13) & !2);
    assert_eq!((vm.dv.x(0, 13), vm.dv.pc(0)), (0x60, PC + 2));
    // Without a hint the instruction is fetched: c.lw a2, 0(a0).
    vm.dv.code.insert(PC, 0x4110);
    fault(&mut vm, 21, 0x1000_2000, 0);
    assert_eq!((vm.dv.x(0, 12), vm.dv.pc(0)), (0x7472_6976, PC + 2));
    // flw into f3 boxes the value and dirties the unit.
    fault(&mut vm, 21, 0x1000_2000, hutinst(Op::Flw, 3));
    assert_eq!(vm.dv.f(0, 3), 0xffff_ffff_7472_6976);
    assert_eq!(SSTATUS::FS.get(vm.dv.get(0, Csr::HUVSSTATUS)), 3);
    // A register that is not there reads zero.
    vm.dv.x[0][14] = 9;
    let exit = fault(&mut vm, 21, UART + 0x80, hutinst(Op::Lw, 14));
    assert_eq!((exit.outcome, vm.dv.x(0, 14)), (Outcome::Refused, 0));
}

#[test]
fn what_no_device_can_answer_is_an_access_fault() {
    let amo = u64::from(Op::AmoaddW.row().value);
    for (cause, gpa, hutinst, given) in [
        (21, 0x4000_0000, hutinst(Op::Lw, 5), 5),
        (23, 0x4000_0000, hutinst(Op::Sw, 5), 7),
        (20, 0x4000_0000, 0, 1),
        (20, UART, 0, 1),
        (21, UART, 0x3000, 5),
        (23, UART, 0x3020, 7),
        (20, UART, 0x3000, 1),
        (23, UART, amo, 7),
        (21, 0x1000_2002, hutinst(Op::Lw, 5), 5),
        (21, 0x1000_1000, hutinst(Op::Lw, 5), 5),
        // A hint that does not fit the cause.
        (23, UART, hutinst(Op::Lw, 5), 7),
        (21, RAM_BASE + RAM, hutinst(Op::Ld, 5), 5),
        (21, (1 << 55) + 4, hutinst(Op::Ld, 5), 5),
    ] {
        let mut vm = booted(|_| {});
        vm.dv.set(0, Csr::HUVSTVEC, RAM_BASE + 0x4001);
        vm.dv.set(0, Csr::HUVSSTATUS, SSTATUS::SIE.mask());
        let exit = fault(&mut vm, cause, gpa, hutinst);
        injected(&vm, &exit, given, 0x7000_0000_0000 | (gpa & 0xfff));
        assert_eq!(vm.dv.pc(0), RAM_BASE + 0x4000);
        let status = SSTATUS::SPIE.mask() | SSTATUS::SPP.mask();
        assert_eq!(vm.dv.get(0, Csr::HUVSSTATUS), status);
    }
}

#[test]
fn an_exception_from_user_mode_goes_to_vs_with_spp_clear() {
    let mut vm = booted(|_| {});
    vm.dv.set(0, Csr::HUVSSTATUS, SSTATUS::SPP.mask() | SSTATUS::SPIE.mask());
    let vu = HUSTATUS::SPV.mask();
    let exit = trap(&mut vm, 2, &[(Csr::HUSTATUS, vu), (Csr::UTVAL, 0x1234_5677)]);
    injected(&vm, &exit, 2, 0x1234_5677);
    assert_eq!(exit.mode, isa::Mode::Vu);
    assert_eq!(vm.dv.get(0, Csr::HUVSSTATUS), 0);
    assert_eq!(vm.dv.mode(0), isa::Mode::Vs);
}

#[test]
fn every_delegable_cause_has_its_policy() {
    for cause in [1, 3, 4, 5, 6, 7] {
        let mut vm = booted(|_| {});
        let exit = trap(&mut vm, cause, &[(Csr::UTVAL, 0x42)]);
        injected(&vm, &exit, cause, 0x42);
    }
    let interrupt = 1 << 63;
    let mut vm = booted(|_| {});
    vm.dv.set(0, Csr::HUIP, MIP::USIP.mask());
    assert_eq!(trap(&mut vm, interrupt, &[]).cause, ExitCause::Kick);
    assert_eq!(vm.dv.get(0, Csr::HUIP), 0);
    let exit = trap(&mut vm, interrupt | 4, &[(Csr::VTIMECTL, 9)]);
    assert_eq!(exit.outcome, Outcome::Raised { interrupt: session::Interrupt::Timer });
    assert_eq!(vm.dv.get(0, Csr::VTIMECTL), 8);
    assert_eq!(vm.dv.get(0, Csr::HUVIP), MIP::VSTIP.mask());
    for cause in [0, 8, 12, 24, 63, interrupt | 8, interrupt | 9, u64::MAX] {
        let mut vm = booted(|_| {});
        vm.dv.trap(0, &[(Csr::UCAUSE, cause)]);
        assert!(matches!(run(&mut vm).0, Stop::Crashed { .. }), "{cause:#x}");
    }
}

#[test]
fn wfi_parks_unless_an_interrupt_waits() {
    let wfi = u64::from(Op::Wfi.row().value);
    let mut vm = booted(|_| {});
    vm.dv.set(0, Csr::HUVSIP, MIP::SSIP.mask());
    assert_eq!(trap(&mut vm, 22, &[(Csr::UTVAL, wfi)]).outcome, Outcome::Parked);
    assert_eq!((vm.dv.states[0], vm.dv.pc(0)), (State::Parked, PC + 4));
    // Pending and enabled, whatever sstatus.SIE says: it would never be woken.
    vm.dv.set(0, Csr::HUVSIE, MIP::SSIP.mask());
    vm.dv.unpark(0);
    assert_eq!(trap(&mut vm, 22, &[(Csr::UTVAL, wfi)]).outcome, Outcome::Handled);
    assert_eq!(vm.dv.states[0], State::Running);
    // In VU-mode it is illegal.
    let vu = HUSTATUS::SPV.mask();
    let exit = trap(&mut vm, 22, &[(Csr::UTVAL, wfi), (Csr::HUSTATUS, vu)]);
    injected(&vm, &exit, 2, wfi);
    // Hardware that leaves utval zero: csrr a0, hstatus.
    vm.dv.code.extend([(PC, 0x2573), (PC + 2, 0x6000)]);
    let exit = trap(&mut vm, 22, &[(Csr::UTVAL, 0)]);
    injected(&vm, &exit, 2, 0x6000_2573);
    assert_eq!(exit.cause, ExitCause::VirtualInstruction { insn: 0x6000_2573 });
}

#[test]
fn the_finisher_ends_the_run() {
    for (value, stop) in [
        (0x5555, Stop::PowerOff),
        (0x0007_3333, Stop::Failed { code: 7 }),
        (0x7777, Stop::Reset),
        (0x1234, Stop::StepLimit),
    ] {
        let mut vm = booted(|config| config.reboot = false);
        vm.dv.x[0][5] = value;
        let hint = hutinst(Op::Sw, 5);
        let csrs = [(Csr::UCAUSE, 23), (Csr::HUTVAL, 0x10_0000 >> 2), (Csr::HUTINST, hint)];
        vm.dv.trap(0, &csrs);
        assert_eq!(run(&mut vm).0, stop);
    }
}

#[test]
fn a_reset_starts_anew_and_leaves_nothing() {
    let segment = Segment { addr: RAM_BASE, bytes: vec![1, 2, 3, 4], mem_size: 4 };
    let mut vm = booted(|config| {
        config.vcpus = 2;
        config.segments = vec![segment];
    });
    fault(&mut vm, 23, RAM_BASE + 0x1000, 0);
    vm.ram.write(&mut vm.dv, RAM_BASE, &[9; 16]).unwrap();
    vm.dv.states[1] = State::Running;
    vm.dv.set(0, Csr::HUVSATP, 5);
    // An alarm of a clock that will be gone.
    vm.dv.x[0][5] = 0x1000;
    fault(&mut vm, 23, 0x10_1008, hutinst(Op::Sw, 5));
    assert_eq!(vm.dv.alarm, Some(0x1000));
    let srst = [(17, 0x5352_5354), (16, 0), (10, 1), (11, 0)];
    for (reg, value) in srst {
        vm.dv.x[0][reg] = value;
    }
    vm.dv.trap(0, &[(Csr::UCAUSE, 10)]);
    let (stop, events) = run(&mut vm);
    assert_eq!(stop, Stop::StepLimit);
    let states: Vec<_> =
        events
            .iter()
            .filter_map(|event| {
                if let Event::Vm { state, .. } = event { Some(state.clone()) } else { None }
            })
            .collect();
    let ended = VmState::Ended(Stop::StepLimit);
    assert_eq!(states, [VmState::Resetting, VmState::Started, ended]);
    let mut bytes = [0; 8];
    vm.ram.read(&vm.dv, RAM_BASE, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 0, 0, 0, 0]);
    assert_eq!(vm.dv.states, [State::Running, State::Stopped]);
    assert_eq!((vm.dv.pc(0), vm.dv.get(0, Csr::HUVSATP)), (RAM_BASE, 0));
    assert_eq!(vm.dv.alarm, None);
    let overview = vm.overview();
    assert_eq!((overview.n_resets, overview.mapped_bytes), (1, 0));
}

/// Inputs from a list; waits end with what is next in it.
#[derive(Debug, Default)]
struct Listed {
    idle: Vec<Idle>,
    offered: Vec<Input>,
    heard: Vec<u8>,
}

impl Inputs for Listed {
    fn next(&mut self, _at: Position, _time_ns: u64) -> Option<Input> {
        if self.offered.is_empty() { None } else { Some(self.offered.remove(0)) }
    }

    fn idle(&mut self, _at: Position, _time_ns: u64, _deadline_ns: Option<u64>) -> Idle {
        if self.idle.is_empty() { Idle::Never } else { self.idle.remove(0) }
    }

    fn offer(&mut self, input: &Input) -> bool {
        self.offered.push(input.clone());
        true
    }

    fn output(&mut self, bytes: &[u8]) {
        self.heard.extend(bytes);
    }
}

#[test]
fn idle_time_goes_to_the_deadline_or_to_an_input() {
    let mut vm = booted(|_| {});
    let input = Input::Console(b"a".to_vec());
    let mut inputs = Listed {
        idle: vec![
            Idle::Attention,
            Idle::Input { time_ns: 300, input: input.clone() },
            Idle::Deadline,
            Idle::Input { time_ns: 9999, input: Input::Quit },
        ],
        ..Listed::default()
    };
    vm.dv.script.extend([500, 500, 500, 700].map(|at| Woken::Idle(Some(at))));
    let (stop, events) = run_with(&mut vm, &mut inputs);
    assert_eq!(stop, Stop::User);
    assert_eq!(vm.dv.now, 700, "an input cannot come after the deadline");
    assert!(matches!(&events[0], Event::Input { input: seen, .. } if *seen == input));

    let mut vm = booted(|_| {});
    vm.dv.script.push_back(Woken::Idle(None));
    assert_eq!(run(&mut vm).0, Stop::Deadlock);
}

#[test]
fn a_watcher_asks_types_pauses_and_quits() {
    let mut vm = booted(|_| {});
    let capabilities = Capabilities { live: true, control: true, time_travel: false };
    let (mut client, mut server) = link(capabilities);
    let commands = [
        Command::Overview,
        Command::Exits { from: 0, limit: 10 },
        Command::Type(b"ls\n".to_vec()),
        Command::Pause,
        Command::Console { from: 0 },
        Command::Resume,
    ];
    for (generation, command) in (1..).zip(commands) {
        client.send(Request { generation, command }).unwrap();
    }
    vm.dv.script.push_back(Woken::Slice);
    vm.dv.x[0][12] = 0x58;
    let hint = hutinst(Op::Sb, 12);
    vm.dv.trap(0, &[(Csr::UCAUSE, 23), (Csr::HUTVAL, UART >> 2), (Csr::HUTINST, hint)]);
    vm.dv.script.push_back(Woken::Slice);
    let mut inputs = Listed::default();
    let mut host = Host::new(&mut inputs);
    host.server = Some(&mut server);
    assert_eq!(vm.run(&mut host), Stop::StepLimit);
    let answers: Vec<_> = std::iter::from_fn(|| client.poll()).map(|reply| reply.answer).collect();
    assert!(matches!(&answers[0], Answer::Overview(view) if view.name == "test"));
    assert_eq!(answers[1], Answer::Exits(vec![]));
    assert_eq!(answers[2..4], [Answer::Done, Answer::Done]);
    assert_eq!(answers[4], Answer::Console { from: 0, bytes: vec![] });
    assert_eq!(answers[5..], [Answer::Done, Answer::Ended(Stop::StepLimit)]);
    assert_eq!(inputs.heard, b"X");
    // The exit after the question was kept, and the typed bytes reached the UART.
    assert_eq!(vm.stream.exits_from(0, 10).len(), 1);
    vm.dv.x[0][13] = 0;
    fault(&mut vm, 21, UART, hutinst(Op::Lbu, 13));
    assert_eq!(vm.dv.x(0, 13), u64::from(b'l'));

    client.send(Request { generation: 9, command: Command::Quit }).unwrap();
    vm.dv.script.push_back(Woken::Slice);
    let mut host = Host::new(&mut inputs);
    host.server = Some(&mut server);
    assert_eq!(vm.run(&mut host), Stop::User);
}

#[test]
fn one_exit_in_so_many_is_timed() {
    let mut vm = booted(|config| config.sample_every = 3);
    for _ in 0..10 {
        vm.dv.trap(0, &[(Csr::UCAUSE, 1 << 63)]);
    }
    let mut time = 0;
    let mut watch = || {
        time += 5;
        time
    };
    let mut inputs = session::NoInputs;
    let mut host = Host::new(&mut inputs);
    host.stopwatch = Some(&mut watch);
    vm.run(&mut host);
    let kick = session::ExitKind::Kick;
    let overview = vm.overview();
    let stats = overview.vcpus[0].stats.kind(kick);
    assert_eq!((stats.n_exits, stats.handler_ns.count(), stats.handler_ns.max()), (10, 3, 5));
    assert_eq!(stats.guest_steps, 110, "10 each, and the turn of the boot");
}

#[test]
fn a_refusal_of_the_driver_stops_the_vm_with_its_reason() {
    let mut vm = booted(|_| {});
    let _ = vm.dv.set_csr(0, Csr::HUGATP, 1);
    let reason = "a write to hugatp".to_owned();
    assert_eq!(run(&mut vm).0, Stop::Killed { reason });
}

#[test]
fn an_external_interrupt_is_posted() {
    let mut vm = booted(|_| {});
    vm.dv.x[0][5] = 2;
    fault(&mut vm, 23, 0xc00_0000 + 4 * 10, hutinst(Op::Sw, 5));
    vm.dv.x[0][5] = 1 << 10;
    fault(&mut vm, 23, 0xc00_2000, hutinst(Op::Sw, 5));
    vm.dv.posted.clear();
    vm.dv.x[0][5] = 2;
    fault(&mut vm, 23, UART + 1, hutinst(Op::Sb, 5));
    assert_eq!(vm.dv.posted, [(0, Virq::External, true)]);
}

/// CSRs of a trap, with a liking for what means something.
fn csrs() -> impl Strategy<Value = Vec<(Csr, u64)>> {
    let word = || prop_oneof![any::<u64>(), 0u64..64, Just(1 << 63), Just(RAM_BASE)];
    let cause = prop_oneof![
        8 => prop::sample::select(vec![2, 3, 5, 7, 10, 20, 21, 22, 23, 1 << 63]),
        1 => word(),
    ];
    let gpa = prop_oneof![
        any::<u64>(),
        UART..UART + 0x4000,
        0xc00_0000u64..0xc40_0000,
        0x10_0000u64..0x10_2000,
        RAM_BASE..RAM_BASE + 2 * RAM,
    ];
    let hint = prop_oneof![any::<u32>().prop_map(u64::from), Just(0), Just(0x3000), any::<u64>()];
    (cause, word(), gpa, hint, word(), any::<u64>()).prop_map(
        |(cause, tval, gpa, hint, pc, status)| {
            vec![
                (Csr::UCAUSE, cause),
                (Csr::UTVAL, tval & !3 | gpa & 3),
                (Csr::HUTVAL, gpa >> 2),
                (Csr::HUTINST, hint),
                (Csr::UEPC, pc),
                (Csr::HUSTATUS, status),
            ]
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_exits_end_in_an_outcome_and_twice_the_same(
        traps in prop::collection::vec((csrs(), prop::array::uniform8(any::<u64>())), 1..40),
        eids in prop::collection::vec(
            prop::sample::select(vec![0x10u64, 0x54494d45, 0x735049, 0x52464e43, 0x48534d,
                0x53525354, 0x4442434e, 0x1]), 1..40),
    ) {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let mut vm = booted(|config| config.vcpus = 2);
            let mut stream = Vec::new();
            let mut seq = vm.position().seq;
            for ((csrs, args), eid) in traps.iter().zip(eids.iter().cycle()) {
                vm.dv.x[0][10..18].copy_from_slice(args);
                vm.dv.x[0][16] = args[6] % 8;
                vm.dv.x[0][17] = *eid;
                if args[7] % 4 == 0 {
                    vm.dv.x[0][10] %= 4;
                    vm.dv.x[0][11] = RAM_BASE + args[1] % (2 * RAM);
                }
                vm.dv.trap(0, csrs);
                let (_, events) = run(&mut vm);
                for event in &events {
                    prop_assert_eq!(event.position().seq, seq);
                    seq += 1;
                }
                stream.extend(events);
            }
            runs.push(stream);
        }
        prop_assert!(runs[0] == runs[1], "two runs differ");
    }
}
