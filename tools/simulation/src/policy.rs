//! Policies of channels: by chance, what they say of a channel, and what must hold for it.
//!
//! Owns the rules of a channel as a naive reader of the configuration sees them, the reloads of a
//! world, and the checks of what policies refuse.

use std::time::Duration;

use encke_core::base::time::millis;
use encke_core::config::{Config, Cors, Create, History, Policy};
use serde_json::Value;

use crate::chance::Chance;
use crate::client::{Answer, lossy};
use crate::command::Command;
use crate::request::Kind;
use crate::rights::Part;
use crate::rule::ensure;
use crate::world::World;

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

impl World {
    /// The policy of a channel now.
    pub(crate) fn rules(&self, channel: usize) -> Rules {
        Rules::of(&self.setup.config, &self.setup.names[channel])
    }

    /// The server takes another configuration.
    pub(crate) fn reload(&mut self) {
        self.tally.reloads += 1;
        let setup = &mut self.setup;
        let origin = |number| format!("https://{number}.example");
        let origins = (0..self.chance.usize(..4)).map(origin);
        setup.config.cors = Cors::Origins(origins.collect());
        if setup.reloads {
            change(
                &mut setup.config,
                &mut self.chance,
                &setup.names,
                setup.exact_history,
            );
            if setup.has_rights {
                self.choose_rights(Part::Policies);
            }
        }
        self.reconfigure();
    }

    /// The server takes the settings.
    pub(crate) fn reconfigure(&mut self) {
        let setup = &self.setup;
        let (policies, history) = (setup.config.policies.clone(), setup.config.history);
        self.say(|| format!("reload: {history:?}, {policies:?}"));
        match self.chance.u8(..4) {
            0 => {
                self.tally.reloaded_by_hand_over += 1;
                self.hand_over(true);
            }
            _ => self.engine.reconfigure(&self.setup.config),
        }
        self.begin_policies();
        self.begin_rights();
        self.model.reloaded_at = self.model.head();
        self.after();
    }

    /// Tells the model what the policies say.
    pub(crate) fn begin_policies(&mut self) {
        for channel in 0..self.setup.names.len() {
            let latest = self.rules(channel).latest;
            self.model.set_latest(channel, latest);
        }
    }

    /// A message was accepted, so it is not too large for its channel.
    pub(crate) fn check_size(&self, channel: usize, bytes: usize) {
        let max_bytes = self.rules(channel).max_message_bytes;
        ensure!(
            bytes <= max_bytes,
            Oversized,
            "a message of {bytes} bytes was accepted, and {max_bytes} are allowed"
        );
    }

    /// A request was parked: on channels that exist, none of which has more readers than allowed.
    pub(crate) fn check_parked(&mut self, index: u32) {
        let client = self.client(index);
        let is_first = client.tapped == 0;
        let receive = client.parked().expect("it is parked");
        let channels = receive.session.channels.clone();
        for channel in channels {
            self.check_audience(channel);
            let rules = self.rules(channel);
            // Requests before it on its connection may have created the channel in the same call.
            ensure!(
                !rules.is_for_publishers || self.known_before[channel] || !is_first,
                Invented,
                "a receiver has created channel {channel}"
            );
        }
    }

    /// A socket follows other channels than before: those exist, and have room for it.
    pub(crate) fn check_followed(&mut self, index: u32, before: &[usize]) {
        let receive = self.client(index).parked().expect("a socket is parked");
        let joined = receive.followed.clone();
        for channel in joined {
            if !before.contains(&channel) {
                self.check_audience(channel);
            }
        }
    }

    /// No channel has more readers than its policy allows.
    fn check_audience(&mut self, channel: usize) {
        let (readers, max) = (self.audience(channel), self.rules(channel).max_subscribers);
        ensure!(
            readers <= max,
            Oversized,
            "{readers} readers of channel {channel}, and {max} are allowed"
        );
    }

    /// A command was refused by a policy only for what the policy says.
    pub(crate) fn check_command_refused(&mut self, index: u32, command: &Command, answer: &Value) {
        let text = answer["error"]["detail"].as_str().unwrap_or_default();
        match command {
            Command::Publish(said, _) if answer["error"]["status"] == 413 => {
                let max = self.rules(said.channel).max_message_bytes;
                ensure!(said.data.len() > max, Refused, "{text}: {max} are allowed");
            }
            Command::Follow { channels, .. } if text.contains("max-subscribers") => {
                let receive = self.client(index).parked().expect("a socket is parked");
                let before = receive.followed.clone();
                let is_full = channels.iter().any(|&channel| {
                    let max_subscribers = self.rules(channel).max_subscribers;
                    !before.contains(&channel) && self.audience(channel) >= max_subscribers
                });
                ensure!(is_full, Refused, "no channel is full: {text}");
            }
            _ => {}
        }
    }

    /// A request to receive was refused by a policy only for what the policy says.
    pub(crate) fn check_refused(&mut self, index: u32, answer: &Answer) {
        let Kind::Receive(receive) = &self.client(index).requests[answer.place].kind else {
            return;
        };
        let channels = receive.session.channels.clone();
        let text = lossy(&answer.body);
        if text.contains("max-subscribers") {
            self.tally.full_channels += 1;
            let is_full = channels.iter().any(|&channel| {
                let max_subscribers = self.rules(channel).max_subscribers;
                self.audience(channel) >= max_subscribers
            });
            ensure!(is_full, Refused, "no channel is full: {text}");
        }
        if text.contains("only a publisher creates it") {
            self.tally.missing_channels += 1;
            // Short of channels, one may be forgotten and made again within one call.
            let is_short = self.setup.config.max_channels < self.setup.names.len();
            let is_missing = channels.iter().any(|&channel| {
                let was_there = self.known_before[channel] && self.known[channel] && !is_short;
                self.rules(channel).is_for_publishers && !was_there
            });
            ensure!(is_missing, Refused, "all channels exist: {text}");
        }
    }
}
