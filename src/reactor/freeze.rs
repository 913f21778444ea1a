//! The old side of an upgrade: the loop writes its state.
//!
//! Owns what is written, in the order in which `frozen` reads it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::time::Instant;

use super::Reactor;
use super::frozen::{Head, Input, monotonic_ns, put_list};
use crate::inbox::Waiting;
use encke_core::engine::{ConnId, Engine};
use encke_core::frozen::Freezer;

impl Reactor {
    /// Writes the state of a loop that stopped at a moment. Returns the file that locks the
    /// directory of saved history, which goes along before the sockets.
    pub(super) fn freeze(
        &mut self,
        stopped: Instant,
        mut state: Freezer<impl Write>,
    ) -> io::Result<Option<File>> {
        let deferred_reads = still_open(&self.deferred_reads, &self.engine);
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
        if state.has_nodes() {
            self.inbox.freeze_sent(&mut state)?;
        }
        self.engine.freeze(&mut state)?;
        Ok(lock)
    }
}

/// The connections with deferred reads that are open. One that is closed meanwhile is taken out of
/// the list only when its turn comes.
fn still_open(deferred_reads: &VecDeque<ConnId>, engine: &Engine) -> Vec<(u32, u32)> {
    let open = deferred_reads
        .iter()
        .filter(|&&id| engine.state(id).is_some());
    open.map(|id| (id.index, id.generation)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use encke_core::config::Config;
    use encke_core::engine::Access;

    #[test]
    fn deferred_read_of_a_closed_connection_is_not_handed_over() {
        let mut engine = Engine::new(&Config::default(), 4, 1);
        let ids = [(); 3].map(|()| engine.accept(Access::Trusted).unwrap());
        engine.broken(ids[1]);
        assert_eq!(engine.next_close(), Some(ids[1].index));
        let place = |id: ConnId| (id.index, id.generation);
        let expected = vec![place(ids[2]), place(ids[0])];
        let reads = VecDeque::from([ids[1], ids[2], ids[0]]);
        assert_eq!(still_open(&reads, &engine), expected);
        // Another one may have its index.
        let other = engine.accept(Access::Trusted).unwrap();
        assert_eq!(other.index, ids[1].index);
        assert_eq!(still_open(&reads, &engine), expected);
    }
}
