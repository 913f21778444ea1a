//! A small HTTP/1.1 response parser, independent of the server's code.
//!
//! Owns framing: heads, lengths, chunks, and ends by close. It never looks into a body.

/// A response head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    pub(crate) fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

/// A piece of a response.
#[derive(Debug)]
pub(crate) enum Part {
    Head(Head),
    Body(Vec<u8>),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
    UntilClose,
}

/// A parser of one connection's responses.
#[derive(Debug)]
pub(crate) struct Parser {
    bytes: Vec<u8>,
    stage: Stage,
    /// Responses begun.
    count: usize,
}

impl Parser {
    pub(crate) fn new() -> Parser {
        Parser {
            bytes: Vec::new(),
            stage: Stage::Head,
            count: 0,
        }
    }

    /// Whether it stands between two responses.
    pub(crate) fn is_between(&self) -> bool {
        self.stage == Stage::Head && self.bytes.is_empty()
    }

    /// Whether the body goes on until the connection ends.
    pub(crate) fn is_until_close(&self) -> bool {
        self.stage == Stage::UntilClose
    }

    /// Takes bytes; `is_head(n)` says whether the n-th request was HEAD.
    pub(crate) fn feed(&mut self, bytes: &[u8], is_head: impl Fn(usize) -> bool) -> Vec<Part> {
        self.bytes.extend_from_slice(bytes);
        let mut parts = Vec::new();
        while self.step(&is_head, &mut parts) {}
        parts
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.bytes.drain(..length).collect()
    }

    /// A line without its end.
    fn line(&mut self) -> Option<String> {
        let end = self.bytes.windows(2).position(|two| two == b"\r\n")?;
        let mut line = self.take(end + 2);
        line.truncate(end);
        Some(String::from_utf8(line).expect("a line of framing is text"))
    }

    fn step(&mut self, is_head: &impl Fn(usize) -> bool, parts: &mut Vec<Part>) -> bool {
        match self.stage {
            Stage::Head => return self.head(is_head, parts),
            Stage::UntilClose => {
                if !self.bytes.is_empty() {
                    let length = self.bytes.len();
                    parts.push(Part::Body(self.take(length)));
                }
                return false;
            }
            Stage::Length(0) => {
                self.stage = Stage::Head;
                parts.push(Part::End);
                return true;
            }
            Stage::Length(left) | Stage::Chunk(left) => {
                let length = left.min(self.bytes.len());
                if length == 0 {
                    return false;
                }
                parts.push(Part::Body(self.take(length)));
                self.stage = match (self.stage, left - length) {
                    (Stage::Length(_), left) => Stage::Length(left),
                    (_, 0) => Stage::ChunkEnd,
                    (_, left) => Stage::Chunk(left),
                };
            }
            Stage::ChunkSize => {
                let Some(line) = self.line() else {
                    assert!(self.bytes.len() <= 10, "a chunk without a size");
                    return false;
                };
                let is_hex = line.bytes().all(|b| b.is_ascii_hexdigit()) && !line.is_empty();
                assert!(is_hex, "the size of a chunk is {line:?}");
                self.stage = match usize::from_str_radix(&line, 16).expect("seen above") {
                    0 => Stage::Trailer,
                    size => Stage::Chunk(size),
                };
            }
            Stage::ChunkEnd => {
                if self.bytes.len() < 2 {
                    return false;
                }
                assert_eq!(self.take(2), b"\r\n", "a chunk is longer than its size");
                self.stage = Stage::ChunkSize;
            }
            Stage::Trailer => match self.line() {
                None => return false,
                Some(line) => {
                    assert_eq!(line, "", "encke sends no trailers");
                    self.stage = Stage::Head;
                    parts.push(Part::End);
                }
            },
        }
        true
    }

    fn head(&mut self, is_head: &impl Fn(usize) -> bool, parts: &mut Vec<Part>) -> bool {
        let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            let begins = b"HTTP/1.1 ".iter().zip(&self.bytes).all(|(a, b)| a == b);
            assert!(begins, "no status line: {:?}", lossy(&self.bytes));
            return false;
        };
        let text = String::from_utf8(self.take(end + 4)).expect("a head is text");
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {status_line:?}"));
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a field has a name");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        let head = Head {
            status,
            fields: fields.collect(),
        };
        if status == 100 {
            assert!(head.fields.is_empty());
            return true;
        }
        assert!(head.field("date").is_some(), "an answer has its date");
        let bodiless = is_head(self.count) || status == 204;
        self.count += 1;
        let length = head.field("content-length");
        let chunked = head.field("transfer-encoding");
        assert!(length.is_none() || chunked.is_none(), "framed twice");
        let by_close = length.is_none() && chunked.is_none() && status != 204;
        assert!(
            !by_close || head.closes() || head.status == 100,
            "an answer that ends with the connection does not say so: {head:?}"
        );
        self.stage = match (length, chunked) {
            _ if bodiless => Stage::Length(0),
            (Some(length), _) => Stage::Length(length.parse().expect("a length")),
            (None, Some(coding)) => {
                assert_eq!(coding, "chunked");
                Stage::ChunkSize
            }
            (None, None) => Stage::UntilClose,
        };
        parts.push(Part::Head(head));
        true
    }
}

/// Bytes as text, for messages of failures.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(3000)]).into_owned()
}
