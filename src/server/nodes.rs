//! The start of a node of a cluster.
//!
//! Owns the check of the engine before anything else begins, and what the node's settings follow
//! from.

use crate::cluster::{Fault, probe};
use crate::handover::{Cluster, TakeOverError};
use encke_core::config::{Config, EngineConfig, EngineUrl};
use encke_core::log::cluster::Settings;

/// Connects once, so that a refusal, which an operator has to mend, is an error of the start. An
/// engine that does not answer is no error: the node waits for it.
///
/// # Errors
///
/// The engine refuses: another password, rights or a newer server are needed. One line says which.
pub(super) fn check_engine(config: &EngineConfig) -> Result<(), String> {
    let Some(url) = &config.url else {
        return Ok(());
    };
    match probe(config) {
        Ok(warnings) => {
            for warning in warnings {
                log::warn!("{warning}");
            }
            Ok(())
        }
        Err(Fault::Refused(text)) => Err(text),
        Err(fault @ (Fault::Broken(..) | Fault::Moved(_))) => {
            log::warn!("{url}: {fault}; this node is not ready until it answers");
            Ok(())
        }
    }
}

/// Checks that an upgrade leads to a node of the same cluster, or to none again.
///
/// # Errors
///
/// It does not: the texts name what was and what would be.
pub(super) fn check_cluster(
    before: Option<&Cluster>,
    config: &EngineConfig,
) -> Result<(), TakeOverError> {
    let url_before = before.map(|before| before.engine.as_str());
    let known: Option<EngineUrl> = url_before.and_then(|url| url.parse().ok());
    let is_same = match (&config.url, &known) {
        (None, _) => before.is_none(),
        (Some(url), Some(known)) => url.leads_where(known),
        (Some(_), None) => false,
    };
    let refused = |option, before: Option<&str>, after: Option<&str>| {
        let (before, after) = (before.unwrap_or("none"), after.unwrap_or("none"));
        let detail = format!("it was {before}, and would be {after}: restart encke instead");
        Err(TakeOverError::new(option, detail))
    };
    if !is_same {
        let url = config.url.as_ref().map(ToString::to_string);
        let option = "--engine cannot lead to another log in an upgrade";
        return refused(option, url_before, url.as_deref());
    }
    match before.map(|before| before.namespace.as_str()) {
        Some(namespace) if namespace != config.namespace => {
            let option = "--engine-namespace cannot change in an upgrade";
            refused(option, Some(namespace), Some(&config.namespace))
        }
        _ => Ok(()),
    }
}

/// The settings of a node.
pub(super) fn settings(config: &Config) -> Settings {
    let engine = &config.engine;
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Settings {
        name: name(engine).into(),
        log_bytes: engine
            .log_bytes
            .unwrap_or(config.history.max_total_bytes as u64),
        log_age_ms: millis(config.history.max_age),
        patience_ms: millis(engine.patience),
        ready_ms: millis(engine.ready),
        digest: digest(config),
        awaits_replicas: engine.wait > 0,
        ..Settings::default()
    }
}

/// The name of a node: its own, or that of its host.
fn name(engine: &EngineConfig) -> String {
    let host = || {
        let uname = rustix::system::uname();
        uname.nodename().to_string_lossy().into_owned()
    };
    engine.node.clone().unwrap_or_else(host)
}

/// A digest of what decides which messages are kept, which all nodes should agree on.
fn digest(config: &Config) -> u64 {
    let history = &config.history;
    let mut text = format!(
        "{} {:?} {} {}\n",
        history.max_messages, history.max_age, history.max_bytes, history.max_total_bytes
    );
    for policy in &config.policies {
        text.extend(
            policy
                .lines()
                .into_iter()
                .flat_map(|line| [line, "\n".into()]),
        );
    }
    u64::from(crc32fast::hash(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use encke_core::config::Policy;

    #[test]
    fn settings_follow_from_the_configuration() {
        let mut config = Config::default();
        config.engine.node = Some("web-1".into());
        let of_default = settings(&config);
        assert_eq!(&*of_default.name, "web-1");
        assert_eq!(of_default.log_bytes, config.history.max_total_bytes as u64);
        config.engine.log_bytes = Some(7 << 20);
        assert_eq!(settings(&config).log_bytes, 7 << 20);
        config.engine.node = None;
        assert!(!settings(&config).name.is_empty());
    }

    #[test]
    fn upgrade_stays_with_its_log() {
        let config = |url: Option<&str>, namespace: &str| EngineConfig {
            url: url.map(|url| url.parse().unwrap()),
            namespace: namespace.into(),
            ..EngineConfig::default()
        };
        let cluster = |url: &str| Cluster {
            engine: url.into(),
            namespace: "encke".into(),
        };
        let check = |before: Option<&str>, after: Option<&str>| {
            let before = before.map(cluster);
            check_cluster(before.as_ref(), &config(after, "encke"))
        };
        for (before, after) in [
            (None, None),
            (Some("redis://a"), Some("redis://a:6379/0")),
            (Some("redis://a"), Some("redis://user@a")),
            (
                Some("redis+sentinel://a,b/m"),
                Some("redis+sentinel://b,c/m"),
            ),
            (Some("redis+unix:///a"), Some("redis+unix:///a")),
        ] {
            assert!(check(before, after).is_ok(), "{before:?} {after:?}");
        }
        for (before, after) in [
            (None, Some("redis://a")),
            (Some("redis://a"), None),
            (Some("redis://a"), Some("redis://b")),
            (Some("redis://a"), Some("redis://a/1")),
            (
                Some("redis+sentinel://a,b/m"),
                Some("redis+sentinel://a,b/n"),
            ),
            (Some("redis+sentinel://a/m"), Some("redis+sentinel://b/m")),
            (Some("no URL"), Some("redis://a")),
        ] {
            let error = check(before, after).unwrap_err().to_string();
            assert!(
                error.contains("it was") && error.contains("restart"),
                "{error}"
            );
        }
        let error = check_cluster(Some(&cluster("redis://a")), &config(Some("redis://a"), "b"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("it was encke, and would be b"), "{error}");
    }

    #[test]
    fn digest_differs_where_other_messages_are_kept() {
        let config = Config::default();
        let mut other = config.clone();
        assert_eq!(digest(&config), digest(&other));
        other.history.max_messages += 1;
        assert_ne!(digest(&config), digest(&other));
        let mut other = config.clone();
        other.policies.push(Policy::of("a/*".parse().unwrap()));
        assert_ne!(digest(&config), digest(&other));
        let mut other = config.clone();
        other.hold *= 2;
        assert_eq!(digest(&config), digest(&other));
    }
}
