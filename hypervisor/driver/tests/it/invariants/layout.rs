//! Who has which page of RAM, and the tables that everybody begins with.
//!
//! ```text
//!   host       +0x00000  the kernel's page
//!              +0x10000  process of VM 0: code, data, its satp tables; +8 pages: read-only window
//!              +0x20000  process of VM 1
//!   windows    of VM 0 and of VM 1, as the driver gave them: RAM and pool
//!
//!   a process  0x10000 code   0x20000 data   0x30000 the kernel   0x40000 its guest's RAM
//!              0x80000 pool   0xa0000 the read-only window
//!   a guest    RAM at 0x8000_0000, identity in both stages at first
//!   its pool   +0 root, +0x4000 middle, +0x5000 leaves; and for a second VM of the same process,
//!              with the same pages in another order, +0xc000, +0x6000 and +0x7000
//! ```

use dv::Window;

use super::bus::Recorder;

/// Where RAM begins.
pub(crate) const HOST: u64 = 0x8000_0000;
/// Where a guest's RAM begins, for the guest.
pub(crate) const GPA: u64 = 0x8000_0000;
pub(crate) const RAM_PAGES: u64 = 32;
pub(crate) const POOL_PAGES: u64 = 16;
pub(crate) const READ_ONLY_PAGES: u64 = 4;
pub(crate) const N_VMS: usize = 2;

pub(crate) const HU_CODE: u64 = 0x1_0000;
pub(crate) const HU_DATA: u64 = 0x2_0000;
pub(crate) const KERNEL_VA: u64 = 0x3_0000;
pub(crate) const HU_RAM: u64 = 0x4_0000;
pub(crate) const HU_POOL: u64 = 0x8_0000;
pub(crate) const HU_READ_ONLY: u64 = 0xa_0000;

/// A root of a second VM of the same process.
pub(crate) const SECOND_ROOT: u64 = 0xc000;
/// GPA pages of the guest's tables.
pub(crate) const VS_ROOT: u64 = 28;

/// GPA pages at which the guest sees its read-only window.
pub(crate) const READ_ONLY_AT: u64 = 26;

/// A set of zones; every page is in one.
pub(crate) type Zones = u32;

/// What a page is to its VM.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The lower half of the guest's RAM.
    Low,
    /// The upper half, which the kernel may take away.
    High,
    Pool,
    /// A window that may only be read, which the kernel may take away.
    ReadOnly,
    /// Of the process.
    Code,
    Data,
    /// The process's satp tables, the kernel's.
    Tables,
}

pub(crate) const fn zone(vm: usize, part: Part) -> Zones {
    1 << (8 * vm + part as usize)
}

/// What a guest of this VM may be given.
pub(crate) const fn windows(vm: usize) -> Zones {
    executable(vm) | zone(vm, Part::Pool) | zone(vm, Part::ReadOnly)
}

/// Where it may execute.
pub(crate) const fn executable(vm: usize) -> Zones {
    zone(vm, Part::Low) | zone(vm, Part::High)
}

/// What its process has besides.
pub(crate) const fn process(vm: usize) -> Zones {
    zone(vm, Part::Code) | zone(vm, Part::Data) | zone(vm, Part::Tables)
}

const NOBODYS: Zones = 1 << 24;

/// Where the parts of a VM are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) vm: usize,
    pub(crate) ram: Window,
    pub(crate) pool: Window,
}

impl Place {
    fn process(&self) -> u64 {
        HOST + 0x1_0000 * (self.vm as u64 + 1)
    }

    pub(crate) fn code(&self) -> u64 {
        self.process()
    }

    pub(crate) fn data(&self) -> u64 {
        self.process() + 0x2000
    }

    pub(crate) fn satp_root(&self) -> u64 {
        self.process() + 0x4000
    }

    pub(crate) fn read_only(&self) -> u64 {
        self.process() + 0x8000
    }

    fn parts(&self) -> [(u64, u64, Part); 7] {
        let half = self.ram.size / 2;
        [
            (self.ram.hpa, half, Part::Low),
            (self.ram.hpa + half, half, Part::High),
            (self.pool.hpa, self.pool.size, Part::Pool),
            (self.read_only(), READ_ONLY_PAGES << 12, Part::ReadOnly),
            (self.code(), 0x2000, Part::Code),
            (self.data(), 0x2000, Part::Data),
            (self.satp_root(), 0x3000, Part::Tables),
        ]
    }
}

/// The zone of every page, or the two owners that a page has.
pub(crate) fn zones(places: &[Place], ram_size: usize) -> Result<Vec<Zones>, String> {
    let mut zones = vec![NOBODYS; ram_size >> 12];
    for place in places {
        for (hpa, size, part) in place.parts() {
            for page in (hpa - HOST) >> 12..(hpa - HOST + size) >> 12 {
                let page = usize::try_from(page).unwrap_or(usize::MAX);
                let Some(entry) = zones.get_mut(page) else {
                    return Err(format!("{part:?} of VM {} is not in RAM", place.vm));
                };
                if *entry != NOBODYS {
                    return Err(format!("{part:?} of VM {} is somebody else's", place.vm));
                }
                *entry = zone(place.vm, part);
            }
        }
    }
    Ok(zones)
}

const POINTER: u64 = 1;
/// V, R, W, X, U, A, D.
pub(crate) const LEAF: u64 = 0xdf;

pub(crate) fn pte(hpa: u64, bits: u64) -> u64 {
    hpa >> 12 << 10 | bits
}

fn set(bus: &mut Recorder, hpa: u64, value: u64) {
    bus.put(hpa, &value.to_le_bytes());
}

/// The leaf that maps a page of the guest, for the VM or the second VM of its process.
pub(crate) fn good_leaf(place: &Place, page: u64, second: bool) -> u64 {
    if (READ_ONLY_AT..VS_ROOT).contains(&page) {
        return pte(place.read_only() + ((page - READ_ONLY_AT) << 12), LEAF);
    }
    let shift = if second { 7 } else { 0 };
    pte(place.ram.hpa + (((page + shift) % RAM_PAGES) << 12), LEAF)
}

/// Tables of a VM and of its process.
pub(crate) fn build(bus: &mut Recorder, place: &Place) {
    build_process(bus, place);
    let pool = place.pool.hpa;
    for (root, middle, leaves) in [(0, 0x4000, 0x5000), (SECOND_ROOT, 0x6000, 0x7000)] {
        set(bus, pool + root + 8 * (GPA >> 30), pte(pool + middle, POINTER));
        set(bus, pool + middle, pte(pool + leaves, POINTER));
        for page in 0..RAM_PAGES {
            set(bus, pool + leaves + 8 * page, good_leaf(place, page, root != 0));
        }
    }
    // The guest's own, at their guest-physical addresses.
    let gpa = |page: u64| GPA + (page << 12);
    let table = |page: u64| place.ram.hpa + (page << 12);
    set(bus, table(VS_ROOT) + 8 * (GPA >> 30), pte(gpa(VS_ROOT + 1), POINTER));
    set(bus, table(VS_ROOT + 1), pte(gpa(VS_ROOT + 2), POINTER));
    for page in 0..RAM_PAGES {
        let user = if page % 2 == 0 { 0 } else { 0x10 };
        set(bus, table(VS_ROOT + 2) + 8 * page, pte(gpa(page), 0xcf | user));
    }
    // Leaves that were never used: hardware would set A and D, if it could write there.
    for page in 0..RAM_PAGES {
        let leaf = good_leaf(place, page, false) & !0xc0;
        set(bus, place.read_only() + 8 * page, leaf);
    }
}

fn build_process(bus: &mut Recorder, place: &Place) {
    let root = place.satp_root();
    set(bus, root, pte(root + 0x1000, POINTER));
    set(bus, root + 0x1000, pte(root + 0x2000, POINTER));
    let mut map = |va: u64, hpa: u64, pages: u64, bits: u64| {
        for page in 0..pages {
            set(bus, root + 0x2000 + 8 * ((va >> 12) + page), pte(hpa + (page << 12), bits));
        }
    };
    let (read, write, execute) = (0xd3, 0xd7, 0xdb);
    map(HU_CODE, place.code(), 2, execute);
    map(HU_DATA, place.data(), 2, write);
    map(KERNEL_VA, HOST, 1, 0xcf);
    map(HU_RAM, place.ram.hpa, RAM_PAGES, write);
    map(HU_POOL, place.pool.hpa, POOL_PAGES, write);
    map(HU_READ_ONLY, place.read_only(), READ_ONLY_PAGES, read);
}
