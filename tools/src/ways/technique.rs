//! The techniques and how each asks.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How clients receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Technique {
    /// Nobody does: what publishing costs by itself.
    Nobody,
    /// Each client asks every so often.
    Poll(Duration),
    /// Each request is held until there is something.
    LongPoll,
    /// The same with the head of the answer sent at once.
    Early,
    /// Server-sent events.
    Sse,
    /// The forever frame.
    Frame,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Asks at set times.
    Polls,
    /// Asks again as soon as it is answered.
    Waits,
    /// Asks once.
    Listens,
}

impl Technique {
    /// All that the experiment is about, in order.
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
            Technique::Frame,
        ]
    }

    /// What its clients do; nothing if there are none.
    pub(super) fn manner(self) -> Option<Manner> {
        match self {
            Technique::Nobody => None,
            Technique::Poll(_) => Some(Manner::Polls),
            Technique::LongPoll | Technique::Early => Some(Manner::Waits),
            Technique::Sse | Technique::Frame => Some(Manner::Listens),
        }
    }

    /// The time between two polls; none if it does not poll.
    pub(super) fn interval(self) -> Duration {
        match self {
            Technique::Poll(interval) => interval,
            _ => Duration::ZERO,
        }
    }

    /// What a client asks for to get what comes after a cursor.
    pub(super) fn target(self, channel: &str, cursor: &str) -> String {
        let (endpoint, more) = match self {
            Technique::Nobody | Technique::Poll(_) => ("poll", ""),
            Technique::LongPoll => ("long-poll", ""),
            Technique::Early => ("long-poll", "&early=1"),
            Technique::Sse => ("sse", ""),
            Technique::Frame => ("frame", ""),
        };
        format!("/{endpoint}/{channel}?since={cursor}{more}")
    }
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Technique::Nobody => f.pad("nobody"),
            Technique::Poll(interval) => f.pad(&format!("poll-{}", interval.as_secs_f64())),
            Technique::LongPoll => f.pad("long-poll"),
            Technique::Early => f.pad("early"),
            Technique::Sse => f.pad("sse"),
            Technique::Frame => f.pad("frame"),
        }
    }
}

impl FromStr for Technique {
    type Err = String;

    fn from_str(name: &str) -> Result<Technique, String> {
        let named = [
            Technique::Nobody,
            Technique::LongPoll,
            Technique::Early,
            Technique::Sse,
            Technique::Frame,
        ];
        if let Some(found) = named.iter().find(|known| known.to_string() == name) {
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
                "{name}: not poll-SECONDS (0.01 to 60), long-poll, early, sse or frame"
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
            "ws",
        ] {
            assert!(name.parse::<Technique>().is_err(), "{name}");
        }
    }
}
