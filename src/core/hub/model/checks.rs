//! The comparison of the hub with its model, channel by channel and list by list.

use super::*;

impl Pair {
    /// Recomputes everything that is kept or derived, from what was published.
    pub(in crate::hub) fn check(&self) {
        for (name_place, name) in CHANNELS.iter().enumerate() {
            let Some(index) = self.hub.find(name) else {
                continue;
            };
            let channel = self.hub.channel(index);
            self.check_history(name_place, channel);
            assert_eq!(channel.has_ended(), self.has_ended(name_place), "{name}");
            self.check_lists(name_place, channel);
        }
        let rings = || self.hub.channels.iter().flat_map(|(_, c)| c.ring());
        let kept: usize = rings().map(Ring::message_count).sum();
        let entries: usize = rings().map(|ring| ring.entries.len()).sum();
        assert_eq!(self.hub.message_count(), kept);
        assert_eq!(self.hub.ages.iter(&self.hub.messages).count(), entries);
        for (reader, channels, _) in &self.readers {
            let is_done = |&place: &usize| {
                let newest = self.published.iter().rev().find(|m| m.channel == place);
                self.has_ended(place) && newest.is_some_and(|end| end.seq <= reader.cursor)
            };
            let expected = !channels.is_empty() && channels.iter().all(is_done);
            assert_eq!(self.hub.is_done(reader), expected, "{channels:?}");
        }
        let channels = || self.hub.channels.iter().map(|(_, channel)| channel);
        let used: usize = channels().map(Channel::bytes).sum();
        assert_eq!(
            self.hub.meter().used(),
            used,
            "every byte is counted and given back"
        );
        let names: usize = channels()
            .map(|channel| Channel::footprint(channel.name()))
            .sum();
        assert_eq!(self.hub.channel_bytes(), names);
        let is_reconfiguring = self.hub.is_reconfiguring();
        assert!(
            is_reconfiguring || self.hub.meter().limit() == self.config.history.max_total_bytes
        );
    }

    /// The ring is the messages after the loss, without those that a newer one replaced; what is
    /// over the limit is owed, or will be looked at.
    pub(super) fn check_history(&self, place: usize, channel: &Channel) {
        let after_loss = self
            .published
            .iter()
            .filter(|message| message.channel == place && message.seq > channel.evicted_up_to())
            .filter(|message| !self.is_superseded(message));
        let entries = channel.ring().map(|ring| &ring.entries);
        let kept: Vec<Seq> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.seq)
            .collect();
        let is_kept = |seq: Seq| seq > self.replaceable[place] || kept.first() <= Some(&seq);
        let expected: Vec<Seq> = after_loss
            .map(|message| message.seq)
            .filter(|&seq| is_kept(seq))
            .collect();
        assert_eq!(kept, expected, "{}", channel.name());
        let index = self.hub.find(channel.name()).expect("it is known");
        let deadline = self.hub.ages.deadline(index);
        let Some(oldest) = entries.and_then(|entries| entries.front()) else {
            assert_eq!(deadline, None, "the deadline of an empty channel");
            return;
        };
        let is_examined = self.hub.ages.is_examined(&self.hub.messages, oldest.seq);
        assert!(!is_examined || deadline.is_some(), "nobody looks again");
        let is_unresolved = index >= self.hub.resolved;
        let is_looked_at = deadline.is_some_and(|at| at <= self.now.after_ms(2 * SLOT_MS));
        if self.exceeds(place, channel) && !channel.running && !is_unresolved && !is_looked_at {
            assert!(oldest.pending > 0, "kept over the limit without need");
        }
        assert_eq!(
            self.hub.keeps_latest(index),
            self.is_latest(place),
            "the policy is found at any time"
        );
    }

    pub(super) fn check_lists(&self, place: usize, channel: &Channel) {
        let follows =
            |(_, channels, _): &&(Reader, Vec<usize>, Vec<usize>)| channels.contains(&place);
        let queued = || {
            self.readers
                .iter()
                .filter(follows)
                .filter(|(r, ..)| r.is_queued())
        };
        let waiting = queued()
            .filter(|(reader, ..)| reader.cursor >= channel.newest_item())
            .count();
        let ready = queued().count() - waiting;
        let subscriptions = &self.hub.subscriptions;
        assert_eq!(channel.waiting.iter(subscriptions).count(), waiting);
        assert_eq!(channel.waiting_count as usize, waiting);
        assert_eq!(channel.ready.iter(subscriptions).count(), ready);
        assert!(
            channel.running || ready == 0,
            "ready readers have their turn to come"
        );
        assert_eq!(
            channel.reader_counts().total() as usize,
            self.readers.iter().filter(follows).count()
        );
        for entry in channel.ring().into_iter().flat_map(|ring| &ring.entries) {
            let needs = |cursor: Seq| {
                let first = channel
                    .ring()
                    .and_then(|ring| ring.entries.iter().find(|other| other.seq > cursor));
                cursor >= channel.evicted_up_to()
                    && first.is_some_and(|first| first.seq == entry.seq)
            };
            let pending = queued().filter(|(reader, ..)| needs(reader.cursor)).count();
            assert_eq!(
                entry.pending as usize, pending,
                "who needs {:?} next",
                entry.seq
            );
        }
    }

    /// The newest messages of several channels together, beside all that are stored.
    pub(super) fn check_newest(&self) {
        let hub = &self.hub;
        for count in 0..6 {
            for channels in [&CHANNELS[..1], &CHANNELS[1..3], &CHANNELS[..]] {
                let known: Vec<u32> = channels.iter().filter_map(|c| hub.find(c)).collect();
                let stored = hub.messages.iter().map(|(_, stored)| stored);
                let stored = stored.filter(|stored| known.contains(&stored.channel()));
                let stored = stored.filter(|stored| !stored.is_end());
                let mut numbers: Vec<Seq> = stored.map(|stored| stored.seq()).collect();
                numbers.sort();
                let newest = numbers.iter().rev().take(count).next_back();
                let expected = newest.map_or(hub.head(), |seq| Seq(seq.0 - 1));
                let cursor = hub.before_newest(known.into_iter(), count);
                assert_eq!(cursor, expected, "{count} of {channels:?}");
            }
        }
    }

    /// All items of several channels together, beside all that are stored.
    pub(super) fn check_all(&self) {
        let hub = &self.hub;
        for channels in [&CHANNELS[..1], &CHANNELS[1..3], &CHANNELS[..]] {
            let known: Vec<u32> = channels.iter().filter_map(|c| hub.find(c)).collect();
            let stored = hub.messages.iter().map(|(_, stored)| stored);
            let stored = stored.filter(|stored| known.contains(&stored.channel()));
            let oldest = stored.map(|stored| stored.seq()).min();
            let expected = oldest.map_or(hub.head(), |seq| Seq(seq.0 - 1));
            let cursor = hub.before_all(known.into_iter());
            assert_eq!(cursor, expected, "{channels:?}");
        }
    }
}

/// Whether a channel has lost something after a cursor.
pub(super) fn has_losses(hub: &Hub, cursor: Seq, channel: usize) -> bool {
    let index = hub.find(CHANNELS[channel]).expect("it is followed");
    hub.channel(index).evicted_up_to() > cursor
}

/// Keeps the channels in which a cursor has not caught up.
pub(super) fn retain_behind(hub: &Hub, cursor: Seq, channels: &mut Vec<usize>) {
    channels.retain(|&place| {
        let index = hub.find(CHANNELS[place]).expect("it is followed");
        hub.channel(index).newest_item() > cursor
    });
}
