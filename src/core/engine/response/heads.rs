//! Response heads: status lines and header fields (RFC 9110, RFC 9112), CORS included.
//!
//! Owns how an answer begins, and nothing of what it says.

use std::time::{Duration, SystemTime};

use crate::config::Cors;
use crate::encode::{Epoch, Seq, write_cursor};

/// How one answer is to be written.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Manner<'a> {
    pub(in crate::engine) persistence: Persistence,
    /// The head alone: the request was HEAD.
    pub(in crate::engine) head_only: bool,
    /// The value of `Access-Control-Allow-Origin`, where it is not the same for everyone.
    pub(in crate::engine) origin: Option<&'a str>,
    /// The function to call, for JSONP.
    pub(in crate::engine) callback: Option<&'a str>,
}

impl Manner<'_> {
    /// The manner in which all parked long polls are answered alike.
    pub(in crate::engine) const SHARED: Manner<'static> = Manner {
        persistence: Persistence::Implied,
        head_only: false,
        origin: None,
        callback: None,
    };
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Persistence {
    /// Stays open, as HTTP/1.1 implies.
    Implied,
    /// Stays open, which HTTP/1.0 must be told.
    Told,
    /// Is closed.
    Close,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Ending {
    /// By its length.
    Length(usize),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection: HTTP/1.0.
    Close,
    /// There is no body: 204.
    None,
}

/// Writes heads.
pub(in crate::engine) struct Heads {
    cors: Cors,
    /// The fields that every answer bears, in the present second.
    common: String,
    date_s: u64,
}

/// What answers bear where pages of every origin may read.
const ANY_ORIGIN: &str =
    "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Encke-Cursor\r\n";

const JSON: &str = "application/json";
const SCRIPT: &str = "text/javascript; charset=utf-8";

impl Heads {
    pub(in crate::engine) fn new(cors: Cors) -> Heads {
        let mut heads = Heads {
            cors,
            common: String::new(),
            date_s: u64::MAX,
        };
        heads.set_date(0);
        heads
    }

    /// Tells the time of day, in seconds since 1970.
    pub(in crate::engine) fn set_date(&mut self, date_s: u64) {
        if self.date_s != date_s {
            self.date_s = date_s;
            // The year 9999 is as far as the format goes.
            let since_1970 = Duration::from_secs(date_s.min(253_402_300_799));
            let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_1970);
            let cors = match &self.cors {
                Cors::Any => ANY_ORIGIN.to_owned(),
                Cors::Origins(origins) => match &origins[..] {
                    [] => String::new(),
                    // The same for everyone, so that parked polls are answered alike.
                    [only] => format!("Vary: Origin\r\n{}", allow(only)),
                    _ => "Vary: Origin\r\n".to_owned(),
                },
            };
            self.common =
                format!("Date: {date}\r\nCache-Control: no-store, no-transform\r\n{cors}");
        }
    }

    /// The time of day that heads bear, in seconds since 1970.
    pub(in crate::engine) fn date_s(&self) -> u64 {
        self.date_s
    }

    /// The allowed origin equal to `origin`: its place in the list, and itself.
    pub(in crate::engine) fn allowed(&self, origin: &[u8]) -> Option<(u16, &str)> {
        let Cors::Origins(origins) = &self.cors else {
            return None;
        };
        let place = origins
            .iter()
            .position(|allowed| allowed.as_bytes() == origin)?;
        Some((place as u16, &origins[place]))
    }

    /// The place of an allowed origin that must be echoed, as it is one of several.
    pub(in crate::engine) fn echoed(&self, origin: &[u8]) -> Option<u16> {
        let (place, _) = self.allowed(origin)?;
        match &self.cors {
            Cors::Origins(origins) if origins.len() > 1 => Some(place),
            _ => None,
        }
    }

    /// The allowed origin at a place in the list.
    pub(in crate::engine) fn origin(&self, place: u16) -> Option<&str> {
        match &self.cors {
            Cors::Origins(origins) => origins.get(usize::from(place)).map(String::as_str),
            Cors::Any => None,
        }
    }

    /// Whether pages of every origin may read.
    pub(in crate::engine) fn allows_any(&self) -> bool {
        self.cors == Cors::Any
    }

    /// A head up to and without the empty line, for fields to follow.
    pub(in crate::engine) fn begin(&self, out: &mut Vec<u8>, manner: &Manner<'_>, status: u16) {
        out.extend_from_slice(status_line(status).as_bytes());
        out.extend_from_slice(self.common.as_bytes());
        if let Some(origin) = manner.origin {
            out.extend_from_slice(allow(origin).as_bytes());
        }
        match manner.persistence {
            Persistence::Implied => {}
            Persistence::Told => field(out, "Connection", "keep-alive"),
            Persistence::Close => field(out, "Connection", "close"),
        }
    }

    /// The rest of a head: how the body ends, and the empty line.
    pub(in crate::engine) fn end(&self, out: &mut Vec<u8>, ending: Ending) {
        match ending {
            Ending::Length(length) => {
                out.extend_from_slice(b"Content-Length: ");
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
            }
            Ending::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
            Ending::Close | Ending::None => out.extend_from_slice(b"\r\n"),
        }
    }

    /// A whole answer.
    pub(in crate::engine) fn answer(
        &self,
        out: &mut Vec<u8>,
        manner: &Manner<'_>,
        status: u16,
        content_type: &str,
        body: &[u8],
    ) {
        self.begin(out, manner, status);
        field(out, "Content-Type", content_type);
        self.end(out, Ending::Length(body.len()));
        if !manner.head_only {
            out.extend_from_slice(body);
        }
    }

    /// The head of a batch, JSON or JSONP; an early one has no cursor, as it is not known yet.
    pub(in crate::engine) fn batch(
        &self,
        out: &mut Vec<u8>,
        manner: &Manner<'_>,
        cursor: Option<(&Epoch, Seq)>,
        ending: Ending,
    ) {
        self.begin(out, manner, 200);
        if manner.callback.is_some() {
            field(out, "Content-Type", SCRIPT);
            field(out, "X-Content-Type-Options", "nosniff");
        } else {
            field(out, "Content-Type", JSON);
        }
        if let Some((epoch, seq)) = cursor {
            out.extend_from_slice(b"Encke-Cursor: ");
            write_cursor(out, epoch, seq);
            out.extend_from_slice(b"\r\n");
        } else {
            // A buffered early head would be no early head.
            field(out, "X-Accel-Buffering", "no");
        }
        self.end(out, ending);
    }

    /// The head of a stream.
    pub(in crate::engine) fn stream(
        &self,
        out: &mut Vec<u8>,
        manner: &Manner<'_>,
        content_type: &str,
        ending: Ending,
    ) {
        self.begin(out, manner, 200);
        field(out, "Content-Type", content_type);
        field(out, "X-Accel-Buffering", "no");
        field(out, "X-Content-Type-Options", "nosniff");
        self.end(out, ending);
    }
}

/// What lets pages of one origin read.
fn allow(origin: &str) -> String {
    format!(
        "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: Encke-Cursor\r\n"
    )
}

/// One header field.
pub(in crate::engine) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Wraps what `write` appends into one chunk (RFC 9112, section 7.1).
pub(in crate::engine) fn chunk(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    const SIZE_BYTES: usize = 8;
    let start = out.len();
    out.extend_from_slice(b"00000000\r\n");
    write(out);
    let size = out.len() - start - SIZE_BYTES - 2;
    let digits = format!("{size:x}");
    debug_assert!(
        size > 0 && digits.len() <= SIZE_BYTES,
        "an empty chunk ends the body"
    );
    out.splice(start..start + SIZE_BYTES, digits.bytes());
    out.extend_from_slice(b"\r\n");
}

/// The chunk that ends a body.
pub(in crate::engine) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn status_line(status: u16) -> &'static str {
    match status {
        100 => "HTTP/1.1 100 Continue\r\n",
        200 => "HTTP/1.1 200 OK\r\n",
        204 => "HTTP/1.1 204 No Content\r\n",
        400 => "HTTP/1.1 400 Bad Request\r\n",
        401 => "HTTP/1.1 401 Unauthorized\r\n",
        403 => "HTTP/1.1 403 Forbidden\r\n",
        404 => "HTTP/1.1 404 Not Found\r\n",
        405 => "HTTP/1.1 405 Method Not Allowed\r\n",
        408 => "HTTP/1.1 408 Request Timeout\r\n",
        413 => "HTTP/1.1 413 Content Too Large\r\n",
        414 => "HTTP/1.1 414 URI Too Long\r\n",
        417 => "HTTP/1.1 417 Expectation Failed\r\n",
        429 => "HTTP/1.1 429 Too Many Requests\r\n",
        431 => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
        501 => "HTTP/1.1 501 Not Implemented\r\n",
        503 => "HTTP/1.1 503 Service Unavailable\r\n",
        505 => "HTTP/1.1 505 HTTP Version Not Supported\r\n",
        _ => unreachable!("a status that encke never answers"),
    }
}

/// The name of a status, as in its status line.
pub(in crate::engine) fn reason(status: u16) -> &'static str {
    let line = status_line(status);
    &line["HTTP/1.1 200 ".len()..line.len() - "\r\n".len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_bear_their_size() {
        for length in [1, 15, 16, 255, 70_000] {
            let mut out = b"before".to_vec();
            chunk(&mut out, |out| out.resize(out.len() + length, b'x'));
            let expected = format!("before{length:x}\r\n{}\r\n", "x".repeat(length));
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn reasons() {
        assert_eq!(reason(404), "Not Found");
        assert_eq!(reason(505), "HTTP Version Not Supported");
    }
}
