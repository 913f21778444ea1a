//! One connection as its client sees it.
//!
//! Owns what was sent and what came back. Everything that came back must be an answer to what was
//! sent, framed exactly.

mod answers;

use std::collections::VecDeque;

use encke_core::config::Config;
use encke_core::engine::{Access, ConnId};
use encke_oracle::finding::Kind as Broken;
use encke_oracle::log::Event;
use encke_test_client::batch::jsonp;
use encke_test_client::{self as client, StreamDecoder};

use crate::command::{Command, Commands, parse};
use crate::model::Model;
use crate::request::{Kind, Receive, Request};
use crate::response::{Piece, ResponseHead, Responses};
use crate::rule::{broken, ensure};
use crate::tally::Tally;
use answers::{answered, batch, check_last_words, whole_lines};

/// A whole answer as the engine offered it, or the beginning of a stream.
pub(crate) struct Answer {
    /// Which of the connection's requests it answers.
    pub(crate) place: usize,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether the head of the next request was there already.
    pub(crate) is_followed: bool,
}

/// The model that answers are compared with, and the counts.
pub(crate) struct Desk<'a> {
    pub(crate) model: &'a mut Model,
    pub(crate) tally: &'a mut Tally,
    pub(crate) config: &'a Config,
    /// Short writes of the connection so far.
    pub(crate) blocks: u64,
}

/// A connection.
pub(crate) struct Client {
    pub(crate) id: ConnId,
    pub(crate) access: Access,
    pub(crate) requests: Vec<Request>,
    /// Written by the client, not yet in the server's kernel.
    pub(crate) unsent: VecDeque<u8>,
    /// In the server's kernel, not yet read by the engine.
    pub(crate) kernel: VecDeque<u8>,
    /// All bytes written, and all that the engine has read.
    pub(crate) written: u64,
    pub(crate) read: u64,
    /// When the engine has read last.
    pub(crate) read_at: u64,
    /// The client's side is ended, after what is in the kernel.
    pub(crate) fin: bool,
    /// Its end was told to the engine.
    pub(crate) fin_told: bool,
    /// Whether it may have more to read, as the reactor knows it.
    pub(crate) unread: bool,
    /// It was cut off, by the network or by itself.
    pub(crate) broken: bool,
    /// Sees what the engine offers, to know of answers before the client reads them.
    tap: Responses,
    pub(crate) tapped: usize,
    /// A stream has begun: what is offered and not taken may never be sent.
    pub(crate) tap_ends: bool,
    tap_body: Vec<u8>,
    tap_head: Option<ResponseHead>,
    responses: Responses,
    /// The number of the request whose answer is being received.
    pub(crate) answered: usize,
    head: Option<ResponseHead>,
    body: Vec<u8>,
    pub(crate) decoder: Option<StreamDecoder>,
    /// An answer said that the connection will be closed.
    pub(crate) said_close: bool,
    /// When bytes last arrived.
    pub(crate) heard_at: u64,
    /// When it was first found that a heartbeat is late.
    pub(crate) late_at: Option<u64>,
    /// When the first message came to the poll that is held now.
    pub(crate) owed_at: Option<u64>,
    /// Body bytes of the stream, its opening aside.
    pub(crate) stream_bytes: u64,
    /// The commands of a socket, once it is open.
    pub(crate) commands: Option<Commands>,
    /// A stream was written to before.
    has_heard_stream: bool,
    /// More messages came at once than one write holds.
    is_flooded: bool,
    /// The acknowledgements of lines that are whole, and not looked at, each with the place of its
    /// request.
    pub(crate) acknowledged: Vec<(usize, serde_json::Value)>,
    /// Those that the server has answered since the last look.
    pub(crate) executed: Vec<(Command, serde_json::Value)>,
}

/// So many messages at once may be more than one write to a paced stream holds.
const FLOOD: u64 = 200;

impl Client {
    pub(crate) fn new(id: ConnId, access: Access, now: u64) -> Client {
        Client {
            id,
            access,
            requests: Vec::new(),
            unsent: VecDeque::new(),
            kernel: VecDeque::new(),
            written: 0,
            read: 0,
            read_at: 0,
            fin: false,
            fin_told: false,
            unread: false,
            broken: false,
            tap: Responses::default(),
            tapped: 0,
            tap_ends: false,
            tap_body: Vec::new(),
            tap_head: None,
            responses: Responses::default(),
            answered: 0,
            head: None,
            body: Vec::new(),
            decoder: None,
            said_close: false,
            heard_at: now,
            late_at: None,
            owed_at: None,
            stream_bytes: 0,
            commands: None,
            has_heard_stream: false,
            is_flooded: false,
            acknowledged: Vec::new(),
            executed: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, mut request: Request, bytes: &[u8]) {
        request.start = self.written;
        self.written += bytes.len() as u64;
        request.end = self.written;
        self.requests.push(request);
        self.unsent.extend(bytes);
    }

    /// Writes frames of a socket.
    pub(crate) fn write_frames(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.unsent.extend(bytes);
    }

    /// Whether it is a socket that the client has found open, and has not closed.
    pub(crate) fn is_socket(&self) -> bool {
        let is_open = self.commands.as_ref().is_some_and(|c| !c.has_closed);
        is_open && self.decoder.is_some() && !self.fin && !self.broken
    }

    /// Whether a request that opens a stream was written: nothing may follow it.
    pub(crate) fn is_last_written(&self) -> bool {
        self.requests.last().is_some_and(|request| {
            !request.keep_alive
                || matches!(&request.kind, Kind::Receive(r) if r.endpoint.is_stream())
        })
    }

    /// The request that is parked, as the engine offers its answers.
    pub(crate) fn parked(&mut self) -> Option<&mut Receive> {
        match &mut self.requests.get_mut(self.tapped)?.kind {
            Kind::Receive(receive) => Some(receive),
            _ => None,
        }
    }

    /// Looks at what was offered: the answers that are whole, and the stream that begins.
    pub(crate) fn tap(&mut self, bytes: &[u8]) -> Vec<Answer> {
        if self.tap_ends {
            return Vec::new();
        }
        let mut tap = std::mem::take(&mut self.tap);
        let mut whole = Vec::new();
        let (requests, read) = (&self.requests, self.read);
        let is_head = |nth: usize| requests.get(nth).is_some_and(|r| r.is_head(read));
        tap.feed(bytes, is_head, |piece| {
            match piece {
                Piece::Head(head) => {
                    let kind = requests.get(self.tapped).map(|request| &request.kind);
                    let is_stream =
                        matches!(kind, Some(Kind::Receive(r)) if r.endpoint.is_stream());
                    let begins_stream = is_stream && matches!(head.status, 101 | 200);
                    self.tap_ends |= begins_stream && head.status == 200;
                    if head.status == 101 {
                        self.commands = Some(Commands::default());
                    }
                    if begins_stream {
                        whole.push(Answer {
                            place: self.tapped,
                            status: head.status,
                            body: Vec::new(),
                            is_followed: false,
                        });
                    }
                    self.tap_head = Some(head);
                }
                Piece::Body(body) => match &mut self.commands {
                    Some(commands) => self.executed.extend(commands.tap(body)),
                    None => {
                        self.tap_body.extend_from_slice(body);
                        let kind = requests.get(self.tapped).map(|request| &request.kind);
                        let is_begun = self.tap_head.as_ref().is_some_and(|h| h.status == 200);
                        if matches!(kind, Some(Kind::Lines(lines)) if lines.has_acks) && is_begun {
                            let lines = whole_lines(&mut self.tap_body).into_iter();
                            let place = self.tapped;
                            self.acknowledged.extend(lines.map(|line| (place, line)));
                        }
                    }
                },
                Piece::End => {
                    let place = self.tapped;
                    ensure!(place < requests.len(), Nonsense, "an answer to no request");
                    self.tapped += 1;
                    let next = requests.get(self.tapped);
                    whole.push(Answer {
                        place,
                        status: self.tap_head.take().map_or(0, |head| head.status),
                        body: std::mem::take(&mut self.tap_body),
                        is_followed: next.is_some_and(|next| next.has_head(read)),
                    });
                    self.owed_at = None;
                }
            }
            !self.tap_ends
        });
        self.tap = tap;
        whole
    }

    /// Reads what arrived.
    pub(crate) fn receive(&mut self, bytes: &[u8], desk: &mut Desk<'_>) {
        let mut responses = std::mem::take(&mut self.responses);
        let read = self.read;
        let heads: Vec<bool> = self.requests.iter().map(|r| r.is_head(read)).collect();
        let is_head = |nth: usize| heads.get(nth).copied().unwrap_or(false);
        responses.feed(bytes, is_head, |piece| {
            match piece {
                Piece::Head(head) => self.begin(head),
                Piece::Body(body) => self.take(body, desk),
                Piece::End => self.end(desk),
            }
            true
        });
        self.responses = responses;
        ensure!(
            self.is_at_boundary() || self.answered < self.requests.len(),
            Nonsense,
            "bytes that answer nothing"
        );
    }

    /// A paced stream is written to at most once in its pace, its last words aside.
    pub(crate) fn check_pace(&mut self, last_at: u64, desk: &mut Desk<'_>) {
        let (Some(decoder), None) = (&self.decoder, &self.commands) else {
            return;
        };
        let (is_closed, answered) = (decoder.is_closed(), self.answered);
        let Some(Kind::Receive(receive)) = self.requests.get(answered).map(|asked| &asked.kind)
        else {
            return;
        };
        if receive.pace_ms == 0 || desk.blocks > 0 || is_closed {
            return;
        }
        desk.tally.paced += 1;
        let had_opened = std::mem::replace(&mut self.has_heard_stream, true);
        let now = self.heard_at;
        ensure!(
            !had_opened || now == last_at || now >= last_at + receive.pace_ms || self.is_flooded,
            Deadline,
            "{} is written to {} ms after the last write, with a pace of {} ms",
            self.id.index,
            now - last_at,
            receive.pace_ms
        );
    }

    fn begin(&mut self, head: ResponseHead) {
        ensure!(!self.said_close, Nonsense, "an answer after the last");
        let Some(request) = self.requests.get(self.answered) else {
            broken(
                Broken::Nonsense,
                format!("an answer to no request: {head:?}"),
            );
        };
        ensure!(
            self.read > request.start,
            Nonsense,
            "an answer before its request"
        );
        let whole = self.read >= request.end;
        let is_acknowledged = matches!(&request.kind, Kind::Lines(lines) if lines.has_acks);
        ensure!(
            whole || head.status >= 400 || is_acknowledged,
            Nonsense,
            "an answer to half a request"
        );
        self.said_close |= head.closes;
        let is_kept = head.connection.as_deref() == Some("keep-alive");
        ensure!(
            is_kept || !head.has_keep_alive,
            Nonsense,
            "Keep-Alive on a connection that is not kept"
        );
        ensure!(
            !is_kept || !request.http10 || request.keep_alive,
            Nonsense,
            "an HTTP/1.0 connection is kept unasked"
        );
        if let Kind::Receive(receive) = &request.kind
            && matches!(head.status, 101 | 200)
            && !request.head_only
        {
            self.decoder = receive.format().map(StreamDecoder::new);
        }
        self.head = Some(head);
        self.body.clear();
    }

    fn take(&mut self, mut body: &[u8], desk: &mut Desk<'_>) {
        let Some(decoder) = &mut self.decoder else {
            return self.body.extend_from_slice(body);
        };
        let request = &mut self.requests[self.answered];
        let Kind::Receive(receive) = &mut request.kind else {
            unreachable!("only a request to receive opens a stream");
        };
        self.stream_bytes += body.len() as u64;
        let received_before = desk.tally.received[receive.endpoint as usize];
        receive
            .session
            .note_blocks(desk.blocks, desk.model, desk.tally);
        loop {
            let event = decoder.next(&mut body);
            let event = event.unwrap_or_else(|error| broken(Broken::Nonsense, error));
            let Some(event) = event else {
                let received = desk.tally.received[receive.endpoint as usize] - received_before;
                self.is_flooded |= received >= FLOOD;
                return;
            };
            let event = match event {
                client::Event::Message(message) => {
                    desk.tally.received[receive.endpoint as usize] += 1;
                    Event::Message(desk.model.receipt(&message))
                }
                client::Event::Opening {
                    cursor,
                    heartbeat_ms,
                } => {
                    let heartbeat = desk.config.heartbeat.as_millis();
                    let heartbeat = heartbeat.max(u128::from(receive.pace_ms));
                    ensure!(
                        u128::from(heartbeat_ms) == heartbeat,
                        Nonsense,
                        "a heartbeat of {heartbeat_ms} ms, and not {heartbeat} ms"
                    );
                    Event::Cursor(desk.model.parse(&cursor))
                }
                client::Event::Cursor(cursor) => Event::Cursor(desk.model.parse(&cursor)),
                client::Event::Gap(cursor) => Event::Gap(desk.model.parse(&cursor)),
                client::Event::End { cursor } => {
                    let cursor = desk.model.parse(&cursor);
                    desk.model.check_ended(&receive.followed, cursor.seq);
                    desk.tally.done += 1;
                    Event::Cursor(cursor)
                }
                client::Event::Ended { cursor, channels } => {
                    let cursor = desk.model.parse(&cursor);
                    let channels = desk.model.places(&channels);
                    desk.model.check_ended(&channels, cursor.seq);
                    desk.tally.done_in_part += 1;
                    Event::Cursor(cursor)
                }
                client::Event::Closing {
                    cursor,
                    has_expired,
                    ..
                } => {
                    receive.session.last_words = Some(has_expired);
                    Event::Closing(cursor.map(|cursor| desk.model.parse(&cursor)))
                }
                client::Event::Heartbeat => Event::Beat,
                client::Event::Answer(text) => {
                    let commands = self.commands.as_mut();
                    let command = commands.and_then(|commands| commands.unread.pop_front());
                    let command = command.expect("the answer was offered before");
                    answered(receive, command, &parse(&text), desk);
                    continue;
                }
                client::Event::Pong(_) => {
                    desk.tally.pongs += 1;
                    Event::Beat
                }
            };
            receive.session.record(event, desk.model, desk.tally);
        }
    }

    fn end(&mut self, desk: &mut Desk<'_>) {
        let head = self.head.take().expect("an answer has a head");
        let body = std::mem::take(&mut self.body);
        let place = self.answered;
        self.answered += 1;
        desk.tally.answered += 1;
        if let Some(decoder) = self.decoder.take() {
            check_last_words(&decoder);
            return;
        }
        let is_followed = self.requests.len() > self.answered;
        let request = &mut self.requests[place];
        if request.head_only {
            return;
        }
        match &mut request.kind {
            Kind::Receive(receive) if head.status == 204 => {
                let place = receive.session.cursor();
                let place = place.expect("only one with a cursor is answered so");
                desk.model.check_ended(&receive.followed, place.seq);
                desk.tally.not_to_come_back += 1;
            }
            Kind::Receive(receive) if head.status == 200 => {
                if is_followed {
                    let session = &mut receive.session;
                    session.record(Event::Nudged, desk.model, desk.tally);
                }
                let text = String::from_utf8(body).expect("a batch is text");
                let json = match &receive.callback {
                    Some(callback) => jsonp(text.as_bytes(), callback)
                        .unwrap_or_else(|error| broken(Broken::Nonsense, error)),
                    None => text,
                };
                if json.starts_with("{\"error\":") {
                    desk.tally.refused += 1;
                    return;
                }
                batch(receive, &head, &json, desk);
            }
            _ if head.status >= 400 => {
                desk.tally.refused += 1;
                ensure!(
                    head.content_type.as_deref() == Some("application/problem+json"),
                    Nonsense,
                    "a refusal of type {:?}",
                    head.content_type
                );
                if let Err(error) = serde_json::from_slice::<serde_json::Value>(&body) {
                    broken(Broken::Nonsense, format!("{error}: {}", lossy(&body)));
                }
            }
            _ => {}
        }
    }

    /// The connection's end arrives in order: the socket was closed after everything was taken.
    pub(crate) fn finish(&mut self, desk: &mut Desk<'_>) {
        if let Some(decoder) = &self.decoder {
            check_last_words(decoder);
        }
        if self.responses.close() && self.head.is_some() {
            // A body that ends with the connection is whole.
            self.end(desk);
        }
    }

    pub(crate) fn is_at_boundary(&self) -> bool {
        self.responses.is_at_boundary()
    }
}

/// Bytes as text, for messages of failures.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(3000)]).into_owned()
}
