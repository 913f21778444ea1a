//! Forgetting idle channels: those without reader and message.
//!
//! Owns the queue of channels that may be idle. Each is queued at most once, and forgotten after
//! [`GRACE_MS`] if it is still unused, or at once where a new channel needs its slot.

use super::{Channel, Hub, Refusal};
use crate::base::time::Time;

/// How long an unused channel is kept: longer than a client needs between two long polls.
const GRACE_MS: u64 = 5_000;

/// Idle channels examined when a new channel needs a slot.
const MAX_EXAMINED: usize = 64;

impl Hub {
    /// Queues a channel that may be unused.
    pub(super) fn enqueue_idle(&mut self, index: u32) {
        let channel = &mut self.channels[index as usize];
        if !std::mem::replace(&mut channel.idle, true) {
            self.idle.push_back((index, self.now));
        }
    }

    /// Forgets channels that stayed unused, at most `budget` of them.
    pub fn forget_idle(&mut self, budget: usize) {
        for _ in 0..budget {
            match self.next_idle_expiry() {
                Some(due) if due <= self.now => self.forget_first_idle(),
                _ => break,
            };
        }
    }

    /// When the next channel may have to be forgotten.
    pub fn next_idle_expiry(&self) -> Option<Time> {
        let (_, seen) = self.idle.front()?;
        Some(seen.after_ms(GRACE_MS))
    }

    /// Makes sure that a channel of this name can be added, at the cost of idle channels.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyChannels`] where the slots, or the bytes for names, are taken by channels
    /// in use.
    #[inline]
    pub(super) fn ensure_channel(&mut self, name: &str) -> Result<(), Refusal> {
        let bytes = Channel::footprint(name);
        let is_full = |hub: &Hub| {
            hub.channels.len() >= hub.limits.max_channels
                || hub.channel_bytes + bytes > hub.limits.max_channel_bytes
        };
        for _ in 0..self.idle.len().min(MAX_EXAMINED) {
            if !is_full(self) {
                return Ok(());
            }
            self.forget_first_idle();
        }
        if is_full(self) {
            self.counts.too_many_channels += 1;
            return Err(Refusal::TooManyChannels);
        }
        Ok(())
    }

    /// Removes the first channel from the queue, and forgets it if it is still unused.
    fn forget_first_idle(&mut self) {
        let Some((index, _)) = self.idle.pop_front() else {
            return;
        };
        let channel = &mut self.channels[index as usize];
        channel.idle = false;
        if !channel.is_unused() {
            return;
        }
        if channel.running {
            // The run queue refers to it until its turn ends.
            return self.enqueue_idle(index);
        }
        let gone = self.channels.remove(index as usize);
        self.forgotten += 1;
        self.channel_bytes -= Channel::footprint(gone.name());
        self.note_forgotten(&gone);
        self.note_vacated(index);
        self.names.forget(index, &gone, &self.channels);
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
    fn batch_that_evicts_its_own_first_channel_opens_it_again() {
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

        // `a` is the first idle channel: `c` takes its slot, so `a` has to be opened again.
        let names = ["a", "c", "a"];
        log.publish_all(&mut hub, names.map(message).into())
            .unwrap();
        let kept = |hub: &Hub, name| hub.find(name).map(|channel| hub.channel(channel).len());
        assert_eq!(kept(&hub, "a"), Some(2));
        assert_eq!(kept(&hub, "c"), Some(1));
    }
}
