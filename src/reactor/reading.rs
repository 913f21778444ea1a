//! Reading from connections, and the reads that are left to a later tick.
//!
//! Owns how often a connection is read in a tick. What is not read then is remembered, because no
//! event announces it again.

use super::sockets::Read;
use super::{RESUME_BUDGET, Reactor, SPENT_BYTES};
use encke_core::engine::{ConnId, State};

/// Reads of one connection in one tick, if the client may have closed its side.
const READS: usize = 4;

impl Reactor {
    /// Closes a connection that the kernel timed out, and returns whether it is closed. It comes
    /// before any write, because a failed write hides the reason. If input is wanted, it reads,
    /// which also serves the bytes that arrived before the error; otherwise it asks for the error
    /// alone.
    pub(super) fn close_timed_out(&mut self, id: ConnId) -> bool {
        if self.engine.wants_input(id) {
            self.read(id, true);
        } else if self.sockets.has_timed_out(id) {
            self.engine.stalled(id);
        }
        self.engine
            .state(id)
            .is_none_or(|state| state == State::Gone)
    }

    /// Reads from a connection. A read that does not fill the buffer is the last, because further
    /// bytes raise a new event. If the client may have closed its side, reading continues, because
    /// the end of the stream raises no further event.
    pub(super) fn read(&mut self, id: ConnId, may_be_closed: bool) {
        if self.engine.spent_bytes() > SPENT_BYTES {
            return self.read_later(id);
        }
        if self.sockets.awaits_header(id) && !self.take_header(id) {
            return;
        }
        for _ in 0..READS {
            if !self.engine.wants_input(id) {
                return;
            }
            match self.sockets.read(id, &mut self.buffer) {
                Read::Nothing => return,
                Read::Eof => return self.engine.eof(id, &mut self.sockets),
                Read::Broken => return self.engine.broken(id),
                Read::TimedOut => return self.engine.stalled(id),
                Read::Bytes(length) => {
                    self.engine
                        .input(id, &self.buffer[..length], &mut self.sockets);
                    if length == self.buffer.len() {
                        break;
                    }
                    if !may_be_closed {
                        return;
                    }
                }
            }
        }
        self.read_later(id);
    }

    /// Defers a read for which there will be no event.
    pub(super) fn read_later(&mut self, id: ConnId) {
        if self.engine.wants_input(id) && self.sockets.defer_read(id) {
            self.deferred_reads.push_back(id);
        }
    }

    /// Resumes reads that earlier ticks deferred. Runs before new events, so that clients with
    /// large responses cannot use up `SPENT_BYTES` in each tick and starve the deferred ones.
    pub(super) fn resume_reads(&mut self) {
        for _ in 0..RESUME_BUDGET.min(self.deferred_reads.len()) {
            if self.engine.spent_bytes() > SPENT_BYTES {
                return;
            }
            if let Some(id) = self.deferred_reads.pop_front() {
                self.sockets.clear_deferred_read(id);
                self.read(id, true);
            }
        }
    }
}
