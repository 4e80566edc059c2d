//! Requests as Linux's virtio_blk sends them, failing disks, and the overlay against a model.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::mmio::VirtioMmio;
use super::super::queue::Broken;
use super::super::testing::{Driver, Space};
use super::*;
use crate::{Device, Width};

/// A disk in memory that can be told to fail, and counts its flushes.
#[derive(Clone, Debug, Default)]
struct Fake {
    bytes: Vec<u8>,
    fails_from: Option<u64>,
    flushes: u32,
}

impl Disk for Fake {
    fn sectors(&self) -> u64 {
        self.bytes.len() as u64 / SECTOR
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        if self.fails_from.is_some_and(|from| sector + buf.len() as u64 / SECTOR > from) {
            return Err(DiskError::Host);
        }
        let begin = usize::try_from(sector * SECTOR).unwrap();
        buf.copy_from_slice(&self.bytes[begin..begin + buf.len()]);
        Ok(())
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        if self.fails_from.is_some_and(|from| sector >= from) {
            return Err(DiskError::Host);
        }
        let begin = usize::try_from(sector * SECTOR).unwrap();
        self.bytes[begin..begin + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.flushes += 1;
        if self.fails_from.is_some() { Err(DiskError::Host) } else { Ok(()) }
    }

    fn read_only(&self) -> bool {
        false
    }
}

impl Digest for Fake {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&self.bytes);
    }
}

fn patterned(sectors: usize) -> Vec<u8> {
    (0..sectors * 512).map(|at| low(at / 512 * 7 + at)).collect()
}

fn low(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

fn fake(sectors: usize) -> Fake {
    Fake { bytes: patterned(sectors), ..Fake::default() }
}

fn start<D: Disk>(disk: D) -> Driver<Block<D>> {
    Driver::start(Block::new(disk, "duvisor-0", 1000), u64::MAX)
}

/// Sends one request; the length reported, the status byte.
fn request<D: Disk>(
    driver: &mut Driver<Block<D>>,
    kind: u32,
    sector: u64,
    out: &[Space],
    into: &[Space],
) -> (u32, u8) {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    let header = driver.filled(&header);
    let status = driver.filled(&[0xff]);
    let out: Vec<Space> = std::iter::once(header).chain(out.iter().copied()).collect();
    let into: Vec<Space> = into.iter().copied().chain(std::iter::once(status)).collect();
    driver.submit(0, &out, &into);
    let used = driver.finish(0);
    assert_eq!(used.len(), 1);
    (used[0], driver.bytes(status)[0])
}

#[test]
fn the_configuration_tells_capacity_and_limits() {
    let mut mmio = VirtioMmio::new(Block::new(fake(9), "", 0));
    assert_eq!(mmio.read(0x100, Width::Double), Ok(9));
    assert_eq!(mmio.read(0x108, Width::Word), Ok(u64::from(SIZE_MAX)));
    assert_eq!(mmio.read(0x10c, Width::Word), Ok(u64::from(SEG_MAX)));
    assert_eq!(mmio.read(0x114, Width::Word), Ok(512));
    assert_eq!(mmio.read(8, Width::Word), Ok(2));
}

#[test]
fn linux_reads_and_writes() {
    let mut driver = start(fake(300));
    let pieces = [driver.space(512), driver.space(1024)];
    assert_eq!(request(&mut driver, BLK_IN, 3, &[], &pieces), (1537, BLK_S_OK));
    let all = patterned(300);
    assert_eq!(driver.bytes(pieces[0]), all[3 * 512..4 * 512]);
    assert_eq!(driver.bytes(pieces[1]), all[4 * 512..6 * 512]);
    // More than one piece of the copy loop.
    let large = driver.filled(&vec![0x5a; 200 * 512]);
    assert_eq!(request(&mut driver, BLK_OUT, 100, &[large], &[]), (1, BLK_S_OK));
    let bytes = &driver.mmio.device().disk().bytes;
    assert!(bytes[100 * 512..].iter().all(|byte| *byte == 0x5a));
    assert_eq!(bytes[..100 * 512], all[..100 * 512]);
    assert_eq!(driver.mmio.device().disk().flushes, 0);
    assert_eq!(request(&mut driver, BLK_FLUSH, 0, &[], &[]), (1, BLK_S_OK));
    assert_eq!(driver.mmio.device().disk().flushes, 1);
}

#[test]
fn the_id_is_padded_with_zeros() {
    let mut driver = start(fake(1));
    let id = driver.space(20);
    assert_eq!(request(&mut driver, BLK_GET_ID, 0, &[], &[id]), (21, BLK_S_OK));
    assert_eq!(driver.bytes(id), b"duvisor-0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn bad_requests_get_a_status() {
    let mut driver = start(fake(8));
    let buffer = driver.space(1024);
    let odd = driver.space(100);
    let (sectors, far) = (driver.mmio.device().disk().sectors(), u64::MAX);
    for (kind, sector, out, into, status) in [
        (BLK_IN, sectors - 1, None, Some(buffer), BLK_S_IOERR),
        (BLK_IN, far, None, Some(buffer), BLK_S_IOERR),
        (BLK_IN, 0, None, Some(odd), BLK_S_IOERR),
        (BLK_OUT, sectors - 1, Some(buffer), None, BLK_S_IOERR),
        (BLK_OUT, 0, Some(odd), None, BLK_S_IOERR),
        (99, 0, Some(buffer), None, BLK_S_UNSUPP),
    ] {
        let out: Vec<Space> = out.into_iter().collect();
        let into: Vec<Space> = into.into_iter().collect();
        let (_, got) = request(&mut driver, kind, sector, &out, &into);
        assert_eq!(got, status, "{kind} {sector}");
    }
    assert_eq!(driver.mmio.device().disk().bytes, patterned(8));
    assert_eq!(driver.mmio.broken(), None);
}

#[test]
fn a_host_failure_is_an_error_status() {
    let mut driver = start(Fake { fails_from: Some(128), ..fake(300) });
    let buffer = driver.space(256 * 512);
    let (written, status) = request(&mut driver, BLK_IN, 0, &[], &[buffer]);
    assert_eq!((written, status), (64 << 10, BLK_S_IOERR), "one piece arrived");
    assert_eq!(request(&mut driver, BLK_OUT, 200, &[buffer], &[]).1, BLK_S_IOERR);
    assert_eq!(request(&mut driver, BLK_FLUSH, 0, &[], &[]).1, BLK_S_IOERR);
}

#[test]
fn read_only_is_a_feature_and_a_refusal() {
    let image: Arc<[u8]> = patterned(4).into();
    let mut driver = start(image);
    assert_ne!(driver.features & BLK_F_RO, 0);
    let buffer = driver.space(512);
    assert_eq!(request(&mut driver, BLK_OUT, 0, &[buffer], &[]).1, BLK_S_IOERR);
    assert_eq!(request(&mut driver, BLK_IN, 3, &[], &[buffer]).1, BLK_S_OK);
    assert_eq!(driver.bytes(buffer), patterned(4)[3 * 512..]);
}

#[test]
fn without_flush_every_write_is_through() {
    let mut driver = Driver::start(Block::new(fake(4), "", 0), !BLK_F_FLUSH);
    let buffer = driver.space(512);
    assert_eq!(request(&mut driver, BLK_OUT, 0, &[buffer], &[]).1, BLK_S_OK);
    assert_eq!(driver.mmio.device().disk().flushes, 1);
}

#[test]
fn a_request_without_header_or_status_breaks_the_device() {
    for (readable, writable) in [(15, 1), (16, 0)] {
        let mut driver = start(fake(4));
        let header = driver.space(readable);
        let status = driver.space(writable);
        driver.submit(0, &[header], &[status]);
        driver.run();
        assert_eq!(driver.mmio.broken(), Some(Broken::Request));
    }
}

#[test]
fn a_full_overlay_fails_the_write() {
    let base: Arc<[u8]> = patterned(64).into();
    let mut disk = CowDisk::new(base, 8192);
    assert_eq!(disk.write(7, &[1; 1024]), Ok(()), "two clusters");
    assert_eq!(disk.write(16, &[1; 512]), Err(DiskError::Full));
    assert_eq!(disk.write(15, &[2; 512]), Ok(()));
    assert_eq!(disk.overlay_bytes(), 8192);
    assert_eq!(disk.read(u64::MAX, &mut [0; 512]), Err(DiskError::OutOfRange));
    assert_eq!(disk.read(0, &mut [0; 100]), Err(DiskError::OutOfRange));
    assert_eq!(disk.write(63, &[0; 1024]), Err(DiskError::OutOfRange));
}

#[test]
fn a_clone_of_an_overlay_is_a_private_copy() {
    let base: Arc<[u8]> = patterned(16).into();
    let mut first = CowDisk::new(base, 1 << 20);
    first.write(0, &[1; 512]).unwrap();
    let mut second = first.clone();
    second.write(0, &[2; 512]).unwrap();
    let mut buf = [0; 512];
    first.read(0, &mut buf).unwrap();
    assert_eq!(buf, [1; 512]);
    let feed = |disk: &CowDisk<Arc<[u8]>>| {
        let mut bytes = Vec::new();
        disk.digest(&mut |part| bytes.extend_from_slice(part));
        bytes
    };
    assert_ne!(feed(&first), feed(&second));
}

proptest! {
    #[test]
    fn an_overlay_is_like_a_disk_of_its_own(
        sectors in 1usize..50,
        accesses in prop::collection::vec(
            (any::<bool>(), 0u64..52, 0usize..30, any::<u8>()), 0..40
        ),
    ) {
        let mut model = patterned(sectors);
        let base: Arc<[u8]> = model.clone().into();
        let mut disk = CowDisk::new(base.clone(), 1 << 20);
        for (write, sector, count, byte) in accesses {
            let begin = usize::try_from(sector).unwrap() * 512;
            let range = begin..begin + count * 512;
            let fits = range.end <= model.len();
            let mut buf = vec![byte; count * 512];
            if write {
                prop_assert_eq!(disk.write(sector, &buf).is_ok(), fits);
                if fits {
                    model[range].copy_from_slice(&buf);
                }
            } else {
                prop_assert_eq!(disk.read(sector, &mut buf).is_ok(), fits);
                if fits {
                    prop_assert_eq!(&buf, &model[range]);
                }
            }
        }
        prop_assert_eq!(&base[..], &patterned(sectors)[..], "the base is never written");
    }
}
