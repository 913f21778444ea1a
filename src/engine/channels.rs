//! The state of channels, for those who run the server.
//!
//! Owns the answers of `/channels`.

use serde::Serialize;

use super::Engine;
use super::problem::Problem;
use crate::encode::{Seq, write_cursor};
use crate::http1;
use crate::hub::{Channel, Transport};

/// Channels in one answer, if the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// Most channels in one answer.
const MAX_LIMIT: usize = 1_000;

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
struct Listing<'c> {
    channels: Vec<State<'c>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

impl Engine {
    /// The channels whose names begin with `prefix` and come after `after`, in order of names.
    pub(super) fn list_channels(&self, query: &[u8]) -> Result<Vec<u8>, Problem> {
        let (mut prefix, mut after, mut limit) = (String::new(), None, DEFAULT_LIMIT);
        for (name, raw) in http1::parameters(query) {
            match name {
                b"prefix" => prefix = text(raw)?,
                b"after" => after = Some(text(raw)?),
                b"limit" => {
                    limit = text(raw)?
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                        .ok_or_else(|| Problem::bad("limit must be a number from 1 to 1000"))?;
                }
                _ => {}
            }
        }
        let (all, _) = self.hub.channels_in(0, usize::MAX);
        let mut found: Vec<&Channel> = all
            .filter(|channel| channel.name().starts_with(&prefix))
            .filter(|channel| after.as_deref().is_none_or(|after| channel.name() > after))
            .collect();
        let more = found.len() > limit;
        if more {
            found.select_nth_unstable_by_key(limit, |channel| channel.name());
            found.truncate(limit);
        }
        found.sort_unstable_by_key(|channel| channel.name());
        let channels = found
            .into_iter()
            .map(|channel| self.state_of(channel))
            .collect();
        Ok(json(&Listing { channels, more }))
    }

    pub(super) fn show_channel(&self, name: &str) -> Result<Vec<u8>, Problem> {
        let channel = self.hub.find(name).ok_or_else(unknown)?;
        Ok(json(&self.state_of(self.hub.channel(channel))))
    }

    pub(super) fn forget_channel(&mut self, name: &str) -> Result<(), Problem> {
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
    let decoded = http1::decode(raw)
        .ok_or_else(|| Problem::bad("`%` in the query must be followed by two hex digits"))?;
    String::from_utf8(decoded.into_owned()).map_err(|_| Problem::bad("a parameter must be UTF-8"))
}

fn unknown() -> Problem {
    Problem::new(
        404,
        "no such channel now; a channel is made by its first use",
    )
}
