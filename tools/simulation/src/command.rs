//! Commands of the clients of WebSockets.
//!
//! Owns the frames that clients write after their handshake, and the answers to them.

use std::collections::VecDeque;

use encke_oracle::finding::Kind as Broken;
use encke_oracle::log::Since;
use encke_test_client::is_answer;
use encke_test_client::websocket::{self, CLOSE, Frames, PING, TEXT};
use serde_json::Value;

use crate::chance::Chance;
use crate::model::Said;
use crate::request::{members, quoted};
use crate::rule::broken;

/// A command.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// To follow these channels.
    Follow {
        channels: Vec<usize>,
        /// From here; `None`: from where it is.
        since: Option<Since>,
        /// When it was asked for.
        at: u64,
    },
    /// To publish, with a key.
    Publish(Said, Option<String>),
}

/// The commands of one socket.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    /// Written, and not answered by the server.
    unanswered: VecDeque<Command>,
    /// Written, and the answer not read by the client.
    pub(crate) unread: VecDeque<Command>,
    /// The frames that the engine offers.
    frames: Frames,
    pub(crate) has_closed: bool,
}

impl Commands {
    /// Whether the client may ask for other channels: it does so one by one.
    pub(crate) fn may_follow(&self) -> bool {
        let mut all = self.unread.iter();
        !all.any(|command| matches!(command, Command::Follow { .. }))
    }

    /// A command is written.
    pub(crate) fn push(&mut self, command: Command) {
        self.unanswered.push_back(command.clone());
        self.unread.push_back(command);
    }

    /// Looks at what the engine offers, and returns the commands that it answers.
    pub(crate) fn tap(&mut self, mut offered: &[u8]) -> Vec<(Command, Value)> {
        let mut answers = Vec::new();
        loop {
            let frame = self.frames.next(&mut offered);
            let frame = frame.unwrap_or_else(|error| broken(Broken::Nonsense, error));
            let Some(frame) = frame else { return answers };
            if frame.opcode == CLOSE {
                // What is offered and not taken may be offered again, after more.
                self.frames = Frames::default();
            }
            let text = std::str::from_utf8(&frame.payload).unwrap_or_default();
            if frame.opcode == TEXT && is_answer(text) {
                let command = self.unanswered.pop_front();
                let command =
                    command.unwrap_or_else(|| broken(Broken::Nonsense, "an answer to no command"));
                answers.push((command, parse(text)));
            }
        }
    }
}

/// The JSON of an answer.
pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| broken(Broken::Nonsense, error))
}

/// The text of a command.
pub(crate) fn text(command: &Command, since: Option<&str>, names: &[String]) -> String {
    match command {
        Command::Follow { channels, .. } => {
            let names: Vec<String> = channels.iter().map(|&c| quoted(&names[c])).collect();
            let since = since.map(|since| format!(",\"since\":{}", quoted(since)));
            let since = since.unwrap_or_default();
            format!("{{\"channels\":[{}]{since}}}", names.join(","))
        }
        Command::Publish(said, key) => {
            let channel = quoted(&names[said.channel]);
            let key = key.as_ref().map(|key| format!(",\"key\":{}", quoted(key)));
            let key = key.unwrap_or_default();
            format!("{{\"publish\":{channel},{}{key}}}", members(said))
        }
    }
}

/// A text as frames: one, or several parts.
pub(crate) fn frames(chance: &mut Chance, text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let (mut bytes, mut opcode) = (Vec::new(), TEXT);
    while chance.u8(..4) == 0 {
        let (part, after) = rest.split_at(chance.usize(..=rest.len()));
        bytes.extend(websocket::part(false, opcode, part, mask(chance)));
        if chance.u8(..4) == 0 {
            bytes.extend(ping(chance));
        }
        (rest, opcode) = (after, 0);
    }
    bytes.extend(websocket::part(true, opcode, rest, mask(chance)));
    bytes
}

pub(crate) fn ping(chance: &mut Chance) -> Vec<u8> {
    let payload = vec![b'p'; chance.usize(..126)];
    websocket::frame(PING, &payload, mask(chance))
}

pub(crate) fn close(chance: &mut Chance) -> Vec<u8> {
    websocket::frame(CLOSE, &1000_u16.to_be_bytes(), mask(chance))
}

fn mask(chance: &mut Chance) -> [u8; 4] {
    [0; 4].map(|_: u8| chance.u8(..=255))
}
