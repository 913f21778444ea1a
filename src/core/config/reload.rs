//! The settings that a running server cannot change.
//!
//! Owns what becomes of them in a reload: they keep their values. The rows of `table` say which
//! they are.

use super::Config;

impl Config {
    /// Gives the settings that cannot change while a server runs ([`Reload::Fixed`](super::Reload))
    /// the values of the running server, and returns the options of those that differed.
    pub fn keep_fixed(&mut self, running: &Config) -> Vec<&'static str> {
        let mut kept = Vec::new();
        let mut keep = |option, differed: bool| {
            if differed {
                kept.push(option);
            }
        };
        keep("--listen", replace(&mut self.listen, &running.listen));
        keep("--control", replace(&mut self.control, &running.control));
        keep(
            "--unix-mode",
            replace(&mut self.unix_mode, &running.unix_mode),
        );
        keep(
            "--reuse-port",
            replace(&mut self.reuse_port, &running.reuse_port),
        );
        keep(
            "--max-channels",
            replace(&mut self.max_channels, &running.max_channels),
        );
        keep(
            "--max-connections",
            replace(&mut self.max_connections, &running.max_connections),
        );
        keep(
            "--data-dir",
            replace(&mut self.saving.dir, &running.saving.dir),
        );
        keep(
            "--data-sync",
            replace(&mut self.saving.sync, &running.saving.sync),
        );
        keep(
            "--data-full",
            replace(&mut self.saving.full, &running.saving.full),
        );
        keep(
            "--engine",
            replace(&mut self.engine.url, &running.engine.url),
        );
        let password = &mut self.engine.password;
        keep(
            "--engine-password-file",
            replace(password, &running.engine.password),
        );
        keep(
            "--engine-namespace",
            replace(&mut self.engine.namespace, &running.engine.namespace),
        );
        keep(
            "--engine-wait",
            replace(&mut self.engine.wait, &running.engine.wait),
        );
        keep(
            "--engine-log-bytes",
            replace(&mut self.engine.log_bytes, &running.engine.log_bytes),
        );
        keep(
            "--node",
            replace(&mut self.engine.node, &running.engine.node),
        );
        keep("--queue", replace(&mut self.queue, &running.queue));
        kept
    }
}

/// Replaces a value, and returns whether it differed.
fn replace<T: Clone + PartialEq>(value: &mut T, running: &T) -> bool {
    let differed = value != running;
    if differed {
        value.clone_from(running);
    }
    differed
}

#[cfg(test)]
mod tests {
    use crate::config::{Kind, Options, Reload, SETTINGS};

    /// Texts that differ from every default.
    fn other(kind: &Kind) -> &'static str {
        match kind {
            Kind::Duration { .. } => "7s",
            Kind::Parsed { name: "URL", .. } => "redis://other:6379",
            Kind::Parsed { .. } => "other",
            Kind::Number { range, .. } if !range.contains(&777) => "77",
            Kind::Number { .. } => "777",
            Kind::Flag { .. } => "true",
            Kind::Mode { .. } => "604",
            Kind::Addresses { .. } => "unix:/other",
            Kind::Origins { .. } => "https://other.example",
            Kind::Word { words, .. } => words[1],
            Kind::Directory { .. }
            | Kind::Patterns { .. }
            | Kind::Paths { .. }
            | Kind::Text { .. } => "other",
        }
    }

    #[test]
    fn exactly_the_fixed_settings_keep_their_values() {
        let resolve = |_: &str, _| Err("no name".into());
        let running = Options::default();
        for setting in SETTINGS {
            let mut new = Options::default();
            let text = other(&setting.kind).to_owned();
            setting.set(&mut new, &[text], resolve).unwrap();
            let changed = setting.values(&new);
            assert_ne!(changed, setting.values(&running), "{}", setting.option);
            let kept = new.config.keep_fixed(&running.config);
            // Texts that are not part of a `Config` are the process's.
            let is_ours = !matches!(setting.kind, Kind::Text { .. });
            if setting.reload == Reload::Fixed && is_ours {
                assert_eq!(kept, [setting.option]);
                assert_eq!(setting.values(&new), setting.values(&running));
            } else {
                assert_eq!((kept, setting.values(&new)), (vec![], changed));
            }
        }
    }
}
