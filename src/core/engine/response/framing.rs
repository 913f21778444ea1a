//! How a response of unknown length is delimited, whatever it says.
//!
//! Owns the bytes around a piece of a body, and after the last.

use std::ops::Range;

use crate::engine::connections::Flags;
use crate::transport::{Kind, Transport};

/// How the end of a body of unknown length is marked (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Framing {
    /// By the last chunk (RFC 9112, section 7.1).
    Chunked,
    /// By the end of the connection, for HTTP/1.0.
    UntilClose,
    /// By the transport, which delimits its events itself: the connection is no longer one of HTTP.
    ByTransport,
}

impl Framing {
    /// The framing of a transport's events on a connection with these flags.
    pub(in crate::engine) fn of(transport: Transport, flags: Flags) -> Framing {
        match Framing::shared(transport) {
            Framing::Chunked if flags.contains(Flags::HTTP10) => Framing::UntilClose,
            framing => framing,
        }
    }

    /// The framing of a transport's events in the bytes that connections share.
    pub(in crate::engine) fn shared(transport: Transport) -> Framing {
        match transport.describe().kind {
            Kind::Answer | Kind::Stream => Framing::Chunked,
            Kind::Duplex => Framing::ByTransport,
        }
    }

    /// Appends a piece of a body, which `write` appends, and returns the range of the piece without
    /// its framing.
    pub(in crate::engine) fn piece(
        self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Range<usize> {
        match self {
            Framing::Chunked => chunk(out, write),
            Framing::UntilClose | Framing::ByTransport => {
                let start = out.len();
                write(out);
                start..out.len()
            }
        }
    }

    /// Appends the end of a body.
    pub(in crate::engine) fn end(self, out: &mut Vec<u8>) {
        match self {
            Framing::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
            Framing::UntilClose | Framing::ByTransport => {}
        }
    }
}

/// Wraps bytes that `write` appends into one chunk, and returns their range.
fn chunk(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    const SIZE_BYTES: usize = 8;
    let start = out.len();
    out.extend_from_slice(b"00000000\r\n");
    write(out);
    let size = out.len() - start - SIZE_BYTES - 2;
    let digits = format!("{size:x}");
    debug_assert!(
        size > 0 && digits.len() <= SIZE_BYTES,
        "an empty chunk ends the body"
    );
    out.splice(start..start + SIZE_BYTES, digits.bytes());
    let end = out.len();
    out.extend_from_slice(b"\r\n");
    end - size..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_is_preceded_by_its_size() {
        for length in [1, 15, 16, 255, 70_000] {
            let mut out = b"before".to_vec();
            let range = chunk(&mut out, |out| out.resize(out.len() + length, b'x'));
            let expected = format!("before{length:x}\r\n{}\r\n", "x".repeat(length));
            assert_eq!(out, expected.as_bytes());
            assert_eq!(out[range], *"x".repeat(length).as_bytes());
        }
    }
}
