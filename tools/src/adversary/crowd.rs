//! All hostile connections of a process over one epoll.
//!
//! Owns the sockets and what became of them. It knows scripts and not attacks. Bounded: it connects
//! and sends only until its time is up, and at most so many are on their way at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::net::{Shutdown, sockopt};
use serde::{Deserialize, Serialize};

use super::script::{How, Reads, Script, When};
use crate::net::{self, Poll, Read, now_ns};
use crate::receipt::{AnswerReader, Part, status};

/// Connections that are being made at once.
const CONNECTING: usize = 256;

/// Connections begun in one turn, so that those that are there get theirs.
const BEGUN: usize = 64;

/// What became of the connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Connections that came about.
    pub connected: u64,
    /// Attempts that did not.
    pub failed: u64,
    /// Connections that the server ended.
    pub ended: u64,
    /// Connections that left by their own choice.
    pub left: u64,
    /// Connections still there.
    pub open: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read.
    pub heard: u64,
    /// Answers by status, of connections that read.
    pub answers: BTreeMap<u16, u64>,
}

impl Tally {
    /// Adds another process's.
    pub fn add(&mut self, other: &Tally) {
        self.connected += other.connected;
        self.failed += other.failed;
        self.ended += other.ended;
        self.left += other.left;
        self.open += other.open;
        self.sent += other.sent;
        self.heard += other.heard;
        for (status, count) in &other.answers {
            *self.answers.entry(*status).or_default() += count;
        }
    }

    /// Answers with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or(0)
    }
}

/// Something that a connection does at a time of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Drip,
    Sip,
    Leave,
    Connect,
}

struct Conn {
    fd: OwnedFd,
    script: Script,
    is_connected: bool,
    /// How much of the opening has been sent.
    sent: usize,
    /// Where the drip goes on.
    dripped: usize,
    has_ended_side: bool,
    is_leaving: bool,
    answers: AnswerReader,
}

impl Conn {
    fn wants(&self) -> EventFlags {
        let mut flags = EventFlags::RDHUP;
        if matches!(self.script.reads, Reads::All) {
            flags |= EventFlags::IN;
        }
        if !self.is_connected || self.sent < self.script.opening.len() {
            flags |= EventFlags::OUT;
        }
        flags
    }
}

/// The connections of a process.
pub(super) struct Crowd<'a> {
    poll: Poll,
    server: SocketAddrV4,
    from: Vec<Ipv4Addr>,
    next_from: usize,
    /// What a connection does on its n-th visit.
    script: &'a dyn Fn(u32, u32) -> Script,
    conns: Vec<Option<Conn>>,
    /// How often each has come.
    visits: Vec<u32>,
    waiting: VecDeque<u32>,
    connecting: usize,
    due: BinaryHeap<Reverse<(u64, u32, u32, Deed)>>,
    until: u64,
    tally: Tally,
    buffer: Vec<u8>,
}

/// The token of what the crowd was asked to watch beside its connections.
const OTHER: u64 = u64::MAX;

impl<'a> Crowd<'a> {
    pub(super) fn new(
        server: SocketAddrV4,
        from: Vec<Ipv4Addr>,
        count: u32,
        seconds: f64,
        script: &'a dyn Fn(u32, u32) -> Script,
    ) -> io::Result<Crowd<'a>> {
        Ok(Crowd {
            poll: Poll::new(512)?,
            server,
            from,
            next_from: 0,
            script,
            conns: (0..count).map(|_| None).collect(),
            visits: vec![0; count as usize],
            waiting: (0..count).collect(),
            connecting: 0,
            due: BinaryHeap::new(),
            until: now_ns() + (seconds * 1e9) as u64,
            tally: Tally::default(),
            buffer: vec![0; 256 << 10],
        })
    }

    /// Has [`Crowd::turn`] tell when this is readable.
    pub(super) fn watch(&self, fd: impl AsFd) -> io::Result<()> {
        self.poll.add(fd, OTHER, EventFlags::IN)
    }

    /// What has become of all so far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        tally.open = self
            .conns
            .iter()
            .flatten()
            .filter(|conn| conn.is_connected)
            .count() as u64;
        tally
    }

    /// Waits for something and does what it asks for; whether what is watched beside is readable.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        self.begin_some()?;
        let mut is_told = false;
        let timeout = self.timeout();
        for place in 0..self.poll.wait(timeout)? {
            match self.poll.token(place) {
                OTHER => is_told = true,
                number => self.serve(number as u32, self.poll.flags(place))?,
            }
        }
        self.do_what_is_due()?;
        Ok(is_told)
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.waiting.is_empty() && self.connecting < CONNECTING && now_ns() < self.until {
            return Some(Duration::ZERO);
        }
        let Reverse((due, ..)) = self.due.peek()?;
        Some(Duration::from_nanos(due.saturating_sub(now_ns())))
    }

    fn begin_some(&mut self) -> io::Result<()> {
        for _ in 0..BEGUN {
            if self.connecting >= CONNECTING || now_ns() >= self.until {
                return Ok(());
            }
            let Some(number) = self.waiting.pop_front() else {
                return Ok(());
            };
            self.begin(number)?;
        }
        Ok(())
    }

    fn begin(&mut self, number: u32) -> io::Result<()> {
        let from = match self.from.len() {
            0 => None,
            count => Some(self.from[self.next_from % count]),
        };
        self.next_from += 1;
        let Ok(fd) = net::connect(from, self.server) else {
            self.tally.failed += 1;
            self.come_back(number, true);
            return Ok(());
        };
        let visit = &mut self.visits[number as usize];
        *visit += 1;
        let script = (self.script)(number, *visit - 1);
        if let Some(size) = script.receive_buffer {
            // The system gives the least that it has.
            sockopt::set_socket_recv_buffer_size(&fd, size)?;
        }
        let conn = Conn {
            fd,
            script,
            is_connected: false,
            sent: 0,
            dripped: 0,
            has_ended_side: false,
            is_leaving: false,
            answers: AnswerReader::default(),
        };
        self.poll.add(&conn.fd, number.into(), conn.wants())?;
        self.conns[number as usize] = Some(conn);
        self.connecting += 1;
        Ok(())
    }

    fn serve(&mut self, number: u32, flags: EventFlags) -> io::Result<()> {
        let Some(conn) = &mut self.conns[number as usize] else {
            return Ok(());
        };
        if !conn.is_connected {
            self.connecting -= 1;
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                self.tally.failed += 1;
                self.conns[number as usize] = None;
                self.come_back(number, true);
                return Ok(());
            }
            conn.is_connected = true;
            self.tally.connected += 1;
            self.begin_slow_deeds(number);
            return self.send(number);
        }
        if flags.contains(EventFlags::IN) && !self.hear(number) {
            self.end(number);
            return Ok(());
        }
        let is_gone = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let is_over = flags.contains(EventFlags::RDHUP) && !flags.contains(EventFlags::IN);
        if is_gone || is_over {
            self.end(number);
            return Ok(());
        }
        match flags.contains(EventFlags::OUT) {
            true => self.send(number),
            false => Ok(()),
        }
    }

    fn begin_slow_deeds(&mut self, number: u32) {
        let reads = self.conns[number as usize]
            .as_ref()
            .map(|conn| conn.script.reads);
        if let Some(Reads::Byte(every)) = reads {
            self.later(number, every, Deed::Sip);
        }
    }

    /// Sends what is left of the opening.
    fn send(&mut self, number: u32) -> io::Result<()> {
        let Some(conn) = &mut self.conns[number as usize] else {
            return Ok(());
        };
        let rest = &conn.script.opening[conn.sent..];
        if !rest.is_empty() {
            let Ok(length) = net::send(&conn.fd, rest) else {
                self.end(number);
                return Ok(());
            };
            conn.sent += length;
            self.tally.sent += length as u64;
        }
        self.poll.modify(&conn.fd, number.into(), conn.wants())?;
        if conn.sent == conn.script.opening.len() && !conn.is_leaving {
            // Sent once, and thousands of them are held.
            conn.script.opening = Vec::new();
            conn.sent = 0;
            let drip = conn.script.drip.as_ref().map(|drip| drip.every);
            if let Some(every) = drip {
                self.later(number, every, Deed::Drip);
            }
            self.may_leave(number, When::Sent);
        }
        Ok(())
    }

    fn may_leave(&mut self, number: u32, when: When) {
        let Some(conn) = &mut self.conns[number as usize] else {
            return;
        };
        if let Some(leaves) = conn.script.leaves
            && leaves.when == when
            && !conn.is_leaving
        {
            conn.is_leaving = true;
            self.later(number, leaves.after, Deed::Leave);
        }
    }

    /// Reads once; false at the end.
    fn hear(&mut self, number: u32) -> bool {
        let Some(conn) = &mut self.conns[number as usize] else {
            return true;
        };
        match net::receive(&conn.fd, &mut self.buffer) {
            Read::Nothing => return true,
            Read::End => return false,
            Read::Bytes(length) => {
                self.tally.heard += length as u64;
                let answers = &mut self.tally.answers;
                conn.answers.feed(&self.buffer[..length], |part| {
                    if let Part::Head(head) = part {
                        *answers.entry(status(head)).or_default() += 1;
                    }
                });
            }
        }
        self.may_leave(number, When::Heard);
        true
    }

    /// The server has ended a connection.
    fn end(&mut self, number: u32) {
        if let Some(conn) = self.conns[number as usize].take() {
            match conn.has_ended_side {
                true => self.tally.left += 1,
                false => self.tally.ended += 1,
            }
            self.come_back(number, conn.script.returns);
        }
    }

    fn come_back(&mut self, number: u32, returns: bool) {
        if returns {
            // Not at once: who is refused at once would do nothing else.
            self.later(number, Duration::from_millis(20), Deed::Connect);
        }
    }

    fn later(&mut self, number: u32, after: Duration, deed: Deed) {
        let due = now_ns() + after.as_nanos() as u64;
        let visit = self.visits[number as usize];
        self.due.push(Reverse((due, number, visit, deed)));
    }

    fn do_what_is_due(&mut self) -> io::Result<()> {
        let now = now_ns();
        while let Some(Reverse((due, number, visit, deed))) = self.due.peek().copied() {
            if due > now {
                break;
            }
            self.due.pop();
            if visit != self.visits[number as usize] {
                continue;
            }
            match deed {
                Deed::Connect => self.waiting.push_back(number),
                Deed::Leave => self.leave(number),
                Deed::Drip if now < self.until => self.drip(number),
                Deed::Sip => self.sip(number),
                Deed::Drip => {}
            }
        }
        Ok(())
    }

    fn drip(&mut self, number: u32) {
        let Some(conn) = &mut self.conns[number as usize] else {
            return;
        };
        let Some(drip) = &conn.script.drip else {
            return;
        };
        let end = (conn.dripped + drip.piece).min(drip.text.len());
        let every = drip.every;
        match net::send(&conn.fd, &drip.text[conn.dripped..end]) {
            Ok(length) => {
                self.tally.sent += length as u64;
                conn.dripped = (conn.dripped + length) % drip.text.len();
                self.later(number, every, Deed::Drip);
            }
            Err(_) => self.end(number),
        }
    }

    fn sip(&mut self, number: u32) {
        let Some(conn) = &mut self.conns[number as usize] else {
            return;
        };
        let Reads::Byte(every) = conn.script.reads else {
            return;
        };
        match net::receive(&conn.fd, &mut self.buffer[..1]) {
            Read::End => return self.end(number),
            Read::Nothing => {}
            Read::Bytes(length) => self.tally.heard += length as u64,
        }
        self.later(number, every, Deed::Sip);
    }

    fn leave(&mut self, number: u32) {
        let Some(conn) = &mut self.conns[number as usize] else {
            return;
        };
        let how = conn.script.leaves.map(|leaves| leaves.how);
        if how == Some(How::HalfClose) {
            // A socket that is gone already says so by an event.
            let _ = rustix::net::shutdown(&conn.fd, Shutdown::Write);
            conn.has_ended_side = true;
            return;
        }
        if how == Some(How::Reset) {
            // Closed without lingering, it sends a RST.
            let _ = sockopt::set_socket_linger(&conn.fd, Some(Duration::ZERO));
        }
        if let Some(conn) = self.conns[number as usize].take() {
            self.tally.left += 1;
            self.come_back(number, conn.script.returns);
        }
    }
}
