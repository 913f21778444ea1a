//! The state of channels, for operators.
//!
//! Owns the response bodies of `/channels`.

mod frozen;

pub(super) use frozen::FrozenListing;

use std::collections::BTreeSet;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::base::decimal;
use crate::engine::response::Problem;
use crate::engine::routing::{decoded, parameters};
use crate::hub::{Channel, Hub, ReaderCounts};
use crate::log::Log;
use crate::message::Seq;
use crate::transport::Transport;

/// Channels in one response, unless the request says otherwise.
const DEFAULT_LIMIT: usize = 100;

/// The most channels in one response.
const MAX_LIMIT: usize = 1_000;

/// Slots of the table of channels looked at in one tick.
const SLOTS_PER_TURN: usize = 4_096;

#[derive(serde::Serialize)]
struct State<'c> {
    channel: &'c str,
    subscribers: Subscribers<'c>,
    messages: usize,
    bytes: usize,
    oldest: Option<String>,
    newest: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
}

/// How many connections follow a channel: in all, and by the name of each transport. Of those of the
/// other nodes of a cluster the transports are not known.
struct Subscribers<'c> {
    here: &'c ReaderCounts,
    /// `None` where there are no other nodes.
    elsewhere: Option<u32>,
}

impl Serialize for Subscribers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let total = self.here.total();
        let elsewhere = self.elsewhere.unwrap_or(0);
        map.serialize_entry("total", &total.saturating_add(elsewhere))?;
        for transport in Transport::ALL {
            map.serialize_entry(transport.name(), &self.here.of(transport.number()))?;
        }
        if let Some(elsewhere) = self.elsewhere {
            map.serialize_entry("elsewhere", &elsewhere)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Channels<'c> {
    channels: Vec<State<'c>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

/// A listing under way: the slots of all channels are looked at, some in each tick.
pub(super) struct Listing {
    prefix: String,
    after: Option<String>,
    limit: usize,
    /// The next slot to look at.
    slot: usize,
    /// The first names found so far, in order; one more than asked for, to know whether there are
    /// more.
    found: BTreeSet<Box<str>>,
}

impl Listing {
    /// The listing that the query of a request asks for: the channels whose names begin with
    /// `prefix` and come after `after`, in order of names.
    pub(super) fn new(query: &[u8]) -> Result<Listing, Problem> {
        let mut listing = Listing {
            prefix: String::new(),
            after: None,
            limit: DEFAULT_LIMIT,
            slot: 0,
            found: BTreeSet::new(),
        };
        for (name, raw) in parameters(query) {
            match &*name {
                b"prefix" => listing.prefix = text(raw)?,
                b"after" => listing.after = Some(text(raw)?),
                b"limit" => listing.limit = limit(&text(raw)?)?,
                _ => {}
            }
        }
        Ok(listing)
    }

    /// Looks at the next [`SLOTS_PER_TURN`] slots. Returns whether all have been looked at.
    pub(super) fn advance(&mut self, hub: &Hub) -> bool {
        let (channels, more) = hub.channels_in(self.slot, SLOTS_PER_TURN);
        self.slot += SLOTS_PER_TURN;
        for name in channels.map(Channel::name) {
            let is_after = self.after.as_deref().is_none_or(|after| name > after);
            let is_full = self.found.len() > self.limit;
            let is_late = is_full && self.found.last().is_some_and(|last| *name > **last);
            if !name.starts_with(&self.prefix) || !is_after || is_late {
                continue;
            }
            self.found.insert(name.into());
            if is_full {
                self.found.pop_last();
            }
        }
        !more
    }

    /// The body of the response.
    pub(super) fn finish(&self, hub: &Hub) -> Vec<u8> {
        let found = self.found.iter().take(self.limit);
        // A channel that was forgotten while others were looked at is left out.
        let channels = found.filter_map(|name| hub.find(name));
        json(&Channels {
            channels: channels.map(|channel| state_of(hub, channel)).collect(),
            more: self.found.len() > self.limit,
        })
    }
}

/// The body that describes one channel.
pub(super) fn show_channel(hub: &Hub, name: &str) -> Result<Vec<u8>, Problem> {
    let Some(channel) = hub.find(name) else {
        return show_elsewhere(hub, name);
    };
    Ok(json(&state_of(hub, channel)))
}

/// The body that describes a channel that only other nodes know, as it has readers there.
fn show_elsewhere(hub: &Hub, name: &str) -> Result<Vec<u8>, Problem> {
    let elsewhere = hub.readers_elsewhere(name);
    if elsewhere == 0 {
        return Err(unknown());
    }
    Ok(json(&State {
        channel: name,
        subscribers: Subscribers {
            here: &ReaderCounts::default(),
            elsewhere: Some(elsewhere),
        },
        messages: 0,
        bytes: 0,
        oldest: None,
        newest: None,
        ended: false,
    }))
}

/// Deletes the history of one channel.
pub(super) fn delete_history(log: &mut Log, hub: &mut Hub, name: &str) -> Result<(), Problem> {
    let channel = hub.find(name).ok_or_else(unknown)?;
    Ok(log.delete(hub, channel)?)
}

fn state_of(hub: &Hub, channel: u32) -> State<'_> {
    let channel = hub.channel(channel);
    let elsewhere = || hub.readers_elsewhere(channel.name());
    State {
        channel: channel.name(),
        subscribers: Subscribers {
            here: channel.reader_counts(),
            elsewhere: hub.is_shared().then(elsewhere),
        },
        messages: channel.len(),
        bytes: channel.bytes(),
        oldest: channel.oldest().map(|seq| id(hub, seq)),
        newest: channel.newest().map(|seq| id(hub, seq)),
        ended: channel.has_ended(),
    }
}

fn id(hub: &Hub, seq: Seq) -> String {
    hub.id(seq).to_string()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("every key is a string")
}

fn text(raw: &[u8]) -> Result<String, Problem> {
    String::from_utf8(decoded(raw)?.into_owned())
        .map_err(|_| Problem::bad("a parameter must be UTF-8"))
}

fn limit(text: &str) -> Result<usize, Problem> {
    let limit = decimal::saturating(text.as_bytes()).map(|limit| limit as usize);
    let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Problem::bad("limit must be a whole number from 1 to 1000"))
}

fn unknown() -> Problem {
    Problem::new(
        404,
        "no such channel now; a channel is made by its first use",
    )
}
