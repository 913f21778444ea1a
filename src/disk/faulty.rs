//! For tests: a directory of its own, and operations of which some fail.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::io::Errno;

use super::files::{Files, System};
use super::head;
use super::open::{Locked, Opened};
use encke_core::base::record;
use encke_core::config::{Config, DataSync};
use encke_core::log::{Identity, LogEnding};
use encke_core::message::Epoch;
use std::sync::Arc;

/// A directory that is removed at the end of its test.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("encke-disk-{}-{number}", std::process::id());
        // In memory, if there is such a place: tests sync very often.
        let memory = PathBuf::from("/dev/shm");
        let place = match fs::metadata(&memory) {
            Ok(_) => memory,
            Err(_) => std::env::temp_dir(),
        };
        let path = place.join(name);
        // One of a process with the same number that was killed.
        let _ = fs::remove_dir_all(&path);
        TempDir(path)
    }

    /// A copy of the directory.
    pub(super) fn copy(&self) -> TempDir {
        let copy = TempDir::new();
        fs::create_dir(&copy.0).unwrap();
        for entry in fs::read_dir(&self.0).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.0.join(path.file_name().unwrap())).unwrap();
        }
        copy
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The result that an operation is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Errno(Errno),
    /// A write writes one byte alone; another operation works.
    Short,
    /// A write writes a part, and the next operation of any kind fails.
    Torn(Errno),
    /// The thread panics.
    Panic,
}

/// The operations that fail, of those that change something, by their numbers.
#[derive(Debug, Default)]
struct Plan {
    done: u64,
    first: u64,
    last: u64,
    fault: Option<Fault>,
    /// Syncs alone fail.
    of_syncs: Option<Errno>,
    /// The thread panics at a sync.
    syncs_panic: bool,
    /// Only syncs are affected: each lasts until the other end of this channel is dropped.
    hang: Option<Receiver<()>>,
}

/// Files of the system, of whose operations some fail.
#[derive(Debug, Default)]
pub(super) struct Faulty(Mutex<Plan>);

impl Faulty {
    pub(super) fn new() -> Arc<Faulty> {
        Arc::default()
    }

    /// The operation of this number fails, counted from now on and from 0.
    pub(super) fn fail_one(&self, number: u64, fault: Fault) {
        *self.0.lock().unwrap() = Plan {
            first: number,
            last: number,
            fault: Some(fault),
            ..Plan::default()
        };
    }

    /// All syncs fail from now on.
    pub(super) fn fail_syncs(&self, errno: Errno) {
        *self.0.lock().unwrap() = Plan {
            of_syncs: Some(errno),
            ..Plan::default()
        };
    }

    /// All syncs hang from now on, until the returned sender is dropped.
    pub(super) fn hang_syncs(&self) -> Sender<()> {
        let (release, hang) = bounded(0);
        *self.0.lock().unwrap() = Plan {
            hang: Some(hang),
            ..Plan::default()
        };
        release
    }

    /// The thread that syncs panics from now on.
    pub(super) fn panic_at_syncs(&self) {
        *self.0.lock().unwrap() = Plan {
            syncs_panic: true,
            ..Plan::default()
        };
    }

    /// All operations fail from now on.
    pub(super) fn fail_all(&self, errno: Errno) {
        *self.0.lock().unwrap() = Plan {
            last: u64::MAX,
            fault: Some(Fault::Errno(errno)),
            ..Plan::default()
        };
    }

    /// No operation fails from now on.
    pub(super) fn heal(&self) {
        *self.0.lock().unwrap() = Plan::default();
    }

    /// The number of operations since the plan was made.
    pub(super) fn done(&self) -> u64 {
        self.0.lock().unwrap().done
    }

    fn next(&self) -> Option<Fault> {
        let mut plan = self.0.lock().unwrap();
        let number = plan.done;
        plan.done += 1;
        let fault = plan.fault?;
        if let (Fault::Torn(errno), true) = (fault, number == plan.first + 1) {
            return Some(Fault::Errno(errno));
        }
        let is_now = (plan.first..=plan.last).contains(&number);
        drop(plan);
        assert!(!(is_now && fault == Fault::Panic), "as the test wants");
        is_now.then_some(fault)
    }

    fn check(&self) -> io::Result<()> {
        match self.next() {
            Some(Fault::Errno(errno)) => Err(errno.into()),
            _ => Ok(()),
        }
    }
}

impl Files for Faulty {
    fn open(&self, path: &Path) -> io::Result<File> {
        self.check()?;
        System.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.check()?;
        System.create(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
        match self.next() {
            Some(Fault::Errno(errno)) => Err(errno.into()),
            Some(Fault::Short) => System.write_at(file, &bytes[..1], at),
            Some(Fault::Torn(_)) => System.write_at(file, &bytes[..bytes.len().div_ceil(2)], at),
            Some(Fault::Panic) | None => System.write_at(file, bytes, at),
        }
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.check()?;
        System.set_len(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.check()?;
        let panics = self.0.lock().unwrap().syncs_panic;
        assert!(!panics, "as the test wants");
        let hang = self.0.lock().unwrap().hang.clone();
        if let Some(hang) = hang {
            let _ = hang.recv();
        }
        let fault = self.0.lock().unwrap().of_syncs;
        if let Some(errno) = fault {
            return Err(errno.into());
        }
        System.sync(file)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        System.sync_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        System.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        System.remove(path)
    }

    fn is_at(&self, file: &File, path: &Path) -> io::Result<bool> {
        self.check()?;
        System.is_at(file, path)
    }
}

/// The boot of the machine in tests.
pub(super) const BOOT: &str = "boot-1";

/// A configuration whose segments are as small as they may be.
pub(super) fn config(sync: DataSync) -> Config {
    let mut config = Config::default();
    config.history.max_total_bytes = 1;
    config.max_body_bytes = 1;
    config.saving.sync = sync;
    config
}

/// Starts on a directory: what was opened, and the entries that were read.
pub(super) fn open_on(
    files: Arc<dyn Files>,
    dir: &Path,
    config: &Config,
    boot: &str,
) -> (Opened, Vec<Vec<u8>>) {
    let locked = Locked::new(files, dir, config, boot.into(), identity(5)).unwrap();
    let mut entries = Vec::new();
    let opened = locked.read(|entry| {
        entries.push(entry.to_vec());
        true
    });
    (opened.unwrap(), entries)
}

pub(super) fn open(dir: &TempDir, sync: DataSync) -> (Opened, Vec<Vec<u8>>) {
    open_on(Arc::new(System), &dir.0, &config(sync), BOOT)
}

/// A different identity for each seed.
pub(super) fn identity(seed: u64) -> Identity {
    Identity {
        epoch: Epoch::from_seed(seed),
        name_keys: (seed, !seed),
    }
}

/// The ending of a log whose end is missing, as a start finds it.
pub(super) fn tail_lost() -> LogEnding {
    LogEnding::TailLost(identity(5).epoch)
}

/// Records of these entries.
pub(super) fn records(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        record::append(&mut bytes, |out| out.extend_from_slice(entry));
    }
    bytes
}

/// One entry for each number, each of so many bytes.
pub(super) fn entries(numbers: std::ops::Range<u64>, bytes: usize) -> Vec<Vec<u8>> {
    let entry = |number: u64| {
        let mut entry = number.to_le_bytes().to_vec();
        entry.resize(bytes.max(entry.len()), b'.');
        entry
    };
    numbers.map(entry).collect()
}

/// The head in a directory.
pub(super) fn head(dir: &TempDir) -> head::Head {
    head::Head::read(&dir.0).unwrap().unwrap().unwrap()
}
