//! Streams: server-sent events, NDJSON and the forever frame.
//!
//! Owns how a stream opens, stays alive and ends. Its messages come by `deliver`.

use crate::encode::{Deliver, Epoch, Seq, ndjson, script, sse};
use crate::engine::Engine;
use crate::engine::connections::conn::{Flags, State};
use crate::engine::connections::wire::Wire;
use crate::engine::delivery::poll::Start;
use crate::engine::requests::params::Params;
use crate::engine::requests::route::Names;
use crate::engine::response::context::{Ask, manner};
use crate::engine::response::heads::{Ending, LAST_CHUNK, Manner, Persistence, chunk};
use crate::engine::response::problem::Problem;
use crate::hub::Transport;

impl Engine {
    pub(in crate::engine) fn open_stream(
        &mut self,
        index: u32,
        transport: Transport,
        names: &Names<'_>,
        params: &Params<'_>,
        start: Start,
        ask: &Ask<'_>,
    ) -> Result<(), Problem> {
        self.judge_target(transport, params)?;
        self.conn(index).flags.put(Flags::CLOSE, true);
        if ask.head_only {
            self.write_stream_head(index, transport, ask);
            return Ok(());
        }
        if self.drain.is_some() {
            self.turn_away(index, transport, params, start, ask);
            return Ok(());
        }
        let channels = match self.hub.open_all(names.iter().map(AsRef::as_ref)) {
            Ok(channels) => channels,
            // An EventSource that is refused by status gives up for ever.
            Err(_) if transport == Transport::Sse => {
                self.turn_away(index, transport, params, start, ask);
                return Ok(());
            }
            Err(refusal) => return Err(refusal.into()),
        };
        self.write_stream_head(index, transport, ask);
        self.write_opening(index, transport, params, start);
        let (bytes, age_ms) = (
            self.settings.stream_max_bytes,
            self.settings.stream_max_age_ms,
        );
        let stream_bytes = self.most_of(u64::from(bytes)) as u32;
        let ends_at = self.now.after_ms(self.most_of(age_ms));
        let conn = &mut self.conns[index as usize];
        conn.transport = transport;
        conn.flags.put(Flags::ENVELOPE, params.envelope);
        conn.set_stream_bytes(stream_bytes);
        conn.set_ends_at(ends_at);
        conn.become_state(State::Streaming, &mut self.states);
        conn.reader.cursor = start.cursor;
        self.hub
            .follow(&mut conn.reader, index, &channels, transport, start.fresh);
        self.arm_stream(index);
        Ok(())
    }

    /// The answer to a stream that may not begin now: when to come back, and with what it came
    /// with, or it would miss what is between that and now.
    fn turn_away(
        &mut self,
        index: u32,
        transport: Transport,
        params: &Params<'_>,
        start: Start,
        ask: &Ask<'_>,
    ) {
        let retry_ms = match self.drain {
            Some(_) => self.drain_retry_ms(),
            None => self.refused_retry_ms(),
        };
        self.write_stream_head(index, transport, ask);
        let chunked = self.open_ending(index) == Ending::Chunked;
        if transport == Transport::Sse {
            // It has kept its last id, and comes back with that.
            self.write_part(chunked, |out| sse::refusal(out, retry_ms));
        } else {
            self.write_opening(index, transport, params, start);
            let epoch = *self.hub.epoch();
            self.write_part(chunked, |out| {
                closing(out, transport, retry_ms, &epoch, start.cursor);
            });
        }
        if chunked {
            self.scratch.out.extend_from_slice(LAST_CHUNK);
        }
    }

    fn judge_target(&self, transport: Transport, params: &Params<'_>) -> Result<(), Problem> {
        let Some(origin) = params
            .origin
            .as_deref()
            .filter(|_| transport == Transport::Frame)
        else {
            return Ok(());
        };
        if self.heads.allows_any() || self.heads.allowed(origin.as_bytes()).is_some() {
            return Ok(());
        }
        Err(Problem::new(
            403,
            format!("messages may not be posted to {origin}; allow it with --cors-origin"),
        ))
    }

    fn write_stream_head(&mut self, index: u32, transport: Transport, ask: &Ask<'_>) {
        let kind = match transport {
            Transport::Sse => "text/event-stream",
            Transport::Ndjson => "application/x-ndjson",
            Transport::Frame => "text/html; charset=utf-8",
            Transport::LongPoll => unreachable!("a long poll is no stream"),
        };
        let ending = self.open_ending(index);
        let manner = Manner {
            persistence: Persistence::Close,
            ..manner(ask, &self.heads)
        };
        self.heads
            .stream(&mut self.scratch.out, &manner, kind, ending);
    }

    fn write_opening(
        &mut self,
        index: u32,
        transport: Transport,
        params: &Params<'_>,
        start: Start,
    ) {
        let chunked = self.open_ending(index) == Ending::Chunked;
        let epoch = *self.hub.epoch();
        let reconnect_ms = self.reconnect_ms();
        let deliver = match (&params.callback, &params.origin) {
            (Some(callback), _) => Deliver::Call(callback),
            (None, Some(origin)) => Deliver::PostTo(origin),
            (None, None) => Deliver::PostOwn,
        };
        let cursor = match start.gap {
            // One that comes back before it has the gap must be told of it again.
            true => Seq::UNREACHED,
            false => start.cursor,
        };
        self.write_part(chunked, |out| match transport {
            Transport::Sse => sse::opening(out, reconnect_ms, &epoch, cursor),
            Transport::Frame => script::frame_opening(out, deliver, &epoch, cursor),
            _ => ndjson::cursor(out, &epoch, cursor),
        });
        if start.gap {
            self.stats.gaps += 1;
            self.write_part(chunked, |out| gap(out, transport, &epoch, start.cursor));
        }
    }

    /// Writes a piece of a stream's body.
    pub(in crate::engine) fn write_part(
        &mut self,
        chunked: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let out = &mut self.scratch.out;
        match chunked {
            true => chunk(out, write),
            false => write(out),
        }
    }

    /// A stream's next deadline: its heartbeat, or its end.
    pub(in crate::engine) fn arm_stream(&mut self, index: u32) {
        let heartbeat = self.now.after_ms(self.settings.heartbeat_ms);
        let ends_at = self.conns[index as usize].ends_at(self.now);
        self.arm(index, heartbeat.min(ends_at));
    }

    /// Shows that a silent stream is alive.
    pub(in crate::engine) fn beat(&mut self, index: u32, wire: &mut impl Wire) {
        let chunked = self.open_ending(index) == Ending::Chunked;
        let (epoch, head) = (*self.hub.epoch(), self.hub.head());
        let transport = self.conns[index as usize].transport;
        self.write_part(chunked, |out| match transport {
            Transport::Sse => out.extend_from_slice(sse::HEARTBEAT),
            Transport::Frame => script::frame_cursor(out, &epoch, head),
            _ => ndjson::cursor(out, &epoch, head),
        });
        let length = self.scratch.out.len();
        self.conn(index).spend_stream_bytes(length);
        self.arm_stream(index);
        self.flush(index, wire);
    }

    /// Ends a stream cleanly, having said where and when to go on.
    pub(in crate::engine) fn end_stream(&mut self, index: u32, wire: &mut impl Wire) {
        let chunked = self.open_ending(index) == Ending::Chunked;
        let retry_ms = self.recycle_ms();
        let epoch = *self.hub.epoch();
        let conn = &mut self.conns[index as usize];
        let cursor = match self.hub.is_owed(&conn.reader) {
            true => conn.reader.cursor,
            false => self.hub.head(),
        };
        let transport = conn.transport;
        self.hub.unfollow(&mut conn.reader);
        conn.become_state(State::Closing, &mut self.states);
        self.stats.recycled += 1;
        self.write_part(chunked, |out| {
            closing(out, transport, retry_ms, &epoch, cursor)
        });
        if chunked {
            self.scratch.out.extend_from_slice(LAST_CHUNK);
        }
        self.flush(index, wire);
        self.rest(index, wire);
    }
}

/// That messages are gone, in the words of a transport.
pub(in crate::engine) fn gap(out: &mut Vec<u8>, transport: Transport, epoch: &Epoch, seq: Seq) {
    match transport {
        Transport::Sse => sse::gap(out, epoch, seq),
        Transport::Frame => script::frame_gap(out, epoch, seq),
        _ => ndjson::gap(out, epoch, seq),
    }
}

fn closing(out: &mut Vec<u8>, transport: Transport, retry_ms: u32, epoch: &Epoch, seq: Seq) {
    match transport {
        Transport::Sse => sse::closing(out, retry_ms, epoch, seq),
        Transport::Frame => script::frame_closing(out, retry_ms, epoch, seq),
        _ => ndjson::closing(out, retry_ms, epoch, seq),
    }
}
