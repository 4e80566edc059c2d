//! A guest is confined to its windows, whatever its VM plane writes into the stage-2 table.

use driver::{Driver, Hu};
use dv::{Dv, Woken};
use hart::Writer;
use isa::{Csr, Insn, Op};

use crate::guest::*;

const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;

/// The host's own memory, below all windows.
const HOST: u64 = 0x8000_0000;

fn secret(hu: &Hu, hpa: u64) -> u64 {
    let mut word = [0; 8];
    hu.driver().machine().read(hpa, &mut word).unwrap();
    u64::from_le_bytes(word)
}

/// A store has none, and a jump leaves no link here.
fn rd_of(op: Op) -> u8 {
    if op == Op::Ld { A0 } else { 0 }
}

/// Page 3 leads to `hpa`, where a secret lies; runs the access, which has `A1` as its address and
/// `A0` as its value.
fn outside(op: Op, hpa: u64) -> Hu {
    let mut code = page_address(A1, 3).to_vec();
    code.push(Insn { rd: rd_of(op), rs1: A1, rs2: A0, ..Insn::new(op) });
    code.push(ecall());
    let mut hu = running(&code);
    let planted = hu.driver_mut().machine_mut().write(Writer::Loader, hpa, &SECRET.to_le_bytes());
    planted.unwrap();
    map(&mut hu, 3, leaf(hpa));
    assert_eq!(wait(&mut hu), Woken::Killed);
    assert_eq!(secret(&hu, hpa), SECRET);
    assert_eq!(hu.x(0, A0), 0);
    hu
}

#[test]
fn a_leaf_that_leads_outside_stops_the_vm() {
    for (op, what, at) in [
        (Op::Ld, "load access fault", 0x10),
        (Op::Sd, "store/AMO access fault", 0x10),
        (Op::Jalr, "instruction access fault", 0),
    ] {
        twice(|| {
            let mut hu = outside(op, HOST);
            let pc = if at == 0 { GPA + 0x3000 } else { GPA + at };
            let reason = format!(
                "vCPU 0 in VS at pc {pc:#x}: {what} at 0x80003000: outside of the VM's windows"
            );
            killed(&mut hu, &reason);
            hu
        });
    }
}

#[test]
fn a_table_outside_is_not_even_read() {
    twice(|| {
        let mut code = page_address(A1, 0).to_vec();
        code.extend([i(Op::Ld, A0, A1, 0), ecall()]);
        let mut hu = running(&code);
        // A good table, but in the host's memory.
        let (ram, pool) = (hu.windows()[0].hpa, hu.windows()[1].hpa);
        let machine = hu.driver_mut().machine_mut();
        machine.write(Writer::Loader, HOST, &leaf(ram).to_le_bytes()).unwrap();
        hu.write(pool + 0x4000, &(HOST >> 12 << 10 | 1).to_le_bytes()).unwrap();
        killed(
            &mut hu,
            "vCPU 0 in VS at pc 0x80000000: instruction access fault at 0x80000000: \
             outside of the VM's windows",
        );
        hu
    });
}

#[test]
fn a_guest_load_of_the_vm_plane_is_confined_too() {
    twice(|| {
        let mut hu = running(&[ecall()]);
        assert_eq!(trap(&mut hu, 0), 10);
        let machine = hu.driver_mut().machine_mut();
        machine.write(Writer::Loader, HOST, &SECRET.to_le_bytes()).unwrap();
        map(&mut hu, 3, leaf(HOST));
        let mut word = [1; 8];
        assert!(hu.load(0, GPA + 0x3000, &mut word).is_err());
        assert_eq!(word, [0; 8]);
        assert!(hu.store(0, GPA + 0x3000, &[7; 8]).is_err());
        assert_eq!(secret(&hu, HOST), SECRET);
        hu
    });
}

#[test]
fn a_guest_table_entry_that_leads_outside_is_a_guest_page_fault() {
    twice(|| {
        // vsatp: Sv39 with a root in RAM, whose entry 0 leads beyond guest memory.
        let mut hu = running(&[ecall(), i(Op::Ld, A0, 0, 0), ecall()]);
        assert_eq!(trap(&mut hu, 0), 10);
        let root = hu.windows()[0].hpa + 4 * 4096;
        hu.write(root, &leaf(0x1_0000_0000).to_le_bytes()).unwrap();
        // The code itself stays where it is: a gigapage of its own (not U, A and D set).
        hu.write(root + 16, &(GPA >> 12 << 10 | 0xcf).to_le_bytes()).unwrap();
        hu.set_csr(0, Csr::HUVSATP, 8 << 60 | (GPA + 4 * 4096) >> 12).unwrap();
        hu.set_csr(0, Csr::HUVSSTATUS, 1 << 18).unwrap();
        skip(&mut hu, 0);
        assert_eq!(trap(&mut hu, 0), 21);
        assert_eq!(hu.csr(0, Csr::HUTVAL), Ok(0x1_0000_0000 >> 2));
        hu
    });
}

#[test]
fn the_pool_holds_no_instructions() {
    twice(|| {
        let mut code = page_address(A1, 3).to_vec();
        code.push(i(Op::Jalr, 0, A1, 0));
        let mut hu = running(&code);
        let pool = hu.windows()[1].hpa;
        map(&mut hu, 3, leaf(pool));
        assert_eq!(wait(&mut hu), Woken::Killed);
        hu
    });
}

#[test]
fn two_vms_on_one_machine_do_not_meet() {
    twice(|| {
        let request = driver::VmRequest { vcpus: 1, ..request() };
        let mut both = config(&request);
        both.n_harts = 2;
        both.ram_size *= 2;
        let mut driver = Driver::new(both).unwrap();
        let first = driver.vm_create(&request).unwrap();
        let second = driver.vm_create(&request).unwrap();
        assert_eq!((first.vmid(), second.vmid()), (1, 2));
        let mut hu = Hu::new(driver, first);
        tables(&mut hu, 16);
        program(&mut hu, 0, &[addi(A0, 0, 1), ecall(), forever()]);
        enter(&mut hu, 0, 0);
        let of_first = hu.windows()[0].hpa;

        let first = hu.switch(second);
        assert!(hu.windows().iter().all(|window| window.hpa != of_first));
        tables(&mut hu, 16);
        program(&mut hu, 0, &[addi(A0, 0, 2), ecall(), forever()]);
        map(&mut hu, 3, leaf(of_first));
        enter(&mut hu, 0, 0);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A0), 2);
        // The other VM's memory is no more reachable than the host's.
        assert!(hu.load(0, GPA + 0x3000, &mut [0; 8]).is_err());
        assert!(hu.read(of_first, &mut [0; 8]).is_err());
        assert_eq!(hu.wait(), Woken::Killed);

        // The first one's trap came meanwhile, and it lives.
        let second = hu.switch(first);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A0), 1);
        hu.driver_mut().vm_destroy(second);
        skip(&mut hu, 0);
        assert_eq!(hu.wait(), Woken::Slice);
        assert_eq!(hu.reason(), None);
        hu
    });
}
