//! Request bodies with Content-Length or chunks, as a state machine.
//!
//! Owns the search for the end of a body. It keeps a few numbers and no bytes, takes input in
//! pieces of any size and never consumes a byte past the end. Chunk extensions and trailer fields
//! are skipped, within limits, so that a client cannot send them without end. A trailer line that
//! is not a field is refused, because a parser without support for trailers would take it for the
//! next request.

use super::syntax::is_token;
use super::{Error, Framing};

const MAX_SIZE_LINE_BYTES: u16 = 256;
const MAX_TRAILER_BYTES: u16 = 8 * 1024;

/// A size has at most this many digits; further bytes of a size line are extensions or leading
/// zeros.
const MAX_SIZE_DIGITS: u16 = 16;
/// Limit on extensions and leading zeros in all size lines of one body.
const MAX_EXTENSION_BYTES: u16 = 16 * 1024;

/// Finds the bytes of one request body.
///
/// After an error it must not be used again.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of the body, or of the chunk, that have not arrived yet; in a size line, the size so
    /// far.
    left_bytes: u64,
    /// Bytes of the body found so far.
    found_bytes: u64,
    /// Bytes of the current size line, later of the trailer section.
    line_bytes: u16,
    extension_bytes: u16,
}

/// The result of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of bytes that belong to this body: the whole input unless `done`.
    pub consumed: usize,
    /// Whether the body is complete. The remaining input is another request.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A body of known length.
    Counted,
    Size,
    /// White space after a size; only an extension may follow.
    SizeSpace,
    Extension,
    SizeLf,
    Chunk,
    ChunkCr,
    ChunkLf,
    /// The start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl Decoder {
    /// Starts at the first byte after a head.
    pub fn new(framing: Framing) -> Decoder {
        let (state, left_bytes) = match framing {
            Framing::None | Framing::Length(0) => (State::Done, 0),
            Framing::Length(length) => (State::Counted, length),
            Framing::Chunked => (State::Size, 0),
        };
        Decoder {
            state,
            left_bytes,
            found_bytes: 0,
            line_bytes: 0,
            extension_bytes: 0,
        }
    }

    /// Appends the bytes of the body that `input` contains to `body`.
    ///
    /// # Errors
    ///
    /// [`Error::BodyTooLarge`] as soon as the body is known to have more than `max_body_bytes`: a
    /// body of known length is refused before its first byte. Other errors are those of chunks.
    pub fn decode(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        max_body_bytes: usize,
    ) -> Result<Progress, Error> {
        self.run(input, max_body_bytes as u64, |piece| {
            body.extend_from_slice(piece)
        })
    }

    /// Skips the bytes of the body that `input` contains, so that the next request can be read.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode`].
    pub fn discard(&mut self, input: &[u8], max_body_bytes: usize) -> Result<Progress, Error> {
        self.run(input, max_body_bytes as u64, |_| {})
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn run(
        &mut self,
        input: &[u8],
        max_body_bytes: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Progress, Error> {
        self.check_size(max_body_bytes)?;
        let mut consumed = 0;
        while consumed < input.len() && self.state != State::Done {
            match self.state {
                State::Counted | State::Chunk => {
                    let rest = &input[consumed..];
                    let piece_bytes = self.left_bytes.min(rest.len() as u64);
                    take(&rest[..piece_bytes as usize]);
                    consumed += piece_bytes as usize;
                    self.pass(piece_bytes);
                }
                _ => {
                    self.step(input[consumed], max_body_bytes)?;
                    consumed += 1;
                }
            }
        }
        Ok(Progress {
            consumed,
            done: self.is_done(),
        })
    }

    fn check_size(&self, max_body_bytes: u64) -> Result<(), Error> {
        match self.found_bytes.checked_add(self.left_bytes) {
            Some(total_bytes) if total_bytes <= max_body_bytes => Ok(()),
            _ => Err(Error::BodyTooLarge),
        }
    }

    fn pass(&mut self, piece_bytes: u64) {
        self.found_bytes += piece_bytes;
        self.left_bytes -= piece_bytes;
        if self.left_bytes == 0 {
            self.state = match self.state {
                State::Counted => State::Done,
                _ => State::ChunkCr,
            };
        }
    }

    /// Takes one byte of the chunk framing.
    fn step(&mut self, byte: u8, max_body_bytes: u64) -> Result<(), Error> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.count_size_line()?;
                self.add_digit(byte)?;
                self.check_size(max_body_bytes)?;
                State::Size
            }
            (State::Size | State::SizeSpace, b';') if self.line_bytes > 0 => {
                self.count_size_line()?;
                State::Extension
            }
            (State::Size | State::SizeSpace, b' ' | b'\t') if self.line_bytes > 0 => {
                self.count_size_line()?;
                State::SizeSpace
            }
            (State::Size, b'\r') if self.line_bytes > 0 => State::SizeLf,
            (State::Extension, b'\r') => State::SizeLf,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::SizeLf, b'\n') => {
                self.line_bytes = 0;
                if self.left_bytes == 0 {
                    State::TrailerStart
                } else {
                    State::Chunk
                }
            }
            (State::ChunkLf, b'\n') => State::Size,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            (State::SizeLf | State::ChunkLf | State::TrailerLf | State::EndLf, _) => {
                return Err(Error::BareCr);
            }
            (_, b'\n') => return Err(Error::BareLf),
            (State::ChunkCr, _) => return Err(Error::ChunkEnd),
            (State::Size | State::SizeSpace, _) => return Err(Error::ChunkSize),
            (State::Extension, _) if is_control(byte) => return Err(Error::ChunkExtensionByte),
            (State::Extension, _) => {
                self.count_size_line()?;
                State::Extension
            }
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => {
                self.trailer(byte)?
            }
            (State::Counted | State::Chunk | State::Done, _) => {
                unreachable!("`run` takes the bytes of the body")
            }
        };
        Ok(())
    }

    fn add_digit(&mut self, digit: u8) -> Result<(), Error> {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => digit - b'A' + 10,
        };
        let size = self.left_bytes.checked_mul(16);
        self.left_bytes = size.ok_or(Error::ChunkSize)? | u64::from(value);
        Ok(())
    }

    fn count_size_line(&mut self) -> Result<(), Error> {
        self.line_bytes += 1;
        if self.line_bytes > MAX_SIZE_LINE_BYTES {
            return Err(Error::ChunkLineTooLong);
        }
        if self.line_bytes > MAX_SIZE_DIGITS {
            self.extension_bytes += 1;
        }
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(Error::ChunkExtensionsTooLong);
        }
        Ok(())
    }

    /// Takes one byte of a trailer field.
    fn trailer(&mut self, byte: u8) -> Result<State, Error> {
        let next = match (self.state, byte) {
            (State::TrailerName, b'\r') => return Err(Error::TrailerName),
            _ if is_control(byte) => return Err(Error::TrailerByte),
            (State::TrailerValue, _) | (State::TrailerName, b':') => State::TrailerValue,
            _ if is_token(byte) => State::TrailerName,
            _ => return Err(Error::TrailerName),
        };
        self.line_bytes += 1;
        if self.line_bytes > MAX_TRAILER_BYTES {
            return Err(Error::TrailersTooLong);
        }
        Ok(next)
    }
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

mod frozen;
#[cfg(test)]
mod tests;

pub use frozen::FrozenDecoder;
