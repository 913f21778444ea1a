//! What a connection has only while something is under way on it, or individual about it.
//!
//! Owns the contents of the box that a parked connection without wishes does not have. Bytes in it
//! are counted.

use std::sync::Arc;

use crate::base::meter::{Charge, Frame, Meter};
use crate::encode::Seq;
use crate::http1::{Decoder, Error, Progress, Scan};

/// What is under way on a connection, or individual about it.
pub(super) struct Work {
    /// Bytes received and not served yet.
    pub(super) input: Vec<u8>,
    pub(super) scan: Scan,
    pub(super) upload: Option<Upload>,
    pub(super) pending: Option<Pending>,
    pub(super) wish: Option<Wish>,
    /// Bytes that arrived on a stream, or after the last request.
    pub(super) stray_bytes: usize,
    charge: Charge,
}

impl Work {
    pub(super) fn new(buffers: &Arc<Meter>) -> Work {
        Work {
            input: Vec::new(),
            scan: Scan::default(),
            upload: None,
            pending: None,
            wish: None,
            stray_bytes: 0,
            charge: Charge::new(buffers),
        }
    }

    /// Whether nothing is under way and nothing individual.
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty()
            && self.upload.is_none()
            && self.pending.is_none()
            && self.wish.is_none()
            && self.stray_bytes == 0
    }

    /// Brings the count of buffered bytes up to date.
    pub(super) fn recount(&mut self) {
        let upload = self.upload.as_ref().map_or(0, Upload::bytes);
        self.charge
            .set(size_of::<Work>() + self.input.capacity() + upload);
    }
}

/// A request whose body is not here yet.
pub(super) struct Upload {
    /// The head as received; parsed again when the body is whole.
    pub(super) head: Box<[u8]>,
    pub(super) decoder: Decoder,
    /// The body so far, if anybody wants it.
    pub(super) body: Option<Vec<u8>>,
}

impl Upload {
    /// Takes what `bytes` hold of the body.
    pub(super) fn take(&mut self, bytes: &[u8], max_bytes: usize) -> Result<Progress, Error> {
        match &mut self.body {
            Some(body) => {
                if body.capacity() - body.len() < bytes.len() {
                    // Doubling could take twice what a client has sent, and room is counted.
                    body.reserve_exact(bytes.len().max(body.len() / 4));
                }
                self.decoder.decode(bytes, body, max_bytes)
            }
            None => self.decoder.discard(bytes, max_bytes),
        }
    }

    /// The body, as far as it is kept.
    pub(super) fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, Vec::capacity)
    }
}

/// Bytes that the socket has not taken yet: the rest of one frame.
pub(super) struct Pending {
    pub(super) frame: Arc<Frame>,
    pub(super) sent: usize,
    pub(super) end: usize,
}

/// What a parked long poll asked for beyond the defaults.
#[derive(Default)]
pub(super) struct Wish {
    pub(super) callback: Option<Box<str>>,
    /// The allowed origin to echo, by its place in the configured list.
    pub(super) origin: Option<u16>,
    /// Most messages in the batch.
    pub(super) limit: usize,
    pub(super) linger_ms: u64,
    pub(super) gathered: Gathered,
}

/// What a lingering poll has gathered so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) objects: Vec<Arc<Frame>>,
    pub(super) bytes: usize,
    pub(super) gap: bool,
    pub(super) more: bool,
    /// How many waited for the messages, at most.
    pub(super) audience: u32,
    pub(super) cursor: Seq,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.gap
    }
}
