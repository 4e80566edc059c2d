//! What is seen of an image, and what a replay makes of it.

use super::*;
use crate::virtio::block::CowDisk;

/// An image that can fail.
#[derive(Clone, Debug)]
struct Image {
    bytes: Vec<u8>,
    fails: bool,
    reads: u32,
}

impl Digest for Image {
    fn digest(&self, _sink: &mut dyn FnMut(&[u8])) {}
}

impl Disk for Image {
    fn sectors(&self) -> u64 {
        self.bytes.len() as u64 / SECTOR
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.reads += 1;
        let begin = usize::try_from(sector * SECTOR).unwrap();
        buf.copy_from_slice(&self.bytes[begin..begin + buf.len()]);
        if self.fails { Err(DiskError::Host) } else { Ok(()) }
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        let begin = usize::try_from(sector * SECTOR).unwrap();
        self.bytes[begin..begin + buf.len()].copy_from_slice(buf);
        if self.fails { Err(DiskError::Host) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn read_only(&self) -> bool {
        false
    }
}

/// Two blocks and a sector.
fn image() -> Image {
    let bytes = (0..2 * BLOCK_BYTES + 512).map(|at| (at / 512 * 3 + at).to_le_bytes()[0]);
    Image { bytes: bytes.collect(), fails: false, reads: 0 }
}

/// No hash at all, but different for different sums.
fn sum(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    let sum: u64 = bytes.iter().zip(1..).map(|(byte, at)| u64::from(*byte) * at).sum();
    hash[..8].copy_from_slice(&sum.to_le_bytes());
    hash[8..16].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    hash
}

fn read(disk: &mut dyn Disk, sector: u64, count: usize) -> Vec<u8> {
    let mut buf = vec![0; count * 512];
    disk.read(sector, &mut buf).unwrap();
    buf
}

#[test]
fn a_block_is_seen_once() {
    let fresh = image();
    let mut disk = Recorded::new(image(), sum);
    assert_eq!(read(&mut disk, 127, 2), fresh.bytes[127 * 512..129 * 512]);
    read(&mut disk, 3, 1);
    let block = |n: usize, bytes: &[u8]| Seen::Block { block: n as u64, hash: sum(bytes) };
    let (first, rest) = fresh.bytes.split_at(BLOCK_BYTES);
    let (second, last) = rest.split_at(BLOCK_BYTES);
    assert_eq!(disk.take_seen(), [block(0, first), block(1, second)]);
    read(&mut disk, 256, 1);
    assert_eq!(disk.take_seen(), [block(2, last)], "the last one may be shorter");
    read(&mut disk, 0, 257);
    assert_eq!((disk.take_seen(), disk.trouble()), (Vec::new(), None));
}

#[test]
fn what_was_written_in_place_is_read_as_it_was() {
    let fresh = image();
    let mut disk = Recorded::new(image(), sum);
    disk.write(250, &[9; 4 * 512]).unwrap();
    disk.write(251, &[8; 512]).unwrap();
    let pages: Vec<u64> = disk
        .take_seen()
        .into_iter()
        .map(|seen| match seen {
            Seen::Page { page, before } => {
                let begin = usize::try_from(page).unwrap() * PAGE;
                assert_eq!(before[..], fresh.bytes[begin..begin + PAGE]);
                page
            }
            Seen::Block { .. } => panic!("no guest has read it"),
        })
        .collect();
    assert_eq!(pages, [31]);
    assert_eq!(disk.image.bytes[250 * 512], 9);
    assert_eq!(read(&mut disk, 0, 257), fresh.bytes);
    let hash = sum(&fresh.bytes[BLOCK_BYTES..2 * BLOCK_BYTES]);
    assert!(disk.take_seen().contains(&Seen::Block { block: 1, hash }), "as it was at the begin");
}

#[test]
fn a_replay_over_the_written_image_is_the_same_and_writes_nothing() {
    let mut run = CowDisk::write_through(Recorded::new(image(), sum), 1 << 20);
    let steps = |disk: &mut dyn Disk| {
        let mut heard = read(disk, 7, 3);
        disk.write(9, &[1; 4096]).unwrap();
        heard.extend(read(disk, 0, 200));
        disk.write(240, &[2; 17 * 512]).unwrap();
        disk.flush().unwrap();
        heard.extend(read(disk, 0, 257));
        heard
    };
    let heard = steps(&mut run);
    let seen = run.witness().unwrap().take_seen();
    let mut written = image();
    written.write(9, &[1; 4096]).unwrap();
    written.write(240, &[2; 17 * 512]).unwrap();
    let replay = Recorded::replay(written.clone(), sum, seen);
    let mut disk = CowDisk::new(replay.clone(), 1 << 20);
    assert!(steps(&mut disk) == heard);
    assert_eq!(disk.witness().unwrap().trouble(), None);
    assert!(disk.witness().unwrap().take_seen().is_empty());
    let mut bare = replay;
    assert!(bare.read_only());
    assert_eq!(bare.write(0, &[0; 512]), Err(DiskError::ReadOnly));
    assert_eq!((bare.flush(), bare.image.bytes), (Ok(()), written.bytes));
}

#[test]
fn another_image_is_noticed_where_it_differs() {
    let mut run = Recorded::new(image(), sum);
    read(&mut run, 0, 257);
    let seen = run.take_seen();
    let mut other = image();
    other.bytes[BLOCK_BYTES + 5] ^= 1;
    let found = sum(&other.bytes[BLOCK_BYTES..2 * BLOCK_BYTES]);
    let mut disk = Recorded::replay(other, sum, seen.clone());
    read(&mut disk, 0, 1);
    assert_eq!(disk.trouble(), None);
    read(&mut disk, 200, 1);
    let Seen::Block { hash: recorded, .. } = seen[1] else { panic!("{:?}", seen[1]) };
    let trouble = Trouble::Changed { block: 1, recorded, found };
    assert_eq!(disk.trouble(), Some(trouble));
    let text = trouble.to_string();
    assert!(text.starts_with("block 1 (64 KiB each) of the disk image has the hash "), "{text}");
    read(&mut disk, 256, 1);
    assert_eq!(disk.trouble(), Some(trouble), "the first one stays");
}

#[test]
fn a_failure_of_the_host_is_remembered() {
    let mut disk = Recorded::new(Image { fails: true, ..image() }, sum);
    assert_eq!(disk.read(0, &mut [0; 512]), Err(DiskError::Host));
    assert_eq!((disk.take_seen(), disk.trouble()), (Vec::new(), Some(Trouble::Host)));
    assert_eq!(disk.write(0, &[0; 512]), Err(DiskError::Host));
    assert_eq!(disk.read(u64::MAX, &mut [0; 512]), Err(DiskError::OutOfRange));
    let mut disk = Recorded::new(image(), sum);
    assert_eq!(disk.read(257, &mut [0; 512]), Err(DiskError::OutOfRange));
    assert_eq!(disk.trouble(), None, "that is the guest's");
}
