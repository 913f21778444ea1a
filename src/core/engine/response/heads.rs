//! Response heads: status lines and header fields (RFC 9110, RFC 9112), CORS included.
//!
//! Owns how a response begins. It knows nothing of what the response says.

use std::time::{Duration, SystemTime};

use super::context::{BodyLength, KeepAlive, ResponseContext};
use super::framing::Framing;
use super::origins::{self, CommonOrigin, FrozenOrigins, Origins};
use crate::base::time::millis;
use crate::config::Config;
use crate::frozen::ThawError;
use crate::http1::status;
use crate::message::MessageId;

/// Writes heads.
pub(in crate::engine) struct Heads {
    origins: Origins,
    /// Whether pages of listed origins may send cookies.
    allows_credentials: bool,
    /// The fields of responses that name no origin of their own.
    common: CommonFields,
    /// The fields of responses that name the origin of their client, which follows.
    echoing: CommonFields,
    date_s: u64,
    /// The fields that responses of HTTP/1.1 have after which the connection stays open.
    http11: String,
    /// The same for HTTP/1.0.
    explicit: String,
}

/// The first fields of every response; they change with the `Date`.
#[derive(Default)]
struct CommonFields {
    any: String,
    /// Of responses of HTTP/1.1 after which the connection stays open.
    kept: String,
}

/// The fields by which pages of every origin may read.
const ANY_ORIGIN: &str = "*";

const VARY: &str = "Vary: Origin\r\n";

const JSON: &str = "application/json";
const SCRIPT: &str = "text/javascript; charset=utf-8";

impl Heads {
    pub(in crate::engine) fn new(config: &Config) -> Heads {
        Heads::with_origins(config, Origins::new(&config.cors))
    }

    /// Heads by these settings, after those under which the origins got their places.
    pub(in crate::engine) fn thaw(
        config: &Config,
        origins: FrozenOrigins<'_>,
    ) -> Result<Heads, ThawError> {
        let origins = origins::thaw(origins, &config.cors)?;
        Ok(Heads::with_origins(config, origins))
    }

    /// The origins, to be handed over.
    pub(in crate::engine) fn freeze_origins(&self) -> FrozenOrigins<'_> {
        FrozenOrigins::from(&self.origins)
    }

    fn with_origins(config: &Config, origins: Origins) -> Heads {
        let mut heads = Heads {
            origins,
            allows_credentials: false,
            common: CommonFields::default(),
            echoing: CommonFields::default(),
            date_s: 0,
            explicit: String::new(),
            http11: String::new(),
        };
        heads.reconfigure(config);
        heads
    }

    /// Takes new settings. Responses that are shared already keep their heads.
    pub(in crate::engine) fn reconfigure(&mut self, config: &Config) {
        let explicit = "Connection: keep-alive\r\n";
        // One second less than the idle timeout, so that a client does not send a request just as
        // the server closes the connection. `Connection` has to name the field (RFC 9110, 7.6.1).
        self.http11 = match (millis(config.idle_timeout) / 1_000).saturating_sub(1) {
            0 => String::new(),
            timeout_s => format!("{explicit}Keep-Alive: timeout={timeout_s}\r\n"),
        };
        self.explicit = match self.http11.is_empty() {
            true => explicit.to_owned(),
            false => self.http11.clone(),
        };
        self.origins.replace(&config.cors);
        self.allows_credentials = config.token_cookie.is_some();
        self.write_common_fields();
    }

    /// Sets the Unix time, in seconds.
    pub(in crate::engine) fn set_date(&mut self, date_s: u64) {
        if self.date_s != date_s {
            self.date_s = date_s;
            self.write_common_fields();
        }
    }

    fn write_common_fields(&mut self) {
        // The year 9999 is as far as the format goes.
        let since_1970 = Duration::from_secs(self.date_s.min(253_402_300_799));
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_1970);
        let cors = match self.origins.common() {
            CommonOrigin::Any => self.allow(ANY_ORIGIN),
            CommonOrigin::None => String::new(),
            CommonOrigin::Several(None) => VARY.to_owned(),
            CommonOrigin::Only(origin) | CommonOrigin::Several(Some(origin)) => {
                format!("{VARY}{}", self.allow(origin))
            }
        };
        let with = |cors: &str| {
            let any = format!("Date: {date}\r\nCache-Control: no-store, no-transform\r\n{cors}");
            let kept = format!("{any}{}", self.http11);
            CommonFields { any, kept }
        };
        (self.common, self.echoing) = (with(&cors), with(VARY));
    }

    /// The Unix time of the heads, in seconds.
    pub(in crate::engine) fn date_s(&self) -> u64 {
        self.date_s
    }

    /// Whether pages of every origin may read.
    pub(in crate::engine) fn allows_any(&self) -> bool {
        self.origins.is_any()
    }

    /// Whether pages of an origin may read.
    pub(in crate::engine) fn allows(&self, origin: &[u8]) -> bool {
        self.origins.is_any() || self.origins.find(origin).is_some()
    }

    /// The place of an allowed origin that must be echoed, because it is one of several.
    pub(in crate::engine) fn echoed(&self, origin: &[u8]) -> Option<u16> {
        let is_echoed = self.origins.are_several();
        is_echoed.then(|| self.origins.find(origin)).flatten()
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
        let origin = context.origin.and_then(|place| self.origins.echoed(place));
        let common = match origin {
            None => &self.common,
            Some(_) => &self.echoing,
        };
        out.extend_from_slice(match context.keep_alive {
            KeepAlive::Http11 => common.kept.as_bytes(),
            KeepAlive::Explicit | KeepAlive::Close | KeepAlive::Upgrade => common.any.as_bytes(),
        });
        if let Some(origin) = origin {
            out.extend_from_slice(self.allow(origin).as_bytes());
        }
        match context.keep_alive {
            KeepAlive::Http11 => {}
            KeepAlive::Explicit => out.extend_from_slice(self.explicit.as_bytes()),
            KeepAlive::Close => field(out, "Connection", "close"),
            KeepAlive::Upgrade => field(out, "Connection", "Upgrade"),
        }
    }

    /// As [`Heads::begin`], for a response that everyone may read and caches may keep. The caller
    /// says for how long.
    pub(in crate::engine) fn begin_public(
        &self,
        out: &mut Vec<u8>,
        context: &ResponseContext<'_>,
        status: u16,
    ) {
        out.extend_from_slice(status::line(status).as_bytes());
        let date = self.common.any.split_inclusive("\r\n").next();
        out.extend_from_slice(date.unwrap_or_default().as_bytes());
        field(out, "Access-Control-Allow-Origin", ANY_ORIGIN);
        match context.keep_alive {
            KeepAlive::Http11 => out.extend_from_slice(self.http11.as_bytes()),
            KeepAlive::Explicit => out.extend_from_slice(self.explicit.as_bytes()),
            KeepAlive::Close | KeepAlive::Upgrade => field(out, "Connection", "close"),
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
            BodyLength::Unknown(Framing::UntilClose | Framing::ByTransport) | BodyLength::None => {
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

/// Writes one header field.
pub(in crate::engine) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
