//! How runs end, and the emergencies in which the driver is called.

use driver::{Config, Hu, VmRequest};
use dv::Dv;
use isa::Csr;
use isa::fields::MIP;
use session::{Idle, Input, Inputs, NoInputs, Position, Stop};
use vmm::{Host, Leaf, Vm, VmConfig};

use crate::machines::{Log, assemble, code, guest, request};

const ROOT: u64 = 16 << 10;
const PAGE: u64 = 4 << 10;
/// What the driver keeps for itself.
const DRIVER: u64 = 2 << 20;

/// `li a7, 0x53525354; li a6, 0; li a0, TYPE; li a1, REASON; ecall`: system_reset of SRST.
fn system_reset(kind: u32, reason: u32) -> [u32; 6] {
    let li = |reg: u32, value: u32| value << 20 | reg << 7 | 0x13;
    [0x5352_58b7, 0x3548_889b, li(16, 0), li(10, kind), li(11, reason), 0x0000_0073]
}

fn run(vm: &mut Vm<Hu>) -> (Stop, Log) {
    let (mut log, mut inputs) = (Log::default(), NoInputs);
    let mut host = Host::new(&mut inputs);
    host.sinks.push(&mut log);
    let stop = vm.run(&mut host);
    drop(host);
    (stop, log)
}

/// How a VM ends that gets what it usually asks for.
fn end(config: VmConfig) -> Stop {
    let request = request(&config);
    run(&mut assemble(config, &request)).0
}

#[test]
fn a_guest_powers_off() {
    let config = guest("hello", 1);
    let request = request(&config);
    let mut vm = assemble(config, &request);
    let (stop, log) = run(&mut vm);
    assert_eq!(stop, Stop::PowerOff);
    assert!(log.console.contains("PASS hello"), "{}", log.console);
    assert_eq!(vm.dv().driver_calls(), 0);
    assert_eq!(vm.overview().driver_calls, 0);
}

#[test]
fn a_guest_reports_failure() {
    assert_eq!(end(code(&system_reset(0, 1))), Stop::Failed { code: 1 });
    assert_eq!(end(code(&system_reset(0, 0))), Stop::PowerOff);
}

#[test]
fn a_reset_ends_the_run_or_starts_it_anew() {
    let mut config = code(&system_reset(1, 0));
    config.reboot = false;
    assert_eq!(end(config), Stop::Reset);
    // Each time it starts anew it asks for a reset.
    let config = code(&system_reset(1, 0));
    let request = VmRequest { max_steps: 1000, ..request(&config) };
    let mut vm = assemble(config, &request);
    assert_eq!(run(&mut vm).0, Stop::StepLimit);
    assert!(vm.overview().n_resets > 10, "{:?}", vm.overview());
    assert_eq!(vm.dv().driver_calls(), 0);
}

/// With a leaf of 1 GiB the VM plane does not know what of it the guest has written.
#[test]
fn a_reset_makes_no_memory_used_that_the_guest_left_alone() {
    let mut config = code(&system_reset(1, 0));
    (config.memory, config.leaf) = (1 << 30, Leaf::Giga);
    let request = VmRequest { max_steps: 100, ..request(&config) };
    let mut vm = assemble(config, &request);
    assert_eq!(run(&mut vm).0, Stop::StepLimit);
    assert!(vm.overview().n_resets > 5, "{:?}", vm.overview());
    let touched = vm.dv().driver().machine().platform().memory().touched_bytes();
    assert!(touched < 1 << 20, "{touched:#x} bytes");
}

#[test]
fn the_step_limit_is_exact_and_can_be_moved() {
    let config = guest("demo", 4);
    let request = VmRequest { max_steps: 12_345, ..request(&config) };
    let mut vm = assemble(config, &request);
    assert_eq!(run(&mut vm).0, Stop::StepLimit);
    assert_eq!(vm.dv().steps(), 12_345);
    vm.dv_mut().set_max_steps(23_456);
    assert_eq!(run(&mut vm).0, Stop::StepLimit);
    assert_eq!(vm.dv().steps(), 23_456);
}

#[test]
fn a_guest_that_waits_for_nothing_is_stopped() {
    // wfi; j -4
    assert_eq!(end(code(&[0x1050_0073, 0xffdf_f06f])), Stop::Deadlock);
}

/// Somebody who wants to leave as soon as the guest has made some steps.
struct Leaves;

impl Inputs for Leaves {
    fn next(&mut self, at: Position, _time_ns: u64) -> Option<Input> {
        (at.step > 50_000).then_some(Input::Quit)
    }

    fn idle(&mut self, _at: Position, _time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        if deadline_ns.is_some() { Idle::Deadline } else { Idle::Never }
    }
}

#[test]
fn a_user_ends_the_run() {
    let config = guest("demo", 1);
    let request = request(&config);
    let mut vm = assemble(config, &request);
    assert_eq!(vm.run(&mut Host::new(&mut Leaves)), Stop::User);
    // What is over stays over.
    let position = vm.position();
    assert_eq!(run(&mut vm).0, Stop::User);
    assert_eq!(vm.position().step, position.step);
}

#[test]
fn an_exit_without_a_policy_stops_the_vm() {
    let config = guest("demo", 1);
    let request = VmRequest { max_steps: 10_000, ..request(&config) };
    let mut vm = assemble(config, &request);
    assert_eq!(run(&mut vm).0, Stop::StepLimit);
    // A line that no device of a VM has: the debug module raises the user external interrupt.
    let (hart, platform) = vm.dv_mut().driver_mut().machine_mut().hart_mut(0);
    let mip = hart.csr(Csr::MIP).unwrap();
    hart.set_csr(platform, Csr::MIP, MIP::UEIP.with(mip, true));
    vm.dv_mut().set_max_steps(20_000);
    let Stop::Crashed { reason } = run(&mut vm).0 else { panic!("it goes on") };
    assert!(reason.contains("ucause 0x8000000000000008"), "{reason}");
}

#[test]
fn the_counter_of_driver_calls_moves_in_an_emergency() {
    let mut config = guest("two_stage_fault", 1);
    config.leaf = Leaf::Page;
    let small = VmRequest { pool: ROOT + 3 * PAGE, ..request(&config) };
    let mut vm = assemble(config, &small);
    let (stop, log) = run(&mut vm);
    assert_eq!(stop, Stop::PowerOff, "{}", log.console);
    assert!(log.console.contains("PASS two_stage_fault"), "{}", log.console);
    assert_eq!(vm.dv().driver_calls(), 1);
    assert_eq!(vm.overview().driver_calls, 1);
    assert_eq!(vm.dv().windows().len(), 3);

    // With the pool that is usually asked for nobody calls.
    let mut config = guest("two_stage_fault", 1);
    config.leaf = Leaf::Page;
    let request = request(&config);
    let mut vm = assemble(config, &request);
    assert_eq!(run(&mut vm).0, Stop::PowerOff);
    assert_eq!(vm.dv().driver_calls(), 0);
}

#[test]
fn an_emergency_that_cannot_be_met_stops_the_vm_with_a_reason() {
    let mut config = guest("two_stage_fault", 1);
    config.leaf = Leaf::Page;
    // Nothing was announced for an emergency.
    let request = VmRequest { pool: ROOT + 3 * PAGE, spare: 0, ..request(&config) };
    // RAM for the driver and the two windows, which follow each other, and not a page more.
    let ram_size = DRIVER + request.guest_ram + request.pool;
    let below = Config { ram_size, ..Config::fitting(config.isa, &request) };
    let mut vm = Vm::new(Hu::start(below, &request).unwrap(), config).unwrap();
    let Stop::Killed { reason } = run(&mut vm).0 else { panic!("it goes on") };
    assert!(reason.contains("bytes of memory are left"), "{reason}");
    assert_eq!(vm.dv().driver_calls(), 1);
}
