//! The fake sockets: what the engine sends, taken in any portions.
//!
//! Owns the bytes between the engine and the clients. Checks on its own that bytes go only to open
//! sockets, and that after a short write the very rest of it comes next.

use std::io::IoSlice;

use encke_core::engine::{Sent, Wire};

/// One socket, as both ends see it.
#[derive(Default)]
pub(crate) struct Socket {
    pub(crate) open: bool,
    /// Bytes it still takes; `None`: any number.
    pub(crate) room: Option<usize>,
    /// Every further send fails.
    pub(crate) broken: bool,
    /// A send failed.
    pub(crate) failed: bool,
    pub(crate) shut: bool,
    /// Offered and not taken.
    pub(crate) rest: Vec<u8>,
    /// How much of it must be offered next: of several frames that were offered at once, only the
    /// first begun must be continued.
    begun: usize,
    /// The client's bytes are in the kernel, not yet read by the engine.
    pub(crate) has_unread: bool,
    /// The engine has looked for such bytes last when there were none.
    pub(crate) was_silent: bool,
    /// Taken and not yet read by the client.
    pub(crate) taken: Vec<u8>,
    /// Offered for the first time and not yet looked at.
    pub(crate) offered: Vec<u8>,
    /// Short writes so far.
    pub(crate) blocks: u64,
    /// When it last took a byte, or blocked.
    pub(crate) progress_at: u64,
    dirty: bool,
}

/// All sockets.
#[derive(Default)]
pub(crate) struct SimWire {
    pub(crate) sockets: Vec<Socket>,
    /// Sockets with something new.
    pub(crate) dirty: Vec<u32>,
    /// Calls that did anything.
    pub(crate) sends: u64,
    pub(crate) now: u64,
}

impl SimWire {
    pub(crate) fn open(&mut self, index: u32, room: Option<usize>) {
        let place = index as usize;
        if self.sockets.len() <= place {
            self.sockets.resize_with(place + 1, Socket::default);
        }
        assert!(!self.sockets[place].open, "a place was given out twice");
        self.sockets[place] = Socket {
            open: true,
            room,
            progress_at: self.now,
            ..Socket::default()
        };
    }

    pub(crate) fn socket(&mut self, index: u32) -> &mut Socket {
        &mut self.sockets[index as usize]
    }

    fn mark(&mut self, index: u32) {
        if !std::mem::replace(&mut self.sockets[index as usize].dirty, true) {
            self.dirty.push(index);
        }
    }

    /// The next socket with something new.
    pub(crate) fn next_dirty(&mut self) -> Option<u32> {
        let index = self.dirty.pop()?;
        self.sockets[index as usize].dirty = false;
        Some(index)
    }
}

impl Wire for SimWire {
    fn send(&mut self, index: u32, slices: &[IoSlice<'_>]) -> Sent {
        self.sends += 1;
        self.mark(index);
        let now = self.now;
        let socket = &mut self.sockets[index as usize];
        assert!(socket.open, "bytes for a closed socket");
        assert!(!socket.shut, "bytes after our side was ended");
        assert!(!socket.failed, "bytes after a send failed");
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(!bytes.is_empty(), "an empty send");
        let begun = &socket.rest[..socket.begun];
        let more = bytes.strip_prefix(begun);
        // What was answered meanwhile comes behind it.
        let more = more.expect("after a short write comes something else than its rest");
        socket.offered.extend_from_slice(more);
        if socket.broken {
            socket.failed = true;
            return Sent::Failed;
        }
        let taken = socket
            .room
            .map_or(bytes.len(), |room| room.min(bytes.len()));
        if let Some(room) = &mut socket.room {
            *room -= taken;
        }
        socket.taken.extend_from_slice(&bytes[..taken]);
        if taken > 0 {
            socket.progress_at = now;
        }
        if taken == bytes.len() {
            socket.rest.clear();
            socket.begun = 0;
            return Sent::All;
        }
        if socket.rest.is_empty() {
            socket.progress_at = now;
        }
        let ends = slices.iter().scan(0, |end, slice| {
            *end += slice.len();
            Some(*end)
        });
        let mut ends = ends.skip_while(|&end| end <= taken);
        socket.begun = ends.next().expect("a frame is begun") - taken;
        socket.blocks += 1;
        socket.rest = bytes[taken..].to_vec();
        Sent::Some(taken)
    }

    fn has_unread(&mut self, index: u32) -> bool {
        let socket = &mut self.sockets[index as usize];
        assert!(socket.open, "a closed socket is looked at");
        socket.was_silent = !socket.has_unread;
        socket.has_unread
    }

    fn shutdown(&mut self, index: u32) {
        self.sends += 1;
        let socket = &mut self.sockets[index as usize];
        assert!(socket.open, "a closed socket is ended");
        assert!(
            socket.rest.is_empty(),
            "our side ended before the last byte"
        );
        assert!(!socket.shut, "our side ended twice");
        socket.shut = true;
        self.mark(index);
    }
}
