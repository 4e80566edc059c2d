//! A VM plane and a guest that try everything: nothing leaves the windows or the modes of a guest.

use driver::{Driver, Hu, VmRequest};
use dv::{Dv, Virq, Woken};
use hart::Writer;
use isa::csr::Group;
use isa::fields::HSTATUS;
use isa::{Csr, Mode};
use proptest::prelude::*;

use crate::guest::*;

/// What only HS and firmware may change.
const KERNELS: [Csr; 14] = [
    Csr::HSTATUS,
    Csr::HEDELEG,
    Csr::HIDELEG,
    Csr::SEDELEG,
    Csr::SIDELEG,
    Csr::H_VMID,
    Csr::HUGATP,
    Csr::HENVCFG,
    Csr::MENVCFG,
    Csr::MEDELEG,
    Csr::HGATP,
    Csr::SATP,
    Csr::PMPCFG0,
    Csr::PMPADDR0,
];

#[derive(Clone, Debug)]
enum Try {
    Csr(usize, u64),
    Huret,
    Enter(u64),
    Wait,
    Park,
    Unpark,
    Stop,
    Load(u64, usize),
    Store(u64, u64),
    Fetch(u64),
    Post(u8, bool),
    Kick,
    /// An entry of one of the first tables.
    Table(u64, u64),
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0u64..32,
        (0u32..64).prop_map(|bit| 1 << bit),
        (0u64..64).prop_map(|page| GPA + page * 1024),
        Just(0x180),
        (0u64..3, 0u64..4096).prop_map(|(mode, page)| (8 + mode) << 60 | ((GPA >> 12) + page)),
    ]
}

/// Entries that lead anywhere around the windows, mostly as leaves.
fn entry() -> impl Strategy<Value = u64> {
    let bits = prop_oneof![Just(0xdf), Just(1), any::<u8>()];
    (0x7fff0u64..0x80a00, bits).prop_map(|(page, bits)| page << 10 | u64::from(bits))
}

/// Places in the pool of entries that are in use, and of others.
fn place() -> impl Strategy<Value = u64> {
    let first_pages = LEAVES / 8..LEAVES / 8 + 6;
    prop_oneof![Just(2), Just(0x4000 / 8), first_pages, 0u64..0x6000 / 8]
}

fn attempt() -> impl Strategy<Value = Try> {
    prop_oneof![
        4 => (any::<usize>(), number()).prop_map(|(csr, value)| Try::Csr(csr, value)),
        3 => Just(Try::Huret),
        5 => (0u64..0x2000).prop_map(Try::Enter),
        9 => Just(Try::Wait),
        1 => Just(Try::Park),
        2 => Just(Try::Unpark),
        2 => Just(Try::Stop),
        1 => (number(), 0usize..9000).prop_map(|(gva, len)| Try::Load(gva, len)),
        1 => (number(), any::<u64>()).prop_map(|(gva, value)| Try::Store(gva, value)),
        1 => number().prop_map(Try::Fetch),
        1 => (0u8..3, any::<bool>()).prop_map(|(irq, level)| Try::Post(irq, level)),
        1 => Just(Try::Kick),
        1 => (place(), entry()).prop_map(|(index, pte)| Try::Table(index, pte)),
    ]
}

/// CSRs that HU may write, most of the time.
fn csr(choice: usize) -> Csr {
    let mut own = isa::csr::CSRS.iter().filter(|row| {
        let hs = [
            Csr::SEDELEG,
            Csr::SIDELEG,
            Csr::H_VMID,
            Csr::HUGATP,
            Csr::HU_VCPUID,
            Csr::HU_VITR,
            Csr::VIPI0,
            Csr::VIPI1,
            Csr::VIPI2,
            Csr::VIPI3,
        ];
        matches!(row.group, Group::Dv | Group::Hu) && !hs.contains(&row.csr)
    });
    let n = own.clone().count();
    own.nth(choice % n).unwrap().csr
}

fn act(hu: &mut Hu, vcpu: usize, what: &Try) {
    let hart = hu.driver().hart_of(hu.id(), vcpu).unwrap();
    let in_guest = hu.driver().machine().harts()[hart].mode().is_virtual();
    // Most attempts while the guest runs end the VM at once, so stop it before them.
    if in_guest && !matches!(what, Try::Wait | Try::Park | Try::Table(..)) {
        hu.stop(vcpu);
    }
    match *what {
        Try::Csr(choice, value) => drop(hu.set_csr(vcpu, csr(choice), value)),
        Try::Huret => {
            let _ = hu.huret(vcpu);
            hu.unpark(vcpu);
        }
        Try::Enter(offset) => {
            let _ = hu.set_csr(vcpu, Csr::HUSTATUS, 0x180);
            let _ = hu.set_csr(vcpu, Csr::HUVSATP, 0);
            let _ = hu.set_csr(vcpu, Csr::HUVSTVEC, GPA + ((offset * 7) & 0x1ffc));
            let _ = hu.set_csr(vcpu, Csr::UEPC, GPA + offset);
            for reg in 1..32 {
                hu.set_x(vcpu, reg, GPA + ((offset * u64::from(reg)) & 0x1_fff8));
            }
            let _ = hu.huret(vcpu);
            hu.unpark(vcpu);
        }
        Try::Wait => {
            if let Woken::Idle(Some(until)) = hu.wait() {
                hu.advance(until.min(1 << 40));
            }
        }
        Try::Park => hu.park(vcpu),
        Try::Unpark => hu.unpark(vcpu),
        Try::Stop => hu.stop(vcpu),
        Try::Load(gva, len) => drop(hu.load(vcpu, gva, &mut vec![0; len])),
        Try::Store(gva, value) => drop(hu.store(vcpu, gva, &value.to_le_bytes())),
        Try::Fetch(gva) => drop(hu.fetch(vcpu, gva)),
        Try::Post(irq, level) => {
            let virqs = [Virq::Software, Virq::Timer, Virq::External];
            hu.post(vcpu, virqs[usize::from(irq)], level).unwrap();
        }
        Try::Kick => hu.kick(vcpu).unwrap(),
        Try::Table(index, pte) => {
            let pool = hu.windows()[1].hpa;
            hu.write(pool + index * 8, &pte.to_le_bytes()).unwrap();
        }
    }
}

/// Everything outside of the attacker's windows.
fn outside(hu: &Hu) -> Vec<u8> {
    let memory = hu.driver().machine().platform().memory();
    let mut bytes = vec![0; memory.size()];
    hu.driver().machine().read(memory.base(), &mut bytes).unwrap();
    for window in hu.windows() {
        let begin = usize::try_from(window.hpa - memory.base()).unwrap();
        bytes[begin..begin + usize::try_from(window.size).unwrap()].fill(0);
    }
    bytes
}

fn kernels(hu: &Hu) -> Vec<u64> {
    // A trap to HS tells there where it came from.
    let told = HSTATUS::SPV.mask() | HSTATUS::SPVP.mask() | HSTATUS::GVA.mask();
    let kept = |csr| if csr == Csr::HSTATUS { !told } else { u64::MAX };
    let harts = hu.driver().machine().harts().iter();
    harts.flat_map(|hart| KERNELS.map(|csr| hart.csr(csr).unwrap() & kept(csr))).collect()
}

/// A machine with a victim and an attacker, whose RAM holds these words as code.
fn stage(code: &[u32]) -> Hu {
    let request = VmRequest { vcpus: 2, ..request() };
    let mut both = config(&request);
    both.n_harts = 4;
    both.quantum = 300;
    both.ram_size = 12 << 20;
    let mut driver = Driver::new(both).unwrap();
    let victim = driver.vm_create(&request).unwrap();
    let attacker = driver.vm_create(&request).unwrap();
    let mut hu = Hu::new(driver, victim);
    for window in hu.windows().to_vec() {
        hu.write(window.hpa, &[0x5a; 4096]).unwrap();
    }
    hu.driver_mut().machine_mut().write(Writer::Loader, 0x8000_0000, &[0xa5; 8192]).unwrap();
    hu.switch(attacker);
    tables(&mut hu, 64);
    let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    hu.write(hu.windows()[0].hpa, &bytes).unwrap();
    hu
}

/// Words that are instructions of the privileged kind, more often than not.
fn word() -> impl Strategy<Value = u32> {
    let row = 0..isa::ROWS.len();
    prop_oneof![
        1 => any::<u32>(),
        6 => (row, any::<u32>()).prop_map(|(row, bits)| {
            let row = &isa::ROWS[row];
            row.value | bits & !row.mask
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn nothing_gets_out(
        code in proptest::collection::vec(word(), 1024..2048),
        attempts in proptest::collection::vec((0usize..2, attempt()), 1..120),
    ) {
        let mut hu = stage(&code);
        let (memory, csrs) = (outside(&hu), kernels(&hu));
        for (vcpu, what) in &attempts {
            act(&mut hu, *vcpu, what);
            if hu.reason().is_some() {
                break;
            }
            for hart in hu.driver().machine().harts() {
                prop_assert!(matches!(hart.mode(), Mode::Hu | Mode::Vs | Mode::Vu), "{:?}", what);
            }
        }
        prop_assert_eq!(kernels(&hu), csrs);
        prop_assert!(outside(&hu) == memory, "memory outside of the windows has changed");
        prop_assert_eq!(hu.driver_calls(), 0);
    }
}
