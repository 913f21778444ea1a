//! Reloads of a world, and what must hold where channels have policies.
//!
//! Owns the checks of what policies refuse.

use encke_core::config::Cors;
use serde_json::Value;

use crate::client::{Answer, lossy};
use crate::command::Command;
use crate::policy::{Rules, change};
use crate::request::Kind;
use crate::rights::Part;
use crate::rule::ensure;
use crate::world::World;

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
