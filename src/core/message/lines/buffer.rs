//! Lines that arrive in pieces.
//!
//! Owns the bytes that have arrived and belong to no line that was taken. Each byte is looked at
//! once for a line end, however small the pieces are.

use memchr::memchr;

/// The bytes that have arrived of lines that are not taken yet.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// No line end is between `start` and here.
    scanned: usize,
}

impl LineBuffer {
    /// Has `write` append what has arrived, at most `most` bytes.
    pub fn fill<T>(&mut self, most: usize, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.bytes.capacity() - self.bytes.len() < most {
            // Doubling could allocate twice what has arrived, and limits count allocated bytes.
            self.bytes.reserve_exact(most.max(self.bytes.len() / 4));
        }
        write(&mut self.bytes)
    }

    /// The bytes of lines that are not taken, as they are frozen.
    pub fn untaken(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// A buffer of which nothing is taken, as it is thawed.
    pub fn with_untaken(bytes: Vec<u8>) -> LineBuffer {
        LineBuffer {
            bytes,
            start: 0,
            scanned: 0,
        }
    }

    /// Takes the next line, without its line end, which is LF or CRLF; `None` where its end has not
    /// arrived.
    pub fn take_line(&mut self) -> Option<&[u8]> {
        let end = self.find_end()?;
        let line = &self.bytes[self.start..end];
        self.start = end + 1;
        self.scanned = self.start;
        // fault: line-keeps-its-cr
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Takes what is there as the last line, which no line end has to follow; `None` where nothing
    /// is.
    pub fn take_rest(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[std::mem::replace(&mut self.start, self.bytes.len())..];
        self.scanned = self.bytes.len();
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether a whole line is there.
    pub fn has_line(&mut self) -> bool {
        self.find_end().is_some()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Whether the line that is arriving is longer than this already, its line end aside.
    pub fn is_longer_than(&self, max_bytes: usize) -> bool {
        let rest = &self.bytes[self.start..];
        let line = rest.strip_suffix(b"\r").unwrap_or(rest);
        line.len() > max_bytes
    }

    /// Gives back the memory that is not needed until more arrives.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = LineBuffer::default();
        }
    }

    /// The bytes that it has allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn find_end(&mut self) -> Option<usize> {
        match memchr(b'\n', &self.bytes[self.scanned..]) {
            Some(place) => {
                self.scanned += place;
                Some(self.scanned)
            }
            None => {
                self.scanned = self.bytes.len();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(
            body in proptest::collection::vec(
                proptest::sample::select(&b"ab\r\n\n\xff"[..]),
                0..60,
            ),
            cuts in proptest::collection::vec(0..60_usize, 0..8),
            taken in proptest::collection::vec(0..4_usize, 0..9),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.push(body.len());
            cuts.sort_unstable();
            let mut buffer = LineBuffer::default();
            let mut lines = Vec::new();
            let mut from = 0;
            let mut taken = taken.into_iter();
            for cut in cuts {
                let piece = &body[from..cut];
                buffer.fill(piece.len(), |bytes| bytes.extend_from_slice(piece));
                from = cut;
                for _ in 0..taken.next().unwrap_or(9) {
                    let is_there = buffer.has_line();
                    let line = buffer.take_line().map(<[u8]>::to_vec);
                    prop_assert_eq!(is_there, line.is_some());
                    lines.extend(line);
                }
                buffer.shrink();
                if cut % 3 == 0 {
                    buffer = LineBuffer::with_untaken(buffer.untaken().to_vec());
                }
            }
            while let Some(line) = buffer.take_line() {
                lines.push(line.to_vec());
            }
            let ends = body.iter().filter(|&&byte| byte == b'\n').count();
            let mut naive = body.split(|&byte| byte == b'\n');
            for line in &lines {
                let expected = naive.next().unwrap();
                prop_assert_eq!(&line[..], expected.strip_suffix(b"\r").unwrap_or(expected));
            }
            prop_assert_eq!(lines.len(), ends);
            let rest = naive.next().unwrap_or_default();
            for max_bytes in 0..4 {
                let length = rest.strip_suffix(b"\r").unwrap_or(rest).len();
                prop_assert_eq!(buffer.is_longer_than(max_bytes), length > max_bytes);
            }
            prop_assert_eq!(buffer.take_rest().unwrap_or_default(), rest);
            prop_assert_eq!(buffer.take_rest(), None);
            buffer.shrink();
            prop_assert_eq!(buffer.allocated_bytes(), 0);
        }
    }
}
