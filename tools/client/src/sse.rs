//! Server-sent events, read as WHATWG HTML, section 9.2.6 "Interpreting an event stream", says.
//!
//! Owns lines and blocks. [`StreamDecoder`](crate::StreamDecoder) says what encke means by them.

use crate::Error;

/// A block of an event stream: the lines up to an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The value of the last `id` line.
    pub id: Option<String>,
    /// The value of the last `event` line.
    pub event: Option<String>,
    /// The values of the `data` lines, with a line feed between two.
    pub data: Option<String>,
    /// The value of the last `retry` line, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The text of the last comment.
    pub comment: Option<String>,
}

/// Reads an event stream that arrives in pieces.
#[derive(Debug, Default)]
pub struct Blocks {
    line: Vec<u8>,
    is_after_cr: bool,
    block: Block,
}

impl Blocks {
    /// The next block, taken from `bytes`; `None` when they are used up before its end.
    ///
    /// # Errors
    ///
    /// A line is not UTF-8, has a field that the standard does not know, or a `retry` that is not a
    /// number. A browser ignores these; no server that is tested here sends them.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Block>, Error> {
        while let Some((&first, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.is_after_cr) && first == b'\n' {
                *bytes = rest;
                continue;
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                *bytes = &[];
                return Ok(None);
            };
            self.line.extend_from_slice(&bytes[..end]);
            self.is_after_cr = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = std::str::from_utf8(&line)
                .map_err(|_| Error::about("a line that is not UTF-8", &line))?;
            if !line.is_empty() {
                self.block.take_line(line)?;
            } else if self.block != Block::default() {
                return Ok(Some(std::mem::take(&mut self.block)));
            }
        }
        Ok(None)
    }

    /// Whether no block has arrived in part.
    pub fn is_at_boundary(&self) -> bool {
        self.line.is_empty() && self.block == Block::default()
    }
}

impl Block {
    fn take_line(&mut self, line: &str) -> Result<(), Error> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comment = Some(value.to_owned()),
            "event" => self.event = Some(value.to_owned()),
            "id" => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let retry = value.parse();
                let retry = retry.map_err(|_| Error::about("no retry", line.as_bytes()))?;
                self.retry_ms = Some(retry);
            }
            _ => return Err(Error::about("an unknown field", line.as_bytes())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(stream: &str, cut: usize) -> Result<Vec<Block>, Error> {
        let mut reader = Blocks::default();
        let mut found = Vec::new();
        for mut piece in [&stream.as_bytes()[..cut], &stream.as_bytes()[cut..]] {
            while let Some(block) = reader.next(&mut piece)? {
                found.push(block);
            }
        }
        Ok(found)
    }

    #[test]
    fn blocks_are_the_same_with_every_line_end_and_cut() {
        let stream =
            "retry: 5\nid:a-1\nevent: e\ndata: x\ndata\ndata:  y\n\n:\n\nid: a-2\n\ndata: z";
        let expected = [
            Block {
                id: Some("a-1".into()),
                event: Some("e".into()),
                data: Some("x\n\n y".into()),
                retry_ms: Some(5),
                comment: None,
            },
            Block {
                comment: Some(String::new()),
                ..Block::default()
            },
            Block {
                id: Some("a-2".into()),
                ..Block::default()
            },
        ];
        for end in ["\n", "\r", "\r\n"] {
            let stream = stream.replace('\n', end);
            for cut in 0..=stream.len() {
                assert_eq!(blocks(&stream, cut).unwrap(), expected, "{end:?}, {cut}");
            }
        }
    }

    #[test]
    fn unknown_fields_and_bad_retries_are_refused() {
        for stream in ["other: 1\n", "retry: x\n", "retry: 99999999999999999999\n"] {
            assert!(blocks(stream, 0).is_err(), "{stream}");
        }
    }
}
