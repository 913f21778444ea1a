//! The sockets, as the engine sees them.
//!
//! Owns the interface between the engine and whatever has the sockets: the reactor, or a
//! simulation.

use std::io::IoSlice;

/// The sockets, as the engine sees them.
pub trait Wire {
    /// Sends as much as the socket takes without blocking. After [`Sent::Some`] the caller of the
    /// engine calls [`Engine::writable`](crate::engine::Engine::writable) when the socket is
    /// writable again.
    fn send(&mut self, connection: u32, slices: &[IoSlice<'_>]) -> Sent;

    /// Shuts down our side of a connection; the client can still send.
    fn shutdown(&mut self, connection: u32);

    /// Whether the socket has received bytes that the engine was not given yet.
    fn has_unread(&mut self, connection: u32) -> bool;
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Everything.
    All,
    /// This many bytes, fewer than there were.
    Some(usize),
    /// Nothing, ever again.
    Failed,
}

/// Sockets that take everything, for tests.
#[cfg(test)]
#[derive(Default)]
pub(in crate::engine) struct Sink {
    pub(in crate::engine) sent: Vec<u8>,
    /// The result of [`Wire::has_unread`] for every connection.
    pub(in crate::engine) has_unread: bool,
    /// Whether the sockets' buffers are full, so that they take nothing.
    pub(in crate::engine) is_full: bool,
}

#[cfg(test)]
impl Sink {
    /// How many responses with status 200 were sent.
    pub(in crate::engine) fn answers(&self) -> usize {
        memchr::memmem::find_iter(&self.sent, "HTTP/1.1 200 ").count()
    }
}

#[cfg(test)]
impl Wire for Sink {
    fn send(&mut self, _: u32, slices: &[IoSlice<'_>]) -> Sent {
        if self.is_full {
            return Sent::Some(0);
        }
        for slice in slices {
            self.sent.extend_from_slice(slice);
        }
        Sent::All
    }

    fn shutdown(&mut self, _: u32) {}

    fn has_unread(&mut self, _: u32) -> bool {
        self.has_unread
    }
}
