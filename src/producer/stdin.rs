//! Standard input, or any other stream of lines, as a producer.
//!
//! Owns the cutting of bytes into lines and the warnings about lines that are skipped. It never
//! decides what a full queue means: the closure it publishes through does, by blocking.
//!
//! Invariants:
//! - *Bounded*: no more of a line is kept than a message may have, however long it is.
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
    /// Each line as it is, to `channel`.
    ///
    /// # Errors
    ///
    /// See [`NameError`].
    pub fn to_channel(channel: &str) -> Result<Lines, NameError> {
        let channel = ChannelName::parse(channel.as_bytes())?;
        Ok(Lines::Channel(channel.into_owned()))
    }
}

/// Reads lines and publishes them until the input ends, fails, or the server is closed.
///
/// A byte order mark before the first line is skipped. LF and CRLF end a line and are not part of it; the last line needs no end. A line of more than
/// `max_message_bytes`, a malformed line of NDJSON and a line that is refused are skipped; a
/// warning a second at most says how many, and which was the last of them and why.
pub fn feed(
    mut input: impl BufRead,
    lines: &Lines,
    max_message_bytes: usize,
    mut publish: impl FnMut(Draft<'static>) -> Result<(), PublishError>,
) {
    let mut cutter = Cutter::new(max_message_bytes);
    let mut skipped = Skipped::default();
    let end = loop {
        let cut = match cutter.next(&mut input) {
            Ok(Some(cut)) => cut,
            Ok(None) => break "ended".into(),
            Err(error) => break format!("failed: {error}"),
        };
        let reason = match read(cut, lines, max_message_bytes) {
            Ok(None) => continue,
            Ok(Some(draft)) => match publish(draft) {
                Ok(()) => continue,
                Err(PublishError::Closed) => break "is left, as the server is closing".into(),
                Err(error) => error.to_string(),
            },
            Err(reason) => reason,
        };
        if let Some(warning) = skipped.note(cutter.number, reason, Instant::now()) {
            log::warn!("{warning}");
        }
    };
    if let Some(warning) = skipped.rest() {
        log::warn!("{warning}");
    }
    log::info!("standard input {end}, after {} lines", cutter.number);
}

/// Makes a message of a line; `None` if the line is to be ignored.
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
    max: usize,
    /// The number of the line last cut, from 1.
    number: u64,
}

impl Cutter {
    fn new(max: usize) -> Cutter {
        Cutter {
            buffer: Vec::new(),
            max,
            number: 0,
        }
    }

    /// The next line; `None` at the end of the input.
    fn next(&mut self, input: &mut impl BufRead) -> std::io::Result<Option<Cut<'_>>> {
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
            // One byte more than allowed is kept: it may be the CR of a CRLF.
            let room = (self.max.saturating_add(1)).saturating_sub(self.buffer.len());
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
        Ok(Some(self.line(len, ended)))
    }

    fn line(&self, len: usize, ended: bool) -> Cut<'_> {
        if len > self.buffer.len() {
            return Cut::TooLong;
        }
        let line = match self.buffer.strip_suffix(b"\r") {
            Some(line) if ended => line,
            _ => &self.buffer,
        };
        if line.len() > self.max {
            return Cut::TooLong;
        }
        Cut::Whole(match self.number {
            1 => without_mark(line),
            _ => line,
        })
    }
}

/// Counts skipped lines and says so, once in a while.
#[derive(Default)]
struct Skipped {
    count: u64,
    last: Option<(u64, String)>,
    quiet_until: Option<Instant>,
}

impl Skipped {
    /// Counts a line; the warning, if one is due.
    fn note(&mut self, number: u64, reason: String, now: Instant) -> Option<String> {
        self.count += 1;
        self.last = Some((number, reason));
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.quiet_until = Some(now + WARNING_INTERVAL);
        self.rest()
    }

    /// The warning about lines of which nothing was said so far.
    fn rest(&mut self) -> Option<String> {
        let (number, reason) = self.last.take()?;
        let count = std::mem::take(&mut self.count);
        let more = match count {
            1 => String::new(),
            _ => format!(", the last of {count} lines since the last warning"),
        };
        Some(format!(
            "line {number} of standard input was skipped{more}: {reason}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader, Cursor, Read};

    use proptest::prelude::*;

    use super::*;
    use encke_core::message::EventName;

    /// Reads in pieces of at most `step` bytes, now and then interrupted.
    struct Pieces {
        bytes: Cursor<Vec<u8>>,
        step: usize,
        calls: usize,
    }

    impl Read for Pieces {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(ErrorKind::Interrupted.into());
            }
            let step = self.step.min(out.len());
            self.bytes.read(&mut out[..step])
        }
    }

    fn pieces(bytes: &[u8], step: usize) -> impl BufRead {
        BufReader::new(Pieces {
            bytes: Cursor::new(bytes.to_vec()),
            step,
            calls: 0,
        })
    }

    fn cut(mut input: impl BufRead, max: usize) -> Vec<Option<Vec<u8>>> {
        let mut cutter = Cutter::new(max);
        let mut lines = Vec::new();
        while let Some(cut) = cutter.next(&mut input).unwrap() {
            lines.push(match cut {
                Cut::Whole(bytes) => Some(bytes.to_vec()),
                Cut::TooLong => None,
            });
        }
        assert_eq!(cutter.number, lines.len() as u64);
        lines
    }

    /// All at once and in memory.
    fn cut_naively(bytes: &[u8], max: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines: Vec<Vec<u8>> = bytes.split(|&byte| byte == b'\n').map(Vec::from).collect();
        let last = lines.pop().unwrap_or_default();
        for line in &mut lines {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if !last.is_empty() {
            lines.push(last);
        }
        let within = |line: Vec<u8>| Some(line).filter(|line| line.len() <= max);
        lines.into_iter().map(within).collect()
    }

    proptest! {
        #[test]
        fn lines_are_cut_as_a_naive_twin_cuts_them(
            bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..60),
            step in 1..9_usize,
            max in 0..7_usize,
        ) {
            prop_assert_eq!(cut(pieces(&bytes, step), max), cut_naively(&bytes, max));
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut cutter = Cutter::new(10);
        let mut input = BufReader::new(io::repeat(b'x').take(1 << 20));
        assert_eq!(cutter.next(&mut input).unwrap(), Some(Cut::TooLong));
        assert!(
            cutter.buffer.capacity() < 64,
            "{}",
            cutter.buffer.capacity()
        );
        assert_eq!(cutter.next(&mut input).unwrap(), None);
    }

    /// What is published, up to an end that the `closes`-th message finds.
    fn fed(input: impl BufRead, lines: &Lines, max: usize, closes: usize) -> Vec<Draft<'static>> {
        let mut published = Vec::new();
        feed(input, lines, max, |line| {
            match (&*line.channel, published.len() + 1 == closes) {
                ("refused", _) => return Err(PublishError::TooManyChannels),
                (_, true) => return Err(PublishError::Closed),
                _ => published.push(line),
            }
            Ok(())
        });
        published
    }

    fn to_channel(data: &[Data]) -> Vec<Draft<'static>> {
        let draft = |data: &Data| Draft::new(name("a/b"), data.clone());
        data.iter().map(draft).collect()
    }

    fn name(name: &'static str) -> ChannelName<'static> {
        ChannelName::parse(name.as_bytes()).unwrap()
    }

    fn text(text: &str) -> Data {
        Data::Text(text.into())
    }

    #[test]
    fn with_a_channel_each_line_is_a_message() {
        let lines = Lines::to_channel("a/b").unwrap();
        let published = fed(&b"one\r\n\n  two \ntoo long\n\xff\n{}"[..], &lines, 7, 0);
        let expected = [
            text("one"),
            text(""),
            text("  two "),
            Data::Binary([0xff].into()),
            text("{}"),
        ];
        assert_eq!(published, to_channel(&expected));
    }

    #[test]
    fn ndjson_names_channel_and_event() {
        let input = br#"{"channel":"a","data":"x"}

            not json
            {"channel":"refused","data":0}
            {"channel":"b","event":"e","data":{"n":1}}"#;
        let published = fed(&input[..], &Lines::Ndjson, 100, 0);
        let json = Data::json(r#"{"n":1}"#).unwrap();
        let named = Draft {
            event: EventName::parse(b"e").unwrap(),
            ..Draft::new(name("b"), json)
        };
        assert_eq!(published, [Draft::new(name("a"), text("x")), named]);
    }

    #[test]
    fn byte_order_mark_before_the_first_line_is_skipped() {
        let input = "\u{feff}{\"channel\":\"a\",\"data\":\"x\"}\n\u{feff}{}";
        let published = fed(input.as_bytes(), &Lines::Ndjson, 100, 0);
        assert_eq!(published, [Draft::new(name("a"), text("x"))]);
        let lines = Lines::to_channel("a/b").unwrap();
        let published = fed("\u{feff}x\n\u{feff}y".as_bytes(), &lines, 100, 0);
        assert_eq!(published, to_channel(&[text("x"), text("\u{feff}y")]));
    }

    #[test]
    fn a_closed_server_ends_it() {
        let lines = Lines::to_channel("a/b").unwrap();
        let published = fed(&b"1\n2\n3\n4\n"[..], &lines, 10, 3);
        assert_eq!(published, to_channel(&[text("1"), text("2")]));
    }

    #[test]
    fn a_broken_input_ends_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::ConnectionReset.into())
            }
        }
        let input = BufReader::new((&b"1\n2"[..]).chain(Broken));
        let published = fed(input, &Lines::to_channel("a/b").unwrap(), 10, 0);
        assert_eq!(published, to_channel(&[text("1")]));
    }

    #[test]
    fn channel_names_are_checked() {
        assert!(Lines::to_channel("a,b").is_err());
        assert!(Lines::to_channel("").is_err());
    }

    #[test]
    fn warnings_come_once_a_second_and_count() {
        let mut skipped = Skipped::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(
            skipped.note(3, "bad".into(), at(0)).as_deref(),
            Some("line 3 of standard input was skipped: bad")
        );
        assert_eq!(skipped.note(4, "bad".into(), at(1)), None);
        assert_eq!(skipped.note(5, "bad".into(), at(999)), None);
        assert_eq!(
            skipped.note(9, "worse".into(), at(1_000)).as_deref(),
            Some(
                "line 9 of standard input was skipped, \
                 the last of 3 lines since the last warning: worse"
            )
        );
        assert_eq!(skipped.rest(), None);
        assert_eq!(skipped.note(10, "bad".into(), at(1_999)), None);
        assert_eq!(
            skipped.rest().as_deref(),
            Some("line 10 of standard input was skipped: bad")
        );
    }
}
