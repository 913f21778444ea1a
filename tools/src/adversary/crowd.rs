//! All hostile connections of a process.
//!
//! Owns their outcomes. It knows scripts and not attacks. Bounded: it connects and sends only
//! until its time is up, and a limited number of connections are being made at once.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use encke_test_client::{Part, ResponseReader};
use serde::{Deserialize, Serialize};

use super::script::{How, Reads, Script, When};
use crate::driver::{Driver, Due, End, Session};
use crate::net::{SocketOptions, now_ns};

/// Connections that are being made at once.
const CONNECTING: usize = 256;

/// Connections begun in one turn, so that established ones get theirs.
const BEGUN: usize = 64;

/// The pause before a connection is made again, without which refused ones would do nothing else.
const PAUSE: Duration = Duration::from_millis(20);

// The purpose of a deadline. The rest of its tag is the number of the visit.
const DRIP: u32 = 0;
const SIP: u32 = 1;
const LEAVE: u32 = 2;
const CONNECT: u32 = 3;
const DEEDS: u32 = 4;

/// The outcomes of connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Connections that were established.
    pub connected: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Connections that the server ended.
    pub ended: u64,
    /// Connections that the client ended.
    pub left: u64,
    /// Connections still open.
    pub open: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read.
    pub heard: u64,
    /// Responses by status, of connections that read.
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

    /// Responses with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or(0)
    }
}

struct Conn {
    script: Script,
    is_connected: bool,
    has_sent_opening: bool,
    /// The place in the drip.
    dripped: usize,
    has_ended_side: bool,
    is_leaving: bool,
    responses: ResponseReader,
}

/// The connections of a process.
pub(super) struct Crowd<'a> {
    server: SocketAddrV4,
    from: Vec<Ipv4Addr>,
    next_from: usize,
    /// The script of a connection on its n-th visit.
    script: &'a dyn Fn(u32, u32) -> Script,
    conns: Vec<Option<Conn>>,
    /// The number of visits of each.
    visits: Vec<u32>,
    waiting: VecDeque<u32>,
    connecting: usize,
    until: u64,
    tally: Tally,
    /// Standard input may be readable.
    pub(super) is_asked: bool,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(
        server: SocketAddrV4,
        from: Vec<Ipv4Addr>,
        count: u32,
        seconds: f64,
        script: &'a dyn Fn(u32, u32) -> Script,
    ) -> Crowd<'a> {
        Crowd {
            server,
            from,
            next_from: 0,
            script,
            conns: (0..count).map(|_| None).collect(),
            visits: vec![0; count as usize],
            waiting: (0..count).collect(),
            connecting: 0,
            until: now_ns() + (seconds * 1e9) as u64,
            tally: Tally::default(),
            is_asked: false,
        }
    }

    /// The outcomes of all connections so far.
    pub(super) fn tally(&self, driver: &Driver) -> Tally {
        let mut tally = self.tally.clone();
        let conns = self.conns.iter().flatten();
        tally.open = conns.filter(|conn| conn.is_connected).count() as u64;
        tally.sent = driver.sent();
        tally
    }

    /// Waits until something happens and does what follows.
    pub(super) fn turn(&mut self, driver: &mut Driver) -> io::Result<()> {
        for _ in 0..BEGUN {
            if self.connecting >= CONNECTING || now_ns() >= self.until {
                break;
            }
            let Some(key) = self.waiting.pop_front() else {
                break;
            };
            self.begin(driver, key);
        }
        let may_begin =
            !self.waiting.is_empty() && self.connecting < CONNECTING && now_ns() < self.until;
        driver.turn(self, may_begin.then_some(Duration::ZERO))
    }

    fn begin(&mut self, driver: &mut Driver, key: u32) {
        let from = match self.from.len() {
            0 => None,
            count => Some(self.from[self.next_from % count]),
        };
        self.next_from += 1;
        let visit = &mut self.visits[key as usize];
        *visit += 1;
        let script = (self.script)(key, *visit - 1);
        let options = SocketOptions {
            receive_buffer: script.receive_buffer,
        };
        if driver.connect(key, from, self.server, options).is_err() {
            self.tally.failed += 1;
            return self.come_back(driver, key, true);
        }
        self.conns[key as usize] = Some(Conn {
            script,
            is_connected: false,
            has_sent_opening: false,
            dripped: 0,
            has_ended_side: false,
            is_leaving: false,
            responses: ResponseReader::default(),
        });
        self.connecting += 1;
    }

    /// Begins the drip, and a planned departure, once the opening has been handed to the system.
    fn opening_is_sent(&mut self, driver: &mut Driver, key: u32) {
        let Some(conn) = &mut self.conns[key as usize] else {
            return;
        };
        if std::mem::replace(&mut conn.has_sent_opening, true) {
            return;
        }
        if let Some(every) = conn.script.drip.as_ref().map(|drip| drip.every) {
            self.later(driver, key, every, DRIP);
        }
        self.may_leave(driver, key, When::Sent);
    }

    fn may_leave(&mut self, driver: &mut Driver, key: u32, when: When) {
        if let Some(conn) = &mut self.conns[key as usize]
            && let Some(leaves) = conn.script.leaves
            && leaves.when == when
            && !conn.is_leaving
        {
            conn.is_leaving = true;
            self.later(driver, key, leaves.after, LEAVE);
        }
    }

    /// The server has ended a connection.
    fn end(&mut self, driver: &mut Driver, key: u32) {
        driver.close(key);
        if let Some(conn) = self.conns[key as usize].take() {
            match conn.has_ended_side {
                true => self.tally.left += 1,
                false => self.tally.ended += 1,
            }
            self.come_back(driver, key, conn.script.returns);
        }
    }

    fn come_back(&mut self, driver: &mut Driver, key: u32, returns: bool) {
        if returns {
            self.later(driver, key, PAUSE, CONNECT);
        }
    }

    /// Sets a deadline of this visit.
    fn later(&self, driver: &mut Driver, key: u32, after: Duration, deed: u32) {
        let at = now_ns() + after.as_nanos() as u64;
        let tag = self.visits[key as usize] * DEEDS + deed;
        driver.set_deadline(Due { at, key, tag });
    }

    fn drip(&mut self, driver: &mut Driver, key: u32) {
        let Some(conn) = &mut self.conns[key as usize] else {
            return;
        };
        let Some(drip) = &conn.script.drip else {
            return;
        };
        let every = drip.every;
        // Bytes that the socket does not take are not piled up.
        if driver.unsent(key) == 0 {
            let end = (conn.dripped + drip.piece).min(drip.text.len());
            let piece = &drip.text[conn.dripped..end];
            if driver.send(key, piece).is_err() {
                return self.end(driver, key);
            }
            conn.dripped = end % drip.text.len();
        }
        self.later(driver, key, every, DRIP);
    }

    fn sip(&mut self, driver: &mut Driver, key: u32) {
        let conn = self.conns[key as usize].as_ref();
        let Some(Reads::Byte(every)) = conn.map(|conn| conn.script.reads) else {
            return;
        };
        match driver.take(key, 1) {
            Ok(length) => self.tally.heard += length as u64,
            Err(_) => return self.end(driver, key),
        }
        self.later(driver, key, every, SIP);
    }

    fn leave(&mut self, driver: &mut Driver, key: u32) {
        let Some(conn) = &mut self.conns[key as usize] else {
            return;
        };
        match conn.script.leaves.map(|leaves| leaves.how) {
            Some(How::HalfClose) => {
                // If the connection is broken already, an event of its own says so.
                let _ = driver.finish_sending(key);
                conn.has_ended_side = true;
                return;
            }
            Some(How::Reset) => driver.reset(key),
            Some(How::Close) | None => driver.close(key),
        }
        let returns = conn.script.returns;
        self.conns[key as usize] = None;
        self.tally.left += 1;
        self.come_back(driver, key, returns);
    }
}

impl Session for Crowd<'_> {
    fn on_connect(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        let Some(conn) = &mut self.conns[key as usize] else {
            return Ok(());
        };
        self.connecting -= 1;
        self.tally.connected += 1;
        conn.is_connected = true;
        let opening = std::mem::take(&mut conn.script.opening);
        let reads = conn.script.reads;
        if !matches!(reads, Reads::All) {
            driver.pause(key);
        }
        if driver.send(key, &opening).is_err() {
            self.end(driver, key);
            return Ok(());
        }
        if let Reads::Byte(every) = reads {
            self.later(driver, key, every, SIP);
        }
        if driver.unsent(key) == 0 {
            self.opening_is_sent(driver, key);
        }
        Ok(())
    }

    fn on_sent(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        self.opening_is_sent(driver, key);
        Ok(())
    }

    fn on_bytes(&mut self, driver: &mut Driver, key: u32, mut bytes: &[u8]) -> io::Result<()> {
        let Some(conn) = &mut self.conns[key as usize] else {
            return Ok(());
        };
        self.tally.heard += bytes.len() as u64;
        while let Some(part) = conn.responses.next(&mut bytes).map_err(io::Error::other)? {
            if let Part::Head(head) = part {
                *self.tally.answers.entry(head.status).or_default() += 1;
            }
        }
        self.may_leave(driver, key, When::Heard);
        Ok(())
    }

    fn on_end(&mut self, driver: &mut Driver, key: u32, end: End) -> io::Result<()> {
        if end != End::Refused {
            self.end(driver, key);
            return Ok(());
        }
        self.connecting -= 1;
        self.tally.failed += 1;
        self.conns[key as usize] = None;
        self.come_back(driver, key, true);
        Ok(())
    }

    fn on_due(&mut self, driver: &mut Driver, due: Due) -> io::Result<()> {
        let key = due.key;
        if due.tag / DEEDS != self.visits[key as usize] {
            return Ok(());
        }
        match due.tag % DEEDS {
            CONNECT => self.waiting.push_back(key),
            LEAVE => self.leave(driver, key),
            DRIP if now_ns() < self.until => self.drip(driver, key),
            SIP => self.sip(driver, key),
            _ => {}
        }
        Ok(())
    }

    fn on_readable(&mut self, _: &mut Driver, _: u8) -> io::Result<()> {
        self.is_asked = true;
        Ok(())
    }
}
