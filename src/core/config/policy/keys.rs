//! The table of the keys of a policy: one row per key of `[[channels]]` in a file.
//!
//! Owns their names, ranges, words and meanings. The file's parser, the checks, `encke check` and
//! the table in `operating.md` are derived from it. A new key needs a field of [`Policy`], a row
//! here, and its use.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Create, Policy, Publish, Subscribe};
use crate::config::setting::{Unit, check_duration, duration_range};
use crate::config::table::{MAX_BYTES, MAX_COUNT, MAX_DURATION, MAX_MESSAGE, MS};
use crate::config::value::{self, Span};
use crate::pattern::PatternError;

/// One key of a policy.
pub struct PolicyKey {
    /// Its name in a file: `history-age`.
    pub name: &'static str,
    /// The kind of its values, and their field.
    pub kind: PolicyKind,
    /// The effect of leaving it out, in words.
    pub unset: &'static str,
    /// Its meaning, in one line.
    pub help: &'static str,
}

/// The kind of a key's values, and the functions that read and write its field.
#[derive(Debug)]
#[expect(missing_docs, reason = "`get` and `set` are the same for all")]
pub enum PolicyKind {
    /// The pattern of the policy.
    Pattern,
    /// A duration.
    Duration {
        range: RangeInclusive<Duration>,
        get: fn(&Policy) -> Option<Duration>,
        set: fn(&mut Policy, Duration),
    },
    /// A whole number.
    Number {
        unit: Unit,
        range: RangeInclusive<u64>,
        get: fn(&Policy) -> Option<u64>,
        set: fn(&mut Policy, u64),
    },
    /// A boolean.
    Flag {
        get: fn(&Policy) -> bool,
        set: fn(&mut Policy, bool),
    },
    /// One of several words, by its place among them.
    Word {
        words: &'static [&'static str],
        get: fn(&Policy) -> Option<usize>,
        set: fn(&mut Policy, usize),
    },
}

/// A number that may be absent.
macro_rules! number {
    ($unit:ident, $range:expr, $field:ident) => {
        PolicyKind::Number {
            unit: Unit::$unit,
            range: $range,
            get: |policy| policy.$field.map(|value| value as u64),
            // Lossless: the range is not wider than the field's type.
            set: |policy, value| policy.$field = Some(value as _),
        }
    };
}

macro_rules! flag {
    ($field:ident) => {
        PolicyKind::Flag {
            get: |policy| policy.$field,
            set: |policy, value| policy.$field = value,
        }
    };
}

/// All keys, in the order in which they are displayed.
#[rustfmt::skip] // A table is read by its columns.
pub static POLICY_KEYS: &[PolicyKey] = &[
    key("match", PolicyKind::Pattern, "required",
        "Pattern of the names of the channels"),
    key("history-messages", number!(Count, 0..=MAX_COUNT, history_messages), "--history-messages",
        "Maximum number of messages that a channel keeps; 0 keeps none after delivery"),
    key("history-age",
        PolicyKind::Duration {
            range: MS..=MAX_DURATION,
            get: |policy| policy.history_age,
            set: |policy, age| policy.history_age = Some(age),
        },
        "--history-age",
        "Age at which a message is evicted"),
    key("history-bytes", number!(Bytes, 0..=MAX_BYTES, history_bytes), "--history-bytes",
        "Maximum bytes that a channel keeps"),
    key("subscribe",
        PolicyKind::Word {
            words: &["anyone", "token", "nobody"],
            get: |policy| policy.subscribe.map(|subscribe| subscribe as usize),
            set: |policy, place| {
                policy.subscribe = Some([Subscribe::Anyone, Subscribe::Token, Subscribe::Nobody][place]);
            },
        },
        "--anonymous if it is given; else token if there are token keys, else anyone",
        "Requests that may receive"),
    key("publish",
        PolicyKind::Word {
            words: &["key", "token", "anyone", "nobody"],
            get: |policy| Some(policy.publish as usize),
            set: |policy, place| {
                policy.publish = [Publish::Key, Publish::Token, Publish::Anyone, Publish::Nobody][place];
            },
        },
        "token",
        "Requests that may publish, beside those with the publish key"),
    key("create",
        PolicyKind::Word {
            words: &["anyone", "publisher"],
            get: |policy| Some(policy.create as usize),
            set: |policy, place| policy.create = [Create::Anyone, Create::Publisher][place],
        },
        "anyone",
        "Requests that may create a channel; with publisher, a channel that does not exist is 404 to receivers"),
    key("max-subscribers", number!(Count, 1..=MAX_COUNT, max_subscribers), "no limit",
        "Maximum number of connections that are parked on a channel"),
    key("max-message-bytes", number!(Bytes, 1..=MAX_MESSAGE, max_message_bytes), "--max-body-bytes",
        "Maximum bytes of a message"),
    key("persist", flag!(persist), "true",
        "Whether messages are saved, where history is; if not, a restart loses them, and readers are told a gap"),
    key("latest", flag!(latest), "false",
        "Whether only the newest message is kept; a reader that is behind gets that message, and no gap"),
];

const fn key(
    name: &'static str,
    kind: PolicyKind,
    unset: &'static str,
    help: &'static str,
) -> PolicyKey {
    PolicyKey {
        name,
        kind,
        unset,
        help,
    }
}

impl PolicyKey {
    /// Its allowed values, in words.
    pub fn allowed(&self) -> String {
        match &self.kind {
            PolicyKind::Pattern => "a pattern, such as `chat/*` or `user/42/**`".into(),
            PolicyKind::Duration { range, .. } => duration_range(range),
            PolicyKind::Number { unit, range, .. } => unit.range(range),
            PolicyKind::Flag { .. } => "true or false".into(),
            PolicyKind::Word { words, .. } => words.join(", "),
        }
    }

    /// Its value in a policy, in the syntax of a text. `None`: it has none.
    pub fn value(&self, policy: &Policy) -> Option<String> {
        match &self.kind {
            PolicyKind::Pattern => Some(policy.pattern.to_string()),
            PolicyKind::Duration { get, .. } => get(policy).map(|age| Span(age).to_string()),
            PolicyKind::Number { unit, get, .. } => get(policy).map(|number| unit.show(number)),
            PolicyKind::Flag { get, .. } => Some(get(policy).to_string()),
            PolicyKind::Word { words, get, .. } => get(policy).map(|place| words[place].into()),
        }
    }

    /// Parses a text and sets the value.
    ///
    /// # Errors
    ///
    /// The error says what is wrong, and what is allowed.
    pub fn set(&self, policy: &mut Policy, text: &str) -> Result<(), String> {
        let quote = |reason: String| format!("{text:?}: {reason}");
        match &self.kind {
            PolicyKind::Pattern => {
                let pattern = text.parse();
                let refused = |error: PatternError| quote(error.to_string());
                policy.pattern = pattern.map_err(refused)?;
            }
            PolicyKind::Duration { range, set, .. } => {
                let Span(value) = text.parse().map_err(quote)?;
                check_duration(value, range)?;
                set(policy, value);
            }
            PolicyKind::Number {
                unit, range, set, ..
            } => {
                let value = unit.parse(text).map_err(quote)?;
                unit.check(value, range)?;
                set(policy, value);
            }
            PolicyKind::Flag { set, .. } => set(policy, value::flag(text).map_err(quote)?),
            PolicyKind::Word { words, set, .. } => {
                let place = words.iter().position(|word| *word == text);
                let place = place.ok_or_else(|| quote(format!("one of {}", words.join(", "))))?;
                set(policy, place);
            }
        }
        Ok(())
    }

    /// Checks that its value in a policy is in its range.
    pub(in crate::config) fn check(&self, policy: &Policy) -> Result<(), String> {
        match &self.kind {
            PolicyKind::Duration { range, get, .. } => {
                get(policy).map_or(Ok(()), |age| check_duration(age, range))
            }
            PolicyKind::Number {
                unit, range, get, ..
            } => get(policy).map_or(Ok(()), |value| unit.check(value, range)),
            PolicyKind::Pattern | PolicyKind::Flag { .. } | PolicyKind::Word { .. } => Ok(()),
        }
    }
}
