//! WebSocket frames as a client reads and writes them (RFC 6455, section 5).
//!
//! Owns the bytes of frames. What the server sends must be whole messages, unmasked, with lengths
//! in their shortest form.

use crate::Error;

/// Longest payload, in bytes: more than any message may have.
const LONGEST: usize = 64 << 20;

/// The opcode of a text.
pub const TEXT: u8 = 0x1;
/// The opcode of bytes.
pub const BINARY: u8 = 0x2;
/// The opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// The opcode of a ping.
pub const PING: u8 = 0x9;
/// The opcode of a pong.
pub const PONG: u8 = 0xA;

/// A handshake's fields after the request line and `Host`, with the key that the specification has
/// as its example.
pub const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The `Sec-WebSocket-Accept` that answers [`HANDSHAKE`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// [`TEXT`], [`BINARY`], [`CLOSE`], [`PING`] or [`PONG`].
    pub opcode: u8,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code and the reason of a close frame, if it has a code.
    pub fn close_code(&self) -> Option<(u16, &[u8])> {
        let (code, reason) = self.payload.split_at_checked(2)?;
        let is_close = self.opcode == CLOSE;
        is_close.then(|| (u16::from_be_bytes([code[0], code[1]]), reason))
    }
}

/// A frame as a client sends it: whole and masked.
pub fn frame(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    part(true, opcode, payload, mask)
}

/// A frame that may be a part of a message; all but the first have the opcode 0.
pub fn part(is_last: bool, opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![u8::from(is_last) << 7 | opcode];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    let masks = mask.iter().cycle();
    bytes.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Reads the frames of one server.
#[derive(Debug, Default)]
pub struct Frames {
    pending: Vec<u8>,
    is_closed: bool,
}

impl Frames {
    /// Whether nothing has arrived in part.
    pub fn is_at_boundary(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next frame, taken from `bytes`; `None` when they are used up before its end.
    ///
    /// # Errors
    ///
    /// The frame is not one that a server may send, or follows a close frame.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Error> {
        loop {
            let wanted = self.wanted()?;
            let missing = wanted - self.pending.len();
            if missing == 0 {
                break;
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.pending.extend_from_slice(taken);
            *bytes = rest;
        }
        let start = header_bytes(self.pending[1]);
        let payload = self.pending.split_off(start);
        let opcode = self.pending[0] & 0x0F;
        self.pending.clear();
        self.is_closed = opcode == CLOSE;
        Ok(Some(Frame { opcode, payload }))
    }

    /// The bytes that the present frame has, as far as that is known.
    fn wanted(&self) -> Result<usize, Error> {
        let (first, second) = match self.pending[..] {
            [] | [_] => return Ok(2),
            [first, second, ..] => (first, second),
        };
        let refuse = |what: &str| Err(Error::about(what, &self.pending));
        if self.is_closed {
            return refuse("a frame after the close frame");
        }
        if !matches!(first, 0x81 | 0x82 | 0x88 | 0x89 | 0x8A) {
            return refuse("a frame with a first byte that no server of ours sends");
        }
        if second & 0x80 != 0 || (first & 0x08 != 0 && second > 125) {
            return refuse("a masked frame, or a long control frame");
        }
        let start = header_bytes(second);
        if self.pending.len() < start {
            return Ok(start);
        }
        let number = self.pending[2..start].iter();
        let length = match second {
            126 | 127 => number.fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        match (second, length) {
            (126, 0..126) | (127, 0..0x1_0000) => refuse("a length in a longer form than needed"),
            _ if length > LONGEST as u64 => refuse("a message without end"),
            _ => Ok(start + length as usize),
        }
    }
}

fn header_bytes(second: u8) -> usize {
    match second {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let long = vec![b'x'; 70_000];
        let bytes = [
            &[0x81, 2][..],
            b"hi",
            &[0x89, 0],
            &[0x82, 126, 0, 200],
            &[7; 200],
            &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70],
            &long,
            &[0x88, 5, 0x03, 0xE9],
            b"bye",
        ]
        .concat();
        let expected = [
            (TEXT, b"hi".to_vec()),
            (PING, vec![]),
            (BINARY, vec![7; 200]),
            (TEXT, long),
            (CLOSE, b"\x03\xE9bye".to_vec()),
        ];
        let ends = (0..230).chain(bytes.len() - 20..bytes.len());
        for cut in ends {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for mut piece in [&bytes[..cut], &bytes[cut..]] {
                while let Some(frame) = frames.next(&mut piece).unwrap() {
                    seen.push(frame);
                }
            }
            assert!(frames.is_at_boundary());
            assert_eq!(seen[4].close_code(), Some((1001, &b"bye"[..])));
            let seen = seen.into_iter().map(|frame| (frame.opcode, frame.payload));
            assert!(seen.eq(expected.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn frames_that_no_server_may_send_are_refused() {
        for bytes in [
            &[0x01, 0][..],
            &[0xC1, 0],
            &[0x80, 0],
            &[0x81, 0x80],
            &[0x89, 126],
            &[0x81, 126, 0, 1],
            &[0x81, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
            &[0x81, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0],
            &[0x88, 0, 0x89, 0],
        ] {
            let (mut frames, mut rest) = (Frames::default(), bytes);
            let mut next = || frames.next(&mut rest);
            assert!(next().is_err() || next().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn frame_of_a_client_is_masked() {
        assert_eq!(
            frame(TEXT, b"ab", [1, 2, 3, 4]),
            [0x81, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2]
        );
        assert_eq!(part(false, TEXT, b"", [0; 4]), [0x01, 0x80, 0, 0, 0, 0]);
        let bytes = frame(BINARY, &[0; 70_000], [9; 4]);
        assert_eq!(bytes[..10], [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    }
}
