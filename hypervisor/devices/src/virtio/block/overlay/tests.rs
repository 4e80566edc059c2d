//! Every moment of a disk can be had again, and an image written in place follows.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::virtio::block::Hash;

/// An image of the host, which outlives the disk over it.
#[derive(Clone, Debug)]
struct Image(Arc<Mutex<Vec<u8>>>);

impl Digest for Image {
    fn digest(&self, _sink: &mut dyn FnMut(&[u8])) {}
}

impl Disk for Image {
    fn sectors(&self) -> u64 {
        self.0.lock().unwrap().len() as u64 / SECTOR
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let (begin, end) = range(self.sectors(), sector, buf.len())?;
        let (begin, end) = (usize::try_from(begin).unwrap(), usize::try_from(end).unwrap());
        buf.copy_from_slice(&self.0.lock().unwrap()[begin..end]);
        Ok(())
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        let (begin, end) = range(self.sectors(), sector, buf.len())?;
        let (begin, end) = (usize::try_from(begin).unwrap(), usize::try_from(end).unwrap());
        self.0.lock().unwrap()[begin..end].copy_from_slice(buf);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn read_only(&self) -> bool {
        false
    }
}

fn no_hash(_bytes: &[u8]) -> Hash {
    [0; 32]
}

fn all(disk: &mut dyn Disk) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(disk.sectors() * SECTOR).unwrap()];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

/// What a checkpoint of everything is.
fn pages(disk: &dyn Overlay) -> Vec<(u64, Page)> {
    disk.pages().into_iter().map(|page| (page, disk.page(page).unwrap())).collect()
}

fn restore(disk: &mut dyn Overlay, saved: &[(u64, Page)]) {
    for page in disk.pages() {
        disk.put_page(page, None).unwrap();
    }
    for (page, content) in saved {
        disk.put_page(*page, Some(content.clone())).unwrap();
    }
}

type Writes = Vec<(u64, usize, u8)>;

fn writes() -> impl Strategy<Value = Writes> {
    prop::collection::vec((0u64..60, 0usize..20, any::<u8>()), 0..8)
}

fn write_all(disk: &mut dyn Disk, writes: &Writes) {
    for (sector, count, byte) in writes {
        let _ = disk.write(*sector, &vec![*byte; count * 512]);
    }
}

fn image(sectors: usize) -> Vec<u8> {
    (0..sectors * 512).map(|at| (at / 512 * 7 + at).to_le_bytes()[0]).collect()
}

proptest! {
    #[test]
    fn epochs_undone_backwards_lead_to_each_earlier_moment(
        sectors in 1usize..60,
        limit in 0u64..10,
        epochs in prop::collection::vec(writes(), 1..6),
    ) {
        let mut disk = CowDisk::new(Arc::<[u8]>::from(image(sectors)), limit * PAGE as u64);
        disk.track(true);
        let mut moments = Vec::new();
        for writes in &epochs {
            let moment = (all(&mut disk), pages(&disk));
            write_all(&mut disk, writes);
            let dirtied = disk.next_epoch();
            prop_assert!(disk.next_epoch().is_empty());
            moments.push((moment, dirtied));
        }
        for ((content, saved), dirtied) in moments.iter().rev() {
            for Dirtied { page, before } in dirtied.clone() {
                disk.put_page(page, before).unwrap();
            }
            prop_assert_eq!(&all(&mut disk), content);
            prop_assert_eq!(&pages(&disk), saved);
        }
        prop_assert!(disk.next_epoch().is_empty(), "what is put back is not noted");
        // Forward again, in one step.
        let ((content, saved), _) = moments.last().unwrap();
        restore(&mut disk, saved);
        prop_assert_eq!(&all(&mut disk), content);
    }

    #[test]
    fn an_image_written_in_place_is_what_the_guest_sees_now(
        sectors in 1usize..60,
        first in writes(),
        second in writes(),
        other in writes(),
    ) {
        let host = Image(Arc::new(Mutex::new(image(sectors))));
        let content = || host.0.lock().unwrap().clone();
        let recorded = Recorded::new(host.clone(), no_hash);
        let mut disk = CowDisk::write_through(recorded, 1 << 20);
        write_all(&mut disk, &first);
        prop_assert_eq!(all(&mut disk), content());
        let (early, middle) = (pages(&disk), content());
        write_all(&mut disk, &second);
        let (late, end) = (pages(&disk), content());
        prop_assert_eq!(&all(&mut disk), &end);
        // In the past nothing reaches the image.
        disk.set_through(false).unwrap();
        restore(&mut disk, &early);
        prop_assert_eq!(&all(&mut disk), &middle);
        write_all(&mut disk, &second);
        prop_assert_eq!(&all(&mut disk), &end);
        prop_assert_eq!(&pages(&disk), &late);
        restore(&mut disk, &[]);
        prop_assert_eq!(all(&mut disk), image(sectors));
        prop_assert_eq!(&content(), &end);
        // From there the run goes on another way.
        write_all(&mut disk, &other);
        disk.set_through(true).unwrap();
        prop_assert_eq!(all(&mut disk), content());
        write_all(&mut disk, &first);
        prop_assert_eq!(all(&mut disk), content());
    }
}

#[test]
fn a_page_that_is_not_of_the_disk_is_refused() {
    let mut disk = CowDisk::new(Arc::<[u8]>::from(image(9)), PAGE as u64);
    let page: Page = Arc::new([1; PAGE]);
    assert_eq!(disk.put_page(1, Some(page.clone())), Ok(()), "a part of it is");
    assert_eq!(disk.put_page(2, Some(page.clone())), Err(DiskError::OutOfRange));
    assert_eq!(disk.put_page(u64::MAX, None), Err(DiskError::OutOfRange));
    assert_eq!(disk.put_page(0, Some(page.clone())), Err(DiskError::Full));
    assert_eq!(disk.put_page(1, Some(page)), Ok(()), "it is there already");
    let mut last = [0; 512];
    disk.read(8, &mut last).unwrap();
    assert_eq!(last, [1; 512]);
}

#[test]
fn the_content_that_was_handed_out_stays() {
    let mut disk = CowDisk::new(Arc::<[u8]>::from(image(8)), 1 << 20);
    disk.write(0, &[1; 4096]).unwrap();
    let before = disk.page(0).unwrap();
    disk.write(0, &[2; 4096]).unwrap();
    assert_eq!((before[0], disk.page(0).unwrap()[0]), (1, 2));
}
