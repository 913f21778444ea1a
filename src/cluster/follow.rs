//! The follow lane: reads the log from the id that the node gives, without end.
//!
//! Owns how much is read at a time. Back-pressure comes from its queue: the lane reads nothing more
//! until the reactor has taken the entries that were read.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use redis::Cmd;

use super::connection::Connection;
use super::fault::{Fault, words};
use super::lane::{End, Event, Job, LaneThread, Service};
use super::wire::{self, Keys};

/// The time for which the server waits for a new entry before it answers that there is none.
const BLOCK: Duration = Duration::from_secs(1);

/// The most entries of one read.
const MAX_COUNT: usize = 64;

/// Entries of the first read, when their size is not known.
const FIRST_COUNT: usize = 4;

/// A read that takes longer than this, including the wait of the server, was too large for the
/// connection.
const SLOW: Duration = Duration::from_secs(2);

/// The intended bytes of one read. They are estimated from the entries before.
const READ_BYTES: usize = 2 << 20;

/// The service of the follow lane.
pub(super) struct Follow {
    pub(super) keys: Keys,
    /// Entries that a connection reads first.
    first_count: usize,
}

impl Follow {
    pub(super) fn new(keys: Keys) -> Follow {
        Follow {
            keys,
            first_count: FIRST_COUNT,
        }
    }
}

impl Service for Follow {
    fn prepare(&mut self, _: &LaneThread, connection: &mut Connection) -> Result<(), Fault> {
        connection.wait_for(BLOCK)
    }

    fn serve(&mut self, line: &LaneThread, connection: &mut Connection) -> Result<Infallible, End> {
        // The connection before this one may have failed because that many did not arrive in time.
        let mut count = std::mem::replace(&mut self.first_count, 1);
        let mut next = Some(line.next_job()?);
        let mut after = None;
        loop {
            match next {
                Some(Job::Follow(id)) => after = Some(id),
                Some(Job::Send(_) | Job::Look) => debug_assert!(false, "no job of this lane"),
                None => {}
            }
            let Some(id) = &mut after else {
                next = Some(line.next_job()?);
                continue;
            };
            let mut read = Cmd::new();
            read.arg("XREAD").arg("COUNT").arg(count);
            read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
            read.arg("STREAMS").arg(&self.keys.log).arg(id.to_string());
            let began = Instant::now();
            let entries = match connection.ask(&read)? {
                Ok(answer) => wire::entries(answer)?,
                Err(error) => return Err(Fault::Refused(words(&error)).into()),
            };
            if let Some((last, _)) = entries.last() {
                *id = *last;
                let sizes = entries.iter().map(|(_, bytes)| bytes.len());
                count = next_count(count, sizes, began.elapsed());
                line.tell(Event::Read(entries))?;
            }
            next = line.try_next_job()?;
        }
    }
}

/// The number of entries to read next: as many as are likely to have [`READ_BYTES`] together, and
/// not many more than before, because entries may have become larger. Fewer, if the last read took
/// long.
fn next_count(count: usize, sizes: impl ExactSizeIterator<Item = usize>, took: Duration) -> usize {
    if took > SLOW {
        return (count / 2).max(1);
    }
    let entries = sizes.len().max(1);
    let bytes: usize = sizes.sum();
    let fit = READ_BYTES / (bytes / entries).max(1);
    fit.min(2 * count).clamp(1, MAX_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_follows_the_size_of_entries() {
        let next = |count, sizes: &[usize]| next_count(count, sizes.iter().copied(), BLOCK);
        assert_eq!(next(4, &[100; 4]), 8);
        assert_eq!(next(64, &[0; 64]), 64);
        assert_eq!(next(64, &[256 << 10; 64]), 8);
        assert_eq!(next(8, &[1 << 30]), 1);
        assert_eq!(next(1, &[100]), 2);
        for (count, fewer) in [(64, 32), (3, 1), (1, 1)] {
            let sizes = vec![100; count];
            assert_eq!(next_count(count, sizes.into_iter(), 2 * SLOW), fewer);
        }
    }
}
