//! The state of channels, for those who run the server.
//!
//! Owns the answers of `/channels`.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::encode::{Seq, write_cursor};
use crate::engine::Engine;
use crate::engine::connections::conn::{self, ConnId};
use crate::engine::connections::wire::Wire;
use crate::engine::requests::params::decoded;
use crate::engine::response::context::Ask;
use crate::engine::response::problem::Problem;
use crate::engine::stats::End;
use crate::http1;
use crate::hub::{Channel, Hub, Transport};

/// Channels in one answer, if the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// Most channels in one answer.
const MAX_LIMIT: usize = 1_000;

/// Places of channels looked at in one go.
const LOOK: usize = 4_096;

#[derive(Serialize)]
struct State<'c> {
    channel: &'c str,
    subscribers: Subscribers,
    messages: usize,
    bytes: usize,
    oldest: Option<String>,
    newest: Option<String>,
}

#[derive(Serialize)]
struct Subscribers {
    total: u32,
    #[serde(rename = "long-poll")]
    long_poll: u32,
    sse: u32,
    ndjson: u32,
    frame: u32,
}

#[derive(Serialize)]
struct Channels<'c> {
    channels: Vec<State<'c>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

/// A listing under way: all places of channels are looked at, some in each tick.
pub(in crate::engine) struct Listing {
    id: ConnId,
    ask: Ask<'static>,
    prefix: String,
    after: Option<String>,
    limit: usize,
    /// The next place to look at.
    place: usize,
    /// The first names found so far, in order; one more than asked for, to know whether there are.
    found: BTreeSet<Box<str>>,
}

impl Listing {
    /// Looks at the next `budget` places; true when all were looked at.
    fn look(&mut self, hub: &Hub, budget: usize) -> bool {
        let (channels, more) = hub.channels_in(self.place, budget);
        self.place += budget;
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
}

impl Engine {
    /// Lists the channels whose names begin with `prefix` and come after `after`, in order of
    /// names: at once where there are few, else over the next ticks.
    pub(in crate::engine) fn list_channels(
        &mut self,
        index: u32,
        query: &[u8],
        ask: &Ask<'_>,
    ) -> Result<(), Problem> {
        let mut listing = Listing {
            id: ConnId {
                index,
                generation: self.conns[index as usize].generation,
            },
            ask: ask.plain(),
            prefix: String::new(),
            after: None,
            limit: DEFAULT_LIMIT,
            place: 0,
            found: BTreeSet::new(),
        };
        for (name, raw) in http1::parameters(query) {
            match name {
                b"prefix" => listing.prefix = text(raw)?,
                b"after" => listing.after = Some(text(raw)?),
                b"limit" => listing.limit = limit(&text(raw)?)?,
                _ => {}
            }
        }
        if listing.look(&self.hub, LOOK) {
            self.answer_listing(&listing);
        } else {
            self.enter(index, conn::State::Listing);
            self.listings.push_back(listing);
        }
        Ok(())
    }

    /// Goes on with listings under way: one look for the first of them. The connection whose
    /// answer that completed, whose bytes are wanted again.
    pub fn list_on(&mut self, wire: &mut impl Wire) -> Option<ConnId> {
        let mut listing = self.listings.pop_front()?;
        let index = self.find(listing.id)?;
        if self.conns[index as usize].state() != conn::State::Listing {
            return None;
        }
        if !listing.look(&self.hub, LOOK) {
            self.listings.push_back(listing);
            return None;
        }
        if self.conns[index as usize].is_blocked() {
            // It does not take the answers it has.
            self.end(index, End::NoRoom);
            return None;
        }
        self.answer_listing(&listing);
        self.enter(index, conn::State::Idle);
        self.flush(index, wire);
        if self.conns[index as usize].has_input() {
            self.queue(index);
        }
        self.rest(index, wire);
        Some(listing.id)
    }

    fn answer_listing(&mut self, listing: &Listing) {
        let found = listing.found.iter().take(listing.limit);
        // One that was forgotten while others were looked at is left out.
        let channels = found.filter_map(|name| self.hub.find(name));
        let channels = channels.map(|channel| self.state_of(self.hub.channel(channel)));
        let answer = json(&Channels {
            channels: channels.collect(),
            more: listing.found.len() > listing.limit,
        });
        self.answer_json(&listing.ask, &answer);
    }

    pub(in crate::engine) fn show_channel(&self, name: &str) -> Result<Vec<u8>, Problem> {
        let channel = self.hub.find(name).ok_or_else(unknown)?;
        Ok(json(&self.state_of(self.hub.channel(channel))))
    }

    pub(in crate::engine) fn forget_channel(&mut self, name: &str) -> Result<(), Problem> {
        let channel = self.hub.find(name).ok_or_else(unknown)?;
        self.hub.forget_history(channel);
        Ok(())
    }

    fn state_of<'c>(&self, channel: &'c Channel) -> State<'c> {
        let audience = channel.audience();
        State {
            channel: channel.name(),
            subscribers: Subscribers {
                total: audience.total(),
                long_poll: audience.of(Transport::LongPoll),
                sse: audience.of(Transport::Sse),
                ndjson: audience.of(Transport::Ndjson),
                frame: audience.of(Transport::Frame),
            },
            messages: channel.len(),
            bytes: channel.bytes(),
            oldest: channel.oldest().map(|seq| self.id(seq)),
            newest: channel.newest().map(|seq| self.id(seq)),
        }
    }

    fn id(&self, seq: Seq) -> String {
        let mut id = Vec::new();
        write_cursor(&mut id, self.hub.epoch(), seq);
        String::from_utf8(id).expect("a cursor is ASCII")
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a state has no key that is not a string")
}

fn text(raw: &[u8]) -> Result<String, Problem> {
    String::from_utf8(decoded(raw)?.into_owned())
        .map_err(|_| Problem::bad("a parameter must be UTF-8"))
}

fn limit(text: &str) -> Result<usize, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text
        .parse()
        .ok()
        .filter(|_| digits)
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Problem::bad("limit must be a whole number from 1 to 1000"))
}

fn unknown() -> Problem {
    Problem::new(
        404,
        "no such channel now; a channel is made by its first use",
    )
}
