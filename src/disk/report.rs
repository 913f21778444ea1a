//! The reports of the writer to the reactor.
//!
//! Owns the kinds of reports, and the state of the directory that comes with each.

use std::time::Duration;

#[cfg(test)]
use encke_core::message::Seq;

/// A report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) event: Event,
    pub(crate) usage: Usage,
}

/// Why the writer reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// A hand-over is saved.
    Saved {
        /// The number that was the newest then.
        #[cfg(test)]
        newest: Seq,
        /// How long it took.
        took: Duration,
    },
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
    /// It can.
    #[default]
    Works,
    /// It cannot, and that is tried again and again.
    Fails,
    /// It could not, and is not used any more.
    Forgotten,
}
