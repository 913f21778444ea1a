//! Reload: a hub takes new limits and policies while it serves.
//!
//! Owns the passage from one configuration to the next. New rules apply at once: as long as a
//! channel was not reached, its policy is looked up by its name. What remains is done within a
//! budget per call: each channel gets the index of its policy and, if it keeps too much or its
//! messages are due at another time, a deadline; and what is over the limits of all channels
//! together is evicted. A further configuration begins anew.
//!
//! The number of channels is not changed: their table is reserved at the start.

use super::history::exceeds;
use super::policies::Policies;
use super::{Hub, Limits};
use crate::config::Config;
use crate::pattern::PATTERNS_PER_CHANNEL;

impl Hub {
    /// Takes new limits and policies, those of a configuration. [`Hub::continue_reconfigure`] does
    /// what that takes, step by step.
    pub fn reconfigure(&mut self, config: &Config) {
        let policies = Policies::new(config);
        if policies != self.policies {
            self.policies = policies;
            // fault: reload-goes-on-where-it-was
            self.resolved = 0;
        }
        self.limits = Limits {
            max_channels: self.limits.max_channels,
            ..Limits::new(config)
        };
        // A limit that is raised is in force at once.
        self.approach_limits(&mut 0);
    }

    /// Whether [`Hub::continue_reconfigure`] has something to do.
    pub fn is_reconfiguring(&self) -> bool {
        self.resolved != u32::MAX
            || self.meter.limit() != self.limits.max_total_bytes
            || self.frames.meter().limit() != self.limits.max_frame_bytes
    }

    /// Applies a part of a new configuration. Each channel and each message that is evicted
    /// takes 1 of the budget; the comparison of a name with eight patterns 1 more.
    pub fn continue_reconfigure(&mut self, mut budget: usize) {
        if !self.is_reconfiguring() {
            return;
        }
        let cost = 1 + self.policies.len() / PATTERNS_PER_CHANNEL;
        while budget > 0 && self.resolved != u32::MAX {
            budget = budget.saturating_sub(cost);
            self.resolve_next();
        }
        self.approach_limits(&mut budget);
    }

    /// Gives the next channel the index of its policy.
    fn resolve_next(&mut self) {
        let index = self.resolved;
        if index as usize >= self.slots_used {
            self.resolved = u32::MAX;
            return;
        }
        self.resolved += 1;
        let Some(channel) = self.channels.get_mut(index as usize) else {
            return;
        };
        channel.policy = self.policies.resolve(channel.name());
        let Some(ring) = self.channels[index as usize].ring() else {
            return;
        };
        let Some(oldest) = ring.entries.front() else {
            return;
        };
        let rules = self.rules(index);
        if exceeds(ring, rules) {
            self.ages.arm_now(index, self.now);
        } else if self.ages.is_examined(&self.messages, oldest.seq) {
            let oldest = &self.messages[oldest.key() as usize];
            let due = oldest.at().after_ms(rules.max_age_ms);
            self.ages.arm(index, due);
        }
    }

    /// Moves the limits of all channels together towards their new values, as far as the budget
    /// allows the excess to be evicted.
    pub(super) fn approach_limits(&mut self, budget: &mut usize) {
        let max_bytes = self.limits.max_total_bytes;
        while *budget > 0 && self.meter.used() > max_bytes && self.evict_oldest() {
            *budget -= 1;
        }
        self.meter.approach_limit(max_bytes);
        let max_bytes = self.limits.max_frame_bytes;
        self.frames
            .approach_limit(max_bytes, budget, &mut self.messages);
    }
}
