//! The techniques of receiving.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// encke's default `--hold`.
const HOLD_SECONDS: f64 = 30.0;

/// A technique of receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Technique {
    /// Not at all, to measure what publishing costs by itself.
    Nobody,
    /// Each client asks at this interval.
    Poll(Duration),
    /// Each request is held until there is something.
    LongPoll,
    /// The same with the head of the response sent at once.
    Early,
    /// Server-sent events.
    Sse,
    /// Server-sent events, at most one write in 100 ms.
    Paced,
    /// The forever frame.
    Frame,
    /// WebSockets.
    WebSocket,
}

/// Those that do not poll: their names, and their transports in the description of encke.
const NAMED: [(Technique, &str, &str); 7] = [
    (Technique::Nobody, "nobody", "sse"),
    (Technique::LongPoll, "long-poll", "long-poll"),
    (Technique::Early, "early", "early"),
    (Technique::Sse, "sse", "sse"),
    (Technique::Paced, "paced", "paced"),
    (Technique::Frame, "frame", "frame"),
    (Technique::WebSocket, "ws", "ws"),
];

impl Technique {
    /// All that are measured by default, in order.
    pub fn all() -> Vec<Technique> {
        let poll = |ms| Technique::Poll(Duration::from_millis(ms));
        vec![
            poll(200),
            poll(1_000),
            poll(5_000),
            poll(30_000),
            Technique::LongPoll,
            Technique::Early,
            Technique::Sse,
            Technique::Paced,
            Technique::Frame,
            Technique::WebSocket,
        ]
    }

    /// The time between two polls; zero if it does not poll.
    pub(super) fn interval(self) -> Duration {
        match self {
            Technique::Poll(interval) => interval,
            _ => Duration::ZERO,
        }
    }

    /// The transport in the description of encke.
    pub(super) fn transport(self) -> &'static str {
        let named = NAMED.iter().find(|(known, ..)| *known == self);
        named.map_or("poll", |(_, _, transport)| transport)
    }

    /// The time of events before the window, where it does not poll: until about 95 of 100 first
    /// holds have ended by an event or by themselves, and a moment for all others.
    pub(super) fn warm_up(self, rate: f64) -> Duration {
        match self {
            Technique::LongPoll | Technique::Early => {
                Duration::from_secs_f64((3.0 / rate).min(HOLD_SECONDS))
            }
            _ => Duration::from_secs_f64((3.0 / rate).min(0.5)),
        }
    }
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(known, ..)| known == self) {
            Some((_, name, _)) => f.pad(name),
            None => f.pad(&format!("poll-{}", self.interval().as_secs_f64())),
        }
    }
}

impl FromStr for Technique {
    type Err = String;

    fn from_str(name: &str) -> Result<Technique, String> {
        if let Some((found, ..)) = NAMED.iter().find(|(_, known, _)| *known == name) {
            return Ok(*found);
        }
        let seconds = name
            .strip_prefix("poll-")
            .and_then(|text| text.parse().ok());
        let interval = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match interval {
            Some(interval) if (0.01..=60.0).contains(&interval.as_secs_f64()) => {
                Ok(Technique::Poll(interval))
            }
            _ => Err(format!(
                "{name}: not poll-SECONDS (0.01 to 60), long-poll, early, sse, paced, frame or \
                 ws"
            )),
        }
    }
}

impl TryFrom<String> for Technique {
    type Error = String;

    fn try_from(name: String) -> Result<Technique, String> {
        name.parse()
    }
}

impl From<Technique> for String {
    fn from(technique: Technique) -> String {
        technique.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_techniques() {
        for technique in Technique::all() {
            assert_eq!(technique.to_string().parse(), Ok(technique));
        }
        for name in [
            "poll",
            "poll-",
            "poll-0",
            "poll-NaN",
            "poll--1",
            "poll-3600",
            "socket",
        ] {
            assert!(name.parse::<Technique>().is_err(), "{name}");
        }
    }
}
