//! Where in a run something happened.

/// Index of a vCPU (or, in machine mode, of a hart) within its VM, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VcpuId(pub u16);

impl VcpuId {
    /// As an index into a slice of vCPUs.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A moment of a run: how many steps the VM has made, and how many events it has sent.
///
/// A *step* is one attempted instruction or one trap taken. The VM's step is the sum over its
/// vCPUs in schedule order; it rises also when nothing retires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Position {
    /// Steps made by all vCPUs together since the VM started.
    pub step: u64,
    /// Sequence number of the next event.
    pub seq: u64,
}
