//! From a path to what is asked for.
//!
//! Owns the table of endpoints: their paths, methods, and which of them are the control surface.

use smallvec::SmallVec;

use crate::http1::{self, Method};
use crate::message::ChannelName;
use crate::transport::{Kind, Transport};

use crate::engine::response::Problem;
use crate::engine::stats::Endpoint;

/// The ways to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Receive {
    /// An answer at once.
    Poll,
    /// A response when there is something: the connection may be parked.
    Park(Transport),
}

impl Receive {
    /// Whether it is answered by a batch, be it at once or later.
    pub(in crate::engine) fn gives_batch(self) -> bool {
        self.stream().is_none()
    }

    /// Whether its client sends as well.
    pub(in crate::engine) fn is_duplex(self) -> bool {
        matches!(self, Receive::Park(transport) if transport.is_duplex())
    }

    /// The transport, if it is a stream.
    pub(in crate::engine) fn stream(self) -> Option<Transport> {
        match self {
            Receive::Poll => None,
            Receive::Park(transport) => match transport.describe().kind {
                Kind::Answer => None,
                Kind::Stream | Kind::Duplex => Some(transport),
            },
        }
    }
}

/// An endpoint; names of channels still as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Route<'b> {
    Receive(Receive, &'b [u8]),
    Publish(&'b [u8]),
    PublishLines,
    Channels,
    Channel(&'b [u8]),
    Connections,
    /// The nodes of a cluster.
    Nodes,
    Healthz,
    Readyz,
    Metrics,
    Page,
    /// The JavaScript client.
    Client,
    /// The present cursor.
    Cursor,
}

impl<'b> Route<'b> {
    /// The endpoint at a path.
    pub(in crate::engine) fn of(path: &'b [u8]) -> Option<Route<'b>> {
        let rest = path.strip_prefix(b"/")?;
        let (word, names) = match rest.iter().position(|&byte| byte == b'/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        Some(match (word, names) {
            (b"poll", Some(names)) => Route::Receive(Receive::Poll, names),
            (b"publish", Some(name)) => Route::Publish(name),
            (b"publish", None) => Route::PublishLines,
            (b"channels", Some(name)) => Route::Channel(name),
            (b"channels", None) => Route::Channels,
            (b"connections", None) => Route::Connections,
            (b"nodes", None) => Route::Nodes,
            (b"healthz", None) => Route::Healthz,
            (b"readyz", None) => Route::Readyz,
            (b"metrics", None) => Route::Metrics,
            (b"", None) => Route::Page,
            (b"encke.js", None) => Route::Client,
            (b"cursor", None) => Route::Cursor,
            (name, Some(names)) => Route::Receive(Receive::Park(Transport::named(name)?), names),
            _ => return None,
        })
    }

    /// The endpoint that it is counted for.
    pub(in crate::engine) fn endpoint(&self) -> Endpoint {
        match self {
            Route::Receive(Receive::Poll, _) => Endpoint::Poll,
            Route::Receive(Receive::Park(transport), _) => Endpoint::Park(*transport),
            Route::Publish(_) | Route::PublishLines => Endpoint::Publish,
            Route::Channels | Route::Channel(_) => Endpoint::Channels,
            Route::Connections => Endpoint::Connections,
            Route::Nodes => Endpoint::Nodes,
            Route::Healthz => Endpoint::Healthz,
            Route::Readyz => Endpoint::Readyz,
            Route::Metrics => Endpoint::Metrics,
            Route::Page => Endpoint::Page,
            Route::Client => Endpoint::Client,
            Route::Cursor => Endpoint::Cursor,
        }
    }

    /// Whether it belongs to the control surface.
    pub(in crate::engine) fn is_control(&self) -> bool {
        match self {
            Route::Publish(_) | Route::PublishLines => true,
            Route::Channels | Route::Channel(_) | Route::Connections => true,
            Route::Metrics | Route::Nodes => true,
            Route::Receive(..) | Route::Healthz | Route::Readyz => false,
            Route::Page | Route::Client | Route::Cursor => false,
        }
    }

    /// Whether it is a part of the live page, which can be left out.
    pub(in crate::engine) fn is_page(&self) -> bool {
        matches!(self, Route::Page | Route::Client)
    }

    /// Whether it may be asked for JSONP.
    pub(in crate::engine) fn takes_callback(&self) -> bool {
        match self {
            Route::Receive(receive, _) => receive.gives_batch(),
            _ => false,
        }
    }

    /// Whether it is opened by a handshake.
    pub(in crate::engine) fn is_duplex(&self) -> bool {
        matches!(self, Route::Receive(receive, _) if receive.is_duplex())
    }

    /// Whether it takes messages.
    pub(in crate::engine) fn is_publish(&self) -> bool {
        matches!(self, Route::Publish(_) | Route::PublishLines)
    }

    /// Whether a token may be its credential.
    pub(in crate::engine) fn takes_token(&self) -> bool {
        self.is_publish() || matches!(self, Route::Receive(..))
    }

    /// The methods it answers, as in an `Allow` field.
    pub(in crate::engine) fn allow(&self) -> &'static str {
        match self {
            Route::Publish(_) => "POST, PUT, OPTIONS",
            Route::PublishLines => "POST, OPTIONS",
            Route::Channel(_) | Route::Connections => "GET, HEAD, DELETE, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether it answers a method.
    pub(in crate::engine) fn allows(&self, method: Method) -> bool {
        match (method, self) {
            (Method::Options, _) => true,
            (Method::Post, Route::Publish(_) | Route::PublishLines) => true,
            (Method::Put, Route::Publish(_)) => true,
            (_, Route::Publish(_) | Route::PublishLines) => false,
            (Method::Delete, Route::Channel(_) | Route::Connections) => true,
            (Method::Get | Method::Head, _) => true,
            _ => false,
        }
    }
}

/// Most channels in one request.
pub(in crate::engine) const MAX_CHANNELS: usize = 64;

/// The channels of one request: nearly always a single one, borrowed from its path.
pub(in crate::engine) type Names<'b> = SmallVec<[ChannelName<'b>; 1]>;

/// The names in a path: separated by commas, percent-encoded; one given twice counts once.
pub(in crate::engine) fn channel_names(raw: &[u8]) -> Result<Names<'_>, Problem> {
    distinct_names(raw.split(|&byte| byte == b',').map(channel_name))
}

/// Names without those that were given before.
pub(in crate::engine) fn distinct_names<'n>(
    given: impl Iterator<Item = Result<ChannelName<'n>, Problem>>,
) -> Result<Names<'n>, Problem> {
    let mut names = Names::new();
    for name in given {
        let name = name?;
        // fault: name-counted-twice
        if names.contains(&name) {
            continue;
        }
        if names.len() == MAX_CHANNELS {
            return Err(Problem::bad("a request names at most 64 channels"));
        }
        names.push(name);
    }
    Ok(names)
}

/// One name, percent-encoded.
pub(in crate::engine) fn channel_name(raw: &[u8]) -> Result<ChannelName<'_>, Problem> {
    let decoded = http1::decode(raw)
        .ok_or_else(|| Problem::bad("`%` in the path must be followed by two hex digits"))?;
    ChannelName::parse(decoded).map_err(|error| Problem::bad(error.to_string()))
}
