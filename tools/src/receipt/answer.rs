//! Answers off the wire, in pieces: enough of HTTP/1.1 for servers that are meant to be right.

/// A piece of an answer.
pub enum Part<'a> {
    /// Status line and headers, with the empty line.
    Head(&'a [u8]),
    /// Some of the body.
    Data(&'a [u8]),
    /// The answer is whole.
    End,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    /// A body of which so much is left.
    Length(u64),
    /// In the line that says a chunk's size, and what it says so far.
    Size(u64, bool),
    /// In a chunk.
    Chunk(u64),
    /// Before the line end of a chunk.
    ChunkEnd,
    /// After the last chunk: in a line of so many bytes.
    Trailer(u32),
    /// The body lasts as long as the connection.
    Rest,
}

/// Reads answers, one after another.
pub struct AnswerReader {
    state: State,
    head: Vec<u8>,
}

impl Default for AnswerReader {
    fn default() -> AnswerReader {
        AnswerReader {
            state: State::Head,
            head: Vec::new(),
        }
    }
}

impl AnswerReader {
    /// Calls `on` for each part in these bytes.
    pub fn feed(&mut self, mut bytes: &[u8], mut on: impl FnMut(Part<'_>)) {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Head => self.take_head(bytes, &mut on),
                State::Length(left) => {
                    let used = take_data(bytes, left, &mut on);
                    self.state = State::Length(left - used as u64);
                    if left == used as u64 {
                        self.end(&mut on);
                    }
                    used
                }
                State::Rest => take_data(bytes, u64::MAX, &mut on),
                State::Chunk(left) => {
                    let used = take_data(bytes, left, &mut on);
                    self.state = match left - used as u64 {
                        0 => State::ChunkEnd,
                        left => State::Chunk(left),
                    };
                    used
                }
                State::Size(..) | State::ChunkEnd | State::Trailer(_) => {
                    self.take_framing(bytes[0], &mut on);
                    1
                }
            };
            bytes = &bytes[used..];
        }
    }

    fn end(&mut self, on: &mut impl FnMut(Part<'_>)) {
        self.state = State::Head;
        on(Part::End);
    }

    fn take_head(&mut self, bytes: &[u8], on: &mut impl FnMut(Part<'_>)) -> usize {
        let before = self.head.len();
        if before == 0
            && let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n")
        {
            self.begin(&bytes[..end + 4], on);
            return end + 4;
        }
        self.head.extend_from_slice(bytes);
        match memchr::memmem::find(&self.head, b"\r\n\r\n") {
            None => bytes.len(),
            Some(end) => {
                let mut head = std::mem::take(&mut self.head);
                head.truncate(end + 4);
                self.begin(&head, on);
                end + 4 - before
            }
        }
    }

    fn begin(&mut self, head: &[u8], on: &mut impl FnMut(Part<'_>)) {
        on(Part::Head(head));
        let length = header(head, "content-length").map(|value| {
            let digits = value.iter().filter(|byte| byte.is_ascii_digit());
            digits.fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'))
        });
        match (length, header(head, "transfer-encoding")) {
            _ if matches!(status(head), 204 | 304) => self.end(on),
            (_, Some(_)) => self.state = State::Size(0, true),
            (Some(0), None) => self.end(on),
            (Some(length), None) => self.state = State::Length(length),
            (None, None) => self.state = State::Rest,
        }
    }

    fn take_framing(&mut self, byte: u8, on: &mut impl FnMut(Part<'_>)) {
        self.state = match self.state {
            State::Size(0, _) if byte == b'\n' => State::Trailer(0),
            State::Size(size, _) if byte == b'\n' => State::Chunk(size),
            State::Size(size, true) => match (byte as char).to_digit(16) {
                Some(digit) => State::Size(size << 4 | u64::from(digit), true),
                None => State::Size(size, false),
            },
            State::ChunkEnd if byte == b'\n' => State::Size(0, true),
            State::Trailer(0) if byte == b'\n' => return self.end(on),
            State::Trailer(_) if byte == b'\n' => State::Trailer(0),
            State::Trailer(length) if byte != b'\r' => State::Trailer(length + 1),
            state => state,
        };
    }
}

fn take_data(bytes: &[u8], left: u64, on: &mut impl FnMut(Part<'_>)) -> usize {
    let used = (bytes.len() as u64).min(left) as usize;
    on(Part::Data(&bytes[..used]));
    used
}

/// A header's value.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut from = 0;
    while let Some(end) = memchr::memchr(b'\n', &head[from..]) {
        let line = &head[from..from + end];
        from += end + 1;
        if line.len() > name.len()
            && line[name.len()] == b':'
            && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
        {
            return Some(line[name.len() + 1..].trim_ascii());
        }
    }
    None
}

/// The number after a text, if both are there.
pub fn number_after(bytes: &[u8], before: &str) -> Option<u64> {
    let at = memchr::memmem::find(bytes, before.as_bytes())?;
    let digits = bytes[at + before.len()..].trim_ascii_start();
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

/// The status of a head; 0 if it has none.
pub fn status(head: &[u8]) -> u16 {
    let digits = head.get(9..12).and_then(|at| std::str::from_utf8(at).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], cut: usize) -> Vec<String> {
        let mut reader = AnswerReader::default();
        let mut answers = vec![String::new()];
        for piece in [&bytes[..cut], &bytes[cut..]] {
            reader.feed(piece, |part| match part {
                Part::Head(head) => {
                    *answers.last_mut().unwrap() += &format!("{} ", status(head));
                }
                Part::Data(data) => {
                    *answers.last_mut().unwrap() += std::str::from_utf8(data).unwrap();
                }
                Part::End => answers.push(String::new()),
            });
        }
        answers
    }

    #[test]
    fn reads_answers_wherever_the_bytes_are_cut() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab\
            HTTP/1.1 404 No\r\ncontent-length:0\r\n\r\n\
            HTTP/1.1 304 Not Modified\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            2;x=1\r\ncd\r\n0c\r\nefghijklmnop\r\n0\r\nT: 2\r\n\r\n\
            HTTP/1.1 200 OK\r\n\r\nrest";
        for cut in 0..=bytes.len() {
            let answers = read(bytes, cut);
            assert_eq!(
                answers,
                ["200 ab", "404 ", "304 ", "200 cdefghijklmnop", "200 rest"],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn finds_a_header_whatever_its_case() {
        let head = b"HTTP/1.1 200 OK\r\nX-Etag: 1\r\nETAG:  b7k-1 \r\n\r\n";
        assert_eq!(header(head, "etag"), Some(&b"b7k-1"[..]));
        assert_eq!(header(head, "tag"), None);
    }
}
