//! A thread that publishes numbered messages: one by one, in batches, with keys and retries, over
//! connections that it sometimes breaks, and remembers what it was answered.
//!
//! Invariant: a publish is `Refused` only if no attempt can have been accepted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use socket2::SockRef;

use super::answer::{acknowledged, ids, is_in_doubt};
use super::decode::{JSON_KEY, channel_name};
use super::protocol::Channels;
use crate::net::now_ns;
use crate::net::now_us;
use crate::receipt::Mark;
use encke_oracle::id::Id;
use encke_oracle::run::{Deletion, Outcome, Publish};
use encke_oracle::span::Span;
use encke_test_client::ResponseReader;
use encke_test_rig::http;

/// How long an answer may take: longer than anything that is done to the server.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much later than its response a deletion may still be done that a cluster has not answered
/// with success, in microseconds.
const LATE_DELETION_US: u64 = 60_000_000;

/// How often a publish with a key is tried.
const TRIES: usize = 8;

/// Where the numbers of one publisher end and those of the next begin.
const NUMBERS: u64 = 1 << 40;

/// The settings of a publisher.
#[derive(Clone, Copy)]
pub(super) struct Config<'a> {
    pub(super) run: u32,
    pub(super) seed: u64,
    /// Which of the publishers it is.
    pub(super) place: u64,
    /// The address of each node; of one where there is no cluster.
    pub(super) servers: &'a [SocketAddrV4],
    pub(super) channels: Channels,
    /// Messages a second.
    pub(super) rate: f64,
    /// Whether it breaks connections.
    pub(super) breaks: bool,
    /// Whether the servers are nodes of a cluster.
    pub(super) is_cluster: bool,
}

/// A publisher's log.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) publishes: Vec<Publish>,
    pub(super) deletions: Vec<Deletion>,
    /// Connections made.
    pub(super) connections: u64,
    /// How often which response of a server that cannot serve came, and when last.
    pub(super) refusals: BTreeMap<String, (u64, u64)>,
}

/// The outcome of one attempt.
enum Answer {
    Accepted(Vec<Id>),
    Refused,
    Unknown,
}

/// How an attempt is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Properly,
    /// The connection is reset before the answer.
    Unheard,
    /// The connection ends within the request.
    Half,
}

struct Publisher<'a> {
    config: Config<'a>,
    rng: Rng,
    /// The kept connection.
    stream: Option<TcpStream>,
    /// The node that it connected to last.
    node: usize,
    /// The status of the last response.
    status: u16,
    memory: Memory,
    messages: u64,
    batches: u64,
    total: &'a AtomicU64,
}

/// Publishes until told to stop; `total` counts messages accepted.
pub(super) fn publish(config: Config<'_>, stop: &AtomicBool, total: &AtomicU64) -> Memory {
    let mut publisher = Publisher {
        rng: Rng::with_seed(config.seed ^ (config.place + 1)),
        config,
        stream: None,
        node: 0,
        status: 0,
        memory: Memory::default(),
        messages: 0,
        batches: 0,
        total,
    };
    let mut due = now_us();
    while !stop.load(Ordering::Relaxed) {
        let now = now_us();
        if due > now {
            // The pace of the load; in pieces, to stop when told.
            std::thread::sleep(Duration::from_micros((due - now).min(100_000)));
            continue;
        }
        let count = publisher.publish_something();
        let mean = count as f64 * 1e6 / config.rate;
        let wait = -(1.0 - publisher.rng.f64()).ln() * mean;
        // What could not be published while the server was away is not made up for.
        due = (due + wait as u64).max(now_us().saturating_sub(500_000));
    }
    publisher.memory
}

impl Publisher<'_> {
    /// Publishes one message or several; how many.
    fn publish_something(&mut self) -> usize {
        match self.rng.u8(0..100) {
            0..58 => self.publish_one(false),
            58..77 => self.publish_one(true),
            77..91 => self.publish_batch(),
            91..94 => self.publish_by_lines(),
            94..97 => self.flood(),
            97 => self.publish_bad_batch(),
            98 => self.end(),
            _ => self.delete(),
        }
    }

    fn manner(&mut self) -> Manner {
        match self.rng.u8(0..50) {
            0 | 1 if self.config.breaks => Manner::Unheard,
            2 if self.config.breaks => Manner::Half,
            _ => Manner::Properly,
        }
    }

    /// Some channels are much busier than others.
    fn any_channel(&mut self) -> u32 {
        let Channels { count, .. } = self.config.channels;
        let place = (f64::from(count) * self.rng.f64().powi(3)) as u32;
        self.config.channels.first(now_us()) + place.min(count - 1)
    }

    fn any_length(&mut self) -> u32 {
        match self.rng.u8(0..100) {
            0..80 => self.rng.u32(60..300),
            80..98 => self.rng.u32(300..4_000),
            _ => self.rng.u32(4_000..60_000),
        }
    }

    /// A message that is not published yet, and its text.
    fn message(&mut self, channel: u32, length: u32, batch: u64) -> (Publish, String) {
        self.messages += 1;
        let number = self.config.place * NUMBERS + self.messages;
        let mark = Mark {
            run: self.config.run,
            channel,
            seq: number,
            time: now_ns(),
        };
        let mut text = Vec::new();
        mark.write(&mut text, length as usize);
        let publish = Publish {
            channel,
            number,
            length: text.len() as u32,
            begun: now_us(),
            batch,
            ..Publish::default()
        };
        (publish, String::from_utf8_lossy(&text).into_owned())
    }

    /// The same, and its line in a body of several.
    fn line(&mut self, channel: u32, length: u32, batch: u64) -> (Publish, String) {
        let (publish, text) = self.message(channel, length, batch);
        let name = channel_name(self.config.run, channel);
        let line = format!("{{\"channel\":\"{name}\",\"data\":\"{text}\"}}\n");
        (publish, line)
    }

    fn publish_one(&mut self, is_keyed: bool) -> usize {
        let channel = self.any_channel();
        let length = self.any_length();
        let (mut publish, text) = self.message(channel, length, 0);
        publish.keyed = is_keyed;
        let is_json = self.rng.u8(0..4) == 0;
        let (kind, body) = match is_json {
            true => ("application/json", format!("{{\"{JSON_KEY}\":\"{text}\"}}")),
            false => ("text/plain", text),
        };
        let mut headers = format!("Content-Type: {kind}\r\n");
        if is_keyed {
            headers += &format!("Idempotency-Key: {}\r\n", publish.number);
        }
        let target = format!("/publish/{}", channel_name(self.config.run, channel));
        let mut manner = self.manner();
        let tries = if is_keyed { TRIES } else { 1 };
        publish.outcome = Outcome::Refused;
        for _ in 0..tries {
            match self.attempt("POST", &target, &headers, &body, manner) {
                Answer::Accepted(ids) => {
                    publish.outcome = ids.first().map_or(Outcome::Unknown, |&id| {
                        self.total.fetch_add(1, Ordering::Relaxed);
                        Outcome::Accepted(id)
                    });
                    break;
                }
                Answer::Unknown => publish.outcome = Outcome::Unknown,
                Answer::Refused => {}
            }
            manner = Manner::Properly;
            if is_keyed {
                std::thread::sleep(Duration::from_millis(self.rng.u64(20..400)));
            }
        }
        publish.done = now_us();
        publish.node = self.node as u32;
        if is_keyed
            && publish.id().is_some()
            && self.rng.u8(0..5) == 0
            && let Answer::Accepted(ids) = self.attempt("POST", &target, &headers, &body, manner)
        {
            publish.again = ids.first().copied();
        }
        self.memory.publishes.push(publish);
        1
    }

    fn publish_batch(&mut self) -> usize {
        let count = self.rng.usize(2..=12);
        let lines = (0..count).map(|_| (self.any_channel(), self.any_length()));
        let lines: Vec<(u32, u32)> = lines.collect();
        let manner = self.manner();
        self.send_batch(&lines, "", manner)
    }

    /// A burst of large messages to one channel: more than a slow reader's history, and more than
    /// its socket takes.
    fn flood(&mut self) -> usize {
        let channel = self.any_channel();
        let lines = vec![(channel, 20_000); self.rng.usize(10..=40)];
        self.send_batch(&lines, "", Manner::Properly)
    }

    /// A batch whose last line is no JSON: nothing of it may ever be seen.
    fn publish_bad_batch(&mut self) -> usize {
        let lines = [(self.any_channel(), 100), (self.any_channel(), 100)];
        self.send_batch(&lines, "{\"channel\":", Manner::Properly)
    }

    fn send_batch(&mut self, lines: &[(u32, u32)], end: &str, manner: Manner) -> usize {
        self.batches += 1;
        let batch = self.config.place * NUMBERS + self.batches;
        let mut body = String::new();
        let mut publishes = Vec::new();
        for &(channel, length) in lines {
            let (publish, line) = self.line(channel, length, batch);
            body += &line;
            publishes.push(publish);
        }
        body += end;
        let begun = publishes.first().map_or(0, |publish| publish.begun);
        let answer = self.attempt("POST", "/publish", "", &body, manner);
        let done = now_us();
        for (place, publish) in publishes.iter_mut().enumerate() {
            (publish.begun, publish.done) = (begun, done);
            publish.node = self.node as u32;
            publish.outcome = match &answer {
                Answer::Accepted(ids) => ids
                    .get(place)
                    .map_or(Outcome::Refused, |&id| Outcome::Accepted(id)),
                Answer::Refused => Outcome::Refused,
                Answer::Unknown => Outcome::Unknown,
            };
        }
        if let Answer::Accepted(ids) = answer {
            self.total.fetch_add(ids.len() as u64, Ordering::Relaxed);
        }
        self.memory.publishes.extend(publishes);
        lines.len()
    }

    /// Publishes lines as they come, on one request that may break off, and reads which of them
    /// were accepted.
    fn publish_by_lines(&mut self) -> usize {
        let count = self.rng.usize(2..=40);
        let manner = self.manner();
        let (mut publishes, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (channel, length) = (self.any_channel(), self.any_length());
            let (publish, line) = self.line(channel, length, 0);
            lines.push(line);
            publishes.push(publish);
        }
        let mut written = 0;
        let (ids, is_whole) = match self.stream() {
            Ok(mut stream) => self.send_lines(&mut stream, &lines, manner, &mut written),
            Err(_) => (Vec::new(), true),
        };
        let done = now_us();
        for (place, publish) in publishes.iter_mut().enumerate() {
            publish.done = done;
            publish.node = self.node as u32;
            publish.outcome = match ids.get(place) {
                Some(&id) => Outcome::Accepted(id),
                // A node may have sent on more lines than it has answered.
                None if place < written && (!is_whole || self.config.is_cluster) => {
                    Outcome::Unknown
                }
                None => Outcome::Refused,
            };
        }
        self.total.fetch_add(ids.len() as u64, Ordering::Relaxed);
        self.memory.publishes.extend(publishes);
        count
    }

    /// Writes lines one by one, and returns the ids of those that were acknowledged, and whether
    /// all acknowledgements were read. `written` counts the lines of which anything was written.
    fn send_lines(
        &mut self,
        stream: &mut TcpStream,
        lines: &[String],
        manner: Manner,
        written: &mut usize,
    ) -> (Vec<Id>, bool) {
        let host = self.host();
        let head = format!(
            "POST /publish?lines=1&ack=1 HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let most = match manner {
            Manner::Half => lines.len() / 2,
            Manner::Properly | Manner::Unheard => lines.len(),
        };
        let mut result = stream.write_all(head.as_bytes());
        for line in &lines[..most] {
            if result.is_err() {
                break;
            }
            *written += 1;
            result = stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes());
        }
        if manner == Manner::Unheard {
            let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            return (Vec::new(), false);
        }
        if manner == Manner::Properly && result.is_ok() {
            result = stream.write_all(b"0\r\n\r\n");
        }
        if manner == Manner::Half && result.is_ok() {
            result = stream.shutdown(std::net::Shutdown::Write);
        }
        // What was acknowledged is known, also if the request was cut off.
        let mut body = Vec::new();
        let is_whole = result.is_ok() && read_answer(stream, &mut body).is_ok();
        acknowledged(&body, is_whole)
    }

    /// Ends a channel without a message; the next message opens it again.
    fn end(&mut self) -> usize {
        let channel = self.any_channel();
        let name = channel_name(self.config.run, channel);
        let target = format!("/publish/{name}?end=1");
        self.attempt("POST", &target, "", "", Manner::Properly);
        1
    }

    fn delete(&mut self) -> usize {
        let channel = self.any_channel();
        let target = format!("/channels/{}", channel_name(self.config.run, channel));
        let from = now_us();
        self.status = 0;
        self.attempt("DELETE", &target, "", "", Manner::Properly);
        let mut to = now_us();
        if self.config.is_cluster && self.status != 204 {
            to += LATE_DELETION_US;
        }
        let span = Span { from, to };
        self.memory.deletions.push(Deletion { channel, span });
        1
    }

    fn attempt(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
        manner: Manner,
    ) -> Answer {
        let Ok(mut stream) = self.stream() else {
            return Answer::Refused;
        };
        let (host, length) = (self.host(), body.len());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        let request = head + body;
        let sent = match manner {
            Manner::Half => &request[..request.len() - 1 - length / 2],
            _ => &request[..],
        };
        let result = stream.write_all(sent.as_bytes());
        match manner {
            Manner::Half => {
                // Not all of it was sent, whatever the server makes of that.
                return Answer::Refused;
            }
            Manner::Unheard => {
                // If the option is refused, the connection is closed in order, which must do as
                // well.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return Answer::Unknown;
            }
            Manner::Properly => {}
        }
        let mut body = Vec::new();
        match result.and_then(|()| read_answer(&mut stream, &mut body)) {
            Ok(http::Outcome {
                status: 200,
                closes,
            }) => {
                self.stream = (!closes).then_some(stream);
                match ids(&body) {
                    Some(ids) => Answer::Accepted(ids),
                    None => Answer::Unknown,
                }
            }
            Ok(http::Outcome { status, closes }) => {
                self.status = status;
                if status >= 500 {
                    let text = String::from_utf8_lossy(&body).into_owned();
                    let (count, last) = self.memory.refusals.entry(text).or_default();
                    *count += 1;
                    *last = now_us();
                }
                self.stream = (!closes).then_some(stream);
                match is_in_doubt(status, &body) {
                    true => Answer::Unknown,
                    false => Answer::Refused,
                }
            }
            Err(_) => Answer::Unknown,
        }
    }

    fn host(&self) -> SocketAddrV4 {
        self.config.servers[self.node]
    }

    /// The kept connection, or a new one, to any node.
    fn stream(&mut self) -> io::Result<TcpStream> {
        let stays = !self.config.is_cluster || self.rng.u8(0..8) > 0;
        if let Some(stream) = self.stream.take().filter(|_| stays) {
            return Ok(stream);
        }
        self.node = self.rng.usize(0..self.config.servers.len());
        let stream = http::connect(self.host(), PATIENCE)?;
        self.memory.connections += 1;
        Ok(stream)
    }
}

/// Reads the next answer, whose body is appended as far as it comes.
fn read_answer(stream: &mut TcpStream, body: &mut Vec<u8>) -> io::Result<http::Outcome> {
    http::read_response(stream, &mut ResponseReader::without_extensions(), body)
}
