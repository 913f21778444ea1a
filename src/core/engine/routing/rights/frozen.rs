//! Rights in a state that is handed over: those under which connections were accepted.
//!
//! Owns their form.

use serde::{Deserialize, Serialize};

use super::{Rights, Rule};
use crate::config::{Publish, Subscribe};
use crate::frozen::ThawError;
use crate::pattern::Pattern;
use crate::tokens::KeyId;

/// The frozen form of [`Rights`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine) struct FrozenRights<'r> {
    publish_key: Option<&'r str>,
    keys: Vec<u64>,
    audience: Option<&'r str>,
    issuer: Option<&'r str>,
    #[serde(borrow)]
    anonymous: Option<Vec<&'r str>>,
    #[serde(borrow)]
    rules: Vec<FrozenRule<'r>>,
}

#[derive(Serialize, Deserialize)]
struct FrozenRule<'r> {
    pattern: &'r str,
    subscribe: Option<u8>,
    publish: u8,
}

impl<'r> From<&'r Rights> for FrozenRights<'r> {
    fn from(rights: &'r Rights) -> FrozenRights<'r> {
        let anonymous = rights.anonymous.as_ref();
        let rules = rights.rules.iter().map(|rule| FrozenRule {
            pattern: rule.pattern.as_str(),
            subscribe: rule.subscribe.map(|subscribe| subscribe as u8),
            publish: rule.publish as u8,
        });
        FrozenRights {
            publish_key: rights.publish_key.as_deref(),
            keys: rights.keys.iter().map(|key| key.0).collect(),
            audience: rights.audience.as_deref(),
            issuer: rights.issuer.as_deref(),
            anonymous: anonymous.map(|patterns| patterns.iter().map(Pattern::as_str).collect()),
            rules: rules.collect(),
        }
    }
}

impl TryFrom<FrozenRights<'_>> for Rights {
    type Error = ThawError;

    fn try_from(frozen: FrozenRights<'_>) -> Result<Rights, ThawError> {
        let anonymous = frozen.anonymous.map(|texts| {
            let patterns = texts.into_iter().map(pattern);
            patterns.collect::<Result<_, _>>()
        });
        let rules = frozen.rules.iter().map(Rule::try_from);
        Ok(Rights {
            publish_key: frozen.publish_key.map(str::to_owned),
            keys: frozen.keys.into_iter().map(KeyId).collect(),
            audience: frozen.audience.map(str::to_owned),
            issuer: frozen.issuer.map(str::to_owned),
            anonymous: anonymous.transpose()?,
            rules: rules.collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<&FrozenRule<'_>> for Rule {
    type Error = ThawError;

    fn try_from(frozen: &FrozenRule<'_>) -> Result<Rule, ThawError> {
        const SUBSCRIBES: [Subscribe; 3] = [Subscribe::Anyone, Subscribe::Token, Subscribe::Nobody];
        const PUBLISHES: [Publish; 4] = [
            Publish::Key,
            Publish::Token,
            Publish::Anyone,
            Publish::Nobody,
        ];
        const DAMAGED: ThawError = ThawError::Damaged("a right has an unknown holder");
        let subscribe = frozen.subscribe.map(|number| {
            let subscribe = SUBSCRIBES.get(usize::from(number)).copied();
            subscribe.ok_or(DAMAGED)
        });
        let publish = PUBLISHES.get(usize::from(frozen.publish)).copied();
        Ok(Rule {
            pattern: pattern(frozen.pattern)?,
            subscribe: subscribe.transpose()?,
            publish: publish.ok_or(DAMAGED)?,
        })
    }
}

fn pattern(text: &str) -> Result<Pattern, ThawError> {
    let parsed = text.parse();
    parsed.map_err(|_| ThawError::Damaged("a pattern matches no channel"))
}
