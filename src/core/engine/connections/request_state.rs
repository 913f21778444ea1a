//! What a connection has only while something is under way on it, or individual about it.
//!
//! Owns the contents of the box that a parked connection without wishes does not have. Bytes in it
//! are counted.

use std::sync::Arc;

use crate::base::meter::{Charge, Frame, Meter};
use crate::encode::Seq;
use crate::http1::{Decoder, Error, Progress, Scan};

/// What is under way on a connection, or individual about it.
pub(in crate::engine) struct Work {
    /// Bytes received and not served yet.
    pub(in crate::engine) input: Vec<u8>,
    pub(in crate::engine) scan: Scan,
    pub(in crate::engine) upload: Option<Upload>,
    pub(in crate::engine) pending: Option<Pending>,
    pub(in crate::engine) wish: Option<Wish>,
    /// Bytes that arrived on a stream, or after the last request.
    pub(in crate::engine) stray_bytes: usize,
    charge: Charge,
}

impl Work {
    pub(in crate::engine) fn new(buffers: &Arc<Meter>) -> Work {
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
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.input.is_empty()
            && self.upload.is_none()
            && self.pending.is_none()
            && self.wish.is_none()
            && self.stray_bytes == 0
    }

    /// Brings the count of buffered bytes up to date.
    pub(in crate::engine) fn recount(&mut self) {
        let upload = self.upload.as_ref().map_or(0, Upload::bytes);
        self.charge
            .set(size_of::<Work>() + self.input.capacity() + upload);
    }
}

/// A request whose body is not here yet.
pub(in crate::engine) struct Upload {
    /// The head as received; parsed again when the body is whole.
    pub(in crate::engine) head: Box<[u8]>,
    pub(in crate::engine) decoder: Decoder,
    /// The body so far, if anybody wants it.
    pub(in crate::engine) body: Option<Vec<u8>>,
}

impl Upload {
    /// Takes what `bytes` hold of the body.
    pub(in crate::engine) fn take(
        &mut self,
        bytes: &[u8],
        max_bytes: usize,
    ) -> Result<Progress, Error> {
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
    pub(in crate::engine) fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, Vec::capacity)
    }
}

/// Bytes that the socket has not taken yet: the rest of one frame.
pub(in crate::engine) struct Pending {
    pub(in crate::engine) frame: Arc<Frame>,
    pub(in crate::engine) sent: usize,
    pub(in crate::engine) end: usize,
}

/// What a parked long poll asked for beyond the defaults.
#[derive(Default)]
pub(in crate::engine) struct Wish {
    pub(in crate::engine) callback: Option<Box<str>>,
    /// The allowed origin to echo, by its place in the configured list.
    pub(in crate::engine) origin: Option<u16>,
    /// Most messages in the batch.
    pub(in crate::engine) limit: usize,
    pub(in crate::engine) linger_ms: u64,
    pub(in crate::engine) gathered: Gathered,
}

/// What a lingering poll has gathered so far.
#[derive(Default)]
pub(in crate::engine) struct Gathered {
    pub(in crate::engine) objects: Vec<Arc<Frame>>,
    pub(in crate::engine) bytes: usize,
    pub(in crate::engine) gap: bool,
    pub(in crate::engine) more: bool,
    /// How many waited for the messages, at most.
    pub(in crate::engine) audience: u32,
    pub(in crate::engine) cursor: Seq,
}

impl Gathered {
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.gap
    }
}
