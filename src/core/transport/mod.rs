//! Transports: the ways in which a parked connection receives, one file each.
//!
//! Owns the table that paths, labels of metrics and listings are made of ([`Transport::describe`]),
//! and the bytes of every [`Event`] in every format. It never knows a connection, a channel's
//! readers or a response head, and what delimits events on a connection (chunks, for example) is
//! put around these bytes by the engine.
//!
//! Invariants:
//! - *Every transport encodes every event.* No match over transports or events has a wildcard arm,
//!   so a new one compiles only when all its bytes are decided.
//! - *No injection.* Published data, event names and channel names cannot begin an event, a field
//!   of one, or a script: each is escaped or split inside its own field.
//! - *The same bytes for all.* An event's bytes depend on the event and on [`Options`], never on
//!   the connection.

mod description;
mod event;
mod frame;
mod long_poll;
mod ndjson;
mod sse;
mod ws;

pub use description::{Description, Kind};
pub use event::{Event, Options, Target};

/// A way to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A held long poll.
    LongPoll,
    /// A stream of server-sent events.
    Sse,
    /// A stream of NDJSON lines.
    Ndjson,
    /// A forever frame.
    Frame,
    /// A WebSocket.
    WebSocket,
}

impl Transport {
    /// All transports, in the order of their numbers.
    pub const ALL: [Transport; 5] = [
        Transport::LongPoll,
        Transport::Sse,
        Transport::Ndjson,
        Transport::Frame,
        Transport::WebSocket,
    ];

    /// How many different bytes a message can have in all transports; see [`Transport::variant`].
    pub const VARIANTS: u8 = 8;

    /// The transport whose name is the first segment of a path.
    pub fn named(name: &[u8]) -> Option<Transport> {
        let is_named = |transport: &Transport| transport.name().as_bytes() == name;
        Transport::ALL.into_iter().find(is_named)
    }

    /// The facts about it.
    pub fn describe(self) -> &'static Description {
        match self {
            Transport::LongPoll => &long_poll::DESCRIPTION,
            Transport::Sse => &sse::DESCRIPTION,
            Transport::Ndjson => &ndjson::DESCRIPTION,
            Transport::Frame => &frame::DESCRIPTION,
            Transport::WebSocket => &ws::DESCRIPTION,
        }
    }

    /// Its name in paths, metrics and listings.
    pub fn name(self) -> &'static str {
        self.describe().name
    }

    /// Whether both sides send on its connections.
    pub fn is_duplex(self) -> bool {
        // The same as its kind, in one comparison.
        self == Transport::WebSocket
    }

    /// Its number, below the length of [`Transport::ALL`].
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Which bytes a message has with these options: a number below [`Transport::VARIANTS`]. Two
    /// readers with the same number are sent the same bytes.
    pub fn variant(self, options: Options) -> u8 {
        match self {
            Transport::LongPoll => u8::from(options.contains(Options::EARLY)),
            Transport::Sse => 2 + u8::from(options.contains(Options::ENVELOPE)),
            Transport::Ndjson => 4,
            Transport::Frame => 5,
            Transport::WebSocket => 6 + u8::from(options.contains(Options::RAW)),
        }
    }

    /// Appends an event. For [`Kind::Answer`] these bytes are a whole body, for [`Kind::Stream`]
    /// the next piece of one, for [`Kind::Duplex`] whole frames.
    pub fn encode(self, event: &Event<'_>, options: Options, out: &mut Vec<u8>) {
        match self {
            Transport::LongPoll => long_poll::encode(event, options, out),
            Transport::Sse => sse::encode(event, options, out),
            Transport::Ndjson => ndjson::encode(event, options, out),
            Transport::Frame => frame::encode(event, options, out),
            Transport::WebSocket => ws::encode(event, options, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_numbers_are_distinct() {
        let names = Transport::ALL.map(Transport::name);
        assert_eq!(BTreeSet::from(names).len(), names.len());
        for (place, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(transport.number()), place);
            let is_duplex = transport.describe().kind == Kind::Duplex;
            assert_eq!(transport.is_duplex(), is_duplex);
            assert_eq!(
                Transport::named(transport.name().as_bytes()),
                Some(transport)
            );
        }
        assert_eq!(Transport::named(b"poll"), None);
    }

    #[test]
    fn variants_are_distinct_and_all_below_their_count() {
        let choices = Options::all().bits() + 1;
        let variants_of = |transport: Transport| -> BTreeSet<u8> {
            let options = (0..choices).map(Options::from_bits_truncate);
            options.map(|options| transport.variant(options)).collect()
        };
        let each = Transport::ALL.map(variants_of);
        let all: BTreeSet<u8> = each.iter().flatten().copied().collect();
        assert_eq!(each.iter().map(BTreeSet::len).sum::<usize>(), all.len());
        assert!(all.into_iter().eq(0..Transport::VARIANTS));
    }
}
