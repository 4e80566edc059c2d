//! Privilege modes as one closed enum.

use core::fmt;

/// A privilege mode.
///
/// HU is not an encoding of its own: it is U with V=0 while `hstatus.HU` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Machine mode.
    M,
    /// Supervisor mode with V=0; plain S on a machine without H.
    Hs,
    /// User mode with V=0.
    U,
    /// User mode with V=0 of a thread that owns a VM (DV-ext).
    Hu,
    /// Virtual supervisor mode.
    Vs,
    /// Virtual user mode.
    Vu,
}

impl Mode {
    /// All modes, the most privileged first within each value of V.
    pub const ALL: [Self; 6] = [Self::M, Self::Hs, Self::U, Self::Hu, Self::Vs, Self::Vu];

    /// The mode for a nominal privilege level, V, and `hstatus.HU`; `None` for level 2 and above 3.
    pub const fn new(level: u8, virtualized: bool, hu: bool) -> Option<Self> {
        match (level, virtualized) {
            (3, _) => Some(Self::M),
            (1, false) => Some(Self::Hs),
            (1, true) => Some(Self::Vs),
            (0, true) => Some(Self::Vu),
            (0, false) => Some(if hu { Self::Hu } else { Self::U }),
            _ => None,
        }
    }

    /// The virtualization mode V: whether a guest runs.
    pub const fn is_virtual(self) -> bool {
        matches!(self, Self::Vs | Self::Vu)
    }

    /// The nominal privilege level: 3 for M, 1 for HS and VS, 0 for the user modes.
    pub const fn level(self) -> u8 {
        match self {
            Self::M => 3,
            Self::Hs | Self::Vs => 1,
            Self::U | Self::Hu | Self::Vu => 0,
        }
    }

    /// The name as the manual writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::M => "M",
            Self::Hs => "HS",
            Self::U => "U",
            Self::Hu => "HU",
            Self::Vs => "VS",
            Self::Vu => "VU",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
