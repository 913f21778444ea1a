//! Where history is saved beyond the process, and how surely.
//!
//! Owns the meaning of the settings; the process around the engine opens the directory.

use std::path::PathBuf;

/// Where history is saved, and how surely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saving {
    /// The directory of the saved history, which is created if it is not there. `None`: history is
    /// in memory only.
    pub dir: Option<PathBuf>,
    /// When what was written is synced, so that it survives the machine.
    pub sync: DataSync,
    /// How publishes are answered while the directory cannot be written.
    pub full: DataFull,
}

/// When what was written is synced, so that a power failure does not lose it. A message that was
/// acknowledged survives a crash of the process in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataSync {
    /// About once a second while there is something to sync. What a power failure loses is told to
    /// clients as a gap.
    #[default]
    Second,
    /// Before a publish is answered.
    Always,
    /// When the system does so by itself.
    Never,
}

impl DataSync {
    /// All values, in the order of [`DataSync::WORDS`].
    pub const ALL: [DataSync; 3] = [DataSync::Second, DataSync::Always, DataSync::Never];

    /// Their words in settings.
    pub const WORDS: &[&str] = &["1s", "always", "never"];

    /// Its word in settings.
    pub fn word(self) -> &'static str {
        DataSync::WORDS[self as usize]
    }
}

/// How publishes are answered while the directory cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataFull {
    /// It is refused with 503, and `/readyz` is 503, until the directory can be written.
    #[default]
    Refuse,
    /// It goes on, and history is in memory only until the next start.
    Forget,
}

impl DataFull {
    /// All values, in the order of [`DataFull::WORDS`].
    pub const ALL: [DataFull; 2] = [DataFull::Refuse, DataFull::Forget];

    /// Their words in settings.
    pub const WORDS: &[&str] = &["refuse", "forget"];
}
