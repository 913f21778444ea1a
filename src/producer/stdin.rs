//! Standard input, or any other stream of lines, as a producer.
//!
//! Owns the division of bytes into lines, and the warnings about lines that are skipped. The
//! closure through which it publishes decides how to handle a full queue.
//!
//! Invariants:
//! - *Bounded*: of a line, at most as many bytes are kept as a message may have.
//! - *Whole or not at all*: a line is one message, or is skipped and counted.

use std::io::{BufRead, ErrorKind};
use std::time::{Duration, Instant};

use crate::inbox::PublishError;
use encke_core::message::lines::{parse_line, without_mark};
use encke_core::message::{ChannelName, Data, Draft, NameError};

const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// How a line becomes a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lines {
    /// A JSON object with `channel`, `data` and optionally `event`, as in a batch of
    /// `POST /publish`. Blank lines are ignored.
    Ndjson,
    /// The message itself, for this channel. A blank line is an empty message.
    Channel(ChannelName<'static>),
}

impl Lines {
    /// Each line unchanged, for `channel`.
    ///
    /// # Errors
    ///
    /// See [`NameError`].
    pub fn to_channel(channel: &str) -> Result<Lines, NameError> {
        let channel = ChannelName::parse(channel.as_bytes())?;
        Ok(Lines::Channel(channel.into_owned()))
    }
}

/// Reads lines and publishes them until the input ends or fails, or the server is closed.
///
/// A byte order mark before the first line is skipped. LF and CRLF end a line and are not part of
/// it; the last line needs no end. `max_message_bytes` is asked before each line, as a reload may
/// change it. A line of more than that, a malformed line of NDJSON, and a line whose message is
/// refused are skipped. At most one warning per second reports their number, and the last of them
/// with its reason.
pub fn feed(
    mut input: impl BufRead,
    lines: &Lines,
    max_message_bytes: impl Fn() -> usize,
    mut publish: impl FnMut(Draft<'static>) -> Result<(), PublishError>,
) {
    let mut cutter = Cutter::new();
    let mut skipped = Skipped::default();
    let end = loop {
        let max = max_message_bytes();
        let cut = match cutter.next(&mut input, max) {
            Ok(Some(cut)) => cut,
            Ok(None) => break "ended".into(),
            Err(error) => break format!("failed: {error}"),
        };
        let reason = match read(cut, lines, max) {
            Ok(None) => continue,
            Ok(Some(draft)) => match publish(draft) {
                Ok(()) => continue,
                Err(PublishError::Closed) => {
                    break "is no longer read: the server is closing".into();
                }
                Err(error) => error.to_string(),
            },
            Err(reason) => reason,
        };
        if let Some(warning) = skipped.record(cutter.number, reason, Instant::now()) {
            log::warn!("{warning}");
        }
    };
    if let Some(warning) = skipped.take_warning() {
        log::warn!("{warning}");
    }
    log::info!("standard input {end}, after {} lines", cutter.number);
}

/// Converts a line to a message; `None` if the line is blank.
fn read(cut: Cut<'_>, lines: &Lines, max: usize) -> Result<Option<Draft<'static>>, String> {
    let Cut::Whole(bytes) = cut else {
        return Err(format!("it has more than {max} bytes"));
    };
    match lines {
        Lines::Ndjson => parse_line(bytes, max).map_err(|fault| fault.to_string()),
        Lines::Channel(channel) => Ok(Some(Draft::new(
            channel.clone(),
            Data::text_or_bytes(bytes),
        ))),
    }
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
enum Cut<'b> {
    Whole(&'b [u8]),
    /// Longer than allowed: read to its end and dropped.
    TooLong,
}

/// Cuts a stream into lines.
struct Cutter {
    buffer: Vec<u8>,
    /// The number of the current line, from 1.
    number: u64,
}

impl Cutter {
    fn new() -> Cutter {
        Cutter {
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line, of at most `max` bytes; `None` at the end of the input.
    fn next(&mut self, input: &mut impl BufRead, max: usize) -> std::io::Result<Option<Cut<'_>>> {
        self.buffer.clear();
        let mut len = 0_usize;
        let mut ended = false;
        while !ended {
            let available = match input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                break;
            }
            let found = memchr::memchr(b'\n', available);
            let piece = &available[..found.unwrap_or(available.len())];
            // One byte more than allowed is kept, because it may be the CR of a CRLF.
            let room = max.saturating_add(1).saturating_sub(self.buffer.len());
            self.buffer
                .extend_from_slice(&piece[..piece.len().min(room)]);
            len = len.saturating_add(piece.len());
            ended = found.is_some();
            let consumed = piece.len() + usize::from(ended);
            input.consume(consumed);
        }
        if len == 0 && !ended {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(self.line(len, ended, max)))
    }

    fn line(&self, len: usize, ended: bool, max: usize) -> Cut<'_> {
        if len > self.buffer.len() {
            return Cut::TooLong;
        }
        let line = match self.buffer.strip_suffix(b"\r") {
            Some(line) if ended => line,
            _ => &self.buffer,
        };
        if line.len() > max {
            return Cut::TooLong;
        }
        Cut::Whole(match self.number {
            1 => without_mark(line),
            _ => line,
        })
    }
}

/// The skipped lines that no warning has reported yet.
#[derive(Default)]
struct Skipped {
    count: u64,
    last: Option<(u64, String)>,
    quiet_until: Option<Instant>,
}

impl Skipped {
    /// Records a skipped line, and returns the warning if one is due.
    fn record(&mut self, number: u64, reason: String, now: Instant) -> Option<String> {
        self.count += 1;
        self.last = Some((number, reason));
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.quiet_until = Some(now + WARNING_INTERVAL);
        self.take_warning()
    }

    /// Returns the warning about the lines that no warning has reported yet.
    fn take_warning(&mut self) -> Option<String> {
        let (number, reason) = self.last.take()?;
        let count = std::mem::take(&mut self.count);
        let more = match count {
            1 => String::new(),
            _ => format!(", the last of {count} skipped lines since the last warning"),
        };
        Some(format!(
            "line {number} of standard input was skipped{more}: {reason}"
        ))
    }
}

#[cfg(test)]
mod tests;
