//! Policies of channels: by chance, and what they say of a channel.
//!
//! Owns the rules of a channel as a naive reader of the configuration sees them.

use std::time::Duration;

use encke_core::base::time::millis;
use encke_core::config::{Config, Create, History, Policy};

use crate::chance::Chance;

/// The longest that any channel of a world keeps a message, in milliseconds.
pub(crate) const LONGEST_AGE_MS: u64 = 600_000;

/// The policy of one channel.
pub(crate) struct Rules {
    pub(crate) max_messages: usize,
    pub(crate) max_age_ms: u64,
    pub(crate) latest: bool,
    pub(crate) max_subscribers: u32,
    pub(crate) max_message_bytes: usize,
    /// Whether receivers may not create it.
    pub(crate) is_for_publishers: bool,
}

impl Rules {
    /// The rules of a channel: those of the first policy that is for it.
    pub(crate) fn of(config: &Config, name: &str) -> Rules {
        let mut policies = config.policies.iter();
        let policy = policies.find(|policy| policy.pattern.matches(name));
        let default = Policy::of("**".parse().expect("a pattern"));
        let policy = policy.unwrap_or(&default);
        let max_messages = match policy.latest {
            true => policy.history_messages.unwrap_or(1).min(1),
            false => policy
                .history_messages
                .unwrap_or(config.history.max_messages),
        };
        Rules {
            max_messages,
            max_age_ms: millis(policy.history_age.unwrap_or(config.history.max_age)),
            latest: policy.latest,
            max_subscribers: policy.max_subscribers.unwrap_or(u32::MAX),
            max_message_bytes: policy.max_message_bytes.unwrap_or(usize::MAX),
            is_for_publishers: policy.create == Create::Publisher,
        }
    }
}

fn maybe<T>(chance: &mut Chance, one_in: u8, value: impl FnOnce(&mut Chance) -> T) -> Option<T> {
    (chance.u8(..one_in) == 0).then(|| value(chance))
}

/// Policies for channels of these names.
fn policies(chance: &mut Chance, names: &[String], exact_history: bool) -> Vec<Policy> {
    let count = chance.usize(..4);
    let one = |chance: &mut Chance| {
        let pattern = match chance.u8(..3) {
            0 => chance.pick(&["*", "**", "x/*", "x/**"]).to_owned(),
            _ => names[chance.usize(..names.len())].clone(),
        };
        Policy {
            history_messages: maybe(chance, 2, |chance| chance.pick(&[0, 1, 3, 50])),
            history_age: maybe(chance, 2, age),
            history_bytes: match exact_history {
                true => None,
                false => maybe(chance, 3, |chance| chance.pick(&[0, 600, 3_000])),
            },
            create: match chance.u8(..8) {
                0 => Create::Publisher,
                _ => Create::Anyone,
            },
            max_subscribers: maybe(chance, 6, |chance| chance.pick(&[1, 2, 4])),
            max_message_bytes: maybe(chance, 6, |chance| chance.pick(&[1, 6, 40])),
            latest: chance.bool(),
            ..Policy::of(pattern.parse().expect("a pattern"))
        }
    };
    (0..count).map(|_| one(chance)).collect()
}

fn age(chance: &mut Chance) -> Duration {
    chance.ms(&[30, 1_000, 20_000, LONGEST_AGE_MS])
}

/// Gives a configuration other policies and limits on history.
pub(crate) fn change(
    config: &mut Config,
    chance: &mut Chance,
    names: &[String],
    exact_history: bool,
) {
    config.policies = policies(chance, names, exact_history);
    let history = config.history;
    config.history = History {
        max_messages: chance.pick(&[history.max_messages, 0, 3, 50]),
        max_age: match chance.bool() {
            true => history.max_age,
            false => age(chance),
        },
        max_total_bytes: match exact_history {
            true => history.max_total_bytes,
            false => chance
                .pick(&[history.max_total_bytes, 20_000, 150_000])
                .max(config.max_body_bytes + 1),
        },
        ..history
    };
    config.check().expect("settings within their ranges");
}
