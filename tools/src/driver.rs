//! Many client connections on one thread: the poll, the sockets, partial writes and deadlines of
//! every program here that plays more than one client.
//!
//! Owns the sockets, what of a request is not sent yet, and the deadlines. It knows no HTTP: a
//! [`Session`] is told what happened and calls back what is to be done. Connections have keys,
//! small numbers that the session chooses; a key is free again once its connection is closed.
//!
//! Invariants:
//! - After [`Driver::close`], and after [`Session::on_end`] with [`End::Refused`] or
//!   [`End::Closed`],
//!   no event of that connection is told any more, also when its key is used again at once.
//! - The poll is edge-triggered: a connection that is not read to its end (paused, limited, or over
//!   the budget of a turn) is remembered, and is read again when that is due.
//! - One turn reads at most `READS_PER_TURN` times from a connection, so that none starves others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
use std::time::Duration;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::net::{self, SocketOptions, now_ns};

/// Reads of one connection before others get their turn.
const READS_PER_TURN: usize = 16;

/// Bytes of the buffer that all connections are read into.
const BUFFER_BYTES: usize = 256 << 10;

/// Events taken from the poll at once.
const EVENTS: usize = 512;

/// Tokens from here on are of descriptors that are watched besides the connections.
const WATCHED: usize = usize::MAX - 255;

/// The end of a connection, or a sign that it is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was never established. The key is free.
    Refused,
    /// The server ended it, in order or by a reset, and everything was read. The key is free.
    Closed,
    /// The server sends nothing more, but reading is paused, so there may be unread bytes. The
    /// connection stays until it is closed or read to its end.
    HalfClosed,
    /// As before, and sending is over too: a reset, or both sides were shut down.
    HungUp,
}

/// A deadline that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The time it was set for, in nanoseconds of the monotonic clock.
    pub at: u64,
    /// The key it was set for. Its connection may be another one by now, or closed.
    pub key: u32,
    /// The number that the session gave it, for what it is and for which connection.
    pub tag: u32,
}

/// The user of a driver. Every method may call any method of the driver, on this connection or on
/// others. An error ends [`Driver::turn`].
pub trait Session {
    /// A connection is established; what was sent before follows.
    fn on_connect(&mut self, driver: &mut Driver, key: u32) -> io::Result<()>;

    /// Bytes that had to wait have all been taken by the socket.
    fn on_sent(&mut self, driver: &mut Driver, key: u32) -> io::Result<()> {
        let _ = (driver, key);
        Ok(())
    }

    /// A connection has received bytes.
    fn on_bytes(&mut self, driver: &mut Driver, key: u32, bytes: &[u8]) -> io::Result<()>;

    /// A connection has ended, or may end soon.
    fn on_end(&mut self, driver: &mut Driver, key: u32, end: End) -> io::Result<()>;

    /// A deadline has passed. Deadlines are never cancelled: the session ignores those that it has
    /// no more use for.
    fn on_due(&mut self, driver: &mut Driver, due: Due) -> io::Result<()> {
        let _ = (driver, due);
        Ok(())
    }

    /// A descriptor that is watched may be readable. It is told once, so read it to its end.
    fn on_readable(&mut self, driver: &mut Driver, number: u8) -> io::Result<()> {
        let _ = (driver, number);
        Ok(())
    }
}

struct Conn {
    stream: TcpStream,
    /// Tells this connection's events from those of the key's earlier connections.
    serial: u32,
    is_connected: bool,
    is_paused: bool,
    /// It was not read to its end, or the server has ended it.
    is_readable: bool,
    /// It is in the list of those that are to be read.
    is_queued: bool,
    /// Most bytes of a read.
    limit: Option<usize>,
    /// Bytes that the socket has not taken yet.
    unsent: Vec<u8>,
}

/// The connections of one thread.
pub struct Driver {
    poll: Poll,
    events: Events,
    conns: Vec<Option<Conn>>,
    sent: u64,
    serial: u32,
    to_read: VecDeque<u32>,
    deadlines: BinaryHeap<Reverse<Due>>,
    buffer: Vec<u8>,
}

impl Driver {
    /// A driver without connections.
    ///
    /// # Errors
    ///
    /// The system has no descriptor to spare.
    pub fn new() -> io::Result<Driver> {
        Ok(Driver {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            conns: Vec::new(),
            sent: 0,
            serial: 0,
            to_read: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Begins to connect; [`Session::on_connect`] or [`Session::on_end`] tells the outcome. A
    /// connection that the key had is closed.
    ///
    /// # Errors
    ///
    /// There is no descriptor or no port to spare, or the address is refused at once.
    pub fn connect(
        &mut self,
        key: u32,
        from: Option<Ipv4Addr>,
        to: SocketAddrV4,
        options: SocketOptions,
    ) -> io::Result<()> {
        self.close(key);
        let mut stream = TcpStream::from_std(net::begin_connect(from, to, options)?);
        self.serial = self.serial.wrapping_add(1);
        let token = Token((self.serial as usize) << 32 | key as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, token, interest)?;
        if self.conns.len() <= key as usize {
            self.conns.resize_with(key as usize + 1, || None);
        }
        self.conns[key as usize] = Some(Conn {
            stream,
            serial: self.serial,
            is_connected: false,
            is_paused: false,
            is_readable: false,
            is_queued: false,
            limit: None,
            unsent: Vec::new(),
        });
        Ok(())
    }

    /// Whether a key has a connection, established or not.
    pub fn is_open(&self, key: u32) -> bool {
        self.conns.get(key as usize).is_some_and(Option::is_some)
    }

    /// How many bytes the sockets of all connections have taken so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends bytes; what the socket does not take at once follows when there is room. Returns
    /// how many bytes the socket has taken so far. Without a connection nothing is sent.
    ///
    /// # Errors
    ///
    /// The connection is broken. Its end is told as an event, too.
    pub fn send(&mut self, key: u32, bytes: &[u8]) -> io::Result<usize> {
        let Some(conn) = find(&mut self.conns, key) else {
            return Ok(0);
        };
        let sent = match conn.is_connected && conn.unsent.is_empty() {
            true => write(&conn.stream, bytes)?,
            false => 0,
        };
        conn.unsent.extend_from_slice(&bytes[sent..]);
        self.sent += sent as u64;
        Ok(sent)
    }

    /// How many bytes wait for room in the socket.
    pub fn unsent(&self, key: u32) -> usize {
        let conn = self.conns.get(key as usize).and_then(Option::as_ref);
        conn.map_or(0, |conn| conn.unsent.len())
    }

    /// Reads nothing from a connection until it is resumed, so its receive window fills.
    pub fn pause(&mut self, key: u32) {
        if let Some(conn) = find(&mut self.conns, key) {
            conn.is_paused = true;
        }
    }

    /// Reads from a connection again; what has come meanwhile is told in the next turn.
    pub fn resume(&mut self, key: u32) {
        if let Some(conn) = find(&mut self.conns, key) {
            conn.is_paused = false;
            self.read_later(key);
        }
    }

    /// [`Session::on_bytes`] is told at most so many bytes of this connection at once.
    pub fn limit_reads(&mut self, key: u32, most: Option<usize>) {
        if let Some(conn) = find(&mut self.conns, key) {
            conn.limit = most;
        }
    }

    /// Reads at most so many bytes, and at most 4 KiB, from a paused connection, forgets them, and
    /// returns how many were there.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the server has ended the connection, else why it is broken. It stays
    /// open.
    pub fn take(&mut self, key: u32, most: usize) -> io::Result<usize> {
        let Some(conn) = find(&mut self.conns, key) else {
            return Ok(0);
        };
        let mut buffer = [0; 4 << 10];
        let room = most.clamp(1, buffer.len());
        match read(&conn.stream, &mut buffer[..room]) {
            Ok(Some(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result.map(|length| length.unwrap_or(0)),
        }
    }

    /// Closes a connection; what it has not sent is lost.
    pub fn close(&mut self, key: u32) {
        if let Some(conn) = self.conns.get_mut(key as usize) {
            *conn = None;
        }
    }

    /// Closes a connection by a reset (RST).
    pub fn reset(&mut self, key: u32) {
        if let Some(conn) = find(&mut self.conns, key) {
            // If the option is refused, the connection is closed in order, which must do as well.
            let _ = SockRef::from(&conn.stream).set_linger(Some(Duration::ZERO));
        }
        self.close(key);
    }

    /// Ends the sending side (FIN); the connection can still be read.
    ///
    /// # Errors
    ///
    /// It is not established, or is broken.
    pub fn finish_sending(&mut self, key: u32) -> io::Result<()> {
        match find(&mut self.conns, key) {
            Some(conn) => conn.stream.shutdown(std::net::Shutdown::Write),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Calls [`Session::on_due`] at a time in nanoseconds of the monotonic clock.
    pub fn set_deadline(&mut self, due: Due) {
        self.deadlines.push(Reverse(due));
    }

    /// Calls [`Session::on_readable`] when a descriptor other than a connection is readable. It has
    /// to be non-blocking, and to stay open as long as the driver is used.
    ///
    /// # Errors
    ///
    /// It cannot be polled.
    pub fn watch(&mut self, fd: RawFd, number: u8) -> io::Result<()> {
        let token = Token(WATCHED + usize::from(number));
        let mut source = SourceFd(&fd);
        let registry = self.poll.registry();
        registry.register(&mut source, token, Interest::READABLE)
    }

    /// Waits until something happens, at most for `timeout`, and tells the session.
    ///
    /// # Errors
    ///
    /// The poll fails, or the session does.
    pub fn turn(
        &mut self,
        session: &mut impl Session,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let timeout = match (self.to_read.is_empty(), self.deadlines.peek()) {
            (false, _) => Some(Duration::ZERO),
            (true, Some(Reverse(next))) => {
                let left = Duration::from_nanos(next.at.saturating_sub(now_ns()));
                Some(timeout.map_or(left, |timeout| timeout.min(left)))
            }
            (true, None) => timeout,
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            // An interrupted poll leaves old events in the list.
            Err(_) => self.events.clear(),
            Ok(()) => {}
        }
        let left_unread = self.to_read.len();
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        let result = events
            .iter()
            .try_for_each(|event| self.serve(session, event));
        self.events = events;
        result?;
        for _ in 0..left_unread {
            if let Some(key) = self.to_read.pop_front()
                && let Some(conn) = find(&mut self.conns, key)
                && mem::take(&mut conn.is_queued)
            {
                self.read(session, key)?;
            }
        }
        self.expire(session)
    }

    fn expire(&mut self, session: &mut impl Session) -> io::Result<()> {
        let now = now_ns();
        // A session may set deadlines that are due already: these wait for the next turn.
        let mut due = Vec::new();
        while let Some(Reverse(next)) = self.deadlines.peek()
            && next.at <= now
        {
            due.push(*next);
            self.deadlines.pop();
        }
        due.into_iter()
            .try_for_each(|due| session.on_due(self, due))
    }

    fn serve(&mut self, session: &mut impl Session, event: &mio::event::Event) -> io::Result<()> {
        let Token(token) = event.token();
        if token >= WATCHED {
            return session.on_readable(self, (token - WATCHED) as u8);
        }
        let (key, serial) = (token as u32, (token >> 32) as u32);
        let is_this = |conn: &&mut Conn| conn.serial == serial;
        let Some(conn) = find(&mut self.conns, key).filter(is_this) else {
            return Ok(());
        };
        let is_broken = event.is_error() || event.is_write_closed();
        if !conn.is_connected {
            if is_broken {
                self.close(key);
                return session.on_end(self, key, End::Refused);
            }
            conn.is_connected = true;
            session.on_connect(self, key)?;
        }
        if event.is_writable() && self.flush(key, serial) {
            session.on_sent(self, key)?;
        }
        let Some(conn) = self.conns[key as usize]
            .as_mut()
            .filter(|conn| conn.serial == serial)
        else {
            return Ok(());
        };
        let is_over = is_broken || event.is_read_closed();
        conn.is_readable |= is_over;
        match conn.is_paused {
            true if is_broken => session.on_end(self, key, End::HungUp),
            true if is_over => session.on_end(self, key, End::HalfClosed),
            true => Ok(()),
            false if is_over || event.is_readable() => self.read(session, key),
            false => Ok(()),
        }
    }

    /// Sends what waits, and returns whether that was all of it. If the connection is broken, an
    /// event of its own says so.
    fn flush(&mut self, key: u32, serial: u32) -> bool {
        let is_waiting = |conn: &&mut Conn| conn.serial == serial && !conn.unsent.is_empty();
        let Some(conn) = find(&mut self.conns, key).filter(is_waiting) else {
            return false;
        };
        let Ok(sent) = write(&conn.stream, &conn.unsent) else {
            return false;
        };
        self.sent += sent as u64;
        let is_all = sent == conn.unsent.len();
        match is_all {
            // The room is given back, too: thousands of connections each send once.
            true => conn.unsent = Vec::new(),
            false => drop(conn.unsent.drain(..sent)),
        }
        is_all
    }

    /// Reads a connection until it is empty, closed, paused, or has had its share of the turn.
    fn read(&mut self, session: &mut impl Session, key: u32) -> io::Result<()> {
        let mut buffer = mem::take(&mut self.buffer);
        let result = self.read_into(session, key, &mut buffer);
        self.buffer = buffer;
        result
    }

    fn read_into(
        &mut self,
        session: &mut impl Session,
        key: u32,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let serial = self.conns[key as usize].as_ref().map(|conn| conn.serial);
        for _ in 0..READS_PER_TURN {
            let may_read = |conn: &&mut Conn| {
                Some(conn.serial) == serial && conn.is_connected && !conn.is_paused
            };
            let Some(conn) = find(&mut self.conns, key).filter(may_read) else {
                return Ok(());
            };
            let room = conn.limit.unwrap_or(usize::MAX).clamp(1, buffer.len());
            match read(&conn.stream, &mut buffer[..room]) {
                Ok(None) => return Ok(()),
                Ok(Some(0)) | Err(_) => {
                    self.close(key);
                    return session.on_end(self, key, End::Closed);
                }
                Ok(Some(length)) => {
                    // A short read has emptied the socket; what comes later is another event.
                    let is_done = length < room && !conn.is_readable;
                    session.on_bytes(self, key, &buffer[..length])?;
                    if is_done {
                        return Ok(());
                    }
                }
            }
        }
        self.read_later(key);
        Ok(())
    }

    fn read_later(&mut self, key: u32) {
        if let Some(conn) = find(&mut self.conns, key)
            && !mem::replace(&mut conn.is_queued, true)
        {
            self.to_read.push_back(key);
        }
    }
}

fn find(conns: &mut [Option<Conn>], key: u32) -> Option<&mut Conn> {
    conns.get_mut(key as usize)?.as_mut()
}

/// Writes until everything is taken or the socket is full, and returns how much it took.
fn write(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Reads once; `None` if nothing is there, 0 at the end.
fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match stream.read(buffer) {
            Ok(length) => return Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
