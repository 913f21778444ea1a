//! Readers over the nodes of a cluster: those of other nodes, and what those are told of the readers
//! here.
//!
//! Owns what a hub does with both; `elsewhere` has the tables. It asks nobody: the log of the cluster
//! brings the numbers, and reads the ones of this hub, slot after slot. Following and unfollowing a
//! channel know nothing of it.

use std::io::{self, Read, Write};

use super::Hub;
use super::elsewhere::Elsewhere;
use crate::frozen::{Freezer, ThawError, Thawer};

/// Channels of all other nodes together that are known, for each channel that there may be here.
const PER_CHANNEL: usize = 2;

impl Hub {
    /// The number by which the nodes of a cluster know a channel: the keyed hash of its name.
    pub fn reader_key(&self, name: &str) -> u64 {
        self.names.shared_hash(name)
    }

    /// How many readers a channel has on other nodes, as of what they have said last.
    pub fn readers_elsewhere(&self, name: &str) -> u32 {
        match &self.elsewhere {
            Some(elsewhere) if elsewhere.channels > 0 => elsewhere.readers(self.reader_key(name)),
            _ => 0,
        }
    }

    /// Channels of other nodes whose readers are known, summed over nodes: a channel on two nodes
    /// counts twice.
    pub fn channels_elsewhere(&self) -> usize {
        self.elsewhere.as_ref().map_or(0, |known| known.channels)
    }

    /// Channels of other nodes whose readers are not counted, as there was no room. Since the start.
    pub fn uncounted_elsewhere(&self) -> u64 {
        self.elsewhere.as_ref().map_or(0, |known| known.uncounted)
    }

    /// Notes what another node has said in a round: keys of channels, and how many readers each has
    /// there. If the round is over with it, what was not told in it is removed by
    /// [`Hub::continue_sweeping`].
    pub fn set_elsewhere(&mut self, node: u64, round: u8, ends_round: bool, counts: &[(u64, u32)]) {
        debug_assert!(!self.is_sweeping(), "one after another");
        self.elsewhere_mut().set(node, round, ends_round, counts);
    }

    /// Whether [`Hub::continue_sweeping`] has something to do.
    pub fn is_sweeping(&self) -> bool {
        let elsewhere = self.elsewhere.as_ref();
        elsewhere.is_some_and(|elsewhere| elsewhere.is_sweeping())
    }

    /// Goes on with the removal of what another node has not told again.
    pub fn continue_sweeping(&mut self) {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.continue_sweeping();
        }
    }

    /// Forgets what a node has said, which is no member of the cluster any more.
    pub fn forget_elsewhere(&mut self, node: u64) {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.forget(node);
        }
    }

    /// How many slots of channels there are.
    pub fn slots(&self) -> usize {
        self.slots_used
    }

    /// How many readers the channel in a slot has; 0 if there is none.
    #[inline]
    pub fn readers_in(&self, slot: usize) -> u32 {
        let channel = self.channels.get(slot);
        channel.map_or(0, |channel| channel.reader_counts().total())
    }

    /// The key of the channel in a slot.
    pub fn reader_key_in(&self, slot: usize) -> Option<u64> {
        let channel = self.channels.get(slot)?;
        Some(self.reader_key(channel.name()))
    }

    /// The slots whose channel was forgotten since the last call; `None` if not all of them are
    /// known.
    pub fn take_vacated(&mut self) -> Option<Vec<u32>> {
        self.elsewhere_mut().take_vacated()
    }

    /// Notes that the channel in a slot is forgotten, if nodes are told of readers.
    pub(super) fn note_vacated(&mut self, slot: u32) {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.note_vacated(slot);
        }
    }

    /// Whether the nodes of which something is known all satisfy a condition.
    pub fn all_elsewhere(&self, condition: impl FnMut(u64) -> bool) -> bool {
        let elsewhere = self.elsewhere.as_ref();
        elsewhere.is_none_or(|elsewhere| elsewhere.nodes().all(condition))
    }

    /// Writes what is known of other nodes.
    pub(super) fn freeze_elsewhere<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put(&self.elsewhere.is_some())?;
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.freeze(state),
            None => Ok(()),
        }
    }

    /// Reads what [`Hub::freeze_elsewhere`] wrote.
    pub(super) fn thaw_elsewhere<R: Read>(
        &mut self,
        state: &mut Thawer<R>,
    ) -> Result<(), ThawError> {
        let has_elsewhere: bool = state.take()?;
        if has_elsewhere && !self.is_shared() {
            return Err(ThawError::Damaged("there are no other nodes"));
        }
        if has_elsewhere {
            let elsewhere = Elsewhere::thaw(self.max_channels_elsewhere(), state)?;
            self.elsewhere = Some(Box::new(elsewhere));
        }
        Ok(())
    }

    fn max_channels_elsewhere(&self) -> usize {
        PER_CHANNEL.saturating_mul(self.limits.max_channels)
    }

    fn elsewhere_mut(&mut self) -> &mut Elsewhere {
        let max_channels = self.max_channels_elsewhere();
        self.elsewhere
            .get_or_insert_with(|| Box::new(Elsewhere::new(max_channels)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::hub::elsewhere::MAX_VACATED;

    fn hub(max_channels: usize) -> Hub {
        let config = Config {
            max_channels,
            ..Config::default()
        };
        Hub::of_cluster(&config, 8, (1, 2))
    }

    fn sweep(hub: &mut Hub) {
        while hub.is_sweeping() {
            hub.continue_sweeping();
        }
    }

    #[test]
    fn readers_of_all_nodes_are_added_and_go_with_their_node() {
        let mut hub = hub(100);
        hub.set_salt((3, 4));
        let (a, b) = (hub.reader_key("a"), hub.reader_key("b"));
        hub.set_elsewhere(1, 0, false, &[(a, 2), (b, 1)]);
        hub.set_elsewhere(2, 0, false, &[(a, 5)]);
        assert_eq!(
            (hub.readers_elsewhere("a"), hub.readers_elsewhere("b")),
            (7, 1)
        );
        hub.set_elsewhere(2, 0, false, &[(a, 3)]);
        hub.set_elsewhere(1, 0, false, &[(b, 0)]);
        assert_eq!(
            (hub.readers_elsewhere("a"), hub.readers_elsewhere("b")),
            (5, 0)
        );
        assert_eq!(hub.channels_elsewhere(), 2);
        hub.forget_elsewhere(1);
        hub.forget_elsewhere(9);
        assert_eq!(
            (hub.readers_elsewhere("a"), hub.channels_elsewhere()),
            (3, 1)
        );
        hub.set_elsewhere(2, 0, false, &[(a, u32::MAX)]);
        hub.set_elsewhere(3, 0, false, &[(a, 1)]);
        assert_eq!(hub.readers_elsewhere("a"), u32::MAX);
    }

    #[test]
    fn what_is_not_told_in_a_round_goes_when_it_is_over() {
        let mut hub = hub(1_000);
        let all: Vec<(u64, u32)> = (0..500).map(|key: u64| (key << 28, 1)).collect();
        hub.set_elsewhere(1, 255, true, &all);
        sweep(&mut hub);
        assert_eq!(hub.channels_elsewhere(), 500);
        hub.set_elsewhere(2, 7, false, &all[..3]);
        hub.set_elsewhere(1, 0, false, &all[..100]);
        assert_eq!(hub.channels_elsewhere(), 503);
        hub.set_elsewhere(1, 0, true, &all[100..101]);
        sweep(&mut hub);
        assert_eq!(hub.channels_elsewhere(), 104);
    }

    #[test]
    fn channels_beyond_the_limit_are_not_counted() {
        let mut hub = hub(5);
        let all: Vec<(u64, u32)> = (0..12).map(|key| (key, 1)).collect();
        hub.set_elsewhere(1, 0, false, &all);
        assert_eq!(
            (hub.channels_elsewhere(), hub.uncounted_elsewhere()),
            (10, 2)
        );
        // What is known is kept up to date.
        hub.set_elsewhere(1, 0, false, &[(0, 0), (11, 1), (3, 9)]);
        assert_eq!(
            (hub.channels_elsewhere(), hub.uncounted_elsewhere()),
            (10, 2)
        );
        hub.forget_elsewhere(1);
        assert_eq!(hub.channels_elsewhere(), 0);
    }

    #[test]
    fn more_forgotten_slots_than_are_noted_are_told_as_unknown() {
        let mut hub = hub(5);
        hub.note_vacated(7);
        assert_eq!(
            hub.take_vacated(),
            Some(vec![]),
            "nobody is told of readers"
        );
        hub.note_vacated(7);
        assert_eq!(hub.take_vacated(), Some(vec![7]));
        (0..=MAX_VACATED).for_each(|_| hub.note_vacated(1));
        assert_eq!(hub.take_vacated(), None);
        assert_eq!(hub.take_vacated(), Some(vec![]));
    }
}
