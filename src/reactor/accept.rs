//! Accepting connections, and refusing those that exceed a limit.
//!
//! Owns the order of accepting. At the connection limit a client gets a response if its request has
//! already arrived.
//!
//! Invariant: a listener stays ready until `accept` returns `EAGAIN`, or until it does not listen
//! any more, since no further event announces connections that already wait.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::Reactor;
use super::listen::{Listener, Readiness};
use super::sockets::Read;
use encke_core::base::time::Time;
use encke_core::engine::{ConnId, ConnectionLimit, Wire};

/// Connections accepted in one tick, over all listeners.
const BUDGET: usize = 64;

impl Reactor {
    /// Whether a listener may have connections to accept.
    pub(super) fn can_accept(&self) -> bool {
        !self.gate.is_paused() && self.listeners.iter().any(Listener::is_ready)
    }

    /// Accepts connections that wait, within the budget.
    pub(super) fn accept(&mut self, now: Time) {
        if !self.gate.open(now) {
            return;
        }
        let mut budget = BUDGET;
        let count = self.listeners.len();
        for offset in 0..count {
            let listener_index = (self.first_listener + offset) % count;
            while self.listeners[listener_index].is_ready() && budget > 0 {
                budget -= 1;
                self.accept_next(listener_index, now);
                if self.gate.is_paused() {
                    return;
                }
            }
        }
        self.first_listener = (self.first_listener + 1) % count.max(1);
    }

    fn accept_next(&mut self, listener_index: usize, now: Time) {
        let listener = &mut self.listeners[listener_index];
        match accept_one(listener) {
            Ok((fd, address)) => self.register(listener_index, fd, address),
            Err(Errno::AGAIN) => listener.readiness = Readiness::Idle,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.reject_without_descriptor(listener_index, now);
            }
            // The socket does not listen any more: a process that shares it has shut it down. Every
            // further call would fail likewise. The kernel may report the one shutdown by two
            // events.
            Err(error @ (Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTSOCK | Errno::BADF)) => {
                listener.readiness = Readiness::Ended;
                log::error!("{} cannot be accepted from: {error}", listener.address);
            }
            // The client left before it was accepted, or the network failed it (accept(2)): try the
            // next.
            Err(
                Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NOPROTOOPT
                | Errno::NONET,
            ) => {}
            // It may last, so accepting pauses rather than spin.
            Err(error) => {
                log::error!("{} cannot be accepted from: {error}", listener.address);
                self.gate.pause(now);
            }
        }
    }

    fn register(&mut self, listener_index: usize, fd: OwnedFd, address: Option<IpAddr>) {
        let Listener {
            access, is_proxied, ..
        } = self.listeners[listener_index];
        // Behind a proxy, the client's address is in the PROXY header.
        let address = address.filter(|_| !is_proxied);
        let Some(address) = self.addresses.add(address) else {
            return self.reject(&fd, ConnectionLimit::Address);
        };
        let Some(id) = self.engine.accept(access) else {
            self.addresses.remove(address);
            return self.reject(&fd, ConnectionLimit::Server);
        };
        if let Err(error) = self.sockets.insert(id, fd, address) {
            log::error!("cannot watch a connection: {error}");
            self.engine.broken(id);
        } else if is_proxied {
            self.sockets.await_header(id);
        }
    }

    /// Refuses a connection: a request that has already arrived gets a response.
    fn reject(&mut self, fd: &OwnedFd, limit: ConnectionLimit) {
        let read = rustix::io::read(fd, &mut self.buffer[..]);
        let answer = self.engine.reject(&self.buffer[..read.unwrap_or(0)], limit);
        if let Some(answer) = answer {
            // The connection is closed in any case.
            let _ = rustix::io::write(fd, &answer);
        }
    }

    /// Rejects a connection that was registered before its limit was known to be reached.
    pub(super) fn reject_registered(&mut self, id: ConnId, limit: ConnectionLimit) {
        let length = match self.sockets.read(id, &mut self.buffer) {
            Read::Bytes(length) => length,
            Read::Nothing | Read::Eof | Read::Broken | Read::TimedOut => 0,
        };
        if let Some(answer) = self.engine.reject(&self.buffer[..length], limit) {
            let _ = self.sockets.send(id.index, &[IoSlice::new(&answer)]);
        }
        self.engine.broken(id);
    }

    fn reject_without_descriptor(&mut self, listener_index: usize, now: Time) {
        self.gate.give_spare();
        if let Ok((fd, _)) = accept_one(&self.listeners[listener_index]) {
            self.reject(&fd, ConnectionLimit::Descriptors);
        }
        self.gate.pause(now);
    }
}

/// Accepts the next connection, and returns it with its IP address.
fn accept_one(listener: &Listener) -> rustix::io::Result<(OwnedFd, Option<IpAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, address) = rustix::net::acceptfrom_with(&listener.fd, flags)?;
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    Ok((fd, address.map(|address| address.ip())))
}
