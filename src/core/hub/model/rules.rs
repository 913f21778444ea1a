//! The naive answers: what a channel may keep, and what a reader is owed.

use super::*;

impl Pair {
    /// The policy of a channel.
    pub(super) fn policy(&self, place: usize) -> Option<&Policy> {
        let mut policies = self.config.policies.iter();
        policies.find(|policy| policy.pattern.matches(CHANNELS[place]))
    }

    pub(super) fn is_latest(&self, place: usize) -> bool {
        self.policy(place).is_some_and(|policy| policy.latest)
    }

    pub(super) fn max_messages(&self, place: usize) -> usize {
        let own = self
            .policy(place)
            .and_then(|policy| policy.history_messages);
        match self.is_latest(place) {
            true => own.unwrap_or(1).min(1),
            false => own.unwrap_or(self.config.history.max_messages),
        }
    }

    pub(super) fn max_bytes(&self, place: usize) -> usize {
        let own = self.policy(place).and_then(|policy| policy.history_bytes);
        own.unwrap_or(self.config.history.max_bytes)
    }

    pub(super) fn max_age_ms(&self, place: usize) -> u64 {
        let own = self.policy(place).and_then(|policy| policy.history_age);
        crate::base::time::millis(own.unwrap_or(self.config.history.max_age))
    }

    /// Whether a channel keeps more than it may.
    pub(super) fn exceeds(&self, place: usize, channel: &Channel) -> bool {
        channel.len() > self.max_messages(place) || channel.bytes() > self.max_bytes(place)
    }

    /// Whether a message was published to the channel of an end after it.
    pub(super) fn is_superseded(&self, message: &Message) -> bool {
        let later = &self.published[message.seq.0 as usize..];
        message.is_end && later.iter().any(|other| other.channel == message.channel)
    }

    /// Whether a channel has ended: the newest that was published to it is its end.
    pub(super) fn has_ended(&self, place: usize) -> bool {
        let mut of_channel = self.published.iter().rev().filter(|m| m.channel == place);
        let newest = of_channel.next();
        newest.is_some_and(|newest| newest.is_end && newest.seq > self.forgotten[place])
    }

    /// Everything after a cursor in these channels, losses included, by looking at all messages.
    pub(super) fn owed_naively(
        &self,
        cursor: Seq,
        channels: &[usize],
        ignored: &[usize],
    ) -> Vec<Item> {
        let mut items = Vec::new();
        for &place in channels {
            let index = self.hub.find(CHANNELS[place]).expect("it is followed");
            let channel = self.hub.channel(index);
            // With `latest`, a message replaces what is lost before it too.
            let is_replaced = self.is_latest(place) && !channel.is_empty();
            let is_lost = channel.evicted_up_to() > cursor && !is_replaced;
            if is_lost && !ignored.contains(&place) {
                items.push(Item::Gap(channel.evicted_up_to()));
            }
            for message in &self.published {
                if message.channel == place
                    && message.seq > channel.evicted_up_to()
                    && message.seq > cursor
                {
                    if message.is_end {
                        let (seq, channel) = (message.seq, index);
                        let is_last = !self.is_superseded(message);
                        items.extend(is_last.then_some(Item::End { seq, channel }));
                        continue;
                    }
                    let mut stored = self.hub.messages.iter();
                    let found = stored.find(|(_, stored)| stored.seq() == message.seq);
                    let Some((key, stored)) = found else {
                        let is_replaced = message.seq <= self.replaceable[place];
                        assert!(is_replaced, "what is not lost is stored");
                        continue;
                    };
                    assert_eq!(stored.at(), message.at);
                    items.push(Item::Message {
                        seq: message.seq,
                        key: key as u32,
                    });
                }
            }
        }
        items.sort_by_key(Item::seq);
        items
    }
}
