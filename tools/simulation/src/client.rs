//! One connection as its client sees it.
//!
//! Owns what was sent and what came back. Everything that came back must be an answer to what was
//! sent, framed exactly.

use std::collections::VecDeque;

use encke_core::engine::ConnId;

use crate::decode::{self, Decoder, Got, Sse};
use crate::http::{Head, Parser, Part, lossy};
use crate::request::{Kind, Receive, Request, Way};
use crate::session::Truth;
use crate::tally::Tally;

/// A whole answer as the engine offered it.
pub(crate) struct Answer {
    pub(crate) request: Request,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether the head of the next request was there already.
    pub(crate) is_followed: bool,
}

/// A connection.
pub(crate) struct Client {
    pub(crate) id: ConnId,
    pub(crate) requests: Vec<Request>,
    /// Written by the client, not yet in the server's kernel.
    pub(crate) unsent: VecDeque<u8>,
    /// In the server's kernel, not yet read by the engine.
    pub(crate) kernel: VecDeque<u8>,
    /// All bytes written, and all that the engine has read.
    pub(crate) written: u64,
    pub(crate) read: u64,
    /// The client's side is ended, after what is in the kernel.
    pub(crate) fin: bool,
    /// Its end was told to the engine.
    pub(crate) fin_told: bool,
    /// Whether it may have more to read, as the reactor knows it.
    pub(crate) unread: bool,
    /// It was cut off, by the network or by itself.
    pub(crate) broken: bool,
    /// Sees what the engine offers, to know of answers before the client reads them.
    pub(crate) tap: Parser,
    pub(crate) tapped: usize,
    /// A stream has begun: what is offered and not taken may never be sent.
    pub(crate) tap_ends: bool,
    tap_body: Vec<u8>,
    tap_head: Option<Head>,
    parser: Parser,
    /// The number of the request whose answer is being received.
    pub(crate) answered: usize,
    head: Option<Head>,
    body: Vec<u8>,
    pub(crate) decoder: Option<Decoder>,
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
}

impl Client {
    pub(crate) fn new(id: ConnId, now: u64) -> Client {
        Client {
            id,
            requests: Vec::new(),
            unsent: VecDeque::new(),
            kernel: VecDeque::new(),
            written: 0,
            read: 0,
            fin: false,
            fin_told: false,
            unread: false,
            broken: false,
            tap: Parser::new(),
            tapped: 0,
            tap_ends: false,
            tap_body: Vec::new(),
            tap_head: None,
            parser: Parser::new(),
            answered: 0,
            head: None,
            body: Vec::new(),
            decoder: None,
            said_close: false,
            heard_at: now,
            late_at: None,
            owed_at: None,
            stream_bytes: 0,
        }
    }

    pub(crate) fn write(&mut self, mut request: Request, bytes: &[u8]) {
        request.start = self.written;
        self.written += bytes.len() as u64;
        request.end = self.written;
        self.requests.push(request);
        self.unsent.extend(bytes);
    }

    /// Whether a request that opens a stream was written: nothing may follow it.
    pub(crate) fn is_last_written(&self) -> bool {
        self.requests.last().is_some_and(|request| {
            !request.keep_alive || matches!(&request.kind, Kind::Receive(r) if r.way.is_stream())
        })
    }

    /// The request that is parked, as the engine offers its answers.
    pub(crate) fn parked(&mut self) -> Option<&mut Receive> {
        match &mut self.requests.get_mut(self.tapped)?.kind {
            Kind::Receive(receive) => Some(receive),
            _ => None,
        }
    }

    /// Looks at what was offered: the answers that are whole, each with its request.
    pub(crate) fn tap(&mut self, bytes: &[u8]) -> Vec<Answer> {
        if self.tap_ends {
            return Vec::new();
        }
        let requests = &self.requests;
        let is_head = |nth: usize| requests.get(nth).is_some_and(|r| r.is_head(self.read));
        let mut whole = Vec::new();
        for part in self.tap.feed(bytes, is_head) {
            match part {
                Part::Head(head) => {
                    let kind = self.requests.get(self.tapped).map(|request| &request.kind);
                    let is_stream = matches!(kind, Some(Kind::Receive(r)) if r.way.is_stream());
                    self.tap_ends |= is_stream && head.status == 200;
                    self.tap_head = Some(head);
                }
                Part::Body(body) => self.tap_body.extend(body),
                Part::End => {
                    let request = self.requests.get(self.tapped).cloned();
                    let request = request.expect("an answer to no request");
                    let status = self.tap_head.take().map_or(0, |head| head.status);
                    self.tapped += 1;
                    let next = self.requests.get(self.tapped);
                    whole.push(Answer {
                        request,
                        status,
                        body: std::mem::take(&mut self.tap_body),
                        is_followed: next.is_some_and(|next| next.has_head(self.read)),
                    });
                    self.owed_at = None;
                }
            }
        }
        whole
    }

    /// Reads what arrived.
    pub(crate) fn receive(
        &mut self,
        epoch: &str,
        bytes: &[u8],
        truth: &Truth<'_>,
        tally: &mut Tally,
    ) {
        let requests = &self.requests;
        let is_head = |nth: usize| requests.get(nth).is_some_and(|r| r.is_head(self.read));
        let parts = self.parser.feed(bytes, is_head);
        for part in parts {
            match part {
                Part::Head(head) => self.begin(head),
                Part::Body(body) => self.take(epoch, &body, truth, tally),
                Part::End => self.end(epoch, truth, tally),
            }
        }
        assert!(
            self.parser.is_between() || self.answered < self.requests.len(),
            "bytes that answer nothing"
        );
    }

    fn begin(&mut self, head: Head) {
        assert!(!self.said_close, "an answer after the last");
        let request = self.requests.get(self.answered);
        let request = request.unwrap_or_else(|| panic!("an answer to no request: {head:?}"));
        assert!(self.read > request.start, "an answer before its request");
        let whole = self.read >= request.end;
        assert!(whole || head.status >= 400, "an answer to half a request");
        self.said_close |= head.closes();
        let is_kept = head.field("connection") == Some("keep-alive");
        assert!(is_kept || head.field("keep-alive").is_none());
        assert!(!is_kept || !request.http10 || request.keep_alive);
        if let Kind::Receive(receive) = &request.kind
            && head.status == 200
            && !request.head_only
        {
            self.decoder = match receive.way {
                Way::Sse => Some(Decoder::Sse(Box::new(Sse::new(receive.envelope)))),
                Way::Ndjson => Some(Decoder::Ndjson {
                    bytes: Vec::new(),
                    closed: false,
                }),
                Way::Frame => Some(Decoder::Frame {
                    bytes: Vec::new(),
                    opened: false,
                    closed: false,
                }),
                Way::Poll | Way::LongPoll => None,
            };
        }
        self.head = Some(head);
        self.body.clear();
    }

    fn take(&mut self, epoch: &str, body: &[u8], truth: &Truth<'_>, tally: &mut Tally) {
        let Some(decoder) = &mut self.decoder else {
            return self.body.extend_from_slice(body);
        };
        let got = decoder.feed(epoch, body);
        let request = &mut self.requests[self.answered];
        let Kind::Receive(receive) = &mut request.kind else {
            unreachable!("only a request to receive opens a stream");
        };
        self.stream_bytes += body.len() as u64;
        let session = &mut receive.session;
        for got in got {
            match got {
                Got::Message(message) => {
                    session.message(&message, false, truth);
                    tally.received[receive.way as usize] += 1;
                }
                Got::Cursor(seq) | Got::Closing(seq) => session.cursor(seq, truth),
                Got::Gap(seq) => session.gap(seq, truth, tally),
            }
        }
    }

    fn end(&mut self, epoch: &str, truth: &Truth<'_>, tally: &mut Tally) {
        let head = self.head.take().expect("an answer has a head");
        let body = std::mem::take(&mut self.body);
        let place = self.answered;
        self.answered += 1;
        tally.answered += 1;
        if let Some(decoder) = self.decoder.take() {
            assert!(decoder.may_end(), "a stream ended without its last words");
            return;
        }
        let request = &mut self.requests[place];
        if request.head_only {
            return;
        }
        match &mut request.kind {
            Kind::Receive(receive) if head.status == 200 => {
                let text = String::from_utf8(body).expect("a batch is text");
                let json = match &receive.callback {
                    Some(callback) => decode::jsonp(text.as_bytes(), callback),
                    None => text,
                };
                if json.starts_with("{\"error\":") {
                    tally.refused += 1;
                    return;
                }
                batch(epoch, receive, &head, &json, truth, tally);
            }
            _ if head.status >= 400 => {
                tally.refused += 1;
                assert_eq!(head.field("content-type"), Some("application/problem+json"));
                serde_json::from_slice::<serde_json::Value>(&body)
                    .unwrap_or_else(|error| panic!("{error}: {}", lossy(&body)));
            }
            _ => {}
        }
    }

    /// The connection's end arrives: ours was ended in order, or the socket was closed.
    pub(crate) fn finish(&mut self, in_order: bool, taken_all: bool) {
        let by_close = self.parser.is_until_close();
        let is_whole = self.parser.is_between() || by_close;
        if in_order {
            assert!(
                is_whole && taken_all,
                "the end comes in the middle of an answer"
            );
            if let Some(decoder) = &self.decoder {
                assert!(decoder.may_end(), "a stream ended without its last words");
            }
        }
    }

    /// A close-delimited batch is whole once the connection ended in order.
    pub(crate) fn finish_body(&mut self, epoch: &str, truth: &Truth<'_>, tally: &mut Tally) {
        if self.parser.is_until_close() && self.head.is_some() {
            self.parser = Parser::new();
            self.end(epoch, truth, tally);
        }
    }

    pub(crate) fn is_between(&self) -> bool {
        self.parser.is_between()
    }
}

fn batch(
    epoch: &str,
    receive: &mut Receive,
    head: &Head,
    json: &str,
    truth: &Truth<'_>,
    tally: &mut Tally,
) {
    let batch = decode::batch(epoch, json);
    match head.field("encke-cursor") {
        Some(cursor) => assert_eq!(decode::seq_of(epoch, cursor), batch.cursor),
        None => assert!(receive.early, "no cursor in the head"),
    }
    let most = receive.limit.unwrap_or(usize::MAX);
    assert!(batch.messages.len() <= most, "more messages than asked for");
    tally.received[receive.way as usize] += batch.messages.len() as u64;
    if batch.messages.is_empty() && (receive.way == Way::Poll || batch.gap) {
        assert!(
            batch.retry.is_some(),
            "an answer with nothing is not told when to come back"
        );
    }
    assert!(!batch.more || !batch.messages.is_empty());
    tally.lingered += u64::from(receive.linger_ms > 0 && batch.messages.len() > 1);
    receive.session.batch(&batch, truth, tally);
}
