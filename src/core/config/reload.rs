//! The settings that a running server cannot change.
//!
//! Owns what becomes of them in a reload: they keep their values. The rows of `table` say which
//! they are.

use super::{Config, SETTINGS, Setting};

impl Config {
    /// Gives the settings that cannot change while a server runs ([`Reload::Fixed`](super::Reload))
    /// the values of the running server, and returns the options of those that differed.
    pub fn keep_fixed(&mut self, running: &Config) -> Vec<&'static str> {
        let differed = |setting: &&Setting| setting.keep.is_some_and(|keep| keep(self, running));
        let kept = SETTINGS.iter().filter(differed);
        kept.map(|setting| setting.option).collect()
    }
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
