//! A translator that follows the numbered steps of the manual and caches nothing.
//!
//! Privileged manual, "Virtual Address Translation Process" and "Two-Stage Address Translation";
//! it shares no code with the hart and knows the bits by their numbers.

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fetch,
    Load,
    Store,
}

/// With which rights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) prv: u8,
    pub(crate) virt: bool,
    /// The guest is HU's: `hugatp` and PMC apply.
    pub(crate) delegated: bool,
    pub(crate) hlvx: bool,
}

/// The CSRs on which translation depends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regs {
    pub(crate) mstatus: u64,
    pub(crate) vsstatus: u64,
    pub(crate) satp: u64,
    pub(crate) vsatp: u64,
    pub(crate) hgatp: u64,
    pub(crate) hugatp: u64,
    pub(crate) menvcfg: u64,
    pub(crate) henvcfg: u64,
    /// `hstatus.HU`.
    pub(crate) hu: bool,
    pub(crate) pmp: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) cause: u64,
    pub(crate) tval: u64,
    pub(crate) gva: bool,
    pub(crate) gpa: u64,
    /// The pseudo-instruction, or zero.
    pub(crate) pseudo: u64,
}

/// Physical memory that can hold page tables.
pub(crate) trait Memory {
    /// Eight bytes, or `None` where is no RAM.
    fn read(&self, hpa: u64) -> Option<u64>;
    fn write(&mut self, hpa: u64, value: u64);
}

const MXR: u64 = 1 << 19;
const SUM: u64 = 1 << 18;
const ADUE: u64 = 1 << 61;
const PBMTE: u64 = 1 << 62;
const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;

fn bit(value: u64, n: u32) -> bool {
    value >> n & 1 == 1
}

fn levels(atp: u64) -> Option<u32> {
    match atp >> 60 {
        8 => Some(3),
        9 => Some(4),
        10 => Some(5),
        _ => None,
    }
}

/// The request that a walk serves.
pub(crate) struct Walk<'a, M> {
    pub(crate) regs: &'a Regs,
    pub(crate) memory: &'a mut M,
    pub(crate) who: Who,
    pub(crate) kind: Kind,
    pub(crate) va: u64,
}

impl<M: Memory> Walk<'_, M> {
    /// The physical address, after every check.
    pub(crate) fn translate(&mut self) -> Result<u64, Fault> {
        let hpa = if self.who.virt {
            let gpa = match levels(self.regs.vsatp) {
                Some(levels) => self.first(self.regs.vsatp, levels)?,
                None => self.va,
            };
            self.second(gpa, self.kind, 0)?
        } else if self.who.prv == 3 {
            self.va
        } else {
            match levels(self.regs.satp) {
                Some(levels) => self.first(self.regs.satp, levels)?,
                None => self.va,
            }
        };
        let right = match self.kind {
            Kind::Fetch => EXECUTE,
            Kind::Load if self.who.hlvx => READ | EXECUTE,
            Kind::Load => READ,
            Kind::Store => WRITE,
        };
        if !self.allowed(hpa, right, self.who.prv) {
            return Err(self.access_fault());
        }
        Ok(hpa)
    }

    fn fault(&self, causes: [u64; 3]) -> Fault {
        let cause = match self.kind {
            Kind::Fetch => causes[0],
            Kind::Load => causes[1],
            Kind::Store => causes[2],
        };
        Fault { cause, tval: self.va, gva: self.who.virt, gpa: 0, pseudo: 0 }
    }

    fn page_fault(&self) -> Fault {
        self.fault([12, 13, 15])
    }

    fn access_fault(&self) -> Fault {
        self.fault([1, 5, 7])
    }

    fn guest_page_fault(&self, gpa: u64, pseudo: u64) -> Fault {
        Fault { gpa, pseudo, ..self.fault([20, 21, 23]) }
    }

    /// "Physical Memory Protection", with the V bit of DV-ext.
    fn allowed(&self, hpa: u64, right: u64, prv: u8) -> bool {
        let confined = self.who.delegated;
        let mut below = 0;
        for &(cfg, addr) in &self.regs.pmp {
            let previous = std::mem::replace(&mut below, addr);
            if bit(cfg, 5) != confined {
                continue;
            }
            // With G = 10 the low bits of an address are not compared.
            let (from, to) = match cfg >> 3 & 3 {
                1 => ((previous >> 10) << 12, (addr >> 10) << 12),
                3 => {
                    let ones = (addr | 0x1ff).trailing_ones();
                    let size = 1u64 << (ones + 3);
                    let base = (addr << 2) & !(size - 1);
                    (base, base + size)
                }
                _ => continue,
            };
            if from <= hpa && hpa < to {
                return (prv == 3 && !bit(cfg, 7)) || cfg & right == right;
            }
        }
        prv == 3 && !confined
    }

    /// satp's table, or vsatp's with V=1.
    fn first(&mut self, atp: u64, levels: u32) -> Result<u64, Fault> {
        let envcfg = if self.who.virt {
            self.regs.henvcfg & (self.regs.menvcfg | !(7 << 61))
        } else {
            self.regs.menvcfg
        };
        // The bits above the translated ones have to be copies of the highest of those.
        let valen = 12 + 9 * levels;
        let top = self.va.cast_signed() >> (valen - 1);
        if top != 0 && top != -1 {
            return Err(self.page_fault());
        }
        // Step 1.
        let mut a = (atp & ((1 << 44) - 1)) << 12;
        let mut i = levels - 1;
        loop {
            // Step 2.
            let vpn = self.va >> (12 + 9 * i) & 0x1ff;
            let address = a + vpn * 8;
            let hpa = self.entry_address(address, Kind::Load, 0x3000)?;
            let pte = self.read_entry(hpa)?;
            // Step 3.
            if self.is_reserved(pte, envcfg) {
                return Err(self.page_fault());
            }
            // Step 4.
            if !bit(pte, 1) && !bit(pte, 3) {
                if is_bad_pointer(pte) || i == 0 {
                    return Err(self.page_fault());
                }
                i -= 1;
                a = (pte >> 10 & ((1 << 44) - 1)) << 12;
                continue;
            }
            // Steps 5 and 6.
            let mxr =
                self.regs.mstatus & MXR != 0 || (self.who.virt && self.regs.vsstatus & MXR != 0);
            if is_misaligned(pte, i) || !self.user_ok(pte) || !self.permits(pte, self.kind, mxr) {
                return Err(self.page_fault());
            }
            // Step 7.
            let wanted = if self.kind == Kind::Store { 0xc0 } else { 0x40 };
            if pte & wanted != wanted {
                if envcfg & ADUE == 0 {
                    return Err(self.page_fault());
                }
                let hpa = self.entry_address(address, Kind::Store, 0x3020)?;
                if !self.update(hpa, pte, wanted)? {
                    // "If the values do not match, go to step 2."
                    continue;
                }
            }
            // Step 8.
            return Ok(compose(pte, self.va, i));
        }
    }

    /// Step 6, the U bit: pages of U, and SUM.
    fn user_ok(&self, pte: u64) -> bool {
        let status = if self.who.virt { self.regs.vsstatus } else { self.regs.mstatus };
        match (self.who.prv, bit(pte, 4)) {
            (0, user) => user,
            (_, true) => status & SUM != 0 && self.kind != Kind::Fetch,
            (_, false) => true,
        }
    }

    fn permits(&self, pte: u64, kind: Kind, mxr: bool) -> bool {
        let (r, w, x) = (bit(pte, 1), bit(pte, 2), bit(pte, 3));
        match kind {
            Kind::Fetch => x,
            Kind::Load if self.who.hlvx => x,
            Kind::Load => r || (mxr && x),
            Kind::Store => w,
        }
    }

    /// Where an entry of the first stage stands in physical memory.
    fn entry_address(&mut self, gpa: u64, kind: Kind, pseudo: u64) -> Result<u64, Fault> {
        if self.who.virt { self.second(gpa, kind, pseudo) } else { Ok(gpa) }
    }

    /// hgatp's or hugatp's table: the root is four times as large, and everybody is a user.
    fn second(&mut self, gpa: u64, kind: Kind, pseudo: u64) -> Result<u64, Fault> {
        let gatp = if self.who.delegated { self.regs.hugatp } else { self.regs.hgatp };
        let Some(levels) = levels(gatp) else { return Ok(gpa) };
        let fault = self.guest_page_fault(gpa, pseudo);
        if gpa >> (14 + 9 * levels) != 0 {
            return Err(fault);
        }
        let mut a = (gatp & ((1 << 44) - 4)) << 12;
        let mut i = levels - 1;
        loop {
            let wide = if i == levels - 1 { 0x7ff } else { 0x1ff };
            let hpa = a + (gpa >> (12 + 9 * i) & wide) * 8;
            let pte = self.read_entry(hpa)?;
            if self.is_reserved(pte, self.regs.menvcfg) {
                return Err(fault);
            }
            if !bit(pte, 1) && !bit(pte, 3) {
                if is_bad_pointer(pte) || i == 0 {
                    return Err(fault);
                }
                i -= 1;
                a = (pte >> 10 & ((1 << 44) - 1)) << 12;
                continue;
            }
            // For implicit accesses HLVX and MXR do not count: "explicit memory accesses".
            let permitted = match (pseudo, kind) {
                (0, _) => self.permits(pte, kind, self.regs.mstatus & MXR != 0),
                (_, Kind::Store) => bit(pte, 2),
                (_, Kind::Load | Kind::Fetch) => bit(pte, 1),
            };
            if is_misaligned(pte, i) || !bit(pte, 4) || !permitted {
                return Err(fault);
            }
            let wanted = if kind == Kind::Store { 0xc0 } else { 0x40 };
            if pte & wanted != wanted {
                if self.regs.menvcfg & ADUE == 0 {
                    return Err(fault);
                }
                if !self.update(hpa, pte, wanted)? {
                    continue;
                }
            }
            return Ok(compose(pte, gpa, i));
        }
    }

    fn read_entry(&self, hpa: u64) -> Result<u64, Fault> {
        if !self.allowed(hpa, READ, 1) {
            return Err(self.access_fault());
        }
        self.memory.read(hpa).ok_or_else(|| self.access_fault())
    }

    /// Step 7: compares and sets; false if the entry is not what was read.
    fn update(&mut self, hpa: u64, pte: u64, bits: u64) -> Result<bool, Fault> {
        if !self.allowed(hpa, WRITE, 1) {
            return Err(self.access_fault());
        }
        let now = self.memory.read(hpa).ok_or_else(|| self.access_fault())?;
        if now != pte {
            return Ok(false);
        }
        self.memory.write(hpa, pte | bits);
        Ok(true)
    }

    /// Step 3.
    fn is_reserved(&self, pte: u64, envcfg: u64) -> bool {
        let (v, r, w) = (bit(pte, 0), bit(pte, 1), bit(pte, 2));
        let pbmt = pte >> 61 & 3;
        !v || (!r && w) || pte >> 54 & 0x7f != 0 || pbmt == 3 || (pbmt != 0 && envcfg & PBMTE == 0)
    }
}

/// "For non-leaf PTEs, the D, A, and U bits are reserved", N and PBMT as well.
fn is_bad_pointer(pte: u64) -> bool {
    bit(pte, 7) || bit(pte, 6) || bit(pte, 4) || bit(pte, 63) || pte >> 61 & 3 != 0
}

/// Step 5, and "Svnapot" for leaves with N.
fn is_misaligned(pte: u64, level: u32) -> bool {
    let ppn = pte >> 10 & ((1 << 44) - 1);
    if bit(pte, 63) && (level != 0 || ppn & 15 != 8) {
        return true;
    }
    ppn & ((1 << (9 * level)) - 1) != 0
}

/// Step 8.
fn compose(pte: u64, va: u64, level: u32) -> u64 {
    let ppn = pte >> 10 & ((1 << 44) - 1);
    let low_pages = if bit(pte, 63) { 0xf } else { (1 << (9 * level)) - 1 };
    let page = (ppn & !low_pages) | (va >> 12 & low_pages);
    page << 12 | (va & 0xfff)
}
