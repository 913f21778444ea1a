//! The state of the loop, with that of the engine, as it is handed over.
//!
//! Owns the values and their order. Those that are needed to watch the sockets come first, because
//! the sockets arrive while the rest is read.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sockets::Record;
use crate::disk;
use crate::inbox::{self, Waiting};
use crate::producer::Rest;
use encke_core::base::time::Time;
use encke_core::engine::{ConnId, Engine};
use encke_core::frozen::{Freezer, ThawError, Thawer};
use encke_core::message::Draft;

/// Entries in one record of a list.
const CHUNK: usize = 512;

/// The first value: numbers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// The monotonic time at which the clock of the engine began, in nanoseconds.
    pub(super) origin_ns: u64,
    /// The time at which the clock of the engine began.
    pub(super) first_time_ms: u64,
    /// The monotonic time at which the loop stopped, in nanoseconds.
    pub(super) stopped_ns: u64,
    /// When accepting resumes after a pause.
    pub(super) paused_until_ms: Option<u64>,
    pub(super) sockets: u64,
    pub(super) addresses: u64,
    pub(super) deferred_reads: u64,
    /// Messages of producers that wait.
    pub(super) waiting: u64,
}

/// Bytes of standard input that were read and not published: `None` if it is not read at all,
/// `Some(None)` if it has ended.
pub(crate) type Input = Option<Option<Rest>>;

/// Everything but the engine.
pub(super) struct State {
    pub(super) head: Head,
    pub(super) records: Vec<Record>,
    pub(super) addresses: Vec<(u32, IpAddr)>,
    pub(super) deferred_reads: VecDeque<ConnId>,
    pub(super) waiting: Vec<Draft<'static>>,
    pub(super) input: Input,
    pub(super) disk: Option<disk::Frozen>,
    /// Messages of producers that the log of a cluster was given.
    pub(super) sent: inbox::Sent,
}

impl Head {
    /// The system's time at which the clock of the engine began, and the engine's time then.
    pub(super) fn clock(&self) -> io::Result<(Instant, Time)> {
        let elapsed = Duration::from_nanos(monotonic_ns()?.saturating_sub(self.origin_ns));
        let started = Instant::now().checked_sub(elapsed);
        let started = started.ok_or_else(|| io::Error::other("the clock is another one"))?;
        Ok((started, Time(self.first_time_ms)))
    }

    /// The time since the loop stopped.
    pub(super) fn pause(&self) -> io::Result<Duration> {
        let pause = monotonic_ns()?.saturating_sub(self.stopped_ns);
        Ok(Duration::from_nanos(pause))
    }
}

/// The clock behind [`Instant`], which is the same for all processes.
pub(super) fn monotonic_ns() -> io::Result<u64> {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::try_from(now).map_err(io::Error::other)?;
    Ok(now.as_nanos() as u64)
}

/// Reads the values before those of the engine.
pub(super) fn thaw<R: Read>(state: &mut Thawer<R>) -> Result<State, ThawError> {
    let head: Head = state.take()?;
    let records = take_list(state, head.sockets)?;
    let addresses = take_list(state, head.addresses)?;
    let deferred_reads: Vec<(u32, u32)> = take_list(state, head.deferred_reads)?;
    let deferred_reads = deferred_reads
        .into_iter()
        .map(|(index, generation)| ConnId { index, generation });
    let mut waiting = Vec::new();
    for _ in 0..head.waiting {
        waiting.push(state.take::<Waiting<'_>>()?.draft()?);
    }
    Ok(State {
        head,
        records,
        addresses,
        deferred_reads: deferred_reads.collect(),
        waiting,
        input: state.take()?,
        disk: state.take()?,
        sent: match state.has_nodes() {
            true => inbox::Sent::thaw(state)?,
            false => inbox::Sent::default(),
        },
    })
}

/// Writes a list in records of some hundred entries.
pub(super) fn put_list<W: Write, T: Serialize>(
    state: &mut Freezer<W>,
    list: impl Iterator<Item = T>,
) -> io::Result<()> {
    let mut list = list.peekable();
    while list.peek().is_some() {
        let chunk: Vec<T> = list.by_ref().take(CHUNK).collect();
        state.put(&chunk)?;
    }
    Ok(())
}

fn take_list<R: Read, T: DeserializeOwned>(
    state: &mut Thawer<R>,
    count: u64,
) -> Result<Vec<T>, ThawError> {
    let mut list = Vec::new();
    while (list.len() as u64) < count {
        let chunk: Vec<T> = state.take()?;
        if chunk.is_empty() {
            return Err(ThawError::Damaged("a list is empty"));
        }
        list.extend(chunk);
    }
    match list.len() as u64 == count {
        true => Ok(list),
        false => Err(ThawError::Damaged("a list is too long")),
    }
}

/// Checks that an engine has the connections of the sockets, and the messages of the producers.
pub(super) fn compare(state: &State, engine: &Engine) -> Result<(), ThawError> {
    let ids = state.records.iter().map(Record::id);
    if !ids.eq(engine.connections().map(|(id, _)| id)) {
        return Err(ThawError::Damaged("connections and sockets differ"));
    }
    match state.sent.tickets().eq(engine.awaited_receipts()) {
        true => Ok(()),
        false => Err(ThawError::Damaged("messages of producers have no results")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use encke_core::config::Config;

    /// The state of a server with `--data-dir`, `--stdin` and `--max-channels 1000`, and with
    /// connections of every technique, as it was written when 1 was the newest format.
    const FORMAT_1: &[u8] = include_bytes!("format-1.state");

    #[test]
    fn state_of_an_earlier_version_is_read_and_written_as_it_was() {
        let mut thawer = Thawer::of_format(FORMAT_1, 1);
        let state = thaw(&mut thawer).unwrap();
        let config = Config {
            max_channels: 1_000,
            ..Config::default()
        };
        let engine = Engine::thaw(&config, None, 1_000, 1, &mut thawer).unwrap();
        thawer.finish().unwrap();
        compare(&state, &engine).unwrap();
        assert_eq!((state.records.len(), state.addresses.len()), (8, 0));
        assert!(state.disk.is_some() && matches!(state.input, Some(Some(_))));

        let mut again = Freezer::of_format(Vec::new(), 1);
        again.put(&state.head).unwrap();
        put_list(&mut again, state.records.iter()).unwrap();
        put_list(&mut again, state.addresses.iter()).unwrap();
        put_list(
            &mut again,
            state
                .deferred_reads
                .iter()
                .map(|id| (id.index, id.generation)),
        )
        .unwrap();
        assert!(state.waiting.is_empty(), "what waits would be written here");
        again.put(&state.input).unwrap();
        again.put(&state.disk).unwrap();
        engine.freeze(&mut again).unwrap();
        assert!(again.into_inner() == FORMAT_1, "the format has changed");
    }
}
