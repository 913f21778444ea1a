//! Delivery: each channel's ready readers in turns, each reader as far as its socket takes.
//!
//! Owns the fan-out. Its budget counts writes, so that a broadcast to everyone delays an accept,
//! a timer or another channel by one turn and not by its own length.

use std::sync::Arc;

use crate::base::meter::Frame;
use crate::encode::{self, Envelope, Seq};
use crate::engine::Engine;
use crate::engine::Settings;
use crate::engine::connections::conn::{Conn, Flags, State};
use crate::engine::connections::request_state::Wish;
use crate::engine::connections::wire::Wire;
use crate::engine::delivery::poll::{Batch, Part, message_count};
use crate::engine::delivery::retry_advice;
use crate::engine::delivery::shapes;
use crate::engine::delivery::stream;
use crate::engine::response::heads::chunk;
use crate::hub::{Item, Shape, Take};

/// Readers served of one channel before the next channel has its turn.
const TURN: usize = 16;

/// Most messages, and bytes of them, that a stream is sent in one write.
const STREAM_TAKE: Take = Take {
    messages: 64,
    bytes: 64 << 10,
};

impl Engine {
    /// Serves ready readers, at most `budget` of them.
    pub fn deliver(&mut self, mut budget: usize, wire: &mut impl Wire) {
        while budget > 0 {
            let Some(channel) = self.hub.next_turn() else {
                return;
            };
            for _ in 0..TURN.min(budget) {
                let Some(index) = self.hub.first_ready(channel) else {
                    break;
                };
                budget -= 1;
                self.serve_ready(index, wire);
            }
            if self.hub.first_ready(channel).is_none() {
                // A turn without readers counts too, or empty turns would have no bound.
                budget = budget.saturating_sub(1);
            }
            self.hub.end_turn(channel);
        }
    }

    fn serve_ready(&mut self, index: u32, wire: &mut impl Wire) {
        let mut items = std::mem::take(&mut self.scratch.items);
        items.clear();
        let conn = &mut self.conns[index as usize];
        self.hub.unlist(&mut conn.reader);
        let take = match conn.state() {
            State::Streaming => STREAM_TAKE,
            _ => conn.take(&self.settings),
        };
        let more = self.hub.owed(&conn.reader, take, &mut items);
        if let Some(Item::Message { key, .. }) = items.last()
            && conn.flags.has(Flags::WAITED)
        {
            let delay_ms = self.now.since_ms(self.hub.message(*key).at());
            self.stats.delay_ms.record(delay_ms);
        }
        match conn.state() {
            // It asked for the earliest, and all there was is gone.
            _ if items.is_empty() => {
                conn.reader.cursor = self.hub.head();
                self.hub.note_given(&conn.reader, &[]);
            }
            State::Held => self.wake_held(index, &items, more, wire),
            State::Streaming => self.continue_stream(index, &items, wire),
            state => unreachable!("a reader was listed in state {state:?}"),
        }
        self.scratch.items = items;
        self.rest(index, wire);
    }

    fn continue_stream(&mut self, index: u32, items: &[Item], wire: &mut impl Wire) {
        let conn = &self.conns[index as usize];
        let (transport, envelope) = (conn.transport, conn.flags.has(Flags::ENVELOPE));
        let shape = shapes::of_stream(transport, envelope);
        let mut frames = std::mem::take(&mut self.scratch.frames);
        frames.clear();
        for item in items {
            match *item {
                Item::Message { key, .. } => {
                    frames.push(self.frame(key, shape));
                    self.stats.delivered += 1;
                }
                Item::Gap(seq) => {
                    let mut text = Vec::new();
                    chunk(&mut text, |out| {
                        stream::gap(out, transport, self.hub.epoch(), seq)
                    });
                    frames.push(Frame::new(text, self.hub.frame_meter()));
                    self.stats.gaps += 1;
                }
            }
        }
        self.send_frames(index, items, &frames, wire);
        frames.clear();
        self.scratch.frames = frames;
        let conn = &self.conns[index as usize];
        if conn.state() == State::Streaming {
            self.hub.note_given(&conn.reader, items);
            if !conn.is_blocked() {
                self.arm_stream(index);
            }
        }
    }

    /// An event for a held poll: it is answered, or gathers on.
    fn wake_held(&mut self, index: u32, items: &[Item], more: bool, wire: &mut impl Wire) {
        if self.is_plain(index) {
            let early = self.conns[index as usize].flags.has(Flags::EARLY);
            let frame = match *items {
                [Item::Message { key, .. }] if !more => {
                    let shape = if early { Shape::Early } else { Shape::LongPoll };
                    Some(self.frame(key, shape))
                }
                _ if early => None,
                _ => Some(self.shared_batch(index, items, more)),
            };
            if let Some(frame) = frame {
                let messages = message_count(items);
                self.stats.told(messages, messages < items.len());
                self.release(index);
                self.send_shared(index, frame, wire);
                return;
            }
        }
        if self.gather(index, items, more) {
            return;
        }
        self.answer_held(index, items, more);
        self.flush(index, wire);
    }

    /// Whether a held poll is answered with the bytes that everyone gets.
    pub(in crate::engine) fn is_plain(&self, index: u32) -> bool {
        let conn = &self.conns[index as usize];
        conn.wish().is_none()
            && !conn.flags.has(Flags::HTTP10)
            && !conn.flags.has(Flags::CLOSE)
            && self.drain.is_none()
    }

    /// The answer with several items, shared with all who are owed the same.
    fn shared_batch(&mut self, index: u32, items: &[Item], more: bool) -> Arc<Frame> {
        let date_s = self.heads.date_s();
        if let Some((same, and_more, at_s, frame)) = &self.scratch.batch
            && same == items
            && (*and_more, *at_s) == (more, date_s)
        {
            return Arc::clone(frame);
        }
        let wish = Wish::default();
        let ask = self.held_ask(index, &wish);
        let out = std::mem::take(&mut self.scratch.out);
        let batch = self.batch_of(items, more);
        self.write_items(index, &ask, batch, items, Part::Whole);
        let whole = std::mem::replace(&mut self.scratch.out, out);
        let frame = Frame::new(whole, self.hub.frame_meter());
        self.scratch.batch = Some((items.to_vec(), more, date_s, Arc::clone(&frame)));
        frame
    }

    /// Adds items to what a lingering poll has; false if it is to be answered now.
    fn gather(&mut self, index: u32, items: &[Item], more: bool) -> bool {
        let conn = &mut self.conns[index as usize];
        let Some(linger_ms) = conn.wish().map(|wish| wish.linger_ms) else {
            return false;
        };
        if linger_ms == 0 || self.drain.is_some() {
            return false;
        }
        let now = self.now;
        let is_first = conn.wish().is_some_and(|wish| wish.gathered.is_empty());
        if is_first {
            let until = now.after_ms(linger_ms).min(conn.ends_at(now));
            conn.set_ends_at(until);
            self.wheel.arm(index, until.0);
        }
        let most = self.settings.max_batch_bytes;
        let mut is_full = more;
        for item in items {
            let audience = match *item {
                Item::Message { key, .. } => self.hub.message(key).subscribers(),
                Item::Gap(_) => 0,
            };
            let added = match *item {
                Item::Message { key, .. } => {
                    let bytes = self.hub.message(key).data().len();
                    Some((bytes, self.frame(key, Shape::Object)))
                }
                Item::Gap(_) => None,
            };
            let gathered = &mut self.wish_mut(index).gathered;
            let bytes = gathered.bytes + added.as_ref().map_or(0, |&(bytes, _)| bytes);
            if bytes > most && !gathered.objects.is_empty() {
                is_full = true;
                break;
            }
            gathered.bytes = bytes;
            gathered.gap |= added.is_none();
            gathered.objects.extend(added.map(|(_, object)| object));
            gathered.cursor = item.seq();
            gathered.audience = gathered.audience.max(audience);
        }
        let wish = self.wish_mut(index);
        wish.gathered.more = is_full;
        is_full |= wish.gathered.objects.len() >= wish.limit || wish.gathered.bytes >= most;
        if is_full {
            return false;
        }
        if let Some(last) = items.last() {
            self.conn(index).reader.cursor = last.seq();
        }
        true
    }

    /// The batch of items that held polls are woken with.
    fn batch_of(&self, items: &[Item], more: bool) -> Batch {
        let audiences = items.iter().map(|item| match *item {
            Item::Message { key, .. } => self.hub.message(key).subscribers(),
            Item::Gap(_) => 0,
        });
        Batch {
            cursor: items.last().map_or(Seq::ZERO, Item::seq),
            more,
            gap: items.iter().any(|item| matches!(item, Item::Gap(_))),
            retry_ms: None,
            spread_ms: retry_advice::spread_ms(audiences.max().unwrap_or(0)),
        }
    }

    fn wish_mut(&mut self, index: u32) -> &mut Wish {
        let work = self.conn(index).work.as_mut();
        let wish = work.and_then(|work| work.wish.as_mut());
        wish.expect("a poll that gathers has wishes")
    }

    /// Writes the answer to a held poll and ends its hold.
    pub(in crate::engine) fn answer_held(&mut self, index: u32, items: &[Item], more: bool) {
        let is_draining = self.drain.is_some();
        let conn = &mut self.conns[index as usize];
        let early = conn.flags.has(Flags::EARLY);
        if is_draining {
            conn.flags.put(Flags::CLOSE, true);
        }
        let work = conn.work.as_mut();
        let mut wish = work.and_then(|work| work.wish.take()).unwrap_or_default();
        let gathered = std::mem::take(&mut wish.gathered);
        let ask = self.held_ask(index, &wish);
        let part = if early { Part::Rest } else { Part::Whole };
        let retry_ms = is_draining.then(|| self.drain_retry_ms());
        if gathered.is_empty() {
            let batch = Batch {
                retry_ms,
                ..match items {
                    [] => empty_at(self.hub.head()),
                    items => self.batch_of(items, more),
                }
            };
            self.stats.told(message_count(items), batch.gap);
            self.write_items(index, &ask, batch, items, part);
        } else {
            self.stats.told(gathered.objects.len(), gathered.gap);
            let batch = Batch {
                cursor: gathered.cursor,
                more: gathered.more,
                gap: gathered.gap,
                retry_ms,
                spread_ms: retry_advice::spread_ms(gathered.audience),
            };
            self.write_batch(index, &ask, batch, &gathered.objects, part);
        }
        self.release(index);
    }

    /// Gives up a hold for the client's next request: what it is owed, or an empty batch.
    pub(in crate::engine) fn give_up_hold(&mut self, index: u32) {
        let mut items = std::mem::take(&mut self.scratch.items);
        items.clear();
        let conn = &mut self.conns[index as usize];
        self.hub.unlist(&mut conn.reader);
        let is_lingering = conn.wish().is_some_and(|wish| !wish.gathered.is_empty());
        let mut more = false;
        if !is_lingering && self.hub.is_owed(&conn.reader) {
            let take = conn.take(&self.settings);
            more = self.hub.owed(&conn.reader, take, &mut items);
        }
        self.answer_held(index, &items, more);
        self.scratch.items = items;
    }

    /// Answers a held poll whose hold is over, with nothing.
    pub(in crate::engine) fn answer_empty(&mut self, index: u32, wire: &mut impl Wire) {
        self.stats.holds_expired += 1;
        if !self.is_plain(index) || self.conns[index as usize].flags.has(Flags::EARLY) {
            self.answer_held(index, &[], false);
            self.flush(index, wire);
        } else {
            let frame = self.shared_empty();
            self.release(index);
            self.send_shared(index, frame, wire);
        }
        self.rest(index, wire);
    }

    /// The empty answer that all get whose holds end before the next message.
    fn shared_empty(&mut self) -> Arc<Frame> {
        let (head, date_s) = (self.hub.head(), self.heads.date_s());
        if let Some((at, at_s, frame)) = &self.scratch.empty
            && (*at, *at_s) == (head, date_s)
        {
            return Arc::clone(frame);
        }
        let batch = empty_at(head);
        let envelope = Envelope {
            epoch: self.hub.epoch(),
            cursor: batch.cursor,
            more: false,
            gap: false,
            retry_ms: None,
            spread_ms: None,
        };
        let (mut body, mut whole) = (Vec::new(), Vec::new());
        encode::batch(&mut body, &envelope, []);
        let ending = crate::engine::response::heads::Ending::Length(body.len());
        let cursor = Some((self.hub.epoch(), head));
        self.heads.batch(
            &mut whole,
            &crate::engine::response::heads::Manner::SHARED,
            cursor,
            ending,
        );
        whole.extend_from_slice(&body);
        let frame = Frame::new(whole, self.hub.frame_meter());
        self.scratch.empty = Some((head, date_s, Arc::clone(&frame)));
        frame
    }

    /// Ends a hold: the connection follows nothing and is between requests.
    fn release(&mut self, index: u32) {
        let now = self.now;
        let held_since = self.conns[index as usize].held_since(now);
        self.stats.hold_ms.record(now.since_ms(held_since));
        let conn = &mut self.conns[index as usize];
        self.hub.unfollow(&mut conn.reader);
        conn.flags.put(Flags::EARLY, false);
        conn.become_state(State::Idle, &mut self.states);
    }
}

impl Conn {
    /// What the answer to its held poll may still take.
    fn take(&self, settings: &Settings) -> Take {
        let messages = self.wish().map_or(settings.max_batch, |wish| {
            let gathered = wish.gathered.objects.len();
            wish.limit.saturating_sub(gathered).max(1)
        });
        Take {
            messages,
            bytes: settings.max_batch_bytes,
        }
    }
}

fn empty_at(cursor: Seq) -> Batch {
    Batch {
        cursor,
        more: false,
        gap: false,
        retry_ms: None,
        spread_ms: None,
    }
}
