//! The parked connections of a token's subject, for operators.
//!
//! Owns the parameters and response bodies of `/connections`.

mod frozen;

pub(super) use frozen::FrozenSearch;

use crate::base::decimal;
use crate::encode::write_json_string;
use crate::engine::connections::CredentialRef;
use crate::engine::delivery::Delivery;
use crate::engine::response::Problem;
use crate::engine::routing::{decoded, parameters};
use crate::log::cluster::Kick;
use crate::message::ChannelName;
use crate::tokens::MAX_SUBJECT_BYTES;

/// The budget of one tick. Each entry of the table of connections takes 1, and each channel that is
/// compared 1 more.
const TICK_BUDGET: usize = 16_384;

/// The longest block, in seconds: 30 days.
const MAX_BLOCK_S: u64 = 30 * 24 * 3_600;

/// Whether the connections that are found are counted or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// They are counted.
    Count,
    /// Their right to receive ends now.
    End,
}

/// A search of all connections of a subject that is under way: some are looked at in each tick.
pub(super) struct Search {
    action: Action,
    subject: String,
    /// The channel that they have to follow; `None`: any.
    channel: Option<ChannelName<'static>>,
    /// For how long all tokens of the subject are refused, in seconds.
    block_s: Option<u64>,
    /// The next index to look at.
    next: u32,
    found: u64,
}

impl Search {
    /// The search that the query of a request asks for.
    pub(super) fn new(query: &[u8], action: Action) -> Result<Search, Problem> {
        let mut subject = None;
        let mut search = Search {
            action,
            subject: String::new(),
            channel: None,
            block_s: None,
            next: 0,
            found: 0,
        };
        for (name, raw) in parameters(query) {
            let value = decoded(raw)?;
            match (&*name, action) {
                (b"sub", _) => {
                    let text = String::from_utf8(value.into_owned());
                    let text = text.map_err(|_| Problem::bad("sub must be UTF-8"))?;
                    // The table of blocks counts entries, so each has to be short.
                    if text.len() > MAX_SUBJECT_BYTES {
                        return Err(Problem::bad("sub has at most 255 bytes, as in a token"));
                    }
                    subject = Some(text);
                }
                (b"channel", Action::End) => {
                    let channel = ChannelName::parse(value.into_owned());
                    search.channel =
                        Some(channel.map_err(|error| Problem::bad(error.to_string()))?);
                }
                (b"block", Action::End) => search.block_s = Some(block_s(&value)?),
                _ => {}
            }
        }
        search.subject = subject
            .filter(|subject| !subject.is_empty())
            .ok_or_else(|| {
                Problem::bad(
                    "the parameter `sub` is missing: send ?sub=SUBJECT, the `sub` claim of the tokens",
                )
            })?;
        Ok(search)
    }

    /// The search for the connections that another node was asked to end.
    pub(super) fn of_kick(kick: Kick<'static>) -> Search {
        Search {
            action: Action::End,
            subject: kick.subject.into_owned(),
            channel: kick.channel,
            block_s: None,
            next: 0,
            found: 0,
        }
    }

    /// What other nodes are told, whose block ends at a date.
    pub(super) fn as_kick(&self, until_ms: u64) -> Kick<'_> {
        Kick {
            subject: (&*self.subject).into(),
            ends: true,
            channel: self.channel.as_ref().map(ChannelName::borrowed),
            until_ms,
        }
    }

    /// How many connections were found.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// The subject whose tokens are to be refused, and for how many seconds.
    pub(super) fn block(&self) -> Option<(&str, u64)> {
        Some((&self.subject, self.block_s?))
    }

    /// Looks at the next connections, within the budget. Returns whether all have been looked at.
    pub(super) fn advance(&mut self, delivery: &mut Delivery) -> bool {
        let end = delivery.connections.holders.end();
        let mut budget = TICK_BUDGET;
        while budget > 0 && self.next < end {
            let index = self.next;
            self.next += 1;
            budget -= 1;
            if self.is_wanted(delivery, index, &mut budget) {
                self.found += 1;
                if self.action == Action::End {
                    delivery.connections.revoke(index);
                }
            }
        }
        self.next >= end
    }

    fn is_wanted(&self, delivery: &Delivery, index: u32, budget: &mut usize) -> bool {
        let Delivery {
            connections, hub, ..
        } = delivery;
        let wanted = Some(&*self.subject);
        match connections.holders.of(index) {
            CredentialRef::Token { subject, .. } if subject == wanted => {}
            _ => return false,
        }
        let conn = &connections[index];
        let is_by_lines = conn.line_upload();
        (conn.is_parked() || is_by_lines.is_some())
            // fault: ended-is-counted
            && !conn.has_expired(delivery.now())
            && self.channel.as_deref().is_none_or(|name| {
                let named = is_by_lines.and_then(|upload| upload.plan.channel.as_deref());
                if named == Some(name) {
                    return true;
                }
                let mut followed = hub.followed(&conn.reader);
                // fault: kick-ignores-the-channel
                followed.any(|channel| {
                    *budget = budget.saturating_sub(1);
                    hub.channel(channel).name() == name
                })
            })
    }

    /// The body of the response. `node` is the name of the node whose connections they are.
    pub(super) fn finish(&self, node: Option<&str>) -> Vec<u8> {
        let member = match self.action {
            Action::Count => "connections",
            Action::End => "ended",
        };
        let mut out = Vec::new();
        write_found(&mut out, member, self.found, node);
        out
    }
}

/// Appends the body that says how many connections of a node, if the server is one, were found.
pub(super) fn write_found(out: &mut Vec<u8>, member: &str, found: u64, node: Option<&str>) {
    out.extend_from_slice(format!("{{\"{member}\":{found}").as_bytes());
    if let Some(node) = node {
        out.extend_from_slice(b",\"node\":");
        write_json_string(out, node);
    }
    out.push(b'}');
}

fn block_s(value: &[u8]) -> Result<u64, Problem> {
    let block_s = decimal::saturating(value).filter(|block_s| (1..=MAX_BLOCK_S).contains(block_s));
    block_s.ok_or_else(|| {
        Problem::bad(format!(
            "block must be whole seconds, from 1 to {MAX_BLOCK_S}"
        ))
    })
}
