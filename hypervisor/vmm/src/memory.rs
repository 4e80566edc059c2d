//! Guest RAM: the first window of the grant as guest-physical addresses, and who may use it how.

use devices::virtio::{BadAddress, GuestMemory};
use dv::{Denied, Dv};
use state::{Codec, Damaged, State};

use crate::layout::RAM_BASE;

/// What is noted as touched, and zeroed at a reset, in one piece.
const GRANULE: u64 = 2 << 20;
const ZEROS_LEN: usize = 64 << 10;
static ZEROS: [u8; ZEROS_LEN] = [0; ZEROS_LEN];

/// The guest's RAM.
#[derive(Debug)]
pub(crate) struct Ram {
    // Fixed configuration.
    hpa: u64,
    size: u64,
    // Runtime state.
    /// One flag per granule: something may have been written there.
    touched: Vec<bool>,
}

impl Ram {
    /// RAM of `size` bytes at the begin of the window at `hpa`.
    pub(crate) fn new(hpa: u64, size: u64) -> Self {
        let granules = usize::try_from(size.div_ceil(GRANULE)).unwrap_or(0);
        Self { hpa, size, touched: vec![false; granules] }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether `gpa` is an address of RAM.
    pub(crate) fn contains(&self, gpa: u64) -> bool {
        gpa.wrapping_sub(RAM_BASE) < self.size
    }

    /// Whether all of these bytes are RAM.
    pub(crate) fn holds(&self, gpa: u64, len: u64) -> bool {
        let offset = gpa.wrapping_sub(RAM_BASE);
        offset <= self.size && len <= self.size - offset
    }

    /// The physical address behind `gpa`, which is in RAM.
    pub(crate) fn hpa_of(&self, gpa: u64) -> u64 {
        self.hpa.wrapping_add(gpa.wrapping_sub(RAM_BASE))
    }

    /// Notes that these bytes, which are in RAM, may be written from now on.
    pub(crate) fn touch(&mut self, gpa: u64, len: u64) {
        let offset = gpa.wrapping_sub(RAM_BASE);
        let first = usize::try_from(offset / GRANULE).unwrap_or(usize::MAX);
        let last = usize::try_from((offset + len.max(1) - 1) / GRANULE).unwrap_or(usize::MAX);
        for flag in self.touched.iter_mut().take(last.saturating_add(1)).skip(first) {
            *flag = true;
        }
    }

    /// Reads RAM for the VM plane.
    pub(crate) fn read<D: Dv>(&self, dv: &D, gpa: u64, buf: &mut [u8]) -> Result<(), BadAddress> {
        if !self.holds(gpa, buf.len() as u64) {
            return Err(BadAddress(gpa));
        }
        dv.read(self.hpa_of(gpa), buf).or(Err(BadAddress(gpa)))
    }

    /// Writes RAM for the VM plane.
    pub(crate) fn write<D: Dv>(
        &mut self,
        dv: &mut D,
        gpa: u64,
        bytes: &[u8],
    ) -> Result<(), BadAddress> {
        if !self.holds(gpa, bytes.len() as u64) {
            return Err(BadAddress(gpa));
        }
        self.touch(gpa, bytes.len() as u64);
        dv.write(self.hpa_of(gpa), bytes).or(Err(BadAddress(gpa)))
    }

    /// Zeroes all that may have been written since the last time.
    pub(crate) fn wipe<D: Dv>(&mut self, dv: &mut D) -> Result<(), Denied> {
        let (hpa, size) = (self.hpa, self.size);
        for (flag, index) in self.touched.iter_mut().zip(0..) {
            let offset = index * GRANULE;
            if std::mem::take(flag) {
                zero(dv, hpa + offset, GRANULE.min(size - offset))?;
            }
        }
        Ok(())
    }
}

impl State for Ram {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.each(&mut self.touched, |codec, touched| codec.bool(touched))
    }
}

/// Zeroes granted memory.
pub(crate) fn zero<D: Dv>(dv: &mut D, hpa: u64, len: u64) -> Result<(), Denied> {
    for offset in (0..len).step_by(ZEROS_LEN) {
        let n = usize::try_from(len - offset).unwrap_or(ZEROS_LEN).min(ZEROS_LEN);
        dv.write(hpa + offset, &ZEROS[..n])?;
    }
    Ok(())
}

/// Guest RAM as devices see it.
#[derive(Debug)]
pub(crate) struct DmaView<'a, D> {
    pub(crate) ram: &'a mut Ram,
    pub(crate) dv: &'a mut D,
}

impl<D: Dv> GuestMemory for DmaView<'_, D> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), BadAddress> {
        self.ram.read(self.dv, addr, buf)
    }

    fn write(&mut self, addr: u64, buf: &[u8]) -> Result<(), BadAddress> {
        if !self.ram.holds(addr, buf.len() as u64) {
            return Err(BadAddress(addr));
        }
        self.ram.touch(addr, buf.len() as u64);
        self.dv.dma(self.ram.hpa_of(addr), buf).or(Err(BadAddress(addr)))
    }
}
