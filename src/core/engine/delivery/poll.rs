//! Poll and long poll: answered at once, or parked.
//!
//! Owns where a client begins and how a batch is written. Who is woken, and when a hold ends, is
//! decided elsewhere (`deliver`, `expire`).

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::meter::Frame;
use crate::encode::{self, Envelope, Seq};
use crate::engine::Engine;
use crate::engine::connections::conn::{Flags, State};
use crate::engine::connections::request_state::Wish;
use crate::engine::requests::params::{Params, Since};
use crate::engine::requests::route::{Names, Receive};
use crate::engine::response::context::{Ask, manner};
use crate::engine::response::heads::{Ending, LAST_CHUNK, chunk};
use crate::engine::response::problem::Problem;
use crate::hub::{Channels, Item, Shape, Take, Transport};

/// Where a client begins to receive.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Start {
    pub(in crate::engine) cursor: Seq,
    /// It asked for whatever there is: what was lost before is no gap.
    pub(in crate::engine) fresh: bool,
    /// What it saw last is unknown here: a gap, and then whatever there is.
    pub(in crate::engine) gap: bool,
}

/// A batch without its messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Batch {
    pub(in crate::engine) cursor: Seq,
    pub(in crate::engine) more: bool,
    pub(in crate::engine) gap: bool,
    pub(in crate::engine) retry_ms: Option<u32>,
    pub(in crate::engine) spread_ms: Option<u32>,
}

/// What of an answer is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Part {
    /// Head and body.
    Whole,
    /// Head and body, as if the head had been sent early.
    Early,
    /// The body: the head was sent early.
    Rest,
}

impl Engine {
    pub(in crate::engine) fn receive(
        &mut self,
        index: u32,
        receive: Receive,
        names: &Names<'_>,
        params: Params<'_>,
        ask: &Ask<'_>,
    ) -> Result<(), Problem> {
        let start = self.start(receive, params.since);
        let transport = match receive {
            Receive::Poll | Receive::LongPoll => {
                return self.poll(index, receive, names, params, start, ask);
            }
            Receive::Sse => Transport::Sse,
            Receive::Ndjson => Transport::Ndjson,
            Receive::Frame => Transport::Frame,
        };
        self.open_stream(index, transport, names, &params, start, ask)
    }

    fn start(&self, receive: Receive, since: Since) -> Start {
        let head = self.hub.head();
        let at = |cursor, fresh, gap| Start { cursor, fresh, gap };
        match since {
            Since::Absent if receive == Receive::Poll => at(Seq::ZERO, true, false),
            Since::Earliest => at(Seq::ZERO, true, false),
            Since::Absent | Since::Now => at(head, false, false),
            Since::After(seq) if seq <= head => at(seq, false, false),
            Since::After(_) | Since::Unknown => at(Seq::ZERO, true, true),
        }
    }

    fn poll(
        &mut self,
        index: u32,
        receive: Receive,
        names: &Names<'_>,
        mut params: Params<'_>,
        start: Start,
        ask: &Ask<'_>,
    ) -> Result<(), Problem> {
        let conn = self.conn(index);
        if params.early && conn.flags.has(Flags::HTTP10) {
            // Only the end of the connection can end a body whose length is not known yet.
            conn.flags.put(Flags::CLOSE, true);
        }
        let ask = &Ask {
            callback: params.callback.take(),
            persistence: self.persistence(index),
            ..*ask
        };
        let mut known = Channels::new();
        let mut floor = Seq::ZERO;
        for name in names {
            match self.hub.find(name) {
                Some(channel) => known.push(channel),
                None => floor = floor.max(self.hub.lost(name)),
            }
        }
        let limit = params
            .limit
            .unwrap_or(usize::MAX)
            .min(self.settings.max_batch);
        let take = Take {
            messages: limit,
            bytes: self.settings.max_batch_bytes,
        };
        let mut items = std::mem::take(&mut self.scratch.items);
        items.clear();
        let followed = known.iter().map(|&channel| (channel, start.fresh));
        let more = self.hub.collect(followed, start.cursor, take, &mut items);
        let is_lost = floor > start.cursor && !start.fresh;
        let gap = start.gap || is_lost || items.iter().any(|item| matches!(item, Item::Gap(_)));
        let hold_ms = self.hold_ms(&params, ask);
        if receive == Receive::LongPoll && items.is_empty() && !gap && hold_ms > 0 {
            self.scratch.items = items;
            let channels = match known.len() == names.len() {
                true => known,
                false => self.hub.open_all(names.iter().map(AsRef::as_ref))?,
            };
            self.park(index, &channels, &params, limit, hold_ms, ask);
            return Ok(());
        }
        let last = items.last().map_or(self.hub.head(), Item::seq);
        let is_idle = receive == Receive::Poll && items.is_empty();
        let batch = Batch {
            cursor: if is_lost && !more {
                last.max(floor)
            } else {
                last
            },
            more,
            gap,
            retry_ms: match is_idle || self.drain.is_some() {
                true => Some(self.poll_retry_ms(&known)),
                false => None,
            },
            spread_ms: None,
        };
        let part = if params.early {
            Part::Early
        } else {
            Part::Whole
        };
        self.stats.told(message_count(&items), gap);
        self.write_items(index, ask, batch, &items, part);
        self.scratch.items = items;
        Ok(())
    }

    /// How long a poll may be held; 0 where it must be answered at once.
    fn hold_ms(&mut self, params: &Params<'_>, ask: &Ask<'_>) -> u64 {
        if ask.head_only || self.drain.is_some() {
            return 0;
        }
        match params.hold_ms {
            Some(hold_ms) => hold_ms.min(self.settings.max_hold_ms),
            None => {
                let hold_ms = self.settings.hold_ms;
                hold_ms - self.random.u64(0..=hold_ms / 10)
            }
        }
    }

    /// Parks a long poll.
    fn park(
        &mut self,
        index: u32,
        channels: &[u32],
        params: &Params<'_>,
        limit: usize,
        hold_ms: u64,
        ask: &Ask<'_>,
    ) {
        let is_plain = limit == self.settings.max_batch
            && params.linger_ms == 0
            && ask.callback.is_none()
            && ask.origin.is_none();
        let ends_at = self.now.after_ms(hold_ms);
        let conn = &mut self.conns[index as usize];
        if !is_plain {
            conn.work(&self.buffers).wish = Some(Wish {
                callback: ask.callback.as_deref().map(Box::from),
                origin: ask.origin,
                limit,
                linger_ms: params.linger_ms,
                ..Wish::default()
            });
        }
        conn.flags.put(Flags::EARLY, params.early);
        conn.transport = Transport::LongPoll;
        conn.set_held_since(self.now);
        conn.set_ends_at(ends_at);
        conn.become_state(State::Held, &mut self.states);
        conn.reader.cursor = self.hub.head();
        self.hub.follow(
            &mut conn.reader,
            index,
            channels,
            Transport::LongPoll,
            false,
        );
        self.arm(index, ends_at);
        if params.early {
            self.write_early_head(index, ask);
        }
    }

    fn write_early_head(&mut self, index: u32, ask: &Ask<'_>) {
        let ending = self.open_ending(index);
        let manner = manner(ask, &self.heads);
        self.heads
            .batch(&mut self.scratch.out, &manner, None, ending);
    }

    /// How a body of unknown length ends on a connection.
    pub(in crate::engine) fn open_ending(&self, index: u32) -> Ending {
        match self.conns[index as usize].flags.has(Flags::HTTP10) {
            true => Ending::Close,
            false => Ending::Chunked,
        }
    }

    /// Writes an answer with these items. It counts nothing, as many may be sent what is written.
    pub(in crate::engine) fn write_items(
        &mut self,
        index: u32,
        ask: &Ask<'_>,
        batch: Batch,
        items: &[Item],
        part: Part,
    ) {
        let mut frames = std::mem::take(&mut self.scratch.frames);
        frames.clear();
        for item in items {
            if let Item::Message { key, .. } = *item {
                frames.push(self.frame(key, Shape::Object));
            }
        }
        self.write_batch(index, ask, batch, &frames, part);
        frames.clear();
        self.scratch.frames = frames;
    }

    /// Writes an answer with these objects.
    pub(in crate::engine) fn write_batch(
        &mut self,
        index: u32,
        ask: &Ask<'_>,
        batch: Batch,
        objects: &[Arc<Frame>],
        part: Part,
    ) {
        let envelope = Envelope {
            epoch: self.hub.epoch(),
            cursor: batch.cursor,
            more: batch.more,
            gap: batch.gap,
            retry_ms: batch.retry_ms,
            spread_ms: batch.spread_ms,
        };
        let mut body = std::mem::take(&mut self.scratch.body);
        body.clear();
        encode::batch(
            &mut body,
            &envelope,
            objects.iter().map(|object| object.bytes()),
        );
        if let Some(callback) = &ask.callback {
            let mut call = Vec::with_capacity(body.len() + 128);
            encode::jsonp(&mut call, callback, &body);
            body = call;
        }
        let manner = manner(ask, &self.heads);
        let out = &mut self.scratch.out;
        match part {
            Part::Whole => {
                let cursor = Some((self.hub.epoch(), batch.cursor));
                self.heads
                    .batch(out, &manner, cursor, Ending::Length(body.len()));
            }
            Part::Early => {
                let ending = self.open_ending(index);
                self.heads
                    .batch(&mut self.scratch.out, &manner, None, ending);
            }
            Part::Rest => {}
        }
        let chunked = self.open_ending(index) == Ending::Chunked;
        let out = &mut self.scratch.out;
        match part {
            _ if ask.head_only => {}
            Part::Early | Part::Rest if chunked => {
                chunk(out, |out| out.extend_from_slice(&body));
                out.extend_from_slice(LAST_CHUNK);
            }
            Part::Whole | Part::Early | Part::Rest => out.extend_from_slice(&body),
        }
        self.scratch.body = body;
    }

    /// How the answer to a held poll is to be written.
    pub(in crate::engine) fn held_ask<'w>(&self, index: u32, wish: &'w Wish) -> Ask<'w> {
        Ask {
            persistence: self.persistence(index),
            head_only: false,
            origin: wish.origin,
            callback: wish.callback.as_deref().map(Cow::Borrowed),
        }
    }
}

/// How many of these are messages.
pub(in crate::engine) fn message_count(items: &[Item]) -> usize {
    let is_message = |item: &&Item| matches!(item, Item::Message { .. });
    items.iter().filter(is_message).count()
}
