//! Control and status registers: numbers, names, and what each is for (table)

use core::fmt;

/// The number of a CSR. A guest may name all 4096, so this is no closed enum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Csr(pub u16);

/// Whom a CSR is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Floating point and counters.
    User,
    /// Supervisor.
    Supervisor,
    /// Hypervisor extension, HS.
    Hypervisor,
    /// The guest's supervisor CSRs as HS sees them.
    Vs,
    /// Machine.
    Machine,
    /// Debug triggers.
    Debug,
    /// DV-ext: owned by HS, by HU, or by the vCPU.
    Dv,
    /// DV-ext: what HU sees of an `h*` or `vs*` CSR.
    Hu,
}

/// One CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsrRow {
    /// Its number.
    pub csr: Csr,
    /// Its name in assembly.
    pub name: &'static str,
    /// Whom it is for.
    pub group: Group,
    /// What it holds.
    pub doc: &'static str,
    /// The CSR that this one is HU's view of.
    pub mirror: Option<Csr>,
}

/// The number of HU's view of an `h*` or `vs*` CSR: the low eight bits stay, and the upper ones
/// tell h (0x800, custom) from vs (0x400).
const fn hu_view(of: Csr) -> Csr {
    match of.0 >> 8 {
        0x2 => Csr(0x400 | of.0 & 0xff),
        _ => Csr(0x800 | of.0 & 0xff),
    }
}

macro_rules! csrs {
    ($( $csr:ident $name:literal $number:literal $group:ident $doc:literal; )*) => {
        impl Csr {
            $(
                #[doc = concat!("`", $name, "`: ", $doc, ".")]
                pub const $csr: Self = Self($number);
            )*
        }

        const PLAIN: &[CsrRow] = &[$(
            CsrRow {
                csr: Csr::$csr,
                name: $name,
                group: Group::$group,
                doc: $doc,
                mirror: None,
            },
        )*];
    };
}

macro_rules! hu_views {
    ($( $csr:ident $name:literal of $mirror:ident $doc:literal; )*) => {
        impl Csr {
            $( #[doc = concat!("`", $name, "`: ", $doc, ".")]
               pub const $csr: Self = hu_view(Self::$mirror); )*
        }

        const VIEWS: &[CsrRow] = &[$(
            CsrRow {
                csr: Csr::$csr,
                name: $name,
                group: Group::Hu,
                doc: $doc,
                mirror: Some(Csr::$mirror),
            },
        )*];
    };
}

/// Rows of numbered CSRs: name and number count up together.
macro_rules! numbered {
    ($list:ident $prefix:literal $base:literal - $group:ident $doc:literal: $($n:literal)*) => {
        const $list: &[CsrRow] = &[$(
            CsrRow {
                csr: Csr($base + $n),
                name: concat!($prefix, $n),
                group: Group::$group,
                doc: $doc,
                mirror: None,
            },
        )*];
    };
}

csrs! {
    // const   name         number group      doc
    // User.
    FFLAGS     "fflags"     0x001 User       "accrued floating-point exceptions";
    FRM        "frm"        0x002 User       "floating-point rounding mode";
    FCSR       "fcsr"       0x003 User       "fflags and frm together";
    CYCLE      "cycle"      0xc00 User       "cycles, read-only";
    TIME       "time"       0xc01 User       "real time, read-only";
    INSTRET    "instret"    0xc02 User       "instructions retired, read-only";
    // Supervisor.
    SSTATUS    "sstatus"    0x100 Supervisor "status; a view of mstatus";
    SIE        "sie"        0x104 Supervisor "interrupt enables; a view of mie";
    STVEC      "stvec"      0x105 Supervisor "trap vector";
    SCOUNTEREN "scounteren" 0x106 Supervisor "counters that U may read";
    SENVCFG    "senvcfg"    0x10a Supervisor "environment of U";
    SSCRATCH   "sscratch"   0x140 Supervisor "scratch of the trap handler";
    SEPC       "sepc"       0x141 Supervisor "pc of the trap";
    SCAUSE     "scause"     0x142 Supervisor "cause of the trap";
    STVAL      "stval"      0x143 Supervisor "address or instruction of the trap";
    SIP        "sip"        0x144 Supervisor "interrupts pending; a view of mip";
    STIMECMP   "stimecmp"   0x14d Supervisor "timer compare (Sstc)";
    SATP       "satp"       0x180 Supervisor "address translation";
    // Hypervisor.
    HSTATUS    "hstatus"    0x600 Hypervisor "hypervisor status";
    HEDELEG    "hedeleg"    0x602 Hypervisor "exceptions delegated to VS";
    HIDELEG    "hideleg"    0x603 Hypervisor "interrupts delegated to VS";
    HIE        "hie"        0x604 Hypervisor "enables of the VS and guest external interrupts";
    HTIMEDELTA "htimedelta" 0x605 Hypervisor "what a guest's time is ahead by";
    HCOUNTEREN "hcounteren" 0x606 Hypervisor "counters that a guest may read";
    HGEIE      "hgeie"      0x607 Hypervisor "guest external interrupt enables";
    HENVCFG    "henvcfg"    0x60a Hypervisor "environment of VS";
    HTVAL      "htval"      0x643 Hypervisor "guest-physical address of the trap >> 2";
    HIP        "hip"        0x644 Hypervisor "VS and guest external interrupts pending";
    HVIP       "hvip"       0x645 Hypervisor "interrupts that the hypervisor injects";
    HTINST     "htinst"     0x64a Hypervisor "instruction of the trap, transformed";
    HGATP      "hgatp"      0x680 Hypervisor "G-stage translation";
    HGEIP      "hgeip"      0xe12 Hypervisor "guest external interrupts pending";
    // VirtualSupervisor.
    VSSTATUS   "vsstatus"   0x200 Vs         "the guest's sstatus";
    VSIE       "vsie"       0x204 Vs         "the guest's sie";
    VSTVEC     "vstvec"     0x205 Vs         "the guest's stvec";
    VSSCRATCH  "vsscratch"  0x240 Vs         "the guest's sscratch";
    VSEPC      "vsepc"      0x241 Vs         "the guest's sepc";
    VSCAUSE    "vscause"    0x242 Vs         "the guest's scause";
    VSTVAL     "vstval"     0x243 Vs         "the guest's stval";
    VSIP       "vsip"       0x244 Vs         "the guest's sip";
    VSTIMECMP  "vstimecmp"  0x24d Vs         "the guest's stimecmp (Sstc)";
    VSATP      "vsatp"      0x280 Vs         "the guest's satp";
    // Machine.
    MSTATUS    "mstatus"    0x300 Machine    "status";
    MISA       "misa"       0x301 Machine    "extensions of the machine";
    MEDELEG    "medeleg"    0x302 Machine    "exceptions delegated to S";
    MIDELEG    "mideleg"    0x303 Machine    "interrupts delegated to S";
    MIE        "mie"        0x304 Machine    "interrupt enables";
    MTVEC      "mtvec"      0x305 Machine    "trap vector";
    MCOUNTEREN "mcounteren" 0x306 Machine    "counters that S may read";
    MENVCFG    "menvcfg"    0x30a Machine    "environment of S";
    MCOUNTINHIBIT "mcountinhibit" 0x320 Machine    "counters that stand still";
    MSCRATCH   "mscratch"   0x340 Machine    "scratch of the trap handler";
    MEPC       "mepc"       0x341 Machine    "pc of the trap";
    MCAUSE     "mcause"     0x342 Machine    "cause of the trap";
    MTVAL      "mtval"      0x343 Machine    "address or instruction of the trap";
    MIP        "mip"        0x344 Machine    "interrupts pending";
    MTINST     "mtinst"     0x34a Machine    "instruction of the trap, transformed";
    MTVAL2     "mtval2"     0x34b Machine    "guest-physical address of the trap >> 2";
    MSECCFG    "mseccfg"    0x747 Machine    "security configuration";
    MCYCLE     "mcycle"     0xb00 Machine    "cycles";
    MINSTRET   "minstret"   0xb02 Machine    "instructions retired";
    MVENDORID  "mvendorid"  0xf11 Machine    "vendor, read-only";
    MARCHID    "marchid"    0xf12 Machine    "architecture, read-only";
    MIMPID     "mimpid"     0xf13 Machine    "implementation, read-only";
    MHARTID    "mhartid"    0xf14 Machine    "number of the hart, read-only";
    MCONFIGPTR "mconfigptr" 0xf15 Machine    "address of a configuration, read-only";
    // Debug.
    TSELECT    "tselect"    0x7a0 Debug      "trigger selection (Sdtrig); there are no triggers";
    TDATA1     "tdata1"     0x7a1 Debug      "trigger type and control, reads zero";
    TDATA2     "tdata2"     0x7a2 Debug      "trigger address, reads zero";
    TDATA3     "tdata3"     0x7a3 Debug      "trigger context, reads zero";
    // Dv.
    SEDELEG    "sedeleg"    0x102 Dv         "exceptions that HS delegates to HU; HS only";
    SIDELEG    "sideleg"    0x103 Dv         "interrupts that HS delegates to HU; HS only";
    H_VMID     "h_vmid"     0x6c0 Dv         "id of the VM, copied to hugatp.VMID; HS only";
    UIE        "uie"        0x004 Dv         "enables of HU's interrupts; read-only view of mie";
    UTVEC      "utvec"      0x005 Dv         "trap vector of HU";
    USCRATCH   "uscratch"   0x040 Dv         "scratch of HU's trap handler";
    UEPC       "uepc"       0x041 Dv         "pc of the trap to HU";
    UCAUSE     "ucause"     0x042 Dv         "cause of the trap to HU";
    UTVAL      "utval"      0x043 Dv         "address or instruction of the trap to HU";
    UIP        "uip"        0x044 Dv         "interrupts of HU pending; read-only view of mip";
    VTIMECMP   "vtimecmp"   0x401 Dv         "timer compare of the vCPU";
    VTIMECTL   "vtimectl"   0x402 Dv         "enable and interrupt number of the vCPU's timer";
    HU_VCPUID  "hu_vcpuid"  0x482 Dv         "id of the vCPU on this hart; not visible in V=1";
    VIPI0      "vipi0"      0x483 Dv         "posts VSSI to vCPUs 0 to 63 of the VM, no exit";
    VIPI1      "vipi1"      0x484 Dv         "posts VSSI to vCPUs 64 to 127 of the VM, no exit";
    VIPI2      "vipi2"      0x485 Dv         "posts VSSI to vCPUs 128 to 191 of the VM, no exit";
    VIPI3      "vipi3"      0x486 Dv         "posts VSSI to vCPUs 192 to 255 of the VM, no exit";
    HU_VITR    "hu_vitr"    0x487 Dv         "posts an interrupt to a vCPU of this VM, write-only";
}

hu_views! {
    // const    name             of         doc
    HUSTATUS    "hustatus"    of HSTATUS    "status of the delegated VM; its own register";
    HUIE        "huie"        of HIE        "enables of the interrupts of HU (0, 4, 8)";
    HUTIMEDELTA "hutimedelta" of HTIMEDELTA "what the delegated guest's time is ahead by";
    HUCOUNTEREN "hucounteren" of HCOUNTEREN "counters that the delegated guest may read";
    HUTVAL      "hutval"      of HTVAL      "guest-physical address of the trap >> 2";
    HUIP        "huip"        of HIP        "interrupts of HU (0, 4, 8) pending";
    HUVIP       "huvip"       of HVIP       "interrupts that HU injects into the guest";
    HUTINST     "hutinst"     of HTINST     "instruction of the trap, transformed";
    HUGATP      "hugatp"      of HGATP      "G-stage translation of the guest; HU may only read";
    HUVSSTATUS  "huvsstatus"  of VSSTATUS   "the guest's sstatus";
    HUVSIE      "huvsie"      of VSIE       "the guest's sie";
    HUVSTVEC    "huvstvec"    of VSTVEC     "the guest's stvec";
    HUVSSCRATCH "huvsscratch" of VSSCRATCH  "the guest's sscratch";
    HUVSEPC     "huvsepc"     of VSEPC      "the guest's sepc";
    HUVSCAUSE   "huvscause"   of VSCAUSE    "the guest's scause";
    HUVSTVAL    "huvstval"    of VSTVAL     "the guest's stval";
    HUVSIP      "huvsip"      of VSIP       "the guest's sip";
    HUVSTIMECMP "huvstimecmp" of VSTIMECMP  "the guest's stimecmp (Sstc)";
    HUVSATP     "huvsatp"     of VSATP      "the guest's satp";
}

numbered!(HPMCOUNTERS "hpmcounter" 0xc00 - User "performance counter, read-only":
    3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
numbered!(MHPMCOUNTERS "mhpmcounter" 0xb00 - Machine "performance counter":
    3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
numbered!(MHPMEVENTS "mhpmevent" 0x320 - Machine "what a performance counter counts":
    3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
// With 64 bits only the even ones exist, each for eight entries.
numbered!(PMPCFGS "pmpcfg" 0x3a0 - Machine "protection of eight physical ranges":
    0 2 4 6 8 10 12 14);
numbered!(PMPADDRS "pmpaddr" 0x3b0 - Machine "address of a protected physical range":
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60
    61 62 63);

const LISTS: [&[CsrRow]; 7] =
    [PLAIN, VIEWS, HPMCOUNTERS, MHPMCOUNTERS, MHPMEVENTS, PMPCFGS, PMPADDRS];

const N: usize = {
    let (mut n, mut i) = (0, 0);
    while i < LISTS.len() {
        n += LISTS[i].len();
        i += 1;
    }
    n
};

const TABLE: [CsrRow; N] = {
    let mut table = [PLAIN[0]; N];
    let (mut at, mut i) = (0, 0);
    while i < LISTS.len() {
        let mut k = 0;
        while k < LISTS[i].len() {
            table[at] = LISTS[i][k];
            at += 1;
            k += 1;
        }
        i += 1;
    }
    table
};

/// All CSRs that are modelled.
pub static CSRS: [CsrRow; N] = TABLE;

/// For each number its place in [`CSRS`] plus one, or zero.
static PLACES: [u16; 4096] = {
    let mut places = [0; 4096];
    let mut i = 0u16;
    while (i as usize) < N {
        let number = TABLE[i as usize].csr.0 as usize;
        assert!(places[number] == 0, "two CSRs have one number");
        places[number] = i + 1;
        i += 1;
    }
    places
};

impl Csr {
    /// `hpmcounter3`; the others follow up to 31.
    pub const HPMCOUNTER3: Self = HPMCOUNTERS[0].csr;
    /// `hpmcounter31`.
    pub const HPMCOUNTER31: Self = Self(Self::HPMCOUNTER3.0 + 28);
    /// `mhpmcounter3`; the others follow up to 31.
    pub const MHPMCOUNTER3: Self = MHPMCOUNTERS[0].csr;
    /// `mhpmcounter31`.
    pub const MHPMCOUNTER31: Self = Self(Self::MHPMCOUNTER3.0 + 28);
    /// `mhpmevent3`; the others follow up to 31.
    pub const MHPMEVENT3: Self = MHPMEVENTS[0].csr;
    /// `mhpmevent31`.
    pub const MHPMEVENT31: Self = Self(Self::MHPMEVENT3.0 + 28);
    /// `pmpcfg0`; the other even ones follow up to 14.
    pub const PMPCFG0: Self = PMPCFGS[0].csr;
    /// `pmpcfg14`.
    pub const PMPCFG14: Self = Self(Self::PMPCFG0.0 + 14);
    /// `pmpaddr0`; the others follow up to 63.
    pub const PMPADDR0: Self = PMPADDRS[0].csr;
    /// `pmpaddr63`.
    pub const PMPADDR63: Self = Self(Self::PMPADDR0.0 + 63);

    /// Its row, if it is modelled.
    pub fn row(self) -> Option<&'static CsrRow> {
        let place = *PLACES.get(usize::from(self.0))?;
        CSRS.get(usize::from(place).checked_sub(1)?)
    }

    /// Its name in assembly, if it is modelled.
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.name)
    }

    /// The CSR of this name in assembly.
    pub fn from_name(name: &str) -> Option<Self> {
        CSRS.iter().find(|row| row.name == name).map(|row| row.csr)
    }

    /// The privilege level that bits 9:8 of the number ask for: 0 U, 1 S, 2 H and VS, 3 M.
    pub const fn level(self) -> u8 {
        (self.0 >> 8 & 3) as u8
    }

    /// Whether bits 11:10 of the number say read-only.
    pub const fn is_read_only(self) -> bool {
        self.0 >> 10 & 3 == 3
    }

    /// HU's view of this `h*` or `vs*` CSR, if DV-ext has one.
    pub fn hu_view(self) -> Option<Self> {
        VIEWS.iter().find(|row| row.mirror == Some(self)).map(|row| row.csr)
    }
}

/// The name, or the number in hexadecimal.
impl fmt::Display for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Csr({self})")
    }
}
