//! The entry by which connections of subjects are ended, and their tokens refused, on all nodes.
//!
//! Owns its encoding.

use std::borrow::Cow;

use crate::log::EntryError;
use crate::log::cluster::bytes::{Bytes, read_short_name, read_text, write_number};
use crate::log::entry::write_short;
use crate::message::ChannelName;
use crate::tokens::MAX_SUBJECT_BYTES;

const ENDS: u8 = 1 << 0;
const HAS_CHANNEL: u8 = 1 << 1;

/// What holds for the connections and tokens of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kick<'e> {
    /// The `sub` of its tokens, 1 to [`MAX_SUBJECT_BYTES`] bytes.
    pub subject: Cow<'e, str>,
    /// Whether its parked connections end now.
    pub ends: bool,
    /// Only those that follow or publish to this channel end.
    pub channel: Option<ChannelName<'e>>,
    /// Until when its tokens are refused, in milliseconds since 1970; 0: they are not.
    pub until_ms: u64,
}

impl<'e> Kick<'e> {
    /// The same, with texts of its own.
    pub fn into_owned(self) -> Kick<'static> {
        Kick {
            subject: self.subject.into_owned().into(),
            ends: self.ends,
            channel: self.channel.map(ChannelName::into_owned),
            until_ms: self.until_ms,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let ends = if self.ends { ENDS } else { 0 };
        let channel = self.channel.as_ref().map_or(0, |_| HAS_CHANNEL);
        out.push(ends | channel);
        write_short(out, &self.subject);
        if let Some(channel) = &self.channel {
            write_short(out, channel);
        }
        write_number(out, self.until_ms);
    }

    pub(super) fn read(rest: &mut Bytes<'e>) -> Result<Kick<'e>, EntryError> {
        let flags = rest.byte()?;
        if flags & !(ENDS | HAS_CHANNEL) != 0 {
            return Err(EntryError::Unknown);
        }
        let length = rest.byte()?;
        let subject = read_text(rest.take(length.into())?)?;
        if !(1..=MAX_SUBJECT_BYTES).contains(&subject.len()) {
            return Err(EntryError::Invalid("subject"));
        }
        let channel = match flags & HAS_CHANNEL {
            0 => None,
            _ => Some(read_short_name(rest)?),
        };
        Ok(Kick {
            subject: subject.into(),
            ends: flags & ENDS != 0,
            channel,
            until_ms: rest.number()?,
        })
    }
}
