//! Request heads: from bytes to a borrowed [`Head`].
//!
//! Owns the decision whether a head is complete, too long or malformed. A head that arrives in one
//! read, the usual case, is parsed once by `httparse`. A head that arrives in pieces is parsed at
//! most three times: its first piece, at the end of its request line, and at its end (or its
//! limit). Between these only the new bytes are searched.
//!
//! Never copies, never reads the body.

use std::fmt;

use httparse::{Request, Status};

use super::fields::Fields;
use super::framing::{Framing, Version};
use super::scan::Found;
use super::{Error, Scan, Upgrade, syntax, target};

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `CONNECT`, `PATCH` or `TRACE`: known methods that no endpoint allows.
    Other,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Other => "(another method)",
        })
    }
}

impl Method {
    fn from_token(token: &str) -> Option<Method> {
        // Method names are case-sensitive (RFC 9110, 9.1).
        Some(match token {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            "CONNECT" | "PATCH" | "TRACE" => Method::Other,
            _ => return None,
        })
    }
}

/// A request head. The borrowed parts are raw: still percent-encoded, and field values
/// without the white space around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'b> {
    /// The method.
    pub method: Method,
    /// The version, which decides how the response may be framed.
    pub version: Version,
    /// The path: of an absolute target only its path, at least `/`. `*` for `OPTIONS *`,
    /// `host:port` for CONNECT.
    pub path: &'b [u8],
    /// The query without its `?`; empty if there is none.
    pub query: &'b [u8],
    /// The framing of the body.
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The host of an absolute target, else `Host`, which HTTP/1.1 requires in any case.
    pub host: Option<&'b [u8]>,
    /// `Last-Event-ID`.
    pub last_event_id: Option<&'b [u8]>,
    /// `Origin`.
    pub origin: Option<&'b [u8]>,
    /// `Content-Type`.
    pub content_type: Option<&'b [u8]>,
    /// `Authorization`.
    pub authorization: Option<&'b [u8]>,
    /// `Cookie`.
    pub cookie: Option<&'b [u8]>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'b [u8]>,
    /// `Encke-Event`.
    pub encke_event: Option<&'b [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'b [u8]>,
    /// `Access-Control-Request-Method`.
    pub preflight_method: Option<&'b [u8]>,
    /// Whether `Content-Encoding` names a coding other than `identity`.
    pub has_content_coding: bool,
    /// Whether `Sec-Fetch-Site` is `same-origin`: a browser reports that the page that sends the
    /// request has the same origin as the target (Fetch Metadata, 2.3). Pages cannot set it, other
    /// clients can.
    pub is_from_same_origin: bool,
    /// The fields of a WebSocket handshake.
    pub upgrade: Upgrade<'b>,
}

/// The outcome of parsing the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is returned and matched at once; a box would be an allocation per request"
)]
pub enum Outcome<'b> {
    /// More bytes are needed.
    Partial,
    /// A complete head.
    Complete {
        /// The head.
        head: Head<'b>,
        /// Its number of bytes, with the empty lines before it; the body follows.
        length: usize,
    },
}

/// Reads a request head from the start of `bytes`.
///
/// While the outcome is [`Outcome::Partial`], call again with the same bytes, more appended, and
/// the same `scan`. Empty lines before the request line are skipped (RFC 9112, 2.2) and count
/// towards the limit. A head of exactly `max_head_bytes` is allowed.
///
/// # Errors
///
/// Every [`Error`] except those of bodies. A malformed head that arrives in pieces may be refused
/// only at its end; a bare CR or LF, or a malformed request line, is refused as soon as it has
/// arrived.
pub fn parse<'b>(
    bytes: &'b [u8],
    scan: &mut Scan,
    max_head_bytes: usize,
) -> Result<Outcome<'b>, Error> {
    parse_with(bytes, scan, max_head_bytes, attempt)
}

/// [`parse`], with the expensive step as an argument, so that it can be counted.
fn parse_with<'b>(
    bytes: &'b [u8],
    scan: &mut Scan,
    max_head_bytes: usize,
    mut attempt: impl FnMut(&'b [u8]) -> Result<Outcome<'b>, Error>,
) -> Result<Outcome<'b>, Error> {
    let max_head_bytes = max_head_bytes.min(Scan::MAX_BYTES);
    let view = bytes.get(..max_head_bytes).unwrap_or(bytes);
    let is_full = view.len() == max_head_bytes;
    let is_fresh = scan.is_fresh();
    if is_fresh {
        match attempt(view) {
            Ok(Outcome::Partial) => {}
            outcome => return outcome,
        }
    }
    let found = scan.advance(view);
    if let Found::Bare(at, error) = found {
        return Err(syntax::diagnose_before(view, at, error));
    }
    if !is_fresh && (is_full || found != Found::Nothing) {
        match attempt(view) {
            Ok(Outcome::Partial) => {}
            outcome => return outcome,
        }
    }
    match (is_full, scan.request_line_ended()) {
        (false, _) => Ok(Outcome::Partial),
        (true, true) => Err(Error::HeadTooLong),
        (true, false) => Err(Error::TargetTooLong),
    }
}

/// Parses a view as if nothing was known of it.
fn attempt(view: &[u8]) -> Result<Outcome<'_>, Error> {
    let mut fields = syntax::uninit_fields();
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(view, &mut fields) {
        Ok(Status::Partial) => Ok(Outcome::Partial),
        Ok(Status::Complete(length)) => {
            if !ends_lines_with_crlf(&request, &view[..length]) {
                return Err(Error::BareLf);
            }
            read(&request).map(|head| Outcome::Complete { head, length })
        }
        Err(_) => match syntax::diagnose(view) {
            Some(error) => Err(error),
            None => Ok(Outcome::Partial),
        },
    }
}

/// Whether every line of a head that `httparse` has accepted ends with CRLF: `httparse` also
/// accepts a bare LF.
///
/// Lines end before the method, before each field's name, and at the end of the head.
fn ends_lines_with_crlf(request: &Request<'_, '_>, head: &[u8]) -> bool {
    let before = |part: &str| {
        let start = part.as_ptr().addr() - head.as_ptr().addr();
        &head[..start]
    };
    let mut fields = request.headers.iter();
    let empty_lines = request.method.map_or(&[][..], before);
    empty_lines.chunks(2).all(|line| line == b"\r\n")
        && fields.all(|field| before(field.name).ends_with(b"\r\n"))
        && head.ends_with(b"\r\n\r\n")
}

/// Converts a request whose syntax is valid.
fn read<'b>(request: &Request<'_, 'b>) -> Result<Head<'b>, Error> {
    let (Some(token), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Error::RequestLine);
    };
    let method = Method::from_token(token).ok_or(Error::Method)?;
    let version = if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    let (path, query) = target::split(token, target.as_bytes())?;
    let mut fields = Fields::default();
    for field in request.headers.iter() {
        fields.record(field.name, field.value)?;
    }
    fields.check_host(version)?;
    // The host of an absolute target overrides Host (RFC 9112, 3.2.2).
    let host = target::authority(target.as_bytes()).or(fields.host);
    Ok(Head {
        method,
        version,
        path,
        query,
        framing: fields.framing(version)?,
        // Bytes after a refused CONNECT may have been meant for the tunnel (RFC 9931).
        keep_alive: token != "CONNECT" && fields.persists(version),
        expect_continue: fields.expect_continue(version)?,
        last_event_id: fields.last_event_id,
        origin: fields.origin,
        content_type: fields.content_type,
        authorization: fields.authorization,
        cookie: fields.cookie,
        idempotency_key: fields.idempotency_key,
        encke_event: fields.encke_event,
        if_none_match: fields.if_none_match,
        preflight_method: fields.preflight_method,
        has_content_coding: fields.has_content_coding,
        is_from_same_origin: fields.is_from_same_origin(),
        upgrade: fields.upgrade,
        host,
    })
}

/// The values of the `Origin` fields of a head that may be incomplete or malformed.
///
/// `bytes` begin with the request line, empty lines before it allowed, and may continue after the
/// head. Only complete lines count, because an incomplete one may be cut within its value.
pub fn origins(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    let start = bytes.iter().take_while(is_line_end).count();
    bytes[start..]
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .skip(1)
        .filter_map(|line| {
            let (name, value) = line.split_at_checked("Origin:".len())?;
            let is_origin = name.eq_ignore_ascii_case(b"Origin:");
            is_origin.then(|| value.trim_ascii())
        })
}

#[cfg(test)]
mod tests;
