//! Causes of traps: numbers, names and short names (table)

use core::fmt;

macro_rules! causes {
    ($(#[$meta:meta])* $Type:ident { $(
        $(#[$doc:meta])* $cause:ident $code:literal $short:literal $name:literal;
    )* }) => {
        $(#[$meta])*
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $Type { $( #[doc = concat!($name, ".")] $(#[$doc])* $cause = $code, )* }

        impl $Type {
            /// All of them by rising number.
            pub const ALL: &'static [Self] = &[$( Self::$cause, )*];

            /// The number in a cause CSR, without the interrupt bit.
            pub const fn code(self) -> u64 {
                self as u64
            }

            /// The bit for it in a delegation, enable or pending CSR.
            pub const fn bit(self) -> u64 {
                1 << self.code()
            }

            /// The one of this number.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code { $( $code => Some(Self::$cause), )* _ => None }
            }

            /// The name in the manual's words.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$cause => $name, )* }
            }

            /// A name without spaces for columns and queries.
            pub const fn short_name(self) -> &'static str {
                match self { $( Self::$cause => $short, )* }
            }

            /// The one of this short name.
            pub fn from_short_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|cause| cause.short_name() == name)
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

causes! {
    /// Exceptions, by the number in the cause CSRs. Double trap (16), software check (18) and
    /// hardware error (19) are never raised by what is modelled.
    Exception {
        InstructionMisaligned    0 "insn-misaligned"  "instruction address misaligned";
        InstructionAccessFault   1 "insn-access"      "instruction access fault";
        IllegalInstruction       2 "illegal"          "illegal instruction";
        Breakpoint               3 "breakpoint"       "breakpoint";
        LoadMisaligned           4 "load-misaligned"  "load address misaligned";
        LoadAccessFault          5 "load-access"      "load access fault";
        StoreMisaligned          6 "store-misaligned" "store/AMO address misaligned";
        StoreAccessFault         7 "store-access"     "store/AMO access fault";
        EcallFromU               8 "ecall-u"          "environment call from U or VU";
        EcallFromHs              9 "ecall-hs"         "environment call from HS";
        EcallFromVs             10 "ecall-vs"         "environment call from VS";
        EcallFromM              11 "ecall-m"          "environment call from M";
        InstructionPageFault    12 "insn-page"        "instruction page fault";
        LoadPageFault           13 "load-page"        "load page fault";
        StorePageFault          15 "store-page"       "store/AMO page fault";
        InstructionGuestPageFault 20 "insn-gpage"     "instruction guest-page fault";
        LoadGuestPageFault      21 "load-gpage"       "load guest-page fault";
        VirtualInstruction      22 "virtual-insn"     "virtual instruction";
        StoreGuestPageFault     23 "store-gpage"      "store/AMO guest-page fault";
        /// DV-ext: a vCPU id that does not exist or belongs to another VM, or an interrupt that
        /// may not be posted. Always taken to HS.
        DvFault                 24 "dv-fault"         "DV fault";
    }
}

causes! {
    /// Interrupts, by the number in the cause CSRs, which is also their bit in `mip` and `mie`.
    Interrupt {
        UserSoftware               0 "usi"  "user software interrupt";
        SupervisorSoftware         1 "ssi"  "supervisor software interrupt";
        VirtualSupervisorSoftware  2 "vssi" "virtual supervisor software interrupt";
        MachineSoftware            3 "msi"  "machine software interrupt";
        UserTimer                  4 "uti"  "user timer interrupt";
        SupervisorTimer            5 "sti"  "supervisor timer interrupt";
        VirtualSupervisorTimer     6 "vsti" "virtual supervisor timer interrupt";
        MachineTimer               7 "mti"  "machine timer interrupt";
        UserExternal               8 "uei"  "user external interrupt";
        SupervisorExternal         9 "sei"  "supervisor external interrupt";
        VirtualSupervisorExternal 10 "vsei" "virtual supervisor external interrupt";
        MachineExternal           11 "mei"  "machine external interrupt";
        SupervisorGuestExternal   12 "sgei" "supervisor guest external interrupt";
    }
}

impl Exception {
    /// DV-ext: what HS can delegate to HU, the bits of `sedeleg` that can be set.
    pub const DELEGABLE_TO_HU: &'static [Self] = &[
        Self::InstructionAccessFault,
        Self::IllegalInstruction,
        Self::Breakpoint,
        Self::LoadMisaligned,
        Self::LoadAccessFault,
        Self::StoreMisaligned,
        Self::StoreAccessFault,
        Self::EcallFromVs,
        Self::InstructionGuestPageFault,
        Self::LoadGuestPageFault,
        Self::VirtualInstruction,
        Self::StoreGuestPageFault,
    ];

    /// [`Exception::DELEGABLE_TO_HU`] as a mask.
    pub const SEDELEG_MASK: u64 = {
        let (mut mask, mut i) = (0, 0);
        while i < Self::DELEGABLE_TO_HU.len() {
            mask |= Self::DELEGABLE_TO_HU[i].bit();
            i += 1;
        }
        mask
    };

    /// Whether it is one of the three guest-page faults (20, 21 and 23).
    pub const fn is_guest_page_fault(self) -> bool {
        matches!(
            self,
            Self::InstructionGuestPageFault | Self::LoadGuestPageFault | Self::StoreGuestPageFault
        )
    }
}

impl Interrupt {
    /// DV-ext: what HS can delegate to HU, the bits of `sideleg` that can be set.
    pub const DELEGABLE_TO_HU: &'static [Self] =
        &[Self::UserSoftware, Self::UserTimer, Self::UserExternal];

    /// [`Interrupt::DELEGABLE_TO_HU`] as a mask.
    pub const SIDELEG_MASK: u64 =
        Self::UserSoftware.bit() | Self::UserTimer.bit() | Self::UserExternal.bit();
}

/// Why a trap was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// An instruction could not complete.
    Exception(Exception),
    /// Something else wanted the hart.
    Interrupt(Interrupt),
}

impl Cause {
    /// The bit that tells an interrupt in a cause CSR.
    pub const INTERRUPT_BIT: u64 = 1 << 63;

    /// The value of the cause CSR.
    pub const fn bits(self) -> u64 {
        match self {
            Self::Exception(exception) => exception.code(),
            Self::Interrupt(interrupt) => interrupt.code() | Self::INTERRUPT_BIT,
        }
    }

    /// The cause that a cause CSR tells, if there is such a cause.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        let code = bits & !Self::INTERRUPT_BIT;
        if bits == code {
            match Exception::from_code(code) {
                Some(exception) => Some(Self::Exception(exception)),
                None => None,
            }
        } else {
            match Interrupt::from_code(code) {
                Some(interrupt) => Some(Self::Interrupt(interrupt)),
                None => None,
            }
        }
    }

    /// The number without the interrupt bit.
    pub const fn code(self) -> u64 {
        self.bits() & !Self::INTERRUPT_BIT
    }

    /// Whether it is an interrupt.
    pub const fn is_interrupt(self) -> bool {
        matches!(self, Self::Interrupt(_))
    }

    /// The name in the manual's words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exception(exception) => exception.name(),
            Self::Interrupt(interrupt) => interrupt.name(),
        }
    }

    /// A name without spaces for columns and queries.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Exception(exception) => exception.short_name(),
            Self::Interrupt(interrupt) => interrupt.short_name(),
        }
    }
}

impl From<Exception> for Cause {
    fn from(exception: Exception) -> Self {
        Self::Exception(exception)
    }
}

impl From<Interrupt> for Cause {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupt(interrupt)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
