//! Policies: the rules of a channel, by its name.
//!
//! Owns the table of rules, and which of them is for which name. A channel keeps the index of its
//! policy, so that only its creation and a reload compare its name with patterns.
//!
//! Invariant: every index has rules; that of no policy, and any other without one, has the
//! server's.

use crate::base::time::millis;
use crate::config::{Config, Create, Policy};
use crate::pattern::Pattern;

/// The index of channels without a policy. There are at most 255 policies, 0 to 254.
pub(super) const NO_POLICY: u8 = u8::MAX;

/// The limits and properties of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) max_messages: usize,
    pub(super) max_bytes: usize,
    pub(super) max_age_ms: u64,
    pub(super) max_message_bytes: usize,
    pub(super) max_subscribers: u32,
    /// Only the newest message is kept and pending for readers.
    pub(super) latest: bool,
    /// Its messages are kept where history is saved.
    pub(super) persist: bool,
    pub(super) create: Create,
}

impl Rules {
    /// The rules of channels without a policy.
    fn of_server(config: &Config) -> Rules {
        Rules {
            max_messages: config.history.max_messages,
            max_bytes: config.history.max_bytes,
            max_age_ms: millis(config.history.max_age),
            max_message_bytes: usize::MAX,
            max_subscribers: u32::MAX,
            latest: false,
            persist: true,
            create: Create::Anyone,
        }
    }

    /// The rules of a policy; what it does not say is as the server's.
    fn of_policy(policy: &Policy, server: &Rules) -> Rules {
        let max_messages = match (policy.latest, policy.history_messages) {
            (true, Some(0)) => 0,
            (true, _) => 1,
            (false, given) => given.unwrap_or(server.max_messages),
        };
        Rules {
            max_messages,
            max_bytes: policy.history_bytes.unwrap_or(server.max_bytes),
            max_age_ms: policy.history_age.map_or(server.max_age_ms, millis),
            max_message_bytes: policy.max_message_bytes.unwrap_or(usize::MAX),
            max_subscribers: policy.max_subscribers.unwrap_or(u32::MAX),
            latest: policy.latest,
            persist: policy.persist,
            create: policy.create,
        }
    }
}

/// The policies of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policies {
    pub(super) patterns: Vec<Pattern>,
    /// Those of each pattern.
    pub(super) rules: Vec<Rules>,
    pub(super) server: Rules,
    min_age_ms: u64,
}

impl Policies {
    /// The policies of a configuration.
    pub(super) fn new(config: &Config) -> Policies {
        let server = Rules::of_server(config);
        let policies = || config.policies.iter().take(usize::from(NO_POLICY));
        let rules: Vec<Rules> = policies()
            .map(|policy| Rules::of_policy(policy, &server))
            .collect();
        let ages = rules.iter().chain([&server]).map(|rules| rules.max_age_ms);
        Policies {
            min_age_ms: ages.min().unwrap_or(server.max_age_ms),
            patterns: policies().map(|policy| policy.pattern.clone()).collect(),
            rules,
            server,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// The index of the first policy that is for a channel of this name; [`NO_POLICY`] if none is.
    /// It compares the name with up to all patterns.
    #[inline]
    pub(super) fn resolve(&self, name: &str) -> u8 {
        match self.patterns.is_empty() {
            true => NO_POLICY,
            false => self.first_match(name),
        }
    }

    #[inline(never)]
    fn first_match(&self, name: &str) -> u8 {
        let first = self.patterns.iter().position(|one| one.matches(name));
        first.map_or(NO_POLICY, |index| index as u8)
    }

    /// The rules of an index.
    pub(super) fn rules(&self, index: u8) -> &Rules {
        self.rules.get(usize::from(index)).unwrap_or(&self.server)
    }

    /// The lowest age at which any channel evicts a message.
    pub(super) fn min_age_ms(&self) -> u64 {
        self.min_age_ms
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn first_policy_that_matches_applies_and_the_server_fills_in() {
        let policy = |pattern: &str| Policy::of(pattern.parse().unwrap());
        let config = Config {
            policies: vec![
                Policy {
                    history_messages: Some(5),
                    history_age: Some(Duration::from_secs(1)),
                    ..policy("a/b")
                },
                Policy {
                    history_bytes: Some(7),
                    max_subscribers: Some(2),
                    max_message_bytes: Some(3),
                    create: Create::Publisher,
                    ..policy("a/*")
                },
                Policy {
                    latest: true,
                    history_messages: Some(9),
                    ..policy("state/**")
                },
                Policy {
                    latest: true,
                    history_messages: Some(0),
                    ..policy("event/**")
                },
            ],
            ..Config::default()
        };
        let policies = Policies::new(&config);
        let server = Rules::of_server(&config);
        let expected = [
            (
                "a/b",
                0,
                Rules {
                    max_messages: 5,
                    max_age_ms: 1_000,
                    ..server
                },
            ),
            (
                "a/c",
                1,
                Rules {
                    max_bytes: 7,
                    max_subscribers: 2,
                    max_message_bytes: 3,
                    create: Create::Publisher,
                    ..server
                },
            ),
            (
                "state/x/y",
                2,
                Rules {
                    max_messages: 1,
                    latest: true,
                    ..server
                },
            ),
            (
                "event/x",
                3,
                Rules {
                    max_messages: 0,
                    latest: true,
                    ..server
                },
            ),
            ("a", NO_POLICY, server),
        ];
        for (name, index, rules) in expected {
            assert_eq!(policies.resolve(name), index, "{name}");
            assert_eq!(*policies.rules(index), rules, "{name}");
        }
        assert_eq!(policies.min_age_ms(), 1_000);
    }

    #[test]
    fn every_index_has_rules() {
        let policies = vec![Policy::of("**".parse().unwrap()); 300];
        let config = Config {
            policies,
            ..Config::default()
        };
        let policies = Policies::new(&config);
        assert_eq!(policies.rules.len(), 255);
        for index in 0..=u8::MAX {
            policies.rules(index);
        }
    }
}
