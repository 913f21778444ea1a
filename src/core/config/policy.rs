//! Policies: what holds for the channels whose names match a pattern.
//!
//! Owns their fields and defaults; in `keys`, their names, ranges and words in a file. The first
//! policy of [`Config::policies`](super::Config::policies) whose pattern matches a name applies to
//! its channel; where none does, the settings of the server apply.

mod keys;

pub use keys::{POLICY_KEYS, PolicyKey, PolicyKind};

use std::time::Duration;

use crate::pattern::Pattern;

/// Limits and rights of the channels whose names match a pattern.
///
/// ```
/// use encke_core::config::{Config, Policy};
///
/// let chats = Policy {
///     history_messages: Some(500),
///     ..Policy::of("chat/**".parse()?)
/// };
/// let config = Config {
///     policies: vec![chats],
///     ..Config::default()
/// };
/// assert!(config.check().is_ok());
/// # Ok::<(), encke_core::pattern::PatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The names of the channels.
    pub pattern: Pattern,
    /// Maximum number of messages that a channel keeps. `None`: as the server's setting. With
    /// [`Policy::latest`] it is 1 at most; 0 keeps none after delivery.
    pub history_messages: Option<usize>,
    /// Age at which a message is evicted, 1 ms to 30 days. `None`: as the server's setting.
    pub history_age: Option<Duration>,
    /// Maximum bytes that a channel keeps. `None`: as the server's setting.
    pub history_bytes: Option<usize>,
    /// The requests that may receive. `None`: as without a policy.
    pub subscribe: Option<Subscribe>,
    /// The requests that may publish.
    pub publish: Publish,
    /// The requests that may create a channel by their first use of it.
    pub create: Create,
    /// Maximum number of connections that are parked on a channel. `None`: no limit.
    pub max_subscribers: Option<u32>,
    /// Maximum bytes of a message. `None`: [`Config::max_body_bytes`](super::Config) alone limits
    /// it.
    pub max_message_bytes: Option<usize>,
    /// Whether messages are saved, where history is. If not, a restart loses them; their numbers
    /// are saved all the same, so that readers are told a gap.
    pub persist: bool,
    /// Whether only the newest message is kept and pending for readers. A newer message replaces an
    /// older one, even if readers have not received it: they get the newer one, and no gap. A
    /// newest message that is evicted or deleted is a gap as always, until a newer one comes. An
    /// idempotency key is remembered as long as its message is kept.
    pub latest: bool,
}

/// The requests that may receive from a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribe {
    /// All.
    Anyone,
    /// Those with a token that grants it.
    Token,
    /// None.
    Nobody,
}

/// The requests, beside those with the publish key, that may publish to a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// None.
    Key,
    /// Those with a token that grants it.
    #[default]
    Token,
    /// All.
    Anyone,
    /// None, not even where no key is asked for.
    Nobody,
}

/// The requests that may create a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Create {
    /// All: a channel is created by its first use.
    #[default]
    Anyone,
    /// Publishers: to receivers, a channel that does not exist is 404.
    Publisher,
}

impl Policy {
    /// A policy that changes nothing for the channels of these names.
    pub fn of(pattern: Pattern) -> Policy {
        Policy {
            pattern,
            history_messages: None,
            history_age: None,
            history_bytes: None,
            subscribe: None,
            publish: Publish::default(),
            create: Create::default(),
            max_subscribers: None,
            max_message_bytes: None,
            persist: true,
            latest: false,
        }
    }
}
