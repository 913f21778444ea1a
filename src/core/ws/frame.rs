//! Frames out, and the mask of frames in (RFC 6455, sections 5.2 and 5.3).
//!
//! Owns the bytes of a header. What the server sends is never masked and never fragmented.

use super::close::{CloseCode, MAX_REASON_BYTES};

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation,
    /// A text, or its first part.
    Text,
    /// Bytes, or their first part.
    Binary,
    /// The end of the connection.
    Close,
    /// A question whether the peer is alive.
    Ping,
    /// The answer to it.
    Pong,
}

impl Opcode {
    /// The opcode of this number, if it is defined.
    pub(super) fn from_number(number: u8) -> Option<Opcode> {
        Some(match number {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    pub(super) const fn number(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }

    /// Whether it is not part of a message: such a frame is short and stands alone.
    pub(super) fn is_control(self) -> bool {
        self.number() & 0x8 != 0
    }
}

/// The bit of a header that says that the frame is the last of its message.
pub(super) const FIN: u8 = 0x80;

/// The shortest header.
const MIN_HEADER_BYTES: usize = 2;

/// Appends a whole frame, whose payload `payload` appends.
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[FIN | opcode.number(), 0]);
    payload(out);
    let length = out.len() - start - MIN_HEADER_BYTES;
    debug_assert!(
        !opcode.is_control() || length <= 125,
        "a long control frame"
    );
    match length {
        0..=125 => out[start + 1] = length as u8,
        126..=0xFFFF => {
            out[start + 1] = 126;
            insert(out, start + MIN_HEADER_BYTES, (length as u16).to_be_bytes());
        }
        _ => {
            out[start + 1] = 127;
            insert(out, start + MIN_HEADER_BYTES, (length as u64).to_be_bytes());
        }
    }
}

/// Inserts bytes at a place.
fn insert<const N: usize>(out: &mut Vec<u8>, at: usize, bytes: [u8; N]) {
    let end = out.len();
    out.extend_from_slice(&bytes);
    out.copy_within(at..end, at + N);
    out[at..at + N].copy_from_slice(&bytes);
}

/// Appends a close frame. A reason longer than [`MAX_REASON_BYTES`] is left out.
pub fn write_close(out: &mut Vec<u8>, code: CloseCode, reason: &[u8]) {
    debug_assert!(reason.len() <= MAX_REASON_BYTES, "a long reason");
    write(out, Opcode::Close, |out| {
        out.extend_from_slice(&code.number().to_be_bytes());
        if reason.len() <= MAX_REASON_BYTES {
            out.extend_from_slice(reason);
        }
    });
}

/// Removes the mask from a part of a payload that begins `offset` bytes after its start. Applied
/// twice it changes nothing.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let turned: [u8; 4] = std::array::from_fn(|at| mask[(offset + at) % 4]);
    let wide = u64::from_ne_bytes(std::array::from_fn(|at| turned[at % 4]));
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in chunks
        .into_remainder()
        .iter_mut()
        .zip(turned.iter().cycle())
    {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_is_the_shortest() {
        for (length, expected) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = b"before".to_vec();
            write(&mut out, Opcode::Text, |out| {
                out.resize(out.len() + length, b'x')
            });
            let header = [&b"before"[..], &expected].concat();
            assert_eq!(out[..header.len()], header);
            assert_eq!(out[header.len()..], *"x".repeat(length).as_bytes());
        }
    }

    #[test]
    fn close_frame_has_code_and_reason() {
        let mut out = Vec::new();
        write_close(&mut out, CloseCode::Gap, b"gap");
        assert_eq!(out, [0x88, 5, 0x0B, 0xB9, b'g', b'a', b'p']);
    }

    proptest! {
        #[test]
        fn unmasking_is_byte_by_byte(
            payload: Vec<u8>,
            mask: [u8; 4],
            cut in 0..100_usize,
        ) {
            let naive: Vec<u8> = (0..).zip(&payload).map(|(at, b)| b ^ mask[at % 4]).collect();
            let mut fast = payload.clone();
            let cut = cut.min(fast.len());
            let (first, second) = fast.split_at_mut(cut);
            unmask(first, mask, 0);
            unmask(second, mask, cut);
            prop_assert_eq!(&fast, &naive);
            unmask(&mut fast, mask, 0);
            prop_assert_eq!(fast, payload);
        }
    }
}
