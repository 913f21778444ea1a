//! The file `head`: what a start has to know before it reads the messages.
//!
//! Owns its format, in text: that of the directory, the identity of the log, how surely messages
//! were saved, how the last process ended, and a checksum. It is replaced as a whole, so it is
//! either the old one or the new one.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use super::files::{Files, write_all};
use encke_core::config::DataSync;
use encke_core::log::Identity;
use encke_core::message::Epoch;

/// Its name in the directory.
pub(super) const NAME: &str = "head";

/// Its name until it is complete.
const NEW: &str = "head.new";

/// The format of the directory. It is raised where an older encke would misread it.
pub(super) const FORMAT: u32 = 1;

/// The first word of the file.
const TITLE: &str = "encke-history";

/// A boot that is never the present one: what was saved is doubtful, whatever the machine did.
pub(super) const NO_BOOT: &str = "unknown";

/// The content of the file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) identity: Identity,
    pub(super) sync: DataSync,
    pub(super) end: End,
}

/// How the last process ended, as it has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Cleanly: it saved everything.
    Clean,
    /// It runs, or it was killed. With the boot of its machine.
    Open(String),
}

/// The reason for which the file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A newer encke wrote it, in this format.
    Newer(u32),
    /// It is damaged.
    Damaged,
}

/// Without the keys, which are secret.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?}",
            self.identity.epoch, self.sync, self.end
        )
    }
}

impl Head {
    /// Reads its text.
    pub(super) fn parse(text: &str) -> Result<Head, Unreadable> {
        let mut lines = text.lines();
        let mut value = |name: &str| {
            let (first, value) = lines.next()?.split_once(' ')?;
            (first == name).then_some(value)
        };
        let format = value(TITLE).and_then(|format| format.parse().ok());
        match format.ok_or(Unreadable::Damaged)? {
            FORMAT => {}
            newer if newer > FORMAT => return Err(Unreadable::Newer(newer)),
            _ => return Err(Unreadable::Damaged),
        }
        let mut fields = || {
            let epoch = epoch(value("epoch")?)?;
            let (first, second) = value("names")?.split_once(' ')?;
            let [first, second] = [first, second].map(|text| u64::from_str_radix(text, 16));
            let name_keys = (first.ok()?, second.ok()?);
            let identity = Identity { epoch, name_keys };
            let sync = value("sync")?;
            let sync = DataSync::ALL.into_iter().find(|one| one.word() == sync)?;
            let end = match value("end")?.split_once(' ') {
                None => End::Clean,
                Some(("open", boot)) if !boot.is_empty() => End::Open(boot.into()),
                Some(_) => return None,
            };
            Some(Head {
                identity,
                sync,
                end,
            })
        };
        let head = fields().ok_or(Unreadable::Damaged)?;
        // The checksum, and words that are not looked at above, are compared here.
        match head.text() == text {
            true => Ok(head),
            false => Err(Unreadable::Damaged),
        }
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        let end = match &self.end {
            End::Clean => "clean".into(),
            End::Open(boot) => format!("open {boot}"),
        };
        let Identity { epoch, name_keys } = self.identity;
        let (epoch, sync) = (epoch.as_str(), self.sync.word());
        let names = format!("{:016x} {:016x}", name_keys.0, name_keys.1);
        let text =
            format!("{TITLE} {FORMAT}\nepoch {epoch}\nnames {names}\nsync {sync}\nend {end}\n");
        let checksum = crc32fast::hash(text.as_bytes());
        format!("{text}check {checksum:08x}\n")
    }

    /// Reads the file; `None` if there is none.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Result<Head, Unreadable>>> {
        match fs::read(dir.join(NAME)) {
            Ok(bytes) => {
                let text = str::from_utf8(&bytes).map_err(|_| Unreadable::Damaged);
                Ok(Some(text.and_then(Head::parse)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file, also on the medium.
    pub(super) fn write(&self, files: &dyn Files, dir: &Path) -> io::Result<()> {
        let (new, name) = (dir.join(NEW), dir.join(NAME));
        let file = files.create(&new)?;
        write_all(files, &file, self.text().as_bytes(), 0)?;
        files.sync(&file)?;
        files.rename(&new, &name)?;
        files.sync_dir(dir)
    }
}

/// The epoch of a text.
fn epoch(text: &str) -> Option<Epoch> {
    let epoch = Epoch::from_seed(u64::from_str_radix(text, 36).ok()?);
    (epoch.as_str() == text).then_some(epoch)
}

/// The boot of this machine; [`NO_BOOT`] if the system does not tell, so that every start counts as
/// one of a machine that went down.
pub(super) fn this_boot() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) if !id.trim().is_empty() => id.trim().into(),
        _ => NO_BOOT.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::faulty::identity;
    use super::*;

    fn heads() -> Vec<Head> {
        let ends = [End::Clean, End::Open("3f-1".into())];
        let heads = ends.into_iter().flat_map(|end| {
            DataSync::ALL.map(|sync| Head {
                identity: identity(7),
                sync,
                end: end.clone(),
            })
        });
        heads.collect()
    }

    #[test]
    fn what_is_written_is_read() {
        for head in heads() {
            assert_eq!(Head::parse(&head.text()), Ok(head));
        }
    }

    #[test]
    fn any_other_byte_is_damage() {
        for head in heads() {
            let text = head.text();
            for at in 0..text.len() {
                for flip in 0..8 {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] ^= 1 << flip;
                    let Ok(changed) = String::from_utf8(bytes) else {
                        continue;
                    };
                    match Head::parse(&changed) {
                        Err(Unreadable::Damaged) => {}
                        Err(Unreadable::Newer(format)) => assert!(format > FORMAT),
                        Ok(read) => panic!("{changed} is read as {read:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn newer_format_is_told_apart_whatever_follows() {
        let newer = "encke-history 2\nsomething new\n";
        assert_eq!(Head::parse(newer), Err(Unreadable::Newer(2)));
        for damaged in ["", "encke-history", "encke-history 0\n", "history 2\n"] {
            assert_eq!(Head::parse(damaged), Err(Unreadable::Damaged), "{damaged}");
        }
    }
}
