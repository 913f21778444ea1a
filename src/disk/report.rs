//! The reports of the writer to the reactor.
//!
//! Owns the kinds of reports, and the state of the directory that comes with each.

use std::time::Duration;

/// A report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) event: Event,
    pub(crate) usage: Usage,
}

/// The reason of a report.
#[derive(Debug)]
pub(crate) enum Event {
    /// The records that were handed over are saved; the write took this time.
    Saved(Duration),
    /// Old records, of which those that still hold are to be saved again.
    Judge(Vec<u8>),
    /// The usage has changed.
    Usage,
    /// Nothing is under way any more, and nothing begins: see `Saver::rest`.
    AtRest,
}

/// The state of the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) health: Health,
    /// The bytes of all segments.
    pub(crate) bytes: u64,
    pub(crate) segments: usize,
    /// Operations that failed since the start.
    pub(crate) errors: u64,
}

/// Whether the directory can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    /// It can be written.
    #[default]
    Works,
    /// It cannot be written, and writing is tried again and again.
    Fails,
    /// It could not be written, and is not used any more.
    Forgotten,
}
