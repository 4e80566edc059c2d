//! Saved and restored: driver, VMs and harts go on as they did, in the same machine and another.

use driver::{Config, Driver, Harts, Hu, VmId, VmRequest};
use dv::{Dv, Virq, Woken};
use isa::{Csr, Extensions, Insn, Op};
use proptest::prelude::*;

use crate::guest::*;

const T0: u8 = 5;
const T1: u8 = 6;

/// Counts in memory, plain and with a reservation, and calls its VM plane now and then.
fn counter() -> Vec<Insn> {
    let mut code = page_address(A0, 8).to_vec();
    code.extend([
        addi(A1, A1, 1),
        r(Op::Sd, 0, A0, A1),
        r(Op::LrD, T0, A0, 0),
        addi(T0, T0, 3),
        r(Op::ScD, T1, A0, T0),
        i(Op::Andi, T1, A1, 7),
        Insn { rs1: T1, rs2: 0, imm: 8, ..Insn::new(Op::Bne) },
        ecall(),
        i(Op::Jal, 0, 0, -32),
    ]);
    code
}

/// Sleeps until its timer, and posts to the first vCPU.
fn sleeper() -> Vec<Insn> {
    vec![
        addi(T0, 0, 0x20),
        csrw(Csr::SIE, T0),
        csrr(T0, Csr::TIME),
        addi(T0, T0, 3),
        csrw(Csr::STIMECMP, T0),
        wfi(),
        addi(T1, 0, 1),
        csrw(Csr::VIPI0, T1),
        i(Op::Jal, 0, 0, -24),
    ]
}

fn set_up(hu: &mut Hu) {
    tables(hu, 16);
    program(hu, 0, &counter());
    program(hu, 0x1000, &sleeper());
    enter(hu, 0, 0);
    enter(hu, 1, 0x1000);
}

/// The VM plane: remembers nothing.
fn drive(hu: &mut Hu, steps: u64) {
    hu.set_max_steps(hu.steps() + steps);
    loop {
        match hu.wait() {
            Woken::Trap(vcpu) => {
                let wait = hu.csr(vcpu, Csr::UCAUSE) == Ok(22);
                skip(hu, vcpu);
                if wait {
                    hu.park(vcpu);
                }
            }
            Woken::Idle(Some(until)) => hu.advance(until),
            Woken::Slice => {}
            Woken::Alarm => hu.set_alarm(Some(hu.now_ns() + 500)),
            Woken::StepLimit | Woken::Killed => return,
            other @ (Woken::Debug(_) | Woken::Idle(None)) => panic!("{other:?}"),
        }
    }
}

/// What else a VM plane does.
fn meddle(hu: &mut Hu, what: u64) {
    let at = hu.windows()[0].hpa + 0x8000;
    let done = match what % 7 {
        0 => hu.post(0, Virq::Software, what & 8 == 0),
        1 => hu.write(at, &what.to_le_bytes()),
        2 => hu.dma(at + 4096, &[7; 5000]),
        3 if hu.windows().len() < 4 => hu.grow(4096).map(|_| ()),
        4 => hu.kick(1),
        _ => {
            hu.set_alarm(Some(hu.now_ns() + what % 1000));
            Ok(())
        }
    };
    done.unwrap();
}

type Script = Vec<(u64, u64)>;

fn script() -> impl Strategy<Value = Script> {
    prop::collection::vec((1..400_u64, any::<u64>()), 2..12)
}

/// The RAM of one machine in another one.
fn copy_pages(from: &Driver, to: &mut Driver) {
    let pages = from.machine().platform().memory().size() / machine::PAGE;
    for page in 0..u32::try_from(pages).unwrap() {
        let content = from.machine().platform().memory().page(page);
        to.machine_mut().memory_mut().put_page(page, content);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_vm_goes_on_as_it_did(script in script(), at in any::<prop::sample::Index>()) {
        let fresh = || {
            let mut hu = vm(2);
            set_up(&mut hu);
            hu
        };
        let go = |hu: &mut Hu, script: &[(u64, u64)]| {
            for (steps, what) in script {
                drive(hu, *steps);
                meddle(hu, *what);
            }
        };
        let at = at.index(script.len());
        let mut hu = fresh();
        go(&mut hu, &script[..at]);
        let saved = state::save(&mut hu);
        let mut ram = fresh();
        copy_pages(hu.driver(), ram.driver_mut());
        go(&mut hu, &script[at..]);
        let end = (digest(&hu), state::save(&mut hu));
        for mut other in [hu, fresh()] {
            copy_pages(ram.driver(), other.driver_mut());
            state::load(&mut other, &saved).unwrap();
            prop_assert!(state::save(&mut other) == saved);
            go(&mut other, &script[at..]);
            prop_assert!((digest(&other), state::save(&mut other)) == end);
        }
    }

    #[test]
    fn vms_that_share_harts_go_on_as_they_did(
        script in script(), at in any::<prop::sample::Index>(),
    ) {
        // Every round both VMs have the harts for a while.
        let go = |(hu, other): &mut (Hu, Option<VmId>), script: &[(u64, u64)]| {
            for (steps, what) in script {
                drive(hu, *steps);
                meddle(hu, *what);
                *other = other.take().map(|id| hu.switch(id));
                drive(hu, *steps);
                *other = other.take().map(|id| hu.switch(id));
            }
        };
        let at = at.index(script.len());
        let mut pair = sharers();
        go(&mut pair, &script[..at]);
        let saved = state::save(&mut pair.0);
        let mut ram = sharers();
        copy_pages(pair.0.driver(), ram.0.driver_mut());
        go(&mut pair, &script[at..]);
        let end = (digest(&pair.0), state::save(&mut pair.0));
        for mut other in [pair, sharers()] {
            copy_pages(ram.0.driver(), other.0.driver_mut());
            state::load(&mut other.0, &saved).unwrap();
            prop_assert!(state::save(&mut other.0) == saved);
            go(&mut other, &script[at..]);
            prop_assert!((digest(&other.0), state::save(&mut other.0)) == end);
        }
    }
}

/// Two VMs on two harts.
fn sharers() -> (Hu, Option<VmId>) {
    let request = VmRequest { vcpus: 2, harts: Harts::Shared { quantum: 50 }, ..request() };
    let config = Config::fitting(Extensions::ALL, &request);
    let config = Config { n_blocks: 64, ram_size: 24 << 20, ..config };
    let mut driver = Driver::new(config).unwrap();
    let ids = [(); 2].map(|()| driver.vm_create(&request).unwrap());
    let [first, second] = ids;
    let mut hu = Hu::new(driver, second);
    set_up(&mut hu);
    let second = hu.switch(first);
    set_up(&mut hu);
    (hu, Some(second))
}

/// Runs and looks at everything, whatever comes of it.
fn run_anyhow((hu, other): &mut (Hu, Option<VmId>), steps: u64) {
    for _ in 0..4 {
        hu.set_max_steps(hu.steps() + steps / 4);
        for _ in 0..steps {
            match hu.wait() {
                Woken::Trap(vcpu) => {
                    let _ = hu.csr(vcpu, Csr::UEPC).map(|pc| hu.set_csr(vcpu, Csr::UEPC, pc + 4));
                    let _ = hu.huret(vcpu);
                }
                Woken::Idle(Some(until)) => hu.advance(until),
                Woken::Slice | Woken::Alarm => {}
                Woken::StepLimit | Woken::Killed | Woken::Debug(_) | Woken::Idle(None) => break,
            }
        }
        let _ = hu.grow(4096);
        *other = other.take().map(|id| hu.switch(id));
    }
    let _ = digest(hu);
}

#[test]
fn every_byte_may_be_damaged() {
    let mut pair = sharers();
    drive(&mut pair.0, 1000);
    meddle(&mut pair.0, 3);
    let good = state::save(&mut pair.0);
    let mut loaded = 0;
    for at in 0..good.len() {
        let mask = [0x01, 0x80, 0xff][at % 3];
        let mut bytes = good.clone();
        bytes[at] ^= mask;
        if state::load(&mut pair.0, &bytes).is_ok() {
            loaded += 1;
            run_anyhow(&mut pair, 400);
        } else {
            // Who was refused begins anew.
            assert!(state::load(&mut pair.0, &good).is_ok());
        }
        assert!(state::load(&mut pair.0, &good[..at]).is_err(), "{at} bytes of {}", good.len());
    }
    assert!(loaded > good.len() / 4);
}

#[test]
fn a_vm_keeps_the_step_limit_that_it_has_now() {
    let mut hu = vm(2);
    set_up(&mut hu);
    drive(&mut hu, 100);
    let saved = state::save(&mut hu);
    hu.set_max_steps(150);
    state::load(&mut hu, &saved).unwrap();
    assert_eq!((hu.steps(), hu.steps_left()), (100, 50));
}

#[test]
fn the_reason_why_a_vm_was_stopped_comes_back() {
    let mut hu = vm(1);
    assert!(hu.write(0, &[1]).is_err());
    let reason = hu.reason().map(str::to_owned);
    let saved = state::save(&mut hu);
    let mut other = vm(1);
    state::load(&mut other, &saved).unwrap();
    assert_eq!(other.reason(), reason.as_deref());
    assert_eq!(other.wait(), Woken::Killed);
    let mut none = vm(2);
    assert!(state::load(&mut none, &saved).is_err(), "another number of harts");
}
