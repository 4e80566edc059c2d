//! Fields of CSRs, page-table entries and DV-ext registers (table)

/// A run of bits in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// Lowest bit.
    pub lsb: u8,
    /// How many bits.
    pub width: u8,
}

impl Field {
    const fn new(lsb: u8, width: u8) -> Self {
        assert!(width > 0 && lsb as u32 + width as u32 <= 64, "a field leaves its register");
        Self { lsb, width }
    }

    /// The bits of the field, in place.
    pub const fn mask(self) -> u64 {
        (u64::MAX >> (64 - self.width as u32)) << self.lsb
    }

    /// The field of `value`, shifted down.
    pub const fn get(self, value: u64) -> u64 {
        (value & self.mask()) >> self.lsb
    }

    /// `value` with the field set to `to`; bits of `to` that do not fit are dropped.
    #[must_use]
    pub const fn set(self, value: u64, to: u64) -> u64 {
        value & !self.mask() | to << self.lsb & self.mask()
    }

    /// Whether any bit of the field is set in `value`.
    pub const fn is_set(self, value: u64) -> bool {
        value & self.mask() != 0
    }

    /// `value` with the field set to zero or to all ones.
    #[must_use]
    pub const fn with(self, value: u64, on: bool) -> u64 {
        if on { value | self.mask() } else { value & !self.mask() }
    }
}

/// A field, its name and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedField {
    /// The name as in the manual.
    pub name: &'static str,
    /// Where it is.
    pub field: Field,
    /// What it says.
    pub what: &'static str,
}

macro_rules! fields {
    ($( $(#[$doc:meta])* $Register:ident {
        $( $field:ident $lsb:literal $width:literal $what:literal; )*
    } )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $Register {}

            impl $Register {
                $(
                    #[doc = concat!($what, ".")]
                    pub const $field: Field = Field::new($lsb, $width);
                )*

                /// All fields, lowest first.
                pub const FIELDS: &'static [NamedField] = &[$(
                    NamedField { name: stringify!($field), field: Self::$field, what: $what },
                )*];
            }
        )*
    };
}

fields! {
    /// Fields of `mstatus`.
    MSTATUS {
        SIE   1 1 "interrupts enabled in S";
        MIE   3 1 "interrupts enabled in M";
        SPIE  5 1 "SIE before the trap";
        UBE   6 1 "U is big-endian; zero here";
        MPIE  7 1 "MIE before the trap";
        SPP   8 1 "privilege before the trap to S";
        VS    9 2 "state of the vector unit; zero here";
        MPP  11 2 "privilege before the trap to M";
        FS   13 2 "state of the floating-point unit";
        XS   15 2 "state of further units; zero here";
        MPRV 17 1 "loads and stores as if in MPP";
        SUM  18 1 "S may touch pages of U";
        MXR  19 1 "loads may read executable pages";
        TVM  20 1 "satp and sfence.vma trap in S";
        TW   21 1 "wfi traps below M";
        TSR  22 1 "sret traps in S";
        UXL  32 2 "width of U; 2 for 64 bits";
        SXL  34 2 "width of S; 2 for 64 bits";
        SBE  36 1 "S is big-endian; zero here";
        MBE  37 1 "M is big-endian; zero here";
        GVA  38 1 "mtval holds a guest-virtual address";
        MPV  39 1 "V before the trap to M";
        SD   63 1 "FS, VS or XS is dirty";
    }

    /// Fields of `sstatus` and `vsstatus`.
    SSTATUS {
        SIE   1 1 "interrupts enabled in S";
        SPIE  5 1 "SIE before the trap";
        UBE   6 1 "U is big-endian; zero here";
        SPP   8 1 "privilege before the trap";
        VS    9 2 "state of the vector unit; zero here";
        FS   13 2 "state of the floating-point unit";
        XS   15 2 "state of further units; zero here";
        SUM  18 1 "S may touch pages of U";
        MXR  19 1 "loads may read executable pages";
        UXL  32 2 "width of U; 2 for 64 bits";
        SD   63 1 "FS, VS or XS is dirty";
    }

    /// Fields of `hstatus`.
    HSTATUS {
        VSBE  5 1 "VS is big-endian; zero here";
        GVA   6 1 "stval holds a guest-virtual address";
        SPV   7 1 "V before the trap";
        SPVP  8 1 "privilege of the guest before the trap";
        HU    9 1 "hlv, hlvx and hsv are legal in U; with DV-ext, the thread is HU";
        VGEIN 12 6 "which guest external interrupt";
        VTVM 20 1 "satp and sfence.vma trap in VS";
        VTW  21 1 "wfi traps in VS";
        VTSR 22 1 "sret traps in VS";
        VSXL 32 2 "width of VS; 2 for 64 bits";
    }

    /// Fields of `hustatus` (DV-ext).
    HUSTATUS {
        UIE   0 1 "interrupts enabled in HU";
        UPIE  4 1 "UIE before the trap";
        VSBE  5 1 "VS is big-endian; zero here";
        GVA   6 1 "utval holds a guest-virtual address";
        SPV   7 1 "V before the trap to HU, and after huret";
        SPVP  8 1 "privilege of the guest before the trap to HU, and after huret";
        HU    9 1 "a read-only copy of hstatus.HU";
        VGEIN 12 6 "which guest external interrupt; zero here";
        VTVM 20 1 "satp and sfence.vma trap in VS";
        VTW  21 1 "wfi traps in VS";
        VTSR 22 1 "sret traps in VS";
        TA   24 1 "a trap to HU is being handled";
        GLF  25 1 "a guest load or store of HU faulted";
        VIE  26 1 "the guest may post through vipi0 to vipi3";
        VSXL 32 2 "width of VS; 2 for 64 bits";
    }

    /// Fields of `menvcfg` and `henvcfg`; `senvcfg` has the lower ones, up to CBZE.
    ENVCFG {
        FIOM  0 1 "fences of device accesses order memory too";
        CBIE  4 2 "cbo.inval: 0 traps, 1 flushes, 3 invalidates";
        CBCFE 6 1 "cbo.clean and cbo.flush are legal";
        CBZE  7 1 "cbo.zero is legal";
        ADUE 61 1 "hardware updates A and D (Svadu)";
        PBMTE 62 1 "page-based memory types (Svpbmt)";
        STCE 63 1 "stimecmp exists (Sstc)";
    }

    /// Bits of `mip`, `mie` and their views: the interrupts by number.
    MIP {
        USIP   0 1 "user software";
        SSIP   1 1 "supervisor software";
        VSSIP  2 1 "virtual supervisor software";
        MSIP   3 1 "machine software";
        UTIP   4 1 "user timer";
        STIP   5 1 "supervisor timer";
        VSTIP  6 1 "virtual supervisor timer";
        MTIP   7 1 "machine timer";
        UEIP   8 1 "user external";
        SEIP   9 1 "supervisor external";
        VSEIP 10 1 "virtual supervisor external";
        MEIP  11 1 "machine external";
        SGEIP 12 1 "supervisor guest external";
    }

    /// Fields of `mtvec`, `stvec`, `vstvec` and `utvec`.
    TVEC {
        MODE 0 2 "0 direct, 1 vectored";
        BASE 2 62 "address of the handler, shifted right by two";
    }

    /// Fields of `fcsr`.
    FCSR {
        NX  0 1 "inexact";
        UF  1 1 "underflow";
        OF  2 1 "overflow";
        DZ  3 1 "division by zero";
        NV  4 1 "invalid operation";
        FRM 5 3 "rounding mode";
    }

    /// Fields of `satp` and `vsatp`.
    SATP {
        PPN   0 44 "page number of the root table";
        ASID 44 16 "address space";
        MODE 60  4 "0 Bare, 8 Sv39, 9 Sv48, 10 Sv57";
    }

    /// Fields of `hgatp` and `hugatp`.
    HGATP {
        PPN   0 44 "page number of the root table";
        VMID 44 14 "virtual machine";
        MODE 60  4 "0 Bare, 8 Sv39x4, 9 Sv48x4, 10 Sv57x4";
    }

    /// Fields of one byte of `pmpcfg`.
    PMPCFG {
        R 0 1 "read";
        W 1 1 "write";
        X 2 1 "execute";
        A 3 2 "0 off, 1 TOR, 2 NA4, 3 NAPOT";
        V 5 1 "for accesses of a guest of HU, and for no other (DV-ext)";
        L 7 1 "locked, and binding M";
    }

    /// Fields of a page-table entry.
    PTE {
        V 0 1 "valid";
        R 1 1 "readable";
        W 2 1 "writable";
        X 3 1 "executable";
        U 4 1 "of U";
        G 5 1 "in all address spaces";
        A 6 1 "accessed";
        D 7 1 "dirty";
        RSW 8 2 "for software";
        PPN 10 44 "page number";
        RESERVED 54 7 "has to be zero";
        PBMT 61 2 "memory type (Svpbmt): 0 as the memory has it, 1 NC, 2 IO";
        N 63 1 "part of a larger naturally aligned range (Svnapot)";
    }

    /// Fields of `vtimectl` (DV-ext).
    VTIMECTL {
        EN  0 1 "the timer runs";
        IRQ 1 6 "interrupt that it raises: 4 UTIMER, 6 VSTIP without an exit";
    }

    /// Fields of `hu_vitr` (DV-ext).
    #[expect(non_camel_case_types, reason = "the name of the CSR")]
    HU_VITR {
        VCPU   0 16 "id of the vCPU";
        IRQ   16  8 "interrupt: 2, 6 or 10 for the guest, 0 a kick";
        LEVEL 24  1 "raise or lower";
    }
}

/// Number of bits of `h_vmid` that count, those of `hugatp.VMID`.
pub const VMID_BITS: u8 = HGATP::VMID.width;

/// Values of `satp.MODE`, `vsatp.MODE`, `hgatp.MODE` and `hugatp.MODE`.
pub mod atp_mode {
    /// No translation.
    pub const BARE: u64 = 0;
    /// Sv39 or Sv39x4.
    pub const SV39: u64 = 8;
    /// Sv48 or Sv48x4.
    pub const SV48: u64 = 9;
    /// Sv57 or Sv57x4.
    pub const SV57: u64 = 10;
}
