//! How one request is answered, as far as its head and its connection say.
//!
//! Owns what an answer depends on beside what it says: persistence, HEAD, origin, callback.

use std::borrow::Cow;

use crate::engine::Engine;
use crate::engine::connections::conn::Flags;
use crate::engine::response::heads::{Heads, Manner, Persistence};
use crate::http1::{Head, Method};

/// How one request is answered, without what the engine owns.
pub(in crate::engine) struct Ask<'b> {
    pub(in crate::engine) persistence: Persistence,
    pub(in crate::engine) head_only: bool,
    pub(in crate::engine) origin: Option<u16>,
    pub(in crate::engine) callback: Option<Cow<'b, str>>,
}

impl Ask<'_> {
    /// The same for an answer that is no JSONP.
    pub(in crate::engine) fn plain(&self) -> Ask<'static> {
        Ask {
            callback: None,
            ..*self
        }
    }
}

/// The manner of an answer, with the origin looked up.
pub(in crate::engine) fn manner<'a>(ask: &'a Ask<'_>, heads: &'a Heads) -> Manner<'a> {
    Manner {
        persistence: ask.persistence,
        head_only: ask.head_only,
        origin: ask.origin.and_then(|place| heads.origin(place)),
        callback: ask.callback.as_deref(),
    }
}

impl Engine {
    pub(in crate::engine) fn ask<'b>(&self, index: u32, head: &Head<'b>) -> Ask<'b> {
        Ask {
            persistence: self.persistence(index),
            head_only: head.method == Method::Head,
            origin: head.origin.and_then(|origin| self.heads.echoed(origin)),
            callback: None,
        }
    }

    /// What becomes of a connection after the present answer.
    pub(in crate::engine) fn persistence(&self, index: u32) -> Persistence {
        let flags = self.conns[index as usize].flags;
        match (flags.has(Flags::CLOSE), flags.has(Flags::HTTP10)) {
            (true, _) => Persistence::Close,
            (false, true) => Persistence::Told,
            (false, false) => Persistence::Implied,
        }
    }
}
