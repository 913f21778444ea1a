//! The mark that every message carries, and how it is found in whatever a server wraps around it.
//!
//! `@@RUN.CHANNEL.SEQ.TIME;` and padding: plain ASCII that no transport escapes.

use std::io::Write;

const BEGIN: &[u8] = b"@@";

/// Longer than any mark.
const LONGEST: usize = 96;

/// The contents of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The number of the run.
    pub run: u32,
    /// The number of the channel.
    pub channel: u32,
    /// The number of the message on that channel, from 1.
    pub seq: u64,
    /// The time it was to be sent, in nanoseconds of the monotonic clock.
    pub time: u64,
}

impl Mark {
    /// Appends a message of this size, or only the mark if that is longer.
    pub fn write(&self, out: &mut Vec<u8>, size: usize) {
        let start = out.len();
        let Mark {
            run,
            channel,
            seq,
            time,
        } = self;
        let _ = write!(out, "@@{run}.{channel}.{seq}.{time};");
        let length = size.max(out.len() - start);
        out.resize(start + length, b'x');
    }

    /// Parses the part between the start and the `;`.
    fn parse(bytes: &[u8]) -> Option<Mark> {
        let mut numbers = bytes.split(|&byte| byte == b'.').map(number);
        let mut next = || numbers.next().flatten();
        let mark = Mark {
            run: next()? as u32,
            channel: next()? as u32,
            seq: next()?,
            time: next()?,
        };
        numbers.next().is_none().then_some(mark)
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    match bytes {
        [] => None,
        _ => bytes.iter().try_fold(0, digit),
    }
}

/// Finds marks in bytes that come in pieces.
#[derive(Default)]
pub struct Scanner {
    /// The start of a mark that was cut off.
    kept: Vec<u8>,
}

impl Scanner {
    /// Calls `found` for each mark that ends in these bytes.
    pub fn feed(&mut self, bytes: &[u8], found: impl FnMut(Mark)) {
        if self.kept.is_empty() {
            let used = scan(bytes, found);
            self.kept.extend_from_slice(&bytes[used..]);
        } else {
            self.kept.extend_from_slice(bytes);
            let used = scan(&self.kept, found);
            self.kept.drain(..used);
        }
    }
}

/// Returns how many bytes are done with; the rest may be the start of a mark.
fn scan(bytes: &[u8], mut found: impl FnMut(Mark)) -> usize {
    let mut from = 0;
    while let Some(begin) = memchr::memmem::find(&bytes[from..], BEGIN) {
        let begin = from + begin;
        let inner = begin + BEGIN.len();
        let window = &bytes[inner..bytes.len().min(inner + LONGEST)];
        match memchr::memchr(b';', window) {
            Some(end) => match Mark::parse(&window[..end]) {
                Some(mark) => {
                    found(mark);
                    from = inner + end;
                }
                // This `@@` is not a start, but its second `@` may belong to one.
                None => from = begin + 1,
            },
            None if window.len() < LONGEST => return begin,
            None => from = begin + 1,
        }
    }
    bytes.len() - usize::from(bytes.last() == Some(&b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: u64) -> Mark {
        Mark {
            run: 7,
            channel: 3,
            seq,
            time: 123_456_789_012,
        }
    }

    #[test]
    fn finds_marks_wherever_the_bytes_are_cut() {
        let mut bytes = b"HTTP{\"data\":\"".to_vec();
        mark(1).write(&mut bytes, 100);
        bytes.extend_from_slice(b"\"}\r\n@");
        mark(2).write(&mut bytes, 0);
        for cut in 0..=bytes.len() {
            let mut scanner = Scanner::default();
            let mut found = Vec::new();
            scanner.feed(&bytes[..cut], |mark| found.push(mark));
            scanner.feed(&bytes[cut..], |mark| found.push(mark));
            assert_eq!(found, [mark(1), mark(2)], "cut at {cut}");
        }
    }

    #[test]
    fn a_message_has_the_size_asked_for() {
        let mut bytes = Vec::new();
        mark(1).write(&mut bytes, 100);
        assert_eq!(bytes.len(), 100);
    }

    #[test]
    fn what_only_begins_like_a_mark_is_none() {
        let mut scanner = Scanner::default();
        scanner.feed(b"@@1.2.3;@@1.2.3.4.5;@@1.2..4;@@1.2.3.x;", |mark| {
            panic!("{mark:?}")
        });
    }
}
