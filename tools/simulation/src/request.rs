//! Requests of clients.
//!
//! Owns the facts of a request by which its answer is judged, and its bytes, in `write`.

mod write;

pub(crate) use write::{
    data, delete, members, other, publish, publish_by_lines, publish_lines, quoted, receive, search,
};

use std::ops::Range;

use encke_oracle::log::Transport;
use encke_test_client::Format;

use crate::chance::Chance;
use crate::model::Said;
use crate::session::Session;
use crate::token::{Card, Cards};

/// A request to receive.
#[derive(Debug)]
pub(crate) struct Receive {
    /// One of [`ENDPOINTS`](crate::tally::ENDPOINTS).
    pub(crate) endpoint: Transport,
    pub(crate) follower: usize,
    pub(crate) session: Session,
    pub(crate) hold_ms: Option<u64>,
    pub(crate) limit: Option<usize>,
    pub(crate) linger_ms: u64,
    pub(crate) early: bool,
    pub(crate) envelope: bool,
    /// The least time between two writes to a stream; 0: none.
    pub(crate) pace_ms: u64,
    pub(crate) callback: Option<String>,
    /// The channels that the server makes it follow, as far as it has answered.
    pub(crate) followed: Vec<usize>,
}

impl Receive {
    /// The format of the stream that it opens; none of a poll.
    pub(crate) fn format(&self) -> Option<Format> {
        match self.endpoint {
            Transport::Sse if self.envelope => Some(Format::SseEnvelope),
            Transport::Sse => Some(Format::Sse),
            Transport::Ndjson => Some(Format::Ndjson),
            Transport::Frame => Some(Format::Frame),
            Transport::WebSocket => Some(Format::WebSocket),
            _ => None,
        }
    }
}

/// The kind of a request.
#[derive(Debug)]
pub(crate) enum Kind {
    Receive(Box<Receive>),
    Publish(Said, Option<String>),
    Batch(Vec<Said>),
    Lines(Lines),
    /// A deletion of the history of a channel. If any of these records of the log is one, the first
    /// that is comes not after its own.
    Delete(usize, Range<usize>),
    Search(Search),
    /// Anything that says nothing about messages.
    Other,
}

/// A request that publishes by lines.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The messages of its lines that are not empty, each with the number of its line.
    pub(crate) lines: Vec<(u64, Said)>,
    pub(crate) key: Option<String>,
    /// The channel ends after the last line.
    pub(crate) ends: Option<usize>,
    pub(crate) has_acks: bool,
    /// How many are known to be published.
    pub(crate) published: usize,
}

/// A request of an operator about connections.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) subject: &'static str,
    pub(crate) channel: Option<usize>,
    /// They are ended, and for so many seconds the subject is blocked.
    pub(crate) ends: bool,
    pub(crate) block_s: Option<u64>,
}

/// One request on a connection.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) head_only: bool,
    pub(crate) http10: bool,
    /// Whether the client wants the connection to stay.
    pub(crate) keep_alive: bool,
    pub(crate) cards: Cards,
    /// The length of the head.
    pub(crate) head_bytes: usize,
    /// Where it begins and ends in all that the client sent.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Request {
    /// Whether the server, having read so much, can know that it is HEAD.
    pub(crate) fn is_head(&self, read: u64) -> bool {
        self.head_only && read >= self.start + "HEAD ".len() as u64
    }

    /// Whether its head is whole once so much was read.
    pub(crate) fn has_head(&self, read: u64) -> bool {
        read >= self.start + self.head_bytes as u64
    }
}

/// The parts of a request besides its kind.
pub(crate) struct Manner {
    pub(crate) http10: bool,
    pub(crate) keep_alive: bool,
    pub(crate) cards: Cards,
}

impl Manner {
    pub(crate) fn by_chance(chance: &mut Chance) -> Manner {
        let http10 = chance.u8(..6) == 0;
        Manner {
            http10,
            keep_alive: if http10 {
                chance.bool()
            } else {
                chance.u8(..8) > 0
            },
            cards: Cards {
                bearer: match chance.u8(..10) {
                    0 => None,
                    1 => Some(Card::Key("wrong")),
                    _ => Some(Card::Key("secret")),
                },
                ..Cards::default()
            },
        }
    }

    fn head(&self, method: &str, target: &str) -> String {
        let mut head = match self.http10 {
            true => format!("{method} {target} HTTP/1.0\r\n"),
            false => format!("{method} {target} HTTP/1.1\r\nHost: s\r\n"),
        };
        match (self.http10, self.keep_alive) {
            (true, true) => head.push_str("Connection: keep-alive\r\n"),
            (false, false) => head.push_str("Connection: close\r\n"),
            _ => {}
        }
        head + &self.cards.fields()
    }

    /// A request without a body.
    fn bare(&self, kind: Kind, method: &str, target: &str) -> (Request, Vec<u8>) {
        self.finish(kind, method, self.head(method, target), b"")
    }

    /// The whole request.
    pub(crate) fn finish(
        &self,
        kind: Kind,
        method: &str,
        head: String,
        body: &[u8],
    ) -> (Request, Vec<u8>) {
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        let head_bytes = bytes.len();
        bytes.extend_from_slice(body);
        let request = Request {
            kind,
            head_only: method == "HEAD",
            http10: self.http10,
            keep_alive: self.keep_alive,
            cards: self.cards.clone(),
            head_bytes,
            start: 0,
            end: 0,
        };
        (request, bytes)
    }
}

/// Where a request names its cursor.
pub(crate) enum Cursor {
    None,
    Query(String),
    /// In the header `Last-Event-ID`, or in a parameter that stands in for it.
    Header(String),
}
