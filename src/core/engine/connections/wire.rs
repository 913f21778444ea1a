//! The one exit: every byte that leaves the engine leaves here.
//!
//! Owns sending, what is left of a short write, and the end of a connection. It never decides
//! what is said.

use std::io::IoSlice;
use std::sync::Arc;

use crate::base::meter::Frame;
use crate::engine::ConnId;
use crate::engine::Engine;
use crate::engine::connections::conn::{Flags, State};
use crate::engine::connections::request_state::Pending;
use crate::engine::stats::End;
use crate::hub::Item;

/// The sockets, as the engine sees them.
pub trait Wire {
    /// Sends as much as the socket takes without waiting. After [`Sent::Some`] the engine must be
    /// told [`Engine::writable`] when it takes more.
    fn send(&mut self, connection: u32, slices: &[IoSlice<'_>]) -> Sent;

    /// Ends our side of a connection; the client's bytes still come in.
    fn shutdown(&mut self, connection: u32);

    /// Whether bytes of the client are here that the engine has yet to be given.
    fn has_unread(&mut self, connection: u32) -> bool;
}

/// What a socket took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Everything.
    All,
    /// This many bytes, fewer than there were.
    Some(usize),
    /// Nothing, ever again.
    Failed,
}

/// How long the rest of a client's bytes is discarded after our last answer, so that unread bytes
/// do not turn it into a reset (RFC 9112, section 9.6).
const LINGER_MS: u64 = 1_000;

/// Capacity above which a scratch buffer is not kept.
const SCRATCH_BYTES: usize = 256 << 10;

impl Engine {
    /// Sends what was written for a connection.
    pub(in crate::engine) fn flush(&mut self, index: u32, wire: &mut impl Wire) {
        if self.scratch.out.is_empty() {
            return;
        }
        if self.conns[index as usize].state() == State::Gone {
            return self.scratch.out.clear();
        }
        let sent = wire.send(index, &[IoSlice::new(&self.scratch.out)]);
        let length = self.scratch.out.len();
        self.written_bytes += length;
        match sent {
            Sent::All => {}
            Sent::Some(taken) => {
                if self.buffers.has_room(length - taken) {
                    let rest = Frame::new(&self.scratch.out[taken..], &self.buffers);
                    self.block(index, rest, 0, length - taken);
                } else {
                    // Half an answer is none: the client asks again with the cursor it has.
                    self.end(index, End::NoRoom);
                }
            }
            Sent::Failed => self.end(index, End::Broken),
        }
        self.scratch.out.clear();
        self.scratch.out.shrink_to(SCRATCH_BYTES);
    }

    /// Sends one frame that others share; true if the socket took all of it.
    pub(in crate::engine) fn send_shared(
        &mut self,
        index: u32,
        frame: Arc<Frame>,
        wire: &mut impl Wire,
    ) -> bool {
        match wire.send(index, &[IoSlice::new(frame.bytes())]) {
            Sent::All => return true,
            Sent::Some(taken) => {
                let end = frame.bytes().len();
                self.hold(index, frame, taken, end);
            }
            Sent::Failed => self.end(index, End::Broken),
        }
        false
    }

    /// Sends a stream's next frames, one for each item, and moves its cursor to the last begun.
    pub(in crate::engine) fn send_frames(
        &mut self,
        index: u32,
        items: &[Item],
        frames: &[Arc<Frame>],
        wire: &mut impl Wire,
    ) {
        debug_assert_eq!(items.len(), frames.len());
        let Some(last) = items.last() else { return };
        let chunked = !self.conns[index as usize].flags.has(Flags::HTTP10);
        let part = |frame: &Arc<Frame>| match chunked {
            true => 0..frame.bytes().len(),
            false => unchunked(frame.bytes()),
        };
        let sent = match frames {
            [frame] => wire.send(index, &[IoSlice::new(&frame.bytes()[part(frame)])]),
            frames => {
                let slice = frames
                    .iter()
                    .map(|frame| IoSlice::new(&frame.bytes()[part(frame)]));
                wire.send(index, &slice.collect::<Vec<_>>())
            }
        };
        let total: usize = frames.iter().map(|frame| part(frame).len()).sum();
        let (cursor, spent) = match sent {
            Sent::All => (last.seq(), total),
            Sent::Failed => return self.end(index, End::Broken),
            Sent::Some(taken) => {
                let mut before = 0;
                let begun = frames.iter().position(|frame| {
                    let end = before + part(frame).len();
                    let holds = taken < end;
                    before = if holds { before } else { end };
                    holds
                });
                let begun = begun.unwrap_or(frames.len() - 1);
                let range = part(&frames[begun]);
                let frame = Arc::clone(&frames[begun]);
                // A frame that is begun counts whole, since the rest of it is sent too.
                let spent = before + range.len();
                self.hold(index, frame, range.start + taken - before, range.end);
                (items[begun].seq(), spent)
            }
        };
        let conn = self.conn(index);
        if conn.state() == State::Gone {
            return;
        }
        conn.reader.cursor = cursor;
        conn.spend_stream_bytes(spent);
    }

    /// Keeps the rest of a frame that others share, if frames leave room for that. Where they do
    /// not, the client asks again with the cursor it has.
    fn hold(&mut self, index: u32, frame: Arc<Frame>, sent: usize, end: usize) {
        if self.hub.has_room_to_hold() {
            self.block(index, frame, sent, end);
        } else {
            self.end(index, End::NoRoom);
        }
    }

    /// Keeps the rest of a frame until the socket takes more.
    fn block(&mut self, index: u32, frame: Arc<Frame>, sent: usize, end: usize) {
        let conn = &mut self.conns[index as usize];
        let work = conn.work(&self.buffers);
        debug_assert!(work.pending.is_none(), "sent over a half-sent frame");
        work.pending = Some(Pending { frame, sent, end });
        self.hub.unlist(&mut conn.reader);
        self.stats.blocked += 1;
        self.arm_ms(index, self.settings.write_timeout_ms);
    }

    /// The socket takes more.
    pub fn writable(&mut self, id: ConnId, wire: &mut impl Wire) {
        let Some(index) = self.find(id) else { return };
        let work = self.conn(index).work.as_mut();
        let Some(mut pending) = work.and_then(|work| work.pending.take()) else {
            return;
        };
        let rest = &pending.frame.bytes()[pending.sent..pending.end];
        match wire.send(index, &[IoSlice::new(rest)]) {
            Sent::All => self.unblocked(index, wire),
            Sent::Failed => self.end(index, End::Broken),
            Sent::Some(taken) => {
                pending.sent += taken;
                self.conn(index).work.as_mut().expect("seen above").pending = Some(pending);
                if taken > 0 {
                    self.arm_ms(index, self.settings.write_timeout_ms);
                }
            }
        }
    }

    fn unblocked(&mut self, index: u32, wire: &mut impl Wire) {
        let now = self.now;
        let conn = self.conn(index);
        match conn.state() {
            State::Held => {
                let ends_at = conn.ends_at(now);
                // What came meanwhile may be the request that gives up this hold.
                let has_input = conn.has_input();
                self.arm(index, ends_at);
                if has_input {
                    self.queue(index);
                }
            }
            State::Streaming => self.arm_stream(index),
            State::Idle | State::Head | State::Body => {
                if conn.has_input() {
                    self.queue(index);
                }
            }
            State::Listing | State::Closing | State::Gone => {}
        }
        self.rest(index, wire);
    }

    /// Puts a connection where its state says: into the lists, under its deadline, or out.
    pub(in crate::engine) fn rest(&mut self, index: u32, wire: &mut impl Wire) {
        let now = self.now;
        let conn = &mut self.conns[index as usize];
        conn.tidy();
        if conn.is_blocked() {
            return;
        }
        match conn.state() {
            State::Idle if conn.flags.has(Flags::CLOSE) => {
                conn.become_state(State::Closing, &mut self.states);
                self.part(index, wire);
            }
            State::Idle | State::Head | State::Body if conn.flags.has(Flags::QUEUED) => {}
            State::Idle | State::Head | State::Body if conn.flags.has(Flags::EOF) => {
                self.end(index, End::Left);
            }
            State::Idle if conn.has_input() => {
                // From the first byte of a head the rest has its time.
                conn.become_state(State::Head, &mut self.states);
                self.arm_ms(index, self.settings.head_timeout_ms);
            }
            State::Idle => self.arm_ms(index, self.settings.idle_timeout_ms),
            State::Streaming if conn.is_over(now) => self.end_stream(index, wire),
            State::Held | State::Streaming => {
                if !conn.reader.is_listed() {
                    let waits = self.hub.list(&mut conn.reader);
                    conn.flags.put(Flags::WAITED, waits);
                }
            }
            State::Closing => self.part(index, wire),
            State::Head | State::Body | State::Listing | State::Gone => {}
        }
    }

    /// Ends our side after the last answer, and gives the client a moment to end its own.
    fn part(&mut self, index: u32, wire: &mut impl Wire) {
        let conn = self.conn(index);
        if conn.flags.has(Flags::EOF) {
            return self.end(index, End::Closed);
        }
        if !conn.flags.has(Flags::SHUT) {
            conn.flags.put(Flags::SHUT, true);
            wire.shutdown(index);
            self.arm_ms(index, LINGER_MS);
        }
    }

    /// Ends a connection: it leaves every list at once, and its socket is closed at the end of
    /// the tick.
    pub(in crate::engine) fn end(&mut self, index: u32, why: End) {
        let conn = &mut self.conns[index as usize];
        if conn.state() == State::Gone {
            return;
        }
        self.hub.unfollow(&mut conn.reader);
        self.wheel.cancel(index);
        conn.work = None;
        conn.become_state(State::Gone, &mut self.states);
        self.gone.push_back(index);
        self.stats.ended(why);
        log::debug!(target: "encke::access", "connection {index}: ended, {}", why.name());
    }
}

/// The part of a chunk that is its data.
fn unchunked(chunk: &[u8]) -> std::ops::Range<usize> {
    let line_end = memchr::memchr(b'\n', chunk).map_or(0, |at| at + 1);
    line_end..chunk.len() - "\r\n".len()
}

/// Sockets that take everything, for tests.
#[cfg(test)]
#[derive(Default)]
pub(in crate::engine) struct Sink {
    sent: Vec<u8>,
    /// Bytes of every client are here, unread.
    pub(in crate::engine) has_unread: bool,
}

#[cfg(test)]
impl Sink {
    /// How many answers of success they took.
    pub(in crate::engine) fn answers(&self) -> usize {
        memchr::memmem::find_iter(&self.sent, "HTTP/1.1 200 ").count()
    }
}

#[cfg(test)]
impl Wire for Sink {
    fn send(&mut self, _: u32, slices: &[IoSlice<'_>]) -> Sent {
        for slice in slices {
            self.sent.extend_from_slice(slice);
        }
        Sent::All
    }

    fn shutdown(&mut self, _: u32) {}

    fn has_unread(&mut self, _: u32) -> bool {
        self.has_unread
    }
}
