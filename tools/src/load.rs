//! Publishers and readers of one node or several, all on one thread.
//!
//! Owns the connections, what waits for an answer on each, and the delays of what was received. A
//! receipt that is lost, comes twice or out of order is an error.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use encke_test_client::{Part, ResponseReader};
use encke_test_rig::http;
use hdrhistogram::Histogram;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::command::text;
use crate::driver::{Driver, End, Session};
use crate::measure;
use crate::net::{SocketOptions, now_ns};
use crate::receipt::{Mark, Order, Scanner, Verdict};

/// The number that all marks carry.
const RUN: u32 = 1;

/// Connections that are in the making at once.
const CONNECTING: usize = 512;

/// Clients of each source address.
const PER_ADDRESS: u32 = 4_000;

/// The shortest time between two turns of a paced load.
const STEP_NS: u64 = 50_000;

/// The timer's number among what the driver watches.
const TIMER: u8 = 0;

/// How long a server may take until it is ready, and an answer to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
struct Conn {
    responses: ResponseReader,
    /// When each request was sent that has no answer, of a publisher; nanoseconds of the clock.
    open: VecDeque<u64>,
    /// What a reader has received.
    reader: Option<Reader>,
}

struct Reader {
    scanner: Scanner,
    channel: u32,
    order: Order,
}

/// What the driver tells.
struct State {
    conns: Vec<Conn>,
    /// Publishers that have been answered.
    free: Vec<u32>,
    answered: u64,
    refused: u64,
    subscribed: usize,
    received: u64,
    delays: Histogram<u64>,
    /// The times from requests of publishers to their answers, in nanoseconds.
    answer_times: Histogram<u64>,
    first_at: Option<u64>,
    timer: OwnedFd,
}

/// The connections of a load.
pub(crate) struct Load {
    driver: Driver,
    state: State,
    publishers: Vec<u32>,
    /// The number of the last message, by channel.
    seqs: Vec<u64>,
}

impl Load {
    pub(crate) fn new() -> Result<Load, String> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK);
        let timer = timer.map_err(text)?;
        let mut driver = Driver::new().map_err(text)?;
        driver.watch(timer.as_raw_fd(), TIMER).map_err(text)?;
        Ok(Load {
            driver,
            state: State {
                conns: Vec::new(),
                free: Vec::new(),
                answered: 0,
                refused: 0,
                subscribed: 0,
                received: 0,
                delays: measure::histogram(),
                answer_times: measure::histogram(),
                first_at: None,
                timer,
            },
            publishers: Vec::new(),
            seqs: Vec::new(),
        })
    }

    fn connect(&mut self, to: SocketAddrV4, reader: Option<Reader>) -> Result<u32, String> {
        let key = self.state.conns.len() as u32;
        let from = Ipv4Addr::new(127, 1, 0, (1 + key / PER_ADDRESS) as u8);
        let options = SocketOptions::default();
        let begun = self.driver.connect(key, Some(from), to, options);
        begun.map_err(text)?;
        self.state.conns.push(Conn {
            responses: ResponseReader::default(),
            open: VecDeque::new(),
            reader,
        });
        Ok(key)
    }

    /// Connects so many publishers.
    pub(crate) fn publishers(&mut self, to: SocketAddrV4, count: u32) -> Result<(), String> {
        for _ in 0..count {
            let key = self.connect(to, None)?;
            self.publishers.push(key);
        }
        Ok(())
    }

    /// Connects so many readers of server-sent events, taking turns over the channels, after a
    /// cursor if there is one, and waits until all are subscribed.
    pub(crate) fn subscribe(
        &mut self,
        to: SocketAddrV4,
        count: u32,
        channels: u32,
        since: Option<&str>,
    ) -> Result<(), String> {
        let already = self.state.subscribed;
        let query = since.map_or_else(String::new, |cursor| format!("?since={cursor}"));
        for number in 0..count as usize {
            let channel = number as u32 % channels;
            let after = self.seqs.get(channel as usize).copied().unwrap_or(0);
            // A cursor is before the last message of each channel.
            let after = after - u64::from(since.is_some());
            let key = self.connect(
                to,
                Some(Reader {
                    scanner: Scanner::default(),
                    channel,
                    order: Order::after(after),
                }),
            )?;
            let request = request("GET", &format!("/sse/c{channel}{query}"), "");
            let sent = self.driver.send(key, request.as_bytes());
            sent.map_err(text)?;
            let most = already + (number + 1).saturating_sub(CONNECTING);
            self.until("subscribers", |state| state.subscribed >= most)?;
        }
        let all = already + count as usize;
        self.until("subscribers", |state| state.subscribed >= all)
    }

    /// A message to a channel.
    fn message(&mut self, channel: u32, size: usize) -> String {
        if self.seqs.len() <= channel as usize {
            self.seqs.resize(channel as usize + 1, 0);
        }
        let seq = &mut self.seqs[channel as usize];
        *seq += 1;
        let mark = Mark {
            run: RUN,
            channel,
            seq: *seq,
            time: now_ns(),
        };
        let mut data = Vec::new();
        mark.write(&mut data, size);
        let data = String::from_utf8_lossy(&data);
        request("POST", &format!("/publish/c{channel}"), &data)
    }

    fn send(&mut self, key: u32, request: &str) -> Result<(), String> {
        self.state.conns[key as usize].open.push_back(now_ns());
        let sent = self.driver.send(key, request.as_bytes());
        sent.map(drop).map_err(text)
    }

    /// Publishes one message to a channel, without waiting. The messages of a channel take the same
    /// connection, or their order would be open.
    pub(crate) fn publish(&mut self, channel: u32, size: usize) -> Result<(), String> {
        let request = self.message(channel, size);
        let place = channel as usize % self.publishers.len();
        self.send(self.publishers[place], &request)
    }

    /// Each publisher sends its next request when it has its answer, until there is none; returns
    /// when all are answered.
    pub(crate) fn answer_by_answer(
        &mut self,
        next: impl FnMut() -> Option<String>,
    ) -> Result<(), String> {
        self.pipelined(1, next)
    }

    /// The same, with so many requests of each publisher unanswered at a time.
    pub(crate) fn pipelined(
        &mut self,
        depth: usize,
        mut next: impl FnMut() -> Option<String>,
    ) -> Result<(), String> {
        let mut free = self.publishers.repeat(depth);
        self.state.free.clear();
        loop {
            let mut is_over = false;
            for key in free.drain(..) {
                match next() {
                    Some(request) => self.send(key, &request)?,
                    None => is_over = true,
                }
            }
            if is_over {
                return self.settle();
            }
            self.turn(PATIENCE)?;
            free = std::mem::take(&mut self.state.free);
        }
    }

    /// Publishes 100 bytes to one channel after another, each publisher when it has its answer;
    /// how many a second.
    pub(crate) fn publish_at_once(
        &mut self,
        channels: u32,
        length: Duration,
    ) -> Result<f64, String> {
        // Nobody reads them.
        let requests: Vec<String> = (0..channels).map(|c| self.message(c, 100)).collect();
        let begun = now_ns();
        let end = begun + length.as_nanos() as u64;
        let mut count = 0;
        let before = self.state.answered;
        self.answer_by_answer(|| {
            count += 1;
            (now_ns() < end).then(|| requests[count % requests.len()].clone())
        })?;
        let answered = self.state.answered - before;
        Ok(answered as f64 * 1e9 / (now_ns() - begun) as f64)
    }

    /// Publishes 100 bytes at a rate to one channel after another, `burst` at a time. Returns how
    /// many; all are answered then.
    pub(crate) fn publish_paced(
        &mut self,
        rate: f64,
        burst: u64,
        channels: u32,
        length: Duration,
    ) -> Result<u64, String> {
        let interval = 1e9 / rate * burst as f64;
        self.set_timer((interval as u64).max(STEP_NS))?;
        let begun = now_ns();
        let bursts = (length.as_nanos() as f64 / interval) as u64;
        let mut sent = 0;
        while sent < bursts {
            let due = (((now_ns() - begun) as f64 / interval) as u64).min(bursts);
            for number in sent * burst..due * burst {
                self.publish((number % u64::from(channels)) as u32, 100)?;
            }
            sent = sent.max(due);
            self.turn(PATIENCE)?;
        }
        self.set_timer(0)?;
        self.settle()?;
        Ok(bursts * burst)
    }

    /// Has the timer fire at this interval; 0: never.
    fn set_timer(&mut self, interval_ns: u64) -> Result<(), String> {
        let interval = Timespec {
            tv_sec: (interval_ns / 1_000_000_000) as i64,
            tv_nsec: (interval_ns % 1_000_000_000) as i64,
        };
        let times = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        let set = timerfd_settime(&self.state.timer, TimerfdTimerFlags::empty(), &times);
        set.map(drop).map_err(text)
    }

    /// Waits until all publishes are answered.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let publishers = self.publishers.clone();
        self.until("answers", |state| {
            let mut open = publishers
                .iter()
                .map(|key| &state.conns[*key as usize].open);
            open.all(VecDeque::is_empty)
        })
    }

    /// Waits until so many messages have been received.
    pub(crate) fn until_received(&mut self, count: u64) -> Result<(), String> {
        self.until("messages", |state| state.received >= count)
    }

    /// Publishes that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.state.answered
    }

    /// Messages received since the last call of [`Load::reset`].
    pub(crate) fn received(&self) -> u64 {
        self.state.received
    }

    /// Nanoseconds of the clock at which the first of them came.
    pub(crate) fn first_at(&self) -> Option<u64> {
        self.state.first_at
    }

    /// Their delays, in nanoseconds.
    pub(crate) fn delays(&self) -> &Histogram<u64> {
        &self.state.delays
    }

    /// The times from requests of publishers to their answers, in nanoseconds, of all that were
    /// made.
    pub(crate) fn answer_times(&self) -> &Histogram<u64> {
        &self.state.answer_times
    }

    /// Forgets what was received.
    pub(crate) fn reset(&mut self) {
        self.state.received = 0;
        self.state.first_at = None;
        self.state.delays.reset();
    }

    /// Serves the connections until this is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&State) -> bool) -> Result<(), String> {
        let end = now_ns() + PATIENCE.as_nanos() as u64;
        while !is_so(&self.state) {
            if now_ns() > end {
                return Err(format!("waited for {what} for too long"));
            }
            self.turn(Duration::from_secs(1))?;
        }
        Ok(())
    }

    /// Serves the connections once.
    pub(crate) fn turn(&mut self, most: Duration) -> Result<(), String> {
        let turned = self.driver.turn(&mut self.state, Some(most));
        turned.map_err(text)?;
        match self.state.refused {
            0 => Ok(()),
            count => Err(format!("{count} publishes were refused")),
        }
    }
}

/// A request with a text as its body.
pub(crate) fn request(method: &str, target: &str, body: &str) -> String {
    http::request(method, target, "Content-Type: text/plain\r\n", body)
}

impl Session for State {
    fn on_connect(&mut self, _: &mut Driver, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn on_readable(&mut self, _: &mut Driver, _: u8) -> io::Result<()> {
        // It is read so that it can be readable again.
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut count);
        Ok(())
    }

    fn on_bytes(&mut self, _: &mut Driver, key: u32, mut bytes: &[u8]) -> io::Result<()> {
        let now = now_ns();
        let conn = &mut self.conns[key as usize];
        while let Some(part) = conn.responses.next(&mut bytes).map_err(io::Error::other)? {
            match (part, &mut conn.reader) {
                (Part::Head(head), Some(_)) => {
                    if head.status != 200 {
                        return Err(io::Error::other(format!("a reader got {}", head.status)));
                    }
                    self.subscribed += 1;
                }
                (Part::Head(head), None) => self.refused += u64::from(head.status != 200),
                (Part::Body(data), Some(reader)) => {
                    let Reader {
                        scanner,
                        order,
                        channel,
                    } = reader;
                    let mut is_wrong = false;
                    scanner.feed(data, |mark| {
                        is_wrong |= mark.channel != *channel;
                        is_wrong |= order.take(mark.seq) != Verdict::Next;
                        self.received += 1;
                        self.first_at.get_or_insert(now);
                        self.delays.saturating_record(now.saturating_sub(mark.time));
                    });
                    if is_wrong {
                        return Err(io::Error::other("a message is lost or came twice"));
                    }
                }
                (Part::End, None) => {
                    self.answered += 1;
                    if let Some(sent) = conn.open.pop_front() {
                        self.answer_times
                            .saturating_record(now.saturating_sub(sent));
                    }
                    self.free.push(key);
                }
                (Part::End, Some(_)) => return Err(io::Error::other("a stream has ended")),
                (Part::Body(_), None) | (Part::Interim(_), _) => {}
            }
        }
        Ok(())
    }

    fn on_end(&mut self, _: &mut Driver, key: u32, end: End) -> io::Result<()> {
        Err(io::Error::other(format!("connection {key} ended: {end:?}")))
    }
}
