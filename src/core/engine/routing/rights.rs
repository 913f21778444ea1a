//! Who may receive from a channel and publish to it, as the settings say.
//!
//! Owns the rule for each name: of `--anonymous`, of the first policy that matches, or the default.
//! It never sees a request or a token.

mod frozen;

pub(in crate::engine) use frozen::FrozenRights;

use crate::config::{Config, Policy, Publish, Subscribe};
use crate::pattern::Pattern;
use crate::tokens::KeyId;

/// The settings that decide who may receive and publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Rights {
    publish_key: Option<String>,
    keys: Vec<KeyId>,
    audience: Option<String>,
    issuer: Option<String>,
    anonymous: Option<Vec<Pattern>>,
    rules: Vec<Rule>,
}

/// The rights that one policy gives.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    subscribe: Option<Subscribe>,
    publish: Publish,
}

impl Rights {
    pub(in crate::engine) fn new(config: &Config) -> Rights {
        let rule = |policy: &Policy| Rule {
            pattern: policy.pattern.clone(),
            subscribe: policy.subscribe,
            publish: policy.publish,
        };
        Rights {
            publish_key: config.publish_key.clone(),
            keys: config.tokens.keys.iter().map(|key| key.id()).collect(),
            audience: config.tokens.audience.clone(),
            issuer: config.tokens.issuer.clone(),
            anonymous: config.anonymous.clone(),
            rules: config.policies.iter().map(rule).collect(),
        }
    }

    /// The key that guards the control surface.
    pub(in crate::engine) fn publish_key(&self) -> Option<&str> {
        self.publish_key.as_deref()
    }

    /// The patterns with which the name of a channel may be compared.
    pub(in crate::engine) fn patterns(&self) -> usize {
        self.rules.len() + self.anonymous.as_ref().map_or(0, Vec::len)
    }

    /// Whether there are keys by which tokens are verified.
    pub(super) fn has_token_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether every channel is for anyone to receive, whatever its name.
    pub(super) fn is_open(&self) -> bool {
        let is_silent = |rule: &Rule| rule.subscribe.is_none();
        self.keys.is_empty() && self.anonymous.is_none() && self.rules.iter().all(is_silent)
    }

    /// Whether the publish key alone decides who may publish.
    pub(super) fn is_for_publish_key(&self) -> bool {
        self.publish_key.is_some() && self.keys.is_empty() && !self.lets_anyone_publish()
    }

    /// Whether there are channels that anyone may publish to, though others need a credential.
    pub(super) fn lets_anyone_publish(&self) -> bool {
        let is_open = |rule: &Rule| rule.publish == Publish::Anyone;
        self.rules.iter().any(is_open)
    }

    /// Who may receive from a channel.
    pub(in crate::engine) fn subscribe(&self, name: &str) -> Subscribe {
        let anonymous = self.anonymous.as_deref();
        if anonymous.is_some_and(|patterns| patterns.iter().any(|p| p.matches(name))) {
            return Subscribe::Anyone;
        }
        if let Some(subscribe) = self.rule(name).and_then(|rule| rule.subscribe) {
            return subscribe;
        }
        match anonymous.is_some() || !self.keys.is_empty() {
            true => Subscribe::Token,
            false => Subscribe::Anyone,
        }
    }

    /// Who, beside the holder of the publish key, may publish to a channel.
    pub(super) fn publish(&self, name: &str) -> Publish {
        self.rule(name)
            .map_or_else(Publish::default, |rule| rule.publish)
    }

    fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.pattern.matches(name))
    }

    /// Whether a token that was accepted under `earlier` rights is still accepted, by its key.
    pub(in crate::engine) fn still_trusts(&self, key: KeyId, earlier: &Rights) -> bool {
        let asks_the_same = (&self.audience, &self.issuer) == (&earlier.audience, &earlier.issuer);
        asks_the_same && self.keys.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(pattern: &str, subscribe: Option<Subscribe>, publish: Publish) -> Policy {
        Policy {
            subscribe,
            publish,
            ..Policy::of(pattern.parse().unwrap())
        }
    }

    #[test]
    fn first_policy_that_matches_decides_unless_anonymous_does() {
        let mut config = Config {
            policies: vec![
                policy("a/open", Some(Subscribe::Anyone), Publish::Anyone),
                policy("a/*", Some(Subscribe::Nobody), Publish::Key),
                policy("b", None, Publish::Nobody),
                policy("**", Some(Subscribe::Token), Publish::Token),
            ],
            ..Config::default()
        };
        let rights = Rights::new(&config);
        assert!(!rights.is_open() && rights.lets_anyone_publish());
        for (name, subscribe, publish) in [
            ("a/open", Subscribe::Anyone, Publish::Anyone),
            ("a/x", Subscribe::Nobody, Publish::Key),
            ("b", Subscribe::Anyone, Publish::Nobody),
            ("c", Subscribe::Token, Publish::Token),
        ] {
            assert_eq!(rights.subscribe(name), subscribe, "{name}");
            assert_eq!(rights.publish(name), publish, "{name}");
        }

        config.anonymous = Some(vec!["a/x".parse().unwrap()]);
        let rights = Rights::new(&config);
        assert_eq!(rights.subscribe("a/x"), Subscribe::Anyone);
        assert_eq!(rights.subscribe("a/y"), Subscribe::Nobody);
        assert_eq!(rights.subscribe("b"), Subscribe::Token);
    }

    #[test]
    fn without_settings_anyone_may_receive() {
        let rights = Rights::new(&Config::default());
        assert!(rights.is_open() && !rights.lets_anyone_publish());
        assert_eq!(rights.subscribe("a"), Subscribe::Anyone);
        assert_eq!(rights.publish("a"), Publish::Token);
    }
}
