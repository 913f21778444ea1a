//! Frames in: from bytes in any pieces to messages and control frames (RFC 6455, sections 5.2 to
//! 5.5).
//!
//! Owns the state of an unfinished frame and message. A decoder between two messages holds nothing
//! that matters, so a connection needs one only while something has arrived in part.

use super::close::{CloseCode, may_be_sent};
use super::frame::{FIN, Opcode, unmask};

mod frozen;

pub use frozen::FrozenDecoder;

/// The longest header of a masked frame.
const MAX_HEADER_BYTES: usize = 14;

/// The longest payload of a control frame.
const MAX_CONTROL_BYTES: usize = 125;

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text, which is UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A message or control frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'d> {
    /// A whole text.
    Text(&'d str),
    /// A whole message of bytes.
    Binary(&'d [u8]),
    /// A ping, which is to be answered with the same payload.
    Ping(&'d [u8]),
    /// A pong.
    Pong,
    /// The end of the client's side, with its code if it gives one. Nothing after it counts.
    Close(Option<u16>),
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The protocol is broken; the words say how.
    Protocol(&'static str),
    /// A text or the reason of a close frame is not UTF-8.
    NotUtf8,
    /// A message is larger than allowed.
    TooLarge,
}

impl Error {
    /// The code with which the connection is closed.
    pub fn code(self) -> CloseCode {
        match self {
            Error::Protocol(_) => CloseCode::Protocol,
            Error::NotUtf8 => CloseCode::NotUtf8,
            Error::TooLarge => CloseCode::TooLarge,
        }
    }

    /// The reason for the client, short enough for a close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Error::Protocol(reason) => reason,
            Error::NotUtf8 => "a text is not UTF-8",
            Error::TooLarge => "a message is larger than --max-body-bytes allows",
        }
    }
}

/// A frame whose payload is being received.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    mask: [u8; 4],
    /// Bytes of the payload, and how many of them have arrived.
    length: usize,
    arrived: usize,
}

/// Decodes what one client sends.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: usize,
    frame: Option<Frame>,
    /// The kind of the message that is unfinished.
    kind: Option<Kind>,
    /// The message so far, unmasked.
    message: Vec<u8>,
    control: Control,
    /// Whether the message was returned and is to be forgotten.
    is_returned: bool,
}

/// The payload of a control frame, unmasked.
#[derive(Debug)]
struct Control {
    bytes: [u8; MAX_CONTROL_BYTES],
    length: usize,
}

impl Default for Control {
    fn default() -> Control {
        Control {
            bytes: [0; MAX_CONTROL_BYTES],
            length: 0,
        }
    }
}

impl Decoder {
    /// Whether it is between two messages: no part of a frame or message has arrived.
    pub fn is_at_boundary(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.kind.is_none()
    }

    /// The bytes that it has allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// Gives back memory beyond `bytes`. It must be between two messages.
    pub fn shrink_to(&mut self, bytes: usize) {
        debug_assert!(self.is_at_boundary(), "the message is unfinished");
        self.message.clear();
        self.message.shrink_to(bytes);
    }

    /// Decodes until something has arrived whole. Returns how many bytes were taken, and what
    /// arrived; nothing if all were taken before.
    ///
    /// `max_bytes` is the size of the largest message.
    ///
    /// # Errors
    ///
    /// See [`Error`]. The decoder is not to be used any more.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        max_bytes: usize,
    ) -> Result<(usize, Option<Event<'_>>), Error> {
        if std::mem::take(&mut self.is_returned) {
            self.message.clear();
        }
        let mut taken = 0;
        loop {
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None => {
                    let (header, frame) = self.take_header(&bytes[taken..], max_bytes)?;
                    taken += header;
                    match frame {
                        Some(frame) => self.frame.insert(frame),
                        None => return Ok((taken, None)),
                    }
                }
            };
            let rest = &bytes[taken..];
            let part = &rest[..rest.len().min(frame.length - frame.arrived)];
            taken += part.len();
            let to = match frame.opcode.is_control() {
                true => self.control.append(part),
                false => append(&mut self.message, part),
            };
            unmask(to, frame.mask, frame.arrived);
            frame.arrived += part.len();
            if frame.arrived < frame.length {
                return Ok((taken, None));
            }
            let Frame {
                opcode, is_final, ..
            } = *frame;
            self.frame = None;
            if opcode.is_control() {
                return Ok((taken, Some(self.control_event(opcode)?)));
            }
            if is_final {
                return Ok((taken, Some(self.message_event()?)));
            }
        }
    }

    /// Takes the header of the next frame. Returns how many bytes of it were taken, and the frame
    /// if it is whole.
    fn take_header(
        &mut self,
        bytes: &[u8],
        max_bytes: usize,
    ) -> Result<(usize, Option<Frame>), Error> {
        let mut taken = 0;
        while self.header_bytes < self.wanted_header_bytes() {
            let missing = self.wanted_header_bytes() - self.header_bytes;
            let part = &bytes[taken..bytes.len().min(taken + missing)];
            if part.is_empty() {
                return Ok((taken, None));
            }
            self.header[self.header_bytes..][..part.len()].copy_from_slice(part);
            self.header_bytes += part.len();
            taken += part.len();
            if self.header_bytes >= 2 {
                self.check_start()?;
            }
        }
        let frame = self.read_header(max_bytes)?;
        self.header_bytes = 0;
        if frame.opcode.is_control() {
            self.control.length = 0;
        } else if self.kind.is_none() {
            self.kind = Some(match frame.opcode {
                Opcode::Text => Kind::Text,
                _ => Kind::Binary,
            });
        }
        Ok((taken, Some(frame)))
    }

    /// The bytes that the header has, as far as its first two say.
    fn wanted_header_bytes(&self) -> usize {
        match (self.header_bytes, self.header[1] & 0x7F) {
            (0 | 1, _) => 2,
            (_, 126) => 2 + 2 + 4,
            (_, 127) => MAX_HEADER_BYTES,
            (_, _) => 2 + 4,
        }
    }

    /// Checks the first two bytes of a header.
    fn check_start(&self) -> Result<(), Error> {
        let [first, second, ..] = self.header;
        let opcode = Opcode::from_number(first & 0x0F);
        let opcode = opcode.ok_or(Error::Protocol("an opcode is not defined"))?;
        let is_short = usize::from(second & 0x7F) <= MAX_CONTROL_BYTES;
        let fault = if first & 0x70 != 0 {
            "a reserved bit is set, and no extension is in use"
        } else if second & 0x80 == 0 {
            "a frame is not masked"
        } else if opcode.is_control() && (first & FIN == 0 || !is_short) {
            "a control frame is fragmented or longer than 125 bytes"
        } else if opcode == Opcode::Continuation && self.kind.is_none() {
            "a continuation continues nothing"
        } else if matches!(opcode, Opcode::Text | Opcode::Binary) && self.kind.is_some() {
            "a message begins inside another"
        } else {
            return Ok(());
        };
        Err(Error::Protocol(fault))
    }

    /// Reads a whole header, whose start is checked.
    fn read_header(&self, max_bytes: usize) -> Result<Frame, Error> {
        let header = &self.header[..self.header_bytes];
        let (lengths, mask) = header.split_at(header.len() - 4);
        let (length, shortest) = match *lengths {
            [_, short] => (u64::from(short & 0x7F), 0),
            [_, _, a, b] => (u64::from(u16::from_be_bytes([a, b])), 126),
            _ => {
                let mut long = [0; 8];
                long.copy_from_slice(&lengths[2..]);
                (u64::from_be_bytes(long), 1 << 16)
            }
        };
        if length < shortest || length >> 63 != 0 {
            return Err(Error::Protocol("a length is not in its shortest form"));
        }
        let opcode = Opcode::from_number(header[0] & 0x0F).expect("the start is checked");
        let allowed = max_bytes.saturating_sub(self.message.len()) as u64;
        if !opcode.is_control() && length > allowed {
            return Err(Error::TooLarge);
        }
        Ok(Frame {
            opcode,
            is_final: header[0] & FIN != 0,
            mask: [mask[0], mask[1], mask[2], mask[3]],
            length: length as usize,
            arrived: 0,
        })
    }

    /// The message that is whole.
    fn message_event(&mut self) -> Result<Event<'_>, Error> {
        self.is_returned = true;
        match self.kind.take() {
            Some(Kind::Text) => match std::str::from_utf8(&self.message) {
                Ok(text) => Ok(Event::Text(text)),
                Err(_) => Err(Error::NotUtf8),
            },
            Some(Kind::Binary) | None => Ok(Event::Binary(&self.message)),
        }
    }

    /// The control frame that is whole.
    fn control_event(&self, opcode: Opcode) -> Result<Event<'_>, Error> {
        let payload = &self.control.bytes[..self.control.length];
        match (opcode, payload) {
            (Opcode::Ping, payload) => Ok(Event::Ping(payload)),
            (Opcode::Close, []) => Ok(Event::Close(None)),
            (Opcode::Close, [_]) => Err(Error::Protocol("a close code has two bytes")),
            (Opcode::Close, &[a, b, ref reason @ ..]) => {
                let code = u16::from_be_bytes([a, b]);
                if !may_be_sent(code) {
                    return Err(Error::Protocol("a close code is reserved"));
                }
                match std::str::from_utf8(reason) {
                    Ok(_) => Ok(Event::Close(Some(code))),
                    Err(_) => Err(Error::NotUtf8),
                }
            }
            _ => Ok(Event::Pong),
        }
    }
}

impl Control {
    /// Appends a part, which fits as a longer control frame is refused, and returns it.
    fn append(&mut self, part: &[u8]) -> &mut [u8] {
        let to = &mut self.bytes[self.length..][..part.len()];
        self.length += part.len();
        to.copy_from_slice(part);
        to
    }
}

/// Appends a part of a message and returns it. A vector that doubles could allocate twice what has
/// arrived, and the limit on buffers counts allocated bytes.
fn append<'m>(message: &'m mut Vec<u8>, part: &[u8]) -> &'m mut [u8] {
    let start = message.len();
    if message.capacity() - start < part.len() {
        message.reserve_exact(part.len().max(start / 4));
    }
    message.extend_from_slice(part);
    &mut message[start..]
}

#[cfg(test)]
mod tests;
