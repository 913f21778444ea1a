//! The fields of a request head that the server uses.
//!
//! Owns the values that each of them may have, how often it may occur, and the framing of the body
//! that follows from them. Other fields are ignored.

use super::syntax::is_token;
use super::{Error, Framing, Upgrade, Version};
use crate::authority::Authority;
use crate::base::decimal;

/// The fields seen so far: raw values, without the white space around them.
#[derive(Default)]
pub(super) struct Fields<'b> {
    pub(super) last_event_id: Option<&'b [u8]>,
    pub(super) origin: Option<&'b [u8]>,
    pub(super) content_type: Option<&'b [u8]>,
    pub(super) authorization: Option<&'b [u8]>,
    pub(super) cookie: Option<&'b [u8]>,
    pub(super) idempotency_key: Option<&'b [u8]>,
    pub(super) encke_event: Option<&'b [u8]>,
    pub(super) if_none_match: Option<&'b [u8]>,
    pub(super) preflight_method: Option<&'b [u8]>,
    pub(super) has_content_coding: bool,
    /// Whether every Sec-Fetch-Site is `same-origin`; `None` if there is no such field.
    from_same_origin: Option<bool>,
    pub(super) host: Option<&'b [u8]>,
    pub(super) upgrade: Upgrade<'b>,
    content_length: Option<&'b [u8]>,
    transfer_encoding: Option<&'b [u8]>,
    expects_continue: bool,
    expects_other: bool,
    close: bool,
    keep_alive: bool,
}

impl<'b> Fields<'b> {
    /// Records one field.
    pub(super) fn record(&mut self, name: &str, value: &'b [u8]) -> Result<(), Error> {
        // By length first, because few of the many fields of a browser then need a comparison. Most
        // of those are spelled as here, so the cheaper comparison of bytes comes before the other.
        let is = |known: &str| name == known || name.eq_ignore_ascii_case(known);
        let (slot, repeated) = match name.len() {
            4 if is("Host") => (&mut self.host, Error::HostRepeated),
            6 if is("Origin") => (&mut self.origin, Error::OriginRepeated),
            // A client sends one at most (RFC 6265, 5.4), and a proxy joins those of HTTP/2 (RFC
            // 9113, 8.2.3). Of several the first counts.
            6 if name.as_bytes()[0] | 0x20 == b'c' && is("Cookie") => {
                self.cookie.get_or_insert(value);
                return Ok(());
            }
            6 if is("Expect") => {
                self.record_expect(value);
                return Ok(());
            }
            // Browsers send Referer, which has this length.
            7 if name.as_bytes()[0] | 0x20 == b'u' && is("Upgrade") => {
                self.upgrade.record_upgrade(value);
                return Ok(());
            }
            10 if is("Connection") => {
                self.record_connection(value);
                return Ok(());
            }
            11 if is("Encke-Event") => (&mut self.encke_event, Error::EnckeEventRepeated),
            12 if is("Content-Type") => (&mut self.content_type, Error::ContentTypeRepeated),
            13 if is("Last-Event-ID") => (&mut self.last_event_id, Error::LastEventIdRepeated),
            13 if is("Authorization") => (&mut self.authorization, Error::AuthorizationRepeated),
            // Only for what never changes between two versions, so the first of several is enough.
            13 if name.as_bytes()[0] | 0x20 == b'i' && is("If-None-Match") => {
                self.if_none_match.get_or_insert(value);
                return Ok(());
            }
            14 if is("Content-Length") => (&mut self.content_length, Error::ContentLengthRepeated),
            // Browsers send three fields of this length that begin alike.
            14 if name.as_bytes()[10] | 0x20 == b's' && is("Sec-Fetch-Site") => {
                let is_same = value == b"same-origin";
                self.from_same_origin = Some(is_same && self.from_same_origin != Some(false));
                return Ok(());
            }
            15 if is("Idempotency-Key") => {
                (&mut self.idempotency_key, Error::IdempotencyKeyRepeated)
            }
            16 if name.as_bytes()[0] | 0x20 == b'c' && is("Content-Encoding") => {
                self.record_content_codings(value);
                return Ok(());
            }
            17 if name.as_bytes()[0] | 0x20 == b's' && is("Sec-WebSocket-Key") => {
                self.upgrade.record_key(value);
                return Ok(());
            }
            21 if is("Sec-WebSocket-Version") => {
                self.upgrade.record_version(value);
                return Ok(());
            }
            22 if is("Sec-WebSocket-Protocol") => {
                self.upgrade.record_protocols(value);
                return Ok(());
            }
            17 if is("Transfer-Encoding") => (&mut self.transfer_encoding, Error::CodingRepeated),
            29 if is("Access-Control-Request-Method") => {
                (&mut self.preflight_method, Error::PreflightRepeated)
            }
            _ => return Ok(()),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(repeated),
        }
    }

    fn record_expect(&mut self, value: &[u8]) {
        let is_continue = value.eq_ignore_ascii_case(b"100-continue");
        self.expects_continue |= is_continue;
        self.expects_other |= !is_continue;
    }

    /// Records whether there is a content coding other than `identity` (RFC 9110, 8.4). Several
    /// fields form one list, and empty elements of a list do not count (RFC 9110, 5.3 and 5.6.1).
    fn record_content_codings(&mut self, value: &[u8]) {
        let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let is_none = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
        self.has_content_coding |= !codings.all(is_none);
    }

    fn record_connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade.record_connection();
            }
        }
    }

    /// Checks Host (RFC 9112, 3.2): required from HTTP/1.1 on, and allowed to be empty.
    pub(super) fn check_host(&self, version: Version) -> Result<(), Error> {
        match (self.host, version) {
            (Some(host), _) if host.is_empty() || Authority::parse(host).is_some() => Ok(()),
            (Some(_), _) => Err(Error::HostInvalid),
            (None, Version::Http10) => Ok(()),
            (None, Version::Http11) => Err(Error::HostMissing),
        }
    }

    /// The framing of the body (RFC 9112, 6).
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Error> {
        match (self.transfer_encoding, self.content_length) {
            (Some(_), Some(_)) => Err(Error::LengthAndCoding),
            (Some(_), None) if version == Version::Http10 => Err(Error::CodingOnHttp10),
            (Some(codings), None) => check_codings(codings).map(|()| Framing::Chunked),
            (None, Some(length)) => decimal::exact(length)
                .map(Framing::Length)
                .ok_or(Error::ContentLengthInvalid),
            (None, None) => Ok(Framing::None),
        }
    }

    /// Whether the client waits for `100 Continue`. HTTP/1.0 has no expectations, so they are
    /// ignored.
    pub(super) fn expect_continue(&self, version: Version) -> Result<bool, Error> {
        match version {
            Version::Http10 => Ok(false),
            Version::Http11 if self.expects_other => Err(Error::Expectation),
            Version::Http11 => Ok(self.expects_continue),
        }
    }

    /// Whether a browser reports that a page of the same origin sent the request.
    pub(super) fn is_from_same_origin(&self) -> bool {
        self.from_same_origin == Some(true)
    }

    /// Whether the connection may carry another request (RFC 9112, 9.3).
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
    }
}

/// Accepts only `chunked`. A list that leaves the end of the body in doubt is `CodingInvalid` or
/// `CodingRepeated`, even if it also names a coding that is not implemented.
fn check_codings(codings: &[u8]) -> Result<(), Error> {
    let mut chunked = false;
    let mut unknown = false;
    for coding in codings.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let name_bytes = coding.iter().take_while(|byte| is_token(**byte)).count();
        let (name, parameters) = coding.split_at(name_bytes);
        let is_chunked = name.eq_ignore_ascii_case(b"chunked");
        if is_chunked && chunked {
            return Err(Error::CodingRepeated);
        }
        let is_well_formed = match parameters.trim_ascii_start().first() {
            None => !name.is_empty(),
            Some(b';') => !name.is_empty() && !is_chunked,
            Some(_) => false,
        };
        if chunked || !is_well_formed {
            return Err(Error::CodingInvalid);
        }
        chunked = is_chunked;
        unknown |= !is_chunked;
    }
    if unknown {
        Err(Error::CodingUnknown)
    } else {
        Ok(())
    }
}
