//! A search of connections that is under way, in a state that is handed over.
//!
//! Owns its form.

use serde::{Deserialize, Serialize};

use super::{Action, MAX_BLOCK_S, Search};
use crate::frozen::ThawError;
use crate::message::ChannelName;
use crate::tokens::MAX_SUBJECT_BYTES;

/// The frozen form of a [`Search`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine::requests) struct FrozenSearch<'s> {
    /// The connections end; else they are counted.
    ends: bool,
    subject: &'s str,
    #[serde(borrow)]
    channel: Option<ChannelName<'s>>,
    block_s: Option<u64>,
    next: u32,
    found: u32,
}

impl<'s> From<&'s Search> for FrozenSearch<'s> {
    fn from(search: &'s Search) -> FrozenSearch<'s> {
        FrozenSearch {
            ends: search.action == Action::End,
            subject: &search.subject,
            channel: search.channel.as_ref().map(ChannelName::borrowed),
            block_s: search.block_s,
            next: search.next,
            found: search.found as u32,
        }
    }
}

impl TryFrom<FrozenSearch<'_>> for Search {
    type Error = ThawError;

    fn try_from(frozen: FrozenSearch<'_>) -> Result<Search, ThawError> {
        let is_block = |block_s: u64| (1..=MAX_BLOCK_S).contains(&block_s);
        let is_subject = (1..=MAX_SUBJECT_BYTES).contains(&frozen.subject.len());
        if !is_subject || !frozen.block_s.is_none_or(is_block) {
            return Err(ThawError::Damaged("a search has no subject"));
        }
        Ok(Search {
            action: match frozen.ends {
                true => Action::End,
                false => Action::Count,
            },
            subject: frozen.subject.to_owned(),
            channel: frozen.channel.map(ChannelName::into_owned),
            block_s: frozen.block_s,
            next: frozen.next,
            found: u64::from(frozen.found),
        })
    }
}
