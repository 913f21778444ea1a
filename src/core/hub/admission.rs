//! Admission: the messages and readers that the policy of a channel lets in.
//!
//! Owns these checks. Without policies each is one comparison.

use super::room::footprint_with_end;
use super::{Hub, Refusal};
use crate::config::Create;
use crate::message::{ChannelName, Draft};

impl Hub {
    /// The first of these names that a reader may not use: there is no such channel, and only
    /// publishers may create it.
    #[inline]
    pub fn first_missing<'n, 'b>(
        &mut self,
        names: &'n [ChannelName<'b>],
    ) -> Option<&'n ChannelName<'b>> {
        match self.policies.is_empty() {
            true => None,
            false => self.find_missing(names),
        }
    }

    fn find_missing<'n, 'b>(
        &mut self,
        names: &'n [ChannelName<'b>],
    ) -> Option<&'n ChannelName<'b>> {
        let is_missing = |name: &&ChannelName<'_>| {
            let policy = self.policies.resolve(name);
            // fault: anyone-creates
            self.policies.rules(policy).create == Create::Publisher && self.find(name).is_none()
        };
        let missing = names.iter().find(is_missing)?;
        self.counts.missing += 1;
        Some(missing)
    }

    /// Whether each of these channels has room for one more reader.
    #[inline]
    pub fn has_room_for_reader(&mut self, channels: &[u32]) -> bool {
        self.policies.is_empty() || !self.is_any_full(channels)
    }

    fn is_any_full(&mut self, channels: &[u32]) -> bool {
        let is_full = |&index: &u32| {
            let max_subscribers = self.rules(index).max_subscribers;
            if max_subscribers == u32::MAX {
                return false;
            }
            let channel = &self.channels[index as usize];
            let readers = channel.reader_counts().total();
            // fault: one-subscriber-too-many
            readers >= max_subscribers
                || readers.saturating_add(self.readers_elsewhere(channel.name())) >= max_subscribers
        };
        let is_any = channels.iter().any(is_full);
        if is_any {
            self.counts.too_many_subscribers += 1;
            // Some may have been made for this reader.
            for &channel in channels {
                if self.channels[channel as usize].is_unused() {
                    self.enqueue_idle(channel);
                }
            }
        }
        is_any
    }

    /// Checks what the node of a cluster can judge of messages that are to be published together,
    /// before they have their places in the log.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLargeForChannel`], [`Refusal::ExceedsTotalMemory`] and
    /// [`Refusal::TooManyChannels`]; idle channels may have been forgotten.
    pub fn admit(&mut self, drafts: &[Draft<'_>]) -> Result<(), Refusal> {
        let bytes: usize = drafts.iter().map(footprint_with_end).sum();
        if bytes > self.meter.limit() {
            return Err(Refusal::ExceedsTotalMemory);
        }
        for (place, draft) in drafts.iter().enumerate() {
            let policy = self.policies.resolve(&draft.channel);
            let max_bytes = self.policies.rules(policy).max_message_bytes;
            if draft.data.len() > max_bytes {
                return Err(self.refuse_size(max_bytes, place));
            }
            if self.find(&draft.channel).is_none() {
                self.ensure_channel(&draft.channel)?;
            }
        }
        Ok(())
    }

    /// Checks the size of a message, which is the one at `place` of those that are published
    /// together.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLargeForChannel`] where it is larger than the policy of its channel allows.
    #[inline]
    pub(super) fn check_size(
        &mut self,
        channel: u32,
        message: &Draft<'_>,
        place: usize,
    ) -> Result<(), Refusal> {
        // fault: size-limit-off-by-one
        match message.data.len() <= self.rules(channel).max_message_bytes {
            true => Ok(()),
            false => {
                let max_bytes = self.rules(channel).max_message_bytes;
                Err(self.refuse_size(max_bytes, place))
            }
        }
    }

    #[cold]
    fn refuse_size(&mut self, max_bytes: usize, place: usize) -> Refusal {
        self.counts.messages_too_large += 1;
        Refusal::TooLargeForChannel {
            max_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX),
            place: u16::try_from(place).unwrap_or(u16::MAX),
        }
    }
}
