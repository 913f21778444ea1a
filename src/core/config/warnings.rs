//! Settings that are allowed and do not do what they seem to.
//!
//! Owns the texts of the warnings. `check` refuses what is not allowed.

use super::{Config, Cors, DataFull, DataSync, EngineConfig, Policy, Saving, Subscribe};

impl Config {
    /// Probable mistakes, each in one line.
    ///
    /// ```
    /// use encke_core::config::{Config, Policy};
    ///
    /// let policies = ["chat/**", "chat/7"].map(|pattern| Policy::of(pattern.parse().unwrap()));
    /// let config = Config { policies: policies.into(), ..Config::default() };
    /// assert!(config.warnings()[0].contains("is never reached"));
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.token_warnings();
        warnings.extend(self.saving_warnings());
        warnings.extend(self.engine_warnings());
        for (index, policy) in self.policies.iter().enumerate() {
            let pattern = &policy.pattern;
            let earlier = self.policies[..index].iter();
            if let Some(first) = earlier
                .map(|policy| &policy.pattern)
                .find(|first| first.covers(pattern))
            {
                warnings.push(format!(
                    "the policy {pattern} is never reached: {first} before it matches the same names"
                ));
                continue;
            }
            let warning = |text| format!("the policy {pattern}: {text}");
            warnings.extend(self.policy_warnings(policy).into_iter().map(warning));
        }
        warnings
    }

    fn token_warnings(&self) -> Vec<String> {
        if !self.tokens.keys.is_empty() {
            let is_cookie_of_own_pages = self.token_cookie.is_some() && self.cors == Cors::Any;
            let text = "--token-cookie has no effect for pages of other origins that \
                        --cors-origin * allows: list their origins";
            return Vec::from_iter(is_cookie_of_own_pages.then(|| text.into()));
        }
        let given = [
            ("--token-audience", self.tokens.audience.is_some()),
            ("--token-issuer", self.tokens.issuer.is_some()),
            ("--token-cookie", self.token_cookie.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        let mut warnings: Vec<String> = given
            .map(|(option, _)| format!("{option} has no effect: there is no --token-key-file"))
            .collect();
        if self.anonymous.is_some() {
            warnings.push(
                "--anonymous without --token-key-file: other channels can be received with the \
                 publish key alone"
                    .into(),
            );
        }
        warnings
    }

    fn saving_warnings(&self) -> Vec<String> {
        let Saving { dir, sync, full } = &self.saving;
        let given = [
            ("--data-sync", *sync != DataSync::default()),
            ("--data-full", *full != DataFull::default()),
        ];
        let given = given
            .iter()
            .filter(|(_, is_given)| *is_given && dir.is_none());
        given
            .map(|(option, _)| format!("{option} has no effect: there is no --data-dir"))
            .collect()
    }

    fn engine_warnings(&self) -> Vec<String> {
        let default = EngineConfig::default();
        let engine = &self.engine;
        let given = [
            ("--engine-password-file", engine.password.is_some()),
            ("--engine-namespace", engine.namespace != default.namespace),
            ("--engine-wait", engine.wait != default.wait),
            ("--engine-patience", engine.patience != default.patience),
            ("--engine-ready", engine.ready != default.ready),
            ("--engine-log-bytes", engine.log_bytes.is_some()),
            ("--node", engine.node.is_some()),
        ];
        let given = given
            .iter()
            .filter(|(_, is_given)| *is_given && engine.url.is_none());
        given
            .map(|(option, _)| format!("{option} has no effect: there is no --engine"))
            .collect()
    }

    fn policy_warnings(&self, policy: &Policy) -> Vec<String> {
        let mut warnings = Vec::new();
        if policy.subscribe == Some(Subscribe::Token) && self.tokens.keys.is_empty() {
            let text = "subscribe = \"token\" without --token-key-file: the publish key alone may \
                        receive";
            warnings.push(text.into());
        }
        if let Some(bytes) = policy.max_message_bytes
            && bytes > self.max_body_bytes
        {
            let limit = self.max_body_bytes;
            warnings.push(format!(
                "max-message-bytes, {bytes}, has no effect: --max-body-bytes is {limit}"
            ));
        }
        if let Some(bytes) = policy.history_bytes
            && bytes > self.history.max_total_bytes
        {
            let limit = self.history.max_total_bytes;
            warnings.push(format!(
                "history-bytes, {bytes}, is never reached: --history-total-bytes is {limit}"
            ));
        }
        let anonymous = self.anonymous.iter().flatten();
        if let Some(Subscribe::Token | Subscribe::Nobody) = policy.subscribe
            && let Some(open) = anonymous
                .into_iter()
                .find(|open| open.covers(&policy.pattern))
        {
            warnings.push(format!(
                "subscribe has no effect: --anonymous {open} lets anyone receive"
            ));
        }
        if policy.latest && policy.history_messages.is_some_and(|messages| messages > 0) {
            warnings.push("history-messages has no effect: latest keeps one message".into());
        }
        if !policy.persist && self.saving.dir.is_none() {
            warnings.push("persist has no effect: there is no --data-dir".into());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Cors, DataFull, DataSync, POLICY_KEYS, Policy, Saving};
    use crate::tokens::Key;

    fn policy(pattern: &str, values: &[(&str, &str)]) -> Policy {
        let mut policy = Policy::of(pattern.parse().unwrap());
        for (name, value) in values {
            let key = POLICY_KEYS.iter().find(|key| key.name == *name).unwrap();
            key.set(&mut policy, value).unwrap();
        }
        policy
    }

    fn with_keys() -> Config {
        let mut config = Config::default();
        config.tokens.keys = Key::parse(&[b'k'; 32]).unwrap().0;
        config
    }

    /// Asserts that there is one warning for each of `words`, in this order, which contains them.
    fn warns(config: &Config, words: &[&str]) {
        let warnings = config.warnings();
        assert_eq!(warnings.len(), words.len(), "{warnings:?}");
        for (warning, words) in warnings.iter().zip(words) {
            assert!(warning.contains(words), "{warning} lacks {words}");
        }
    }

    #[test]
    fn policy_that_is_never_reached_is_reported() {
        let patterns = ["chat/*", "chat/7", "news/**", "news/*", "chat/**"];
        let config = Config {
            policies: patterns.map(|pattern| policy(pattern, &[])).into(),
            ..Config::default()
        };
        warns(
            &config,
            &[
                "the policy chat/7 is never reached: chat/* before it",
                "the policy news/* is never reached: news/** before it",
            ],
        );
    }

    #[test]
    fn settings_without_effect_are_reported() {
        let mut config = Config::default();
        warns(&config, &[]);
        config.tokens.audience = Some("a".into());
        config.token_cookie = Some("a".into());
        config.anonymous = Some(Vec::new());
        config.policies = vec![
            policy("a", &[("subscribe", "token")]),
            policy("b", &[("max-message-bytes", "1G"), ("history-bytes", "1G")]),
            policy("c", &[("latest", "true"), ("history-messages", "3")]),
            policy("d", &[("persist", "false")]),
        ];
        let of_policies = [
            "the policy b: max-message-bytes, 1073741824, has no effect",
            "the policy b: history-bytes, 1073741824, is never reached",
            "the policy c: history-messages has no effect",
            "the policy d: persist has no effect",
        ];
        let of_tokens = [
            "--token-audience has no effect",
            "--token-cookie has no effect",
            "--anonymous without --token-key-file",
            "the policy a: subscribe = \"token\" without --token-key-file",
        ];
        warns(&config, &[&of_tokens[..], &of_policies[..]].concat());
        config.tokens.keys = with_keys().tokens.keys;
        warns(&config, &of_policies);
        config.saving.dir = Some("d".into());
        config.saving.sync = DataSync::Never;
        config.saving.full = DataFull::Forget;
        warns(&config, &of_policies[..3]);
        config.saving.dir = None;
        let of_saving = ["--data-sync has no effect", "--data-full has no effect"];
        warns(&config, &[&of_saving[..], &of_policies[..]].concat());
        config.saving = Saving::default();
        config.engine.wait = 1;
        config.engine.node = Some("a".into());
        let of_engine = ["--engine-wait has no effect", "--node has no effect"];
        warns(&config, &[&of_engine[..], &of_policies[..]].concat());
        config.engine.url = Some("redis://a".parse().unwrap());
        warns(&config, &of_policies);
        config.policies.clear();
        for (name, subscribe) in [("a/b", "nobody"), ("a/*", "token"), ("c", "anyone")] {
            config
                .policies
                .push(policy(name, &[("subscribe", subscribe)]));
        }
        let of_event = [("latest", "true"), ("history-messages", "0")];
        config.policies.push(policy("d", &of_event));
        config.anonymous = Some(vec!["a/*".parse().unwrap(), "c".parse().unwrap()]);
        let overridden = [
            "a/b: subscribe has no effect",
            "a/*: subscribe has no effect",
        ];
        warns(&config, &overridden);
        config.policies.clear();
        config.cors = Cors::Any;
        let of_cookie = ["--token-cookie has no effect for pages of other origins"];
        warns(&config, &of_cookie);
    }
}
