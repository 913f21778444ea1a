//! The search for line ends in an incomplete head.
//!
//! Owns the position up to which a head was searched, so that a head that arrives byte by byte is
//! searched for its end only in the new bytes. A bare CR or LF is found as soon as it has arrived.
//! Never examines the content of a line.

use memchr::memchr2;

use super::Error;

const _: () = assert!(size_of::<Scan>() == 4, "a partial head keeps one");

const REQUEST_LINE_ENDED: u32 = 1 << 31;

/// The position up to which a partial head was searched. Each new request starts with
/// [`Scan::default`].
///
/// Invariant: all lines before the position end in CR LF, and none of them ends the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan(u32);

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that requires a parse.
    Nothing,
    /// The end of the request line, for the first time.
    RequestLine,
    /// The empty line that ends the head.
    HeadEnd,
    /// A CR or LF on its own at this index.
    Bare(usize, Error),
}

/// The next CR or LF.
enum LineEnd {
    /// None yet; the next search starts at this index.
    Open(usize),
    /// A CR LF, which ends just before this index.
    Before(usize),
    /// A CR or LF on its own at this index.
    Bare(usize, Error),
}

impl Scan {
    /// The longest view that can be searched, in bytes.
    pub(super) const MAX_BYTES: usize = (REQUEST_LINE_ENDED - 1) as usize;

    /// Whether nothing was searched yet.
    pub(super) fn is_fresh(self) -> bool {
        self.0 == 0
    }

    /// Whether the request line ends before the position.
    pub(super) fn request_line_ended(self) -> bool {
        self.0 & REQUEST_LINE_ENDED != 0
    }

    /// Searches the bytes of `view` that were not searched before.
    pub(super) fn advance(&mut self, view: &[u8]) -> Found {
        let mut found = Found::Nothing;
        loop {
            let next = match line_end(view, self.searched()) {
                LineEnd::Open(searched) => {
                    self.mark(searched);
                    return found;
                }
                LineEnd::Bare(at, error) => return Found::Bare(at, error),
                LineEnd::Before(next) => next,
            };
            let is_empty = view[..next - 2].last().is_none_or(|byte| *byte == b'\n');
            if is_empty && self.request_line_ended() {
                return Found::HeadEnd;
            }
            self.mark(next);
            if !is_empty && !self.request_line_ended() {
                self.0 |= REQUEST_LINE_ENDED;
                found = Found::RequestLine;
            }
        }
    }

    /// How many bytes were searched.
    pub fn searched(self) -> usize {
        (self.0 & !REQUEST_LINE_ENDED) as usize
    }

    /// That of a head of which exactly these bytes were searched; `None` where a search would not
    /// have ended there.
    pub fn over(bytes: &[u8]) -> Option<Scan> {
        let mut scan = Scan::default();
        let is_short = bytes.len() <= Scan::MAX_BYTES;
        let is_partial =
            is_short && matches!(scan.advance(bytes), Found::Nothing | Found::RequestLine);
        (is_partial && scan.searched() == bytes.len()).then_some(scan)
    }

    fn mark(&mut self, searched: usize) {
        assert!(
            searched <= Scan::MAX_BYTES,
            "a view longer than can be marked"
        );
        self.0 = self.0 & REQUEST_LINE_ENDED | searched as u32;
    }
}

/// The first CR or LF on its own, if there is one. A CR at the end of the view does not count,
/// because its LF may follow.
pub(super) fn first_bare(view: &[u8]) -> Option<(usize, Error)> {
    let mut searched = 0;
    loop {
        match line_end(view, searched) {
            LineEnd::Open(_) => return None,
            LineEnd::Before(next) => searched = next,
            LineEnd::Bare(at, error) => return Some((at, error)),
        }
    }
}

fn line_end(view: &[u8], from: usize) -> LineEnd {
    let from = from.min(view.len());
    let Some(offset) = memchr2(b'\r', b'\n', &view[from..]) else {
        return LineEnd::Open(view.len());
    };
    let at = from + offset;
    match (view[at], view.get(at + 1)) {
        (b'\r', None) => LineEnd::Open(at),
        (b'\r', Some(b'\n')) => LineEnd::Before(at + 2),
        (b'\r', Some(_)) => LineEnd::Bare(at, Error::BareCr),
        _ => LineEnd::Bare(at, Error::BareLf),
    }
}
