//! HTTP/1.1 responses (RFC 9112), one after another, from bytes that arrive in pieces.
//!
//! Owns heads, content lengths, chunks and bodies that end with the connection. It never looks into
//! a body, and copies a body's bytes nowhere: a head or a line of framing is buffered only if it
//! arrives in more than one piece.

use httparse::{Header, Status};

use crate::Error;

/// Longest head and longest trailer section, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// Longest line with the size of a chunk, in bytes, extensions included.
const LONGEST_SIZE_LINE: usize = 256;

/// Most fields of a head or trailer section.
const MOST_FIELDS: usize = 64;

/// A piece of a response.
#[derive(Debug)]
pub enum Part<'a> {
    /// The head of an informational response (1xx but 101), which another head follows.
    Interim(Head<'a>),
    /// The head of a response.
    Head(Head<'a>),
    /// Some bytes of the body, without framing; never empty.
    Body(&'a [u8]),
    /// The response is complete.
    End,
}

/// The head of a response.
#[derive(Debug)]
pub struct Head<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: &'a str,
    /// Status line and fields as they arrived, with the empty line after them.
    pub bytes: &'a [u8],
    fields: Vec<Header<'a>>,
}

impl<'a> Head<'a> {
    /// Parses a head that is complete.
    ///
    /// # Errors
    ///
    /// It is not, or is malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Head<'a>, Error> {
        let mut room = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut room);
        match response.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Error::about("an incomplete head", bytes)),
            Err(error) => return Err(Error::about(&format!("a head with {error}"), bytes)),
        }
        if response.version != Some(1) {
            return Err(Error::about("not HTTP/1.1", bytes));
        }
        Ok(Head {
            status: response.code.unwrap_or(0),
            reason: response.reason.unwrap_or(""),
            bytes,
            fields: response.headers.to_vec(),
        })
    }

    /// The names and values of all fields, in order. Names have the case in which they arrived.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The value of the first field with this name, in whatever case. `None` also if the value is
    /// not ASCII or UTF-8.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let mut found = self.fields().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found
            .next()
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// How often a field is there.
    pub fn count(&self, name: &str) -> usize {
        let found = self.fields().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.count()
    }

    /// Whether the server will close the connection after this response.
    pub fn closes(&self) -> bool {
        let connection = self.field("connection");
        connection.is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// A body of which so many bytes are left.
    Length(u64),
    /// Before or in the line with a chunk's size.
    Size,
    /// In a chunk of which so many bytes are left.
    Chunk(u64),
    /// So many bytes of the line end after a chunk are left.
    ChunkEnd(u8),
    Trailer,
    /// The body ends with the connection.
    UntilClose,
}

/// Reads the responses of one connection.
///
/// ```
/// use encke_test_client::{Part, ResponseReader};
///
/// let mut reader = ResponseReader::default();
/// let mut bytes = &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..];
/// let mut body = Vec::new();
/// while let Some(part) = reader.next(&mut bytes)? {
///     if let Part::Body(piece) = part {
///         body.extend_from_slice(piece);
///     }
/// }
/// assert_eq!(body, b"hi");
/// # Ok::<(), encke_test_client::Error>(())
/// ```
#[derive(Debug)]
pub struct ResponseReader {
    state: State,
    /// A head or a line of framing that has arrived in part.
    pending: Vec<u8>,
    /// The head that `pending` holds has been given out.
    is_given: bool,
    is_plain: bool,
}

impl Default for ResponseReader {
    fn default() -> ResponseReader {
        ResponseReader {
            state: State::Head,
            pending: Vec::new(),
            is_given: false,
            is_plain: false,
        }
    }
}

impl ResponseReader {
    /// A reader that accepts neither chunk extensions nor trailers, which encke never sends.
    pub fn without_extensions() -> ResponseReader {
        ResponseReader {
            is_plain: true,
            ..ResponseReader::default()
        }
    }

    /// Whether everything up to here was complete responses.
    pub fn is_at_boundary(&self) -> bool {
        self.state == State::Head && (self.pending.is_empty() || self.is_given)
    }

    /// The response whose head was the last part has no body, as it answers a HEAD request.
    pub fn skip_body(&mut self) {
        self.state = State::Length(0);
    }

    /// The next part of the response that `bytes` continue; takes from `bytes` what it was made of.
    /// `None` when `bytes` are used up and the next part is not there yet.
    ///
    /// # Errors
    ///
    /// The framing is malformed, ambiguous (both a length and chunks) or over a limit.
    pub fn next<'r, 'b: 'r>(&'r mut self, bytes: &mut &'b [u8]) -> Result<Option<Part<'r>>, Error> {
        if std::mem::take(&mut self.is_given) {
            self.pending.clear();
        }
        loop {
            match self.state {
                State::Length(0) => {
                    self.state = State::Head;
                    return Ok(Some(Part::End));
                }
                _ if bytes.is_empty() => return Ok(None),
                State::Head => match self.take_head(bytes)? {
                    true => return self.begin(bytes).map(Some),
                    false => return Ok(None),
                },
                State::UntilClose => return Ok(Some(Part::Body(std::mem::take(bytes)))),
                State::Length(left) => {
                    let piece = take(bytes, left);
                    self.state = State::Length(left - piece.len() as u64);
                    return Ok(Some(Part::Body(piece)));
                }
                State::Chunk(left) => {
                    let piece = take(bytes, left);
                    self.state = match left - piece.len() as u64 {
                        0 => State::ChunkEnd(2),
                        left => State::Chunk(left),
                    };
                    return Ok(Some(Part::Body(piece)));
                }
                State::Size => self.take_size(bytes)?,
                State::ChunkEnd(left) => self.take_chunk_end(bytes, left)?,
                State::Trailer => {
                    if self.take_trailer(bytes)? {
                        self.state = State::Head;
                        return Ok(Some(Part::End));
                    }
                }
            }
        }
    }

    /// The connection has ended; returns whether that completes a response.
    ///
    /// # Errors
    ///
    /// A response was cut off.
    pub fn close(&mut self) -> Result<bool, Error> {
        match self.state {
            State::UntilClose => {
                self.state = State::Head;
                Ok(true)
            }
            _ if self.is_at_boundary() => Ok(false),
            state => Err(Error::new(format!(
                "the connection ended inside a response ({state:?})"
            ))),
        }
    }

    /// Collects a head; returns whether it is complete: at the start of `bytes` if `pending` is
    /// empty, else in `pending`.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<bool, Error> {
        if self.pending.is_empty() && end_of_head(bytes).is_some() {
            return Ok(true);
        }
        let before = self.pending.len();
        self.pending.extend_from_slice(bytes);
        match end_of_head(&self.pending) {
            Some(end) => {
                self.pending.truncate(end);
                *bytes = &bytes[end - before..];
                Ok(true)
            }
            None if self.pending.len() > LONGEST_HEAD => {
                Err(Error::about("a head without end", &self.pending))
            }
            None => {
                let start = b"HTTP/1.1 ";
                let length = start.len().min(self.pending.len());
                if self.pending[..length] != start[..length] {
                    return Err(Error::about("no status line", &self.pending));
                }
                *bytes = &[];
                Ok(false)
            }
        }
    }

    fn begin<'r, 'b: 'r>(&'r mut self, bytes: &mut &'b [u8]) -> Result<Part<'r>, Error> {
        let ResponseReader {
            state,
            pending,
            is_given,
            ..
        } = self;
        let head: &'r [u8] = if pending.is_empty() {
            let end = end_of_head(bytes).unwrap_or(bytes.len());
            take(bytes, end as u64)
        } else {
            *is_given = true;
            pending
        };
        let head = Head::parse(head)?;
        if head.status == 101 {
            // What follows is another protocol's.
            *state = State::UntilClose;
            return Ok(Part::Head(head));
        }
        if (100..200).contains(&head.status) {
            return Ok(Part::Interim(head));
        }
        *state = framing(&head)?;
        Ok(Part::Head(head))
    }

    fn take_size(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        let before = self.pending.len();
        let line = match before {
            0 => *bytes,
            _ => {
                let more = bytes.len().min(LONGEST_SIZE_LINE);
                self.pending.extend_from_slice(&bytes[..more]);
                &self.pending[..]
            }
        };
        match httparse::parse_chunk_size(line) {
            // httparse takes an empty line for a size of 0.
            Ok(Status::Complete((length, size))) if line[0].is_ascii_hexdigit() => {
                let digits = &line[..length - 2];
                if self.is_plain && !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Error::about("an extension of a chunk", digits));
                }
                *bytes = &bytes[length - before..];
                self.pending.clear();
                self.state = match size {
                    0 => State::Trailer,
                    size => State::Chunk(size),
                };
                Ok(())
            }
            Ok(Status::Partial) if line.len() <= LONGEST_SIZE_LINE => {
                if before == 0 {
                    self.pending.extend_from_slice(bytes);
                }
                *bytes = &[];
                Ok(())
            }
            _ => Err(Error::about("no size of a chunk", line)),
        }
    }

    fn take_chunk_end(&mut self, bytes: &mut &[u8], left: u8) -> Result<(), Error> {
        let expected = if left == 2 { b'\r' } else { b'\n' };
        if bytes[0] != expected {
            return Err(Error::about("a chunk is longer than its size", bytes));
        }
        *bytes = &bytes[1..];
        self.state = match left {
            2 => State::ChunkEnd(1),
            _ => State::Size,
        };
        Ok(())
    }

    fn take_trailer(&mut self, bytes: &mut &[u8]) -> Result<bool, Error> {
        let before = self.pending.len();
        self.pending.extend_from_slice(bytes);
        let mut room = [httparse::EMPTY_HEADER; MOST_FIELDS];
        match httparse::parse_headers(&self.pending, &mut room) {
            Ok(Status::Complete((length, fields))) => {
                if self.is_plain && !fields.is_empty() {
                    return Err(Error::about("a trailer", &self.pending));
                }
                *bytes = &bytes[length - before..];
                self.pending.clear();
                Ok(true)
            }
            Ok(Status::Partial) if self.pending.len() <= LONGEST_HEAD => {
                *bytes = &[];
                Ok(false)
            }
            _ => Err(Error::about("a malformed trailer", &self.pending)),
        }
    }
}

/// How the body after a head ends (RFC 9112, section 6.3).
fn framing(head: &Head<'_>) -> Result<State, Error> {
    let is_framed = |name| head.count(name) > 0;
    let has_coding = is_framed("transfer-encoding");
    if has_coding && is_framed("content-length") || head.count("content-length") > 1 {
        return Err(Error::about("a body with two lengths", head.bytes));
    }
    if matches!(head.status, 204 | 304) {
        return Ok(State::Length(0));
    }
    match (head.field("content-length"), has_coding) {
        (Some(length), _) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length.parse().map(State::Length);
            length.map_err(|_| Error::about("no content length", head.bytes))
        }
        (None, true) => match head.field("transfer-encoding") {
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => Ok(State::Size),
            _ => Err(Error::about("an unknown transfer coding", head.bytes)),
        },
        (None, false) if !is_framed("content-length") => Ok(State::UntilClose),
        _ => Err(Error::about("no content length", head.bytes)),
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|end| end + 4)
}

/// Takes up to `most` bytes.
fn take<'b>(bytes: &mut &'b [u8], most: u64) -> &'b [u8] {
    let length = usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len()));
    let (piece, rest) = bytes.split_at(length);
    *bytes = rest;
    piece
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts of responses whose bytes are cut at these places.
    fn read(
        mut reader: ResponseReader,
        bytes: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<String>, Error> {
        let mut responses = vec![String::new()];
        let mut from = 0;
        for &to in cuts.iter().chain([&bytes.len()]) {
            let mut piece = &bytes[from..to];
            from = to;
            while let Some(part) = reader.next(&mut piece)? {
                let last = responses.last_mut().unwrap();
                match part {
                    Part::Interim(head) => *last += &format!("({}) ", head.status),
                    Part::Head(head) => *last += &format!("{} ", head.status),
                    Part::Body(data) => *last += std::str::from_utf8(data).unwrap(),
                    Part::End => responses.push(String::new()),
                }
            }
            assert!(piece.is_empty());
        }
        Ok(responses)
    }

    const RESPONSES: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab\
        HTTP/1.1 404 No\r\ncontent-length:0\r\n\r\n\
        HTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 304 Not Modified\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        2;x=1\r\ncd\r\n0c\r\nefghijklmnop\r\n0\r\nT: 2\r\n\r\n\
        HTTP/1.1 200 OK\r\n\r\nrest";

    proptest! {
        #[test]
        fn responses_are_the_same_wherever_the_bytes_are_cut(
            mut cuts in prop::collection::vec(0..=RESPONSES.len(), 0..6),
        ) {
            cuts.sort_unstable();
            let expected = ["200 ab", "404 ", "(100) 304 ", "200 cdefghijklmnop", "200 rest"];
            prop_assert_eq!(read(ResponseReader::default(), RESPONSES, &cuts).unwrap(), expected);
        }

        #[test]
        fn arbitrary_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0..100_usize,
        ) {
            let mut all = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            all.extend(bytes);
            let mut reader = ResponseReader::default();
            let (first, second) = all.split_at(cut.min(all.len()));
            for mut piece in [first, second] {
                while let Ok(Some(_)) = reader.next(&mut piece) {}
            }
        }
    }

    #[test]
    fn ambiguous_and_malformed_framing_is_refused() {
        for bytes in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "hello",
        ] {
            let reader = ResponseReader::default();
            assert!(read(reader, bytes.as_bytes(), &[]).is_err(), "{bytes}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_refused_on_request() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (body, is_plain) in [
            ("1\r\na\r\n0\r\n\r\n", true),
            ("1;x\r\na\r\n0\r\n\r\n", false),
            ("1\r\na\r\n0\r\nT: 1\r\n\r\n", false),
        ] {
            let bytes = format!("{head}{body}");
            let read = |reader| read(reader, bytes.as_bytes(), &[]);
            assert!(read(ResponseReader::default()).is_ok(), "{body}");
            let strict = read(ResponseReader::without_extensions());
            assert_eq!(strict.is_ok(), is_plain, "{body}");
        }
    }

    #[test]
    fn endless_framing_is_refused() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for bytes in [
            format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LONGEST_HEAD)),
            format!("{head}1;{}", "x".repeat(LONGEST_SIZE_LINE)),
            format!("{head}0\r\nX: {}", "x".repeat(LONGEST_HEAD)),
        ] {
            let cuts: Vec<usize> = (1..bytes.len()).step_by(100).collect();
            assert!(read(ResponseReader::default(), bytes.as_bytes(), &cuts).is_err());
        }
    }

    #[test]
    fn response_to_head_request_has_no_body() {
        let mut bytes = &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 No\r\n\r\n"[..];
        let mut reader = ResponseReader::default();
        assert!(matches!(reader.next(&mut bytes), Ok(Some(Part::Head(_)))));
        reader.skip_body();
        assert!(matches!(reader.next(&mut bytes), Ok(Some(Part::End))));
        assert!(matches!(reader.next(&mut bytes), Ok(Some(Part::Head(_)))));
    }

    #[test]
    fn end_of_connection_completes_only_a_body_without_length() {
        for (bytes, result) in [
            ("", Ok(false)),
            ("HTTP/1.1 204 No\r\n\r\n", Ok(false)),
            ("HTTP/1.1 200 OK\r\n\r\nrest", Ok(true)),
            ("HTTP/1.1 200", Err(())),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", Err(())),
        ] {
            let mut reader = ResponseReader::default();
            let mut piece = bytes.as_bytes();
            while let Ok(Some(_)) = reader.next(&mut piece) {}
            assert_eq!(reader.close().map_err(|_| ()), result, "{bytes}");
        }
    }

    #[test]
    fn field_is_found_whatever_its_case() {
        let head = b"HTTP/1.1 200 OK\r\nX-Etag: 1\r\nETAG:  b7k-1 \r\n\r\n";
        let head = Head::parse(head).unwrap();
        assert_eq!(head.field("etag"), Some("b7k-1"));
        assert_eq!(head.field("tag"), None);
        assert_eq!(
            (head.status, head.reason, head.closes()),
            (200, "OK", false)
        );
    }
}
