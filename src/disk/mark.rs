//! The file `saved`: a place up to which all was written.
//!
//! Owns its format: one line of text of a constant size, which is overwritten in place and so needs
//! no room on a full disk. It is written after the records, a few milliseconds later. So if records
//! before the mark are missing, acknowledged messages are lost: the end of a file was cut off,
//! which nothing else would show. An incomplete record behind the mark is the last write of a
//! process that was killed.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use encke_core::message::Seq;

/// Its name in the directory.
pub(super) const NAME: &str = "saved";

/// The size of the file: three numbers of 20 digits, each with its word, and a line end.
const BYTES: usize = "segment  bytes  newest \n".len() + 3 * 20;

/// A place in the log, and the newest number up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// The number of the segment.
    pub(super) segment: u64,
    /// The bytes in it.
    pub(super) bytes: u64,
    /// The newest number that was given by then.
    pub(super) newest: Seq,
}

impl Mark {
    /// The content of the file.
    pub(super) fn line(self) -> [u8; BYTES] {
        let mut line = [b' '; BYTES];
        let Mark {
            segment,
            bytes,
            newest: Seq(newest),
        } = self;
        let written = writeln!(
            &mut line[..],
            "segment {segment:020} bytes {bytes:020} newest {newest:020}"
        );
        debug_assert!(written.is_ok(), "a number has 20 digits at most");
        line
    }

    fn parse(bytes: &[u8]) -> Option<Mark> {
        let text = str::from_utf8(bytes).ok()?;
        let mut numbers = text.split_ascii_whitespace().skip(1).step_by(2);
        let mut number = || numbers.next()?.parse().ok();
        let mark = Mark {
            segment: number()?,
            bytes: number()?,
            newest: Seq(number()?),
        };
        (mark.line() == bytes).then_some(mark)
    }

    /// Reads the file; `None` if there is none, or it is damaged.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Mark>> {
        match fs::read(dir.join(NAME)) {
            Ok(bytes) => Ok(Mark::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_line_is_read_back() {
        for mark in [
            Mark::default(),
            Mark {
                segment: u64::MAX,
                bytes: u64::MAX,
                newest: Seq(u64::MAX),
            },
            Mark {
                segment: 1,
                bytes: 20,
                newest: Seq(300),
            },
        ] {
            let line = mark.line();
            assert_eq!(Mark::parse(&line), Some(mark));
            assert_eq!(Mark::parse(&line[..BYTES - 1]), None);
            assert_eq!(Mark::parse(&[&line[..], b"\n"].concat()), None);
        }
        assert_eq!(Mark::parse(b""), None);
        assert_eq!(Mark::parse(&[0; BYTES]), None);
    }
}
