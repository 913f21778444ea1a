//! Forgetting channels that nobody uses and that hold nothing.
//!
//! Owns the queue of such channels: each stands in it at most once, and is forgotten after a few
//! seconds if it is still unused, or at once where its place is needed.

use super::{Channel, Hub, Refusal};
use crate::base::time::Time;

/// How long an unused channel is remembered: longer than a client needs between two long polls.
const GRACE_MS: u64 = 5_000;

/// How many queued channels are looked at for one that can make place for another.
const REVIEWS: usize = 64;

impl Hub {
    /// Queues a channel that may be unused.
    pub(super) fn watch_idle(&mut self, channel: u32) {
        let home = &mut self.channels[channel as usize];
        if !std::mem::replace(&mut home.idle, true) {
            self.idle.push_back((channel, self.now));
        }
    }

    /// Forgets channels that stayed unused, at most `budget` of them.
    pub fn forget_idle(&mut self, budget: usize) {
        for _ in 0..budget {
            match self.next_forgetting() {
                Some(due) if due <= self.now => self.review_idle(),
                _ => break,
            };
        }
        // A wave of new channels stands here for a few seconds; its room is not kept for ever.
        if self.idle.len() < self.idle.capacity() / 4 {
            self.idle.shrink_to(2 * self.idle.len());
        }
    }

    /// When the next channel may have to be forgotten.
    pub fn next_forgetting(&self) -> Option<Time> {
        let (_, seen) = self.idle.front()?;
        Some(seen.after_ms(GRACE_MS))
    }

    /// Makes sure that a channel of this name can be added.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyChannels`] where the places, or the room, are taken by channels in use.
    pub(super) fn ensure_channel(&mut self, name: &str) -> Result<(), Refusal> {
        let bytes = Channel::footprint(name);
        let is_full = |hub: &Hub| {
            hub.channels.len() >= hub.limits.max_channels
                || hub.channel_bytes + bytes > hub.limits.max_channel_bytes
        };
        for _ in 0..self.idle.len().min(REVIEWS) {
            if !is_full(self) {
                return Ok(());
            }
            self.review_idle();
        }
        if is_full(self) {
            self.counts.too_many_channels += 1;
            return Err(Refusal::TooManyChannels);
        }
        Ok(())
    }

    /// Takes the first queued channel and forgets it if it is still unused.
    fn review_idle(&mut self) {
        let Some((channel, _)) = self.idle.pop_front() else {
            return;
        };
        let home = &mut self.channels[channel as usize];
        home.idle = false;
        if !home.is_unused() {
            return;
        }
        if home.running {
            // Its turn ends soon; until then the run queue refers to it.
            return self.watch_idle(channel);
        }
        let gone = self.channels.remove(channel as usize);
        self.forgotten += 1;
        self.channel_bytes -= Channel::footprint(gone.name());
        self.names.forget(channel, &gone, &self.channels);
    }
}

#[cfg(test)]
mod tests {
    use crate::base::time::{Time, millis};
    use crate::config::Config;
    use crate::hub::Hub;
    use crate::log::{Log, Memory};
    use crate::message::{ChannelName, Data, Draft, Epoch};

    #[test]
    fn a_batch_that_takes_the_place_of_its_own_first_channel_stays_apart() {
        let config = Config {
            max_channels: 2,
            ..Config::default()
        };
        let mut log = Log::Memory(Memory::new(Epoch::from_seed(0)));
        let mut hub = Hub::new(&config, 1, log.epoch(), (0, 0));
        let message = |name: &'static str| {
            let channel = ChannelName::parse(name.as_bytes()).unwrap();
            Draft::new(channel, Data::Text(name.into()))
        };
        for name in ["a", "b"] {
            log.publish_all(&mut hub, vec![message(name)]).unwrap();
        }
        hub.set_now(Time(millis(config.history.max_age)));
        hub.expire_history(2);

        // `a` is the first idle one: making `c` takes its place, and it is made anew.
        let names = ["a", "c", "a"];
        log.publish_all(&mut hub, names.map(message).into())
            .unwrap();
        let kept = |hub: &Hub, name| hub.find(name).map(|channel| hub.channel(channel).len());
        assert_eq!(kept(&hub, "a"), Some(2));
        assert_eq!(kept(&hub, "c"), Some(1));
    }
}
