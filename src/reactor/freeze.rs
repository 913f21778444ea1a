//! The old side of an upgrade: the loop writes its state.
//!
//! Owns what is written, in the order in which `frozen` reads it.

use std::fs::File;
use std::io::{self, Write};
use std::time::Instant;

use super::Reactor;
use super::frozen::{Head, Input, monotonic_ns, put_list};
use crate::inbox::Waiting;
use encke_core::frozen::Freezer;

impl Reactor {
    /// Writes the state of a loop that stopped at a moment. Returns the file that locks the
    /// directory of saved history, which goes along before the sockets.
    pub(super) fn freeze(&mut self, stopped: Instant, out: impl Write) -> io::Result<Option<File>> {
        let mut state = Freezer::new(out);
        // One that is closed meanwhile is taken out of the list when its turn comes.
        let deferred_reads = self.deferred_reads.iter();
        let deferred_reads = deferred_reads.filter(|&&id| self.engine.state(id).is_some());
        let deferred_reads: Vec<_> = deferred_reads.map(|id| (id.index, id.generation)).collect();
        let since = |moment: Instant| moment.elapsed().as_nanos() as u64;
        let now_ns = monotonic_ns()?;
        let (disk, lock) = match &self.saving {
            Some(saving) => {
                let (disk, lock) = saving.freeze()?;
                (Some(disk), Some(lock))
            }
            None => (None, None),
        };
        state.put(&Head {
            origin_ns: now_ns.saturating_sub(since(self.started)),
            first_time_ms: self.first_time.0,
            stopped_ns: now_ns.saturating_sub(since(stopped)),
            paused_until_ms: self.gate.next_due().map(|until| until.0),
            sockets: self.sockets.records().count() as u64,
            addresses: self.addresses.records().count() as u64,
            deferred_reads: deferred_reads.len() as u64,
            waiting: self.inbox.waiting().count() as u64,
        })?;
        put_list(&mut state, self.sockets.records())?;
        put_list(&mut state, self.addresses.records())?;
        put_list(&mut state, deferred_reads.into_iter())?;
        for draft in self.inbox.waiting() {
            state.put(&Waiting::of(draft))?;
        }
        let input: Input = self
            .producer
            .as_ref()
            .map(|producer| producer.rest().cloned());
        state.put(&input)?;
        state.put(&disk)?;
        self.engine.freeze(&mut state)?;
        Ok(lock)
    }
}
