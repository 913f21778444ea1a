//! Standard input, or any other stream of lines, as a producer.
//!
//! Owns the division of bytes into lines, and the warnings about lines that are skipped. The
//! closure through which it publishes decides how to handle a full queue.
//!
//! Invariants:
//! - *Bounded*: of a line, at most as many bytes are kept as a message may have.
//! - *Whole or not at all*: a line is one message, or is skipped and counted.

use std::io::{BufRead, Error, ErrorKind};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

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
    let mut feeder = Feeder::new(Part::default());
    if let Stop::Paused(error) = feeder.run(&mut input, lines, max_message_bytes, &mut publish) {
        feeder.end(&format!("failed: {error}"));
    }
}

/// The line that is being read: what a process hands over, so that the next one reads on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its number, or that of the last one that was read, from 1.
    number: u64,
    /// Whether it has begun.
    is_begun: bool,
    /// The part of it that is kept.
    kept: Vec<u8>,
    /// Its bytes, those that are not kept too.
    bytes: u64,
}

/// Why a feeder does not read on.
pub(super) enum Stop {
    /// The input has ended or failed, or the server is closed. The log says so.
    Ended,
    /// The input would block: it is to be continued.
    Paused(Error),
}

/// Reads lines and publishes them, from any place in a line on.
pub(super) struct Feeder {
    cutter: Cutter,
    skipped: Skipped,
}

impl Feeder {
    /// Reads on within a line.
    pub(super) fn new(part: Part) -> Feeder {
        Feeder {
            cutter: Cutter { part },
            skipped: Skipped::default(),
        }
    }

    /// The line that is being read.
    pub(super) fn part(&self) -> &Part {
        &self.cutter.part
    }

    /// See [`feed`]. It stops where the input would block.
    pub(super) fn run(
        &mut self,
        input: &mut impl BufRead,
        lines: &Lines,
        max_message_bytes: impl Fn() -> usize,
        publish: &mut impl FnMut(Draft<'static>) -> Result<(), PublishError>,
    ) -> Stop {
        let end = loop {
            let max = max_message_bytes();
            let cut = match self.cutter.next(input, max) {
                Ok(Some(cut)) => cut,
                Ok(None) => break "ended".into(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Stop::Paused(error),
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
            let number = self.cutter.part.number;
            if let Some(warning) = self.skipped.record(number, reason, Instant::now()) {
                log::warn!("{warning}");
            }
        };
        self.end(&end);
        Stop::Ended
    }

    fn end(&mut self, end: &str) {
        if let Some(warning) = self.skipped.take_warning() {
            log::warn!("{warning}");
        }
        let number = self.cutter.part.number;
        log::info!("standard input {end}, after {number} lines");
    }
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
#[derive(Default)]
struct Cutter {
    part: Part,
}

impl Cutter {
    /// The next line, of at most `max` bytes; `None` at the end of the input. After an error it may
    /// be called again, and reads on.
    fn next(&mut self, input: &mut impl BufRead, max: usize) -> std::io::Result<Option<Cut<'_>>> {
        let part = &mut self.part;
        if !part.is_begun {
            part.kept.clear();
            part.bytes = 0;
            part.is_begun = true;
        }
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
            let room = max.saturating_add(1).saturating_sub(part.kept.len());
            part.kept.extend_from_slice(&piece[..piece.len().min(room)]);
            part.bytes = part.bytes.saturating_add(piece.len() as u64);
            ended = found.is_some();
            let consumed = piece.len() + usize::from(ended);
            input.consume(consumed);
        }
        part.is_begun = false;
        if part.bytes == 0 && !ended {
            return Ok(None);
        }
        part.number += 1;
        Ok(Some(self.line(ended, max)))
    }

    fn line(&self, ended: bool, max: usize) -> Cut<'_> {
        let Part { kept, bytes, .. } = &self.part;
        if *bytes > kept.len() as u64 {
            return Cut::TooLong;
        }
        let line = match kept.strip_suffix(b"\r") {
            Some(line) if ended => line,
            _ => kept,
        };
        if line.len() > max {
            return Cut::TooLong;
        }
        Cut::Whole(match self.part.number {
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
