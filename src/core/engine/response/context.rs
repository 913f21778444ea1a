//! The facts of a request that its response depends on, whatever it says.
//!
//! Owns what follows from the request's head and from its connection: keep-alive, HEAD, the origin
//! to echo, the JSONP callback, how a body of unknown length ends.

mod frozen;

pub(in crate::engine) use frozen::FrozenContext;

use std::borrow::Cow;

use super::framing::Framing;
use crate::engine::connections::Flags;

/// The facts of one request that its response depends on.
#[derive(Clone, Debug)]
pub(in crate::engine) struct ResponseContext<'b> {
    pub(in crate::engine) keep_alive: KeepAlive,
    /// The request is HEAD: the response has no body.
    pub(in crate::engine) head_only: bool,
    /// The allowed origin to echo, where it is one of several: its index in the configured list.
    pub(in crate::engine) origin: Option<u16>,
    /// The function to call, for JSONP.
    pub(in crate::engine) callback: Option<Cow<'b, str>>,
}

impl ResponseContext<'_> {
    /// The context in which all parked long polls get the same bytes.
    pub(in crate::engine) const SHARED: ResponseContext<'static> = ResponseContext {
        keep_alive: KeepAlive::Http11,
        head_only: false,
        origin: None,
        callback: None,
    };

    /// The same for a response that is no JSONP, to be kept beyond the request.
    pub(in crate::engine) fn without_callback(&self) -> ResponseContext<'static> {
        ResponseContext {
            callback: None,
            ..*self
        }
    }
}

/// Whether the connection stays open after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum KeepAlive {
    /// It stays open, as HTTP/1.1 implies (RFC 9112, section 9.3).
    Http11,
    /// It stays open, and a header field says so to an HTTP/1.0 client.
    Explicit,
    /// It is closed.
    Close,
    /// It goes on with another protocol (RFC 9110, section 7.8).
    Upgrade,
}

impl KeepAlive {
    /// Whether a connection with these flags stays open.
    pub(in crate::engine) fn of(flags: Flags) -> KeepAlive {
        if flags.contains(Flags::CLOSE) {
            KeepAlive::Close
        } else if flags.contains(Flags::HTTP10) {
            KeepAlive::Explicit
        } else {
            KeepAlive::Http11
        }
    }
}

/// How the end of a body is marked (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum BodyLength {
    /// By `Content-Length`.
    Known(usize),
    /// It is not known when the head is written.
    Unknown(Framing),
    /// There is no body: status 204.
    None,
}
