//! The sockets of connections, by the connection's index, and every system call on them.
//!
//! Owns the descriptors: dropping one closes it, which also removes it from the poll. It never
//! examines the bytes.
//!
//! Invariant: interest in writability is registered at the first short write and then kept, as
//! an event is only raised when the state changes.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use encke_core::engine::{ConnId, Sent, Wire};

/// One socket.
struct Socket {
    fd: OwnedFd,
    /// One half of the token; the other is the index.
    generation: u32,
    /// The index in `Addresses` at which the connection's address is counted.
    address: u32,
    watches_writes: bool,
    /// Whether the reactor's queue of deferred reads contains the connection.
    is_read_deferred: bool,
    /// Whether a PROXY protocol header must come first and has not arrived yet.
    awaits_header: bool,
}

mod frozen;

pub(super) use frozen::{Arriving, Record, check};

const _: () = assert!(size_of::<Option<Socket>>() == 16);

/// The sockets of all connections.
pub(super) struct Sockets {
    sockets: Vec<Option<Socket>>,
    registry: Registry,
}

/// The result of a read.
pub(super) enum Read {
    Bytes(usize),
    Nothing,
    Eof,
    Broken,
    /// The kernel closed the connection, because the client acknowledged nothing for the write
    /// timeout.
    TimedOut,
}

impl Socket {
    fn peek(&self, buffer: &mut [u8]) -> Read {
        match rustix::net::recv(&self.fd, buffer, RecvFlags::PEEK) {
            Ok((0, _)) => Read::Eof,
            Ok((length, _)) => Read::Bytes(length),
            Err(Errno::AGAIN | Errno::INTR) => Read::Nothing,
            Err(_) => Read::Broken,
        }
    }
}

impl Sockets {
    pub(super) fn new(registry: Registry, max_connections: usize) -> Sockets {
        Sockets {
            sockets: Vec::with_capacity(max_connections),
            registry,
        }
    }

    /// Takes over a connection's socket and watches it for bytes.
    pub(super) fn insert(&mut self, id: ConnId, fd: OwnedFd, address: u32) -> io::Result<()> {
        let index = id.index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        let raw = fd.as_raw_fd();
        self.sockets[index] = Some(Socket {
            fd,
            generation: id.generation,
            address,
            watches_writes: false,
            is_read_deferred: false,
            awaits_header: false,
        });
        let token = Token(id.to_token());
        self.registry
            .register(&mut SourceFd(&raw), token, Interest::READABLE)
    }

    /// Closes a connection's socket, and returns the index under which its address is counted.
    pub(super) fn close(&mut self, index: u32) -> Option<u32> {
        let socket = self.sockets.get_mut(index as usize)?.take()?;
        Some(socket.address)
    }

    /// Records that a read of the connection is deferred, and returns whether none was before.
    pub(super) fn defer_read(&mut self, id: ConnId) -> bool {
        self.find(id)
            .is_some_and(|socket| !std::mem::replace(&mut socket.is_read_deferred, true))
    }

    /// Records that no read of the connection is deferred.
    pub(super) fn clear_deferred_read(&mut self, id: ConnId) {
        if let Some(socket) = self.find(id) {
            socket.is_read_deferred = false;
        }
    }

    /// Records that a PROXY protocol header must come first.
    pub(super) fn await_header(&mut self, id: ConnId) {
        if let Some(socket) = self.find(id) {
            socket.awaits_header = true;
        }
    }

    /// Whether a PROXY protocol header must come first.
    pub(super) fn awaits_header(&self, id: ConnId) -> bool {
        let socket = self.sockets.get(id.index as usize).and_then(Option::as_ref);
        socket.is_some_and(|socket| socket.generation == id.generation && socket.awaits_header)
    }

    /// Records that the header was read, and the index at which its address is counted.
    pub(super) fn end_header(&mut self, id: ConnId, address: u32) {
        if let Some(socket) = self.find(id) {
            socket.awaits_header = false;
            socket.address = address;
        }
    }

    /// Copies the bytes that have arrived, and leaves them in the socket.
    pub(super) fn peek(&mut self, id: ConnId, buffer: &mut [u8]) -> Read {
        match self.find(id) {
            Some(socket) => socket.peek(buffer),
            None => Read::Nothing,
        }
    }

    /// Whether the kernel closed the connection by its timeout. The kernel reports an error of a
    /// socket only once.
    pub(super) fn has_timed_out(&mut self, id: ConnId) -> bool {
        let Some(socket) = self.find(id) else {
            return false;
        };
        let error = rustix::net::sockopt::socket_error(&socket.fd);
        matches!(error, Ok(Err(Errno::TIMEDOUT)))
    }

    fn find(&mut self, id: ConnId) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.index as usize)?.as_mut();
        socket.filter(|socket| socket.generation == id.generation)
    }

    pub(super) fn read(&mut self, id: ConnId, buffer: &mut [u8]) -> Read {
        let Some(socket) = self.find(id) else {
            return Read::Nothing;
        };
        loop {
            match rustix::net::recv(&socket.fd, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Read::Eof,
                Ok((length, _)) => return Read::Bytes(length),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Read::Nothing,
                Err(Errno::TIMEDOUT) => return Read::TimedOut,
                Err(_) => return Read::Broken,
            }
        }
    }
}

impl Wire for Sockets {
    fn send(&mut self, connection: u32, slices: &[IoSlice<'_>]) -> Sent {
        let Some(Some(socket)) = self.sockets.get_mut(connection as usize) else {
            return Sent::Failed;
        };
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = loop {
            match send(socket.fd.as_fd(), slices) {
                Ok(taken) => break taken,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break 0,
                Err(_) => return Sent::Failed,
            }
        };
        if taken == total {
            return Sent::All;
        }
        if !socket.watches_writes {
            let id = ConnId {
                index: connection,
                generation: socket.generation,
            };
            let both = Interest::READABLE | Interest::WRITABLE;
            let mut source = SourceFd(&socket.fd.as_raw_fd());
            if let Err(error) = self
                .registry
                .reregister(&mut source, Token(id.to_token()), both)
            {
                log::error!("cannot watch a socket for writing: {error}");
                return Sent::Failed;
            }
            socket.watches_writes = true;
        }
        Sent::Some(taken)
    }

    fn shutdown(&mut self, connection: u32) {
        if let Some(Some(socket)) = self.sockets.get(connection as usize) {
            // It fails only if the socket is no longer connected.
            let _ = rustix::net::shutdown(&socket.fd, Shutdown::Write);
        }
    }

    /// A PROXY protocol header does not count, because a partial one would keep its connection
    /// open.
    fn has_unread(&mut self, connection: u32) -> bool {
        let Some(Some(socket)) = self.sockets.get(connection as usize) else {
            return false;
        };
        !socket.awaits_header && matches!(socket.peek(&mut [0]), Read::Bytes(_))
    }
}

/// Sends as many bytes as fit. `send` and `sendmsg` cost a few percent less than `write`, which
/// goes through the file system layer.
fn send(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    match slices {
        [slice] => rustix::net::send(fd, slice, SendFlags::NOSIGNAL),
        slices => {
            let mut ancillary = SendAncillaryBuffer::new(&mut []);
            rustix::net::sendmsg(fd, slices, &mut ancillary, SendFlags::NOSIGNAL)
        }
    }
}
