//! Response heads: status lines and header fields (RFC 9110, RFC 9112), CORS included.
//!
//! Owns how a response begins. It knows nothing of what the response says.

use std::time::{Duration, SystemTime};

use super::context::{BodyLength, KeepAlive, ResponseContext};
use super::framing::Framing;
use crate::authority::Origin;
use crate::config::Cors;
use crate::http1::status;
use crate::message::MessageId;

/// Writes heads.
pub(in crate::engine) struct Heads {
    cors: Cors,
    /// Whether pages of listed origins may send cookies.
    allows_credentials: bool,
    /// The fields that every response has; they change with the `Date`.
    common: String,
    /// The same for responses of HTTP/1.1 after which the connection stays open.
    common_kept: String,
    date_s: u64,
    /// The fields that such responses have beyond the others.
    http11: String,
    /// The same for HTTP/1.0.
    explicit: String,
}

/// The fields by which pages of every origin may read.
const ANY_ORIGIN: &str = "*";

const JSON: &str = "application/json";
const SCRIPT: &str = "text/javascript; charset=utf-8";

impl Heads {
    /// `idle_timeout_ms` is the time for which a connection may be idle. `allows_credentials` says
    /// whether pages of listed origins may send cookies.
    pub(in crate::engine) fn new(
        cors: Cors,
        allows_credentials: bool,
        idle_timeout_ms: u64,
    ) -> Heads {
        let explicit = "Connection: keep-alive\r\n";
        // A second less, so that a client that reuses the connection at the last moment does not
        // meet its end. `Connection` has to name the field (RFC 9110, 7.6.1).
        let http11 = match (idle_timeout_ms / 1_000).saturating_sub(1) {
            0 => String::new(),
            timeout_s => format!("{explicit}Keep-Alive: timeout={timeout_s}\r\n"),
        };
        let mut heads = Heads {
            cors: serialised(cors),
            allows_credentials,
            common: String::new(),
            common_kept: String::new(),
            date_s: u64::MAX,
            explicit: match http11.is_empty() {
                true => explicit.to_owned(),
                false => http11.clone(),
            },
            http11,
        };
        heads.set_date(0);
        heads
    }

    /// Sets the time of day, in seconds since 1970.
    pub(in crate::engine) fn set_date(&mut self, date_s: u64) {
        if self.date_s != date_s {
            self.date_s = date_s;
            // The year 9999 is as far as the format goes.
            let since_1970 = Duration::from_secs(date_s.min(253_402_300_799));
            let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_1970);
            let cors = match &self.cors {
                Cors::Any => self.allow(ANY_ORIGIN),
                Cors::Origins(origins) => match &origins[..] {
                    [] => String::new(),
                    // Sent to every client, so that parked polls can share their responses.
                    [only] => format!("Vary: Origin\r\n{}", self.allow(only)),
                    _ => "Vary: Origin\r\n".to_owned(),
                },
            };
            self.common =
                format!("Date: {date}\r\nCache-Control: no-store, no-transform\r\n{cors}");
            self.common_kept = format!("{}{}", self.common, self.http11);
        }
    }

    /// The time of day in the heads, in seconds since 1970.
    pub(in crate::engine) fn date_s(&self) -> u64 {
        self.date_s
    }

    /// The allowed origin equal to `origin`, with its index in the configured list.
    pub(in crate::engine) fn allowed(&self, origin: &[u8]) -> Option<(u16, &str)> {
        let Cors::Origins(origins) = &self.cors else {
            return None;
        };
        let find = |origin: &[u8]| {
            let index = origins.iter().position(|o| o.as_bytes() == origin)?;
            Some((index as u16, &*origins[index]))
        };
        // Browsers send origins serialised, other clients need not.
        find(origin).or_else(|| find(Origin::parse(origin)?.to_string().as_bytes()))
    }

    /// The index of an allowed origin that must be echoed, because it is one of several.
    pub(in crate::engine) fn echoed(&self, origin: &[u8]) -> Option<u16> {
        let (place, _) = self.allowed(origin)?;
        match &self.cors {
            Cors::Origins(origins) if origins.len() > 1 => Some(place),
            _ => None,
        }
    }

    /// The allowed origin with this index.
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

    /// The fields by which pages of one origin may read. A page of any origin never may with
    /// credentials: browsers refuse that (Fetch standard, section 3.3.5).
    fn allow(&self, origin: &str) -> String {
        let credentials = match self.allows_credentials && origin != ANY_ORIGIN {
            true => "Access-Control-Allow-Credentials: true\r\n",
            false => "",
        };
        format!(
            "Access-Control-Allow-Origin: {origin}\r\n\
             Access-Control-Expose-Headers: Encke-Cursor, Retry-After\r\n{credentials}"
        )
    }

    /// Writes a head without its last, empty line, so that fields can follow.
    pub(in crate::engine) fn begin(
        &self,
        out: &mut Vec<u8>,
        context: &ResponseContext<'_>,
        status: u16,
    ) {
        out.extend_from_slice(status::line(status).as_bytes());
        let common = match context.keep_alive {
            KeepAlive::Http11 => &self.common_kept,
            KeepAlive::Explicit | KeepAlive::Close => &self.common,
        };
        out.extend_from_slice(common.as_bytes());
        if let Some(origin) = context.origin.and_then(|index| self.origin(index)) {
            out.extend_from_slice(self.allow(origin).as_bytes());
        }
        match context.keep_alive {
            KeepAlive::Http11 => {}
            KeepAlive::Explicit => out.extend_from_slice(self.explicit.as_bytes()),
            KeepAlive::Close => field(out, "Connection", "close"),
        }
    }

    /// Writes the end of a head: how the body ends, and the empty line.
    pub(in crate::engine) fn end(&self, out: &mut Vec<u8>, length: BodyLength) {
        match length {
            BodyLength::Known(bytes) => {
                out.extend_from_slice(b"Content-Length: ");
                out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
            }
            BodyLength::Unknown(Framing::Chunked) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            }
            BodyLength::Unknown(Framing::UntilClose) | BodyLength::None => {
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Writes a whole response.
    pub(in crate::engine) fn answer(
        &self,
        out: &mut Vec<u8>,
        context: &ResponseContext<'_>,
        status: u16,
        content_type: &str,
        body: &[u8],
    ) {
        self.begin(out, context, status);
        field(out, "Content-Type", content_type);
        self.end(out, BodyLength::Known(body.len()));
        if !context.head_only {
            out.extend_from_slice(body);
        }
    }

    /// Writes the head of a batch, JSON or JSONP. An early head has no cursor: it is not known yet.
    pub(in crate::engine) fn batch(
        &self,
        out: &mut Vec<u8>,
        context: &ResponseContext<'_>,
        cursor: Option<MessageId>,
        length: BodyLength,
    ) {
        self.begin(out, context, 200);
        if context.callback.is_some() {
            field(out, "Content-Type", SCRIPT);
            field(out, "X-Content-Type-Options", "nosniff");
        } else {
            field(out, "Content-Type", JSON);
        }
        if let Some(cursor) = cursor {
            out.extend_from_slice(b"Encke-Cursor: ");
            cursor.write(out);
            out.extend_from_slice(b"\r\n");
        } else {
            // Ask nginx not to buffer, or `early=1` has no effect.
            field(out, "X-Accel-Buffering", "no");
        }
        self.end(out, length);
    }

    /// Writes the head of a stream.
    pub(in crate::engine) fn stream(
        &self,
        out: &mut Vec<u8>,
        context: &ResponseContext<'_>,
        content_type: &str,
        framing: Framing,
    ) {
        self.begin(out, context, 200);
        field(out, "Content-Type", content_type);
        field(out, "X-Accel-Buffering", "no");
        field(out, "X-Content-Type-Options", "nosniff");
        self.end(out, BodyLength::Unknown(framing));
    }
}

/// Origins in the form in which browsers send and compare them, each once.
fn serialised(cors: Cors) -> Cors {
    let Cors::Origins(origins) = cors else {
        return cors;
    };
    let mut kept: Vec<String> = Vec::new();
    for origin in origins {
        let parsed = Origin::parse(origin.as_bytes()).map(|origin| origin.to_string());
        let origin = parsed.unwrap_or(origin);
        if !kept.contains(&origin) {
            kept.push(origin);
        }
    }
    Cors::Origins(kept)
}

/// Writes one header field.
pub(in crate::engine) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
