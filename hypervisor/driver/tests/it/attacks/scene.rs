//! Where an attack happens: one machine, a neighbour that works, and the attacker's VM.
//!
//! ```text
//!   harts 0 to 2   the neighbour: vCPU 0 works, 1 and 2 are stopped
//!   harts 3 and 4  the attacker
//!   HOST           secrets of the host, and code for modes with V=0
//! ```

use std::ops::{Deref, DerefMut};

use driver::{Driver, Hu, VmId, VmRequest};
use dv::{Denied, Dv, Window, Woken};
use hart::{Halt, Report, Writer};
use isa::fields::{HSTATUS, SSTATUS};
use isa::{Cause, Csr, Exception, Insn, Mode, Op};
use machine::{HartState, Machine, Ran};

use crate::guest::*;

/// The host's own memory, below all windows.
pub(crate) const HOST: u64 = 0x8000_0000;
/// What stands in memory that the attacker has no right to.
pub(crate) const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;
/// Code of modes with V=0.
const HOST_CODE: u64 = HOST + 0x10_0000;
/// Offset in the attacker's RAM of code of modes with V=1.
const CODE: u64 = 0xc000;
/// Offset in the neighbour's RAM of a page that it reads, and of one that nobody writes.
const WORKED_ON: u64 = 0x3000;
const KEPT: u64 = 0x5000;
const ROUNDS: u64 = 400;
/// More steps than any attack needs.
const STEPS_MAX: u64 = 40_000;

pub(crate) const ILLEGAL: Cause = Cause::Exception(Exception::IllegalInstruction);
pub(crate) const VIRTUAL: Cause = Cause::Exception(Exception::VirtualInstruction);
pub(crate) const DV_FAULT: Cause = Cause::Exception(Exception::DvFault);

/// A place for an attack; dereferences to the attacker's view.
#[derive(Debug)]
pub(crate) struct Scene {
    hu: Hu,
    neighbour: Option<VmId>,
    /// The neighbour's windows.
    pub(crate) theirs: Vec<Window>,
}

impl Deref for Scene {
    type Target = Hu;

    fn deref(&self) -> &Hu {
        &self.hu
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Hu {
        &mut self.hu
    }
}

/// Something that the VM plane tries, and that is to be refused.
pub(crate) type Try<T> = fn(&mut Scene, T) -> Result<(), Denied>;

/// The request of every VM here.
pub(crate) fn modest(vcpus: usize) -> VmRequest {
    VmRequest { vcpus, max_steps: STEPS_MAX, ..request() }
}

/// A machine for the neighbour, the attacker, and a little more.
pub(crate) fn driver() -> Driver {
    let request = modest(5);
    Driver::new(driver::Config { quantum: 300, ram_size: 16 << 20, ..config(&request) }).unwrap()
}

/// The driver has stopped the VM, for a reason with these words.
#[track_caller]
pub(crate) fn stopped(hu: &mut Hu, words: &str) {
    assert_eq!(wait(hu), Woken::Killed, "it goes on instead: {words}");
    let reason = hu.reason().unwrap();
    assert!(reason.contains(words), "{reason}\n  and not: {words}");
}

/// Eight bytes of physical memory.
pub(crate) fn word(hu: &Hu, hpa: u64) -> u64 {
    let mut word = [0; 8];
    hu.driver().machine().read(hpa, &mut word).unwrap();
    u64::from_le_bytes(word)
}

/// Writes physical memory as nobody but the machine's owner can.
pub(crate) fn plant(hu: &mut Hu, hpa: u64, bytes: &[u8]) {
    hu.driver_mut().machine_mut().write(Writer::Loader, hpa, bytes).unwrap();
}

/// Adds the numbers up to [`ROUNDS`], and as often the word in a page of its own.
fn work(hu: &mut Hu) {
    let mut code = page_address(A1, (WORKED_ON >> 12).cast_signed()).to_vec();
    code.extend([
        addi(A0, 0, 0),
        addi(A2, 0, ROUNDS.cast_signed()),
        i(Op::Ld, 13, A1, 0),
        r(Op::Add, A0, A0, 13),
        r(Op::Add, A0, A0, A2),
        addi(A2, A2, -1),
        Insn { rs1: A2, rs2: 0, imm: -16, ..Insn::new(Op::Bne) },
        ecall(),
        forever(),
    ]);
    program(hu, 0, &code);
    let windows = hu.windows().to_vec();
    hu.write(windows[0].hpa + WORKED_ON, &7u64.to_le_bytes()).unwrap();
    for at in [windows[0].hpa + KEPT, windows[1].hpa + POOL - 4096] {
        hu.write(at, &SECRET.to_le_bytes().repeat(512)).unwrap();
    }
    enter(hu, 0, 0);
}

impl Scene {
    /// The attacker has two vCPUs, which are in HU, and a table of sixteen pages.
    pub(crate) fn new() -> Self {
        Self::asking(|_| {})
    }

    /// The attacker asks the driver for something else.
    pub(crate) fn asking(change: impl FnOnce(&mut VmRequest)) -> Self {
        let mut driver = driver();
        let neighbour = driver.vm_create(&modest(3)).unwrap();
        let mut hu = Hu::new(driver, neighbour);
        tables(&mut hu, 16);
        work(&mut hu);
        plant(&mut hu, HOST, &SECRET.to_le_bytes().repeat(512));
        let theirs = hu.windows().to_vec();
        let mut request = modest(2);
        change(&mut request);
        let attacker = hu.driver_mut().vm_create(&request).unwrap();
        let neighbour = hu.switch(attacker);
        tables(&mut hu, 16);
        Self { hu, neighbour: Some(neighbour), theirs }
    }

    /// The attacker's vCPU 0 runs this in VS.
    pub(crate) fn running(code: &[Insn]) -> Self {
        let mut scene = Self::new();
        scene.begin(code);
        scene
    }

    pub(crate) fn begin(&mut self, code: &[Insn]) {
        program(self, 0, code);
        enter(self, 0, 0);
    }

    /// Page 3 of the attacker's guest leads to `hpa`, and its code accesses it: `A1` is the
    /// address, `A0` the value.
    pub(crate) fn reaching(hpa: u64, op: Op) -> Self {
        let mut code = page_address(A1, 3).to_vec();
        code.extend([accessing(op), ecall(), forever()]);
        let mut scene = Self::new();
        map(&mut scene, 3, leaf(hpa));
        // For the floating-point ones.
        scene.set_csr(0, Csr::HUVSSTATUS, SSTATUS::FS.set(0, 3)).unwrap();
        scene.begin(&code);
        scene
    }

    /// A page of the neighbour that holds a secret.
    pub(crate) fn their_page(&self) -> u64 {
        self.theirs[0].hpa + KEPT
    }

    /// The hart of the attacker's vCPU 0.
    pub(crate) fn hart(&self) -> usize {
        self.driver().hart_of(self.id(), 0).unwrap()
    }

    pub(crate) fn machine(&mut self) -> &mut Machine {
        self.driver_mut().machine_mut()
    }

    /// A CSR of that hart, whatever its mode.
    pub(crate) fn state(&self, csr: Csr) -> u64 {
        self.driver().machine().harts()[self.hart()].csr(csr).unwrap()
    }

    /// The kernel or firmware sets a CSR of that hart.
    pub(crate) fn kernel_sets(&mut self, csr: Csr, value: u64) {
        let hart = self.hart();
        let (hart, platform) = self.machine().hart_mut(hart);
        hart.set_csr(platform, csr, value);
    }

    /// Changes a CSR of that hart.
    pub(crate) fn kernel_changes(&mut self, csr: Csr, change: impl FnOnce(u64) -> u64) {
        let value = change(self.state(csr));
        self.kernel_sets(csr, value);
    }

    /// Lets the host's programs reach all of memory: an entry behind the windows, with V clear.
    pub(crate) fn open_to_host(&mut self) {
        self.kernel_sets(Csr(Csr::PMPADDR0.0 + 15), u64::MAX >> 10);
        self.kernel_changes(Csr(Csr::PMPCFG0.0 + 2), |cfg| cfg | 0x1f << 56);
    }

    /// Lets the host's programs read and execute a page of code, and reach nothing else.
    pub(crate) fn open_code_to_host(&mut self) {
        self.kernel_sets(Csr(Csr::PMPADDR0.0 + 15), HOST_CODE >> 2 | 0x1ff);
        self.kernel_changes(Csr(Csr::PMPCFG0.0 + 2), |cfg| cfg | 0x1d << 56);
    }

    /// Executes code on that hart in a mode, each instruction once, up to the first trap: by which
    /// mode it is taken, and why.
    pub(crate) fn run(&mut self, mode: Mode, code: &[Insn]) -> Option<(Mode, Cause)> {
        let words: Vec<u32> = code.iter().map(isa::encode).collect();
        self.run_words(mode, &words)
    }

    /// The same with what need not be instructions.
    pub(crate) fn run_words(&mut self, mode: Mode, code: &[u32]) -> Option<(Mode, Cause)> {
        let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let at = if mode.is_virtual() {
            let hpa = self.windows()[0].hpa + CODE;
            self.write(hpa, &bytes).unwrap();
            GPA + CODE
        } else {
            plant(self, HOST_CODE, &bytes);
            HOST_CODE
        };
        self.run_at(mode, at, code.len() as u64)
    }

    /// Executes so many instructions that stand there.
    pub(crate) fn run_at(&mut self, mode: Mode, at: u64, n: u64) -> Option<(Mode, Cause)> {
        match mode {
            Mode::Hu => self.kernel_changes(Csr::HSTATUS, |value| HSTATUS::HU.with(value, true)),
            Mode::U => self.kernel_changes(Csr::HSTATUS, |value| HSTATUS::HU.with(value, false)),
            Mode::M | Mode::Hs | Mode::Vs | Mode::Vu => {}
        }
        let hart = self.hart();
        let machine = self.machine();
        machine.hart_mut(hart).0.set_mode(mode);
        machine.hart_mut(hart).0.set_pc(at);
        machine.set_report(Report::Everything);
        let states: Vec<HartState> =
            (0..machine.harts().len()).map(|hart| machine.state(hart)).collect();
        (0..states.len()).for_each(|hart| machine.stop(hart));
        machine.start(hart);
        let taken = up_to_a_trap(machine, hart, at..at + 4 * n);
        for (hart, state) in states.into_iter().enumerate() {
            match state {
                HartState::Started => machine.start(hart),
                HartState::Parked => machine.park(hart),
                HartState::Stopped => machine.stop(hart),
            }
        }
        machine.set_report(Report::Hypervisor);
        taken
    }

    /// The mode of that hart.
    pub(crate) fn mode(&self) -> Mode {
        self.driver().machine().harts()[self.hart()].mode()
    }

    /// The neighbour's VM plane does something.
    pub(crate) fn as_neighbour(&mut self, f: impl FnOnce(&mut Hu)) {
        let Some(neighbour) = self.neighbour.take() else { return };
        let attacker = self.hu.switch(neighbour);
        f(&mut self.hu);
        self.neighbour = Some(self.hu.switch(attacker));
    }

    /// What the attacker has no right to is as it was.
    #[track_caller]
    pub(crate) fn nothing_changed(&self) {
        let pages = [HOST, self.their_page(), self.theirs[1].hpa + POOL - 4096];
        for page in pages {
            let mut bytes = [0; 4096];
            self.driver().machine().read(page, &mut bytes).unwrap();
            let secret = bytes.chunks(8).all(|word| word == SECRET.to_le_bytes());
            assert!(secret, "the page at {page:#x} is not as it was");
        }
    }

    /// The neighbour comes to its right result, whatever has become of the attacker.
    #[track_caller]
    pub(crate) fn unharmed(mut self) -> Hu {
        self.nothing_changed();
        if let Some(neighbour) = self.neighbour.take() {
            self.hu.switch(neighbour);
        }
        assert_eq!(self.hu.windows(), self.theirs);
        assert_eq!(trap(&mut self.hu, 0), 10);
        assert_eq!(self.hu.x(0, A0), ROUNDS * (ROUNDS + 1) / 2 + 7 * ROUNDS);
        assert_eq!((self.hu.reason(), self.hu.driver_calls()), (None, 0));
        self.hu
    }

    /// Another VM is the attacker from now on.
    pub(crate) fn take(&mut self, attacker: VmId) {
        let neighbour = self.hu.switch(attacker);
        self.neighbour = Some(neighbour);
    }

    /// Destroys the attacker's VM; the neighbour is seen afterwards.
    pub(crate) fn destroy(&mut self) {
        if let Some(neighbour) = self.neighbour.take() {
            let attacker = self.hu.switch(neighbour);
            self.hu.driver_mut().vm_destroy(attacker);
        }
    }
}

fn up_to_a_trap(
    machine: &mut Machine,
    hart: usize,
    code: std::ops::Range<u64>,
) -> Option<(Mode, Cause)> {
    for _ in 0..2 * (code.end - code.start) / 4 + 8 {
        if !code.contains(&machine.harts()[hart].pc()) {
            return None;
        }
        match machine.run(machine.steps() + 1) {
            Ran::Woken { halt: Halt::Trap(taken), .. } => {
                return Some((taken.to, taken.trap.cause));
            }
            Ran::StepLimit | Ran::SliceEnd => {}
            Ran::Idle(_) => return None,
            ran @ (Ran::Woken { .. } | Ran::Alarm) => panic!("{ran:?}"),
        }
    }
    None
}

/// An instruction with `A1` as its address and `A0` as its value.
pub(crate) fn accessing(op: Op) -> Insn {
    // A store has no destination, and a jump leaves no link here.
    let stores = matches!(op, Op::Sb | Op::Sh | Op::Sw | Op::Sd | Op::Jalr | Op::CboZero);
    let rd = if stores { 0 } else { A0 };
    let rs2 = if matches!(op, Op::LrD | Op::CboZero) { 0 } else { A0 };
    Insn { rd, rs1: A1, rs2, ..Insn::new(op) }
}
