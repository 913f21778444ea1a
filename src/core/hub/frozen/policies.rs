//! The frozen form of policies: not to be thawed, but to know whether they are those of the
//! configuration still.

use serde::{Deserialize, Serialize};

use super::super::policies::{Policies, Rules};
use crate::config::Create;

/// The frozen form of [`Policies`].
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrozenPolicies<'p> {
    server: FrozenRules,
    #[serde(borrow)]
    policies: Vec<(&'p str, FrozenRules)>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct FrozenRules {
    max_messages: usize,
    max_bytes: usize,
    max_age_ms: u64,
    max_message_bytes: usize,
    max_subscribers: u32,
    latest: bool,
    persist: bool,
    is_made_by_publishers: bool,
}

impl From<&Rules> for FrozenRules {
    fn from(rules: &Rules) -> FrozenRules {
        let Rules {
            max_messages,
            max_bytes,
            max_age_ms,
            max_message_bytes,
            max_subscribers,
            latest,
            persist,
            create,
        } = *rules;
        FrozenRules {
            max_messages,
            max_bytes,
            max_age_ms,
            max_message_bytes,
            max_subscribers,
            latest,
            persist,
            is_made_by_publishers: create == Create::Publisher,
        }
    }
}

impl Policies {
    /// Their frozen form.
    pub(super) fn freeze(&self) -> FrozenPolicies<'_> {
        let patterns = self.patterns.iter().map(|pattern| pattern.as_str());
        let rules = self.rules.iter().map(FrozenRules::from);
        FrozenPolicies {
            server: (&self.server).into(),
            policies: patterns.zip(rules).collect(),
        }
    }
}
