//! For tests: fails, stops or kills the process at any step of a record's way to the disk, and
//! tells what a power cut would leave. Of the calling thread alone.

use std::cell::RefCell;
use std::io;

/// What is about to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step<'a> {
    Create,
    Write(&'a [u8]),
    Sync,
    Rename,
    SyncFolder,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The process ends here and now.
    Abort,
    /// This step fails, those after it do not.
    Once,
    /// This step and all after it fail, as if the process had been killed.
    Stop,
}

/// A sync that the disk takes no notice of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LostSync {
    Bytes,
    Names,
}

/// One record on a disk: what is there for certain, and what the process sees.
#[derive(Clone, Debug, Default)]
struct Disk {
    armed: Option<(usize, Fault)>,
    lost: Option<LostSync>,
    /// Under its own name: what is seen there if the rename arrives.
    renamed: Option<Vec<u8>>,
    struck: bool,
    sure: Option<Vec<u8>>,
    synced: Vec<u8>,
    written: Vec<u8>,
}

thread_local! {
    static DISK: RefCell<Disk> = RefCell::default();
}

/// A new disk without a record.
pub(crate) fn begin(lost: Option<LostSync>) {
    DISK.set(Disk { lost, ..Disk::default() });
}

/// Lets the step with this number, counted from now on, fail.
pub(crate) fn arm(number: usize, fault: Fault) {
    DISK.with_borrow_mut(|disk| disk.armed = Some((number, fault)));
}

/// From now on nothing fails; whether something has.
pub(crate) fn disarm() -> bool {
    DISK.with_borrow_mut(|disk| {
        disk.armed = None;
        std::mem::take(&mut disk.struck)
    })
}

/// The record after a power cut at which nothing arrived that was not synced.
pub(crate) fn after_power_cut() -> Option<Vec<u8>> {
    DISK.with_borrow(|disk| disk.sure.clone())
}

pub(super) fn before(step: Step<'_>) -> io::Result<()> {
    DISK.with_borrow_mut(|disk| {
        disk.strike()?;
        match step {
            Step::Create => (disk.synced, disk.written) = (Vec::new(), Vec::new()),
            Step::Write(content) => disk.written = content.to_vec(),
            Step::Sync if disk.lost == Some(LostSync::Bytes) => {}
            Step::Sync => disk.synced.clone_from(&disk.written),
            Step::Rename => disk.renamed = Some(disk.synced.clone()),
            Step::SyncFolder if disk.lost == Some(LostSync::Names) => {}
            Step::SyncFolder => disk.sure.clone_from(&disk.renamed),
        }
        Ok(())
    })
}

impl Disk {
    fn strike(&mut self) -> io::Result<()> {
        match &mut self.armed {
            None => return Ok(()),
            Some((left, _)) if *left > 0 => {
                *left -= 1;
                return Ok(());
            }
            Some((_, Fault::Abort)) => std::process::abort(),
            Some((_, Fault::Stop)) => {}
            Some((_, Fault::Once)) => self.armed = None,
        }
        self.struck = true;
        Err(io::Error::other("a failure made by the test"))
    }
}
