//! Settings and policies as lines of a file.
//!
//! Owns the reverse of `file`: what is printed here is read there as the same value. Secrets are
//! not printed.

use super::{Kind, Options, POLICY_KEYS, Policy, PolicyKind, Setting};

impl Setting {
    /// The line of a file that sets its value, without the line end: `max-hold = "2m"`. `None`: it
    /// has no value, or it is a secret.
    pub fn line(&self, options: &Options) -> Option<String> {
        if self.is_secret() {
            return None;
        }
        let values = self.values(options)?;
        let value = match &self.kind {
            Kind::Flag { .. } => values.concat(),
            _ if self.is_list() => {
                let quoted: Vec<String> = values.iter().map(|text| quoted(text)).collect();
                format!("[{}]", quoted.join(", "))
            }
            _ => quoted(&values.concat()),
        };
        Some(format!("{} = {value}", self.name()))
    }
}

impl Policy {
    /// The lines of a file for this policy, the first of them `[[channels]]`: the keys that differ
    /// from their defaults.
    pub fn lines(&self) -> Vec<String> {
        let default = Policy::of(self.pattern.clone());
        let mut lines = vec!["[[channels]]".to_owned()];
        for key in POLICY_KEYS {
            let is_pattern = matches!(key.kind, PolicyKind::Pattern);
            let value = key.value(self);
            let Some(value) =
                value.filter(|value| is_pattern || key.value(&default).as_ref() != Some(value))
            else {
                continue;
            };
            let value = match key.kind {
                PolicyKind::Flag { .. } => value,
                _ => quoted(&value),
            };
            lines.push(format!("{} = {value}", key.name));
        }
        lines
    }
}

/// A basic string of TOML. Its escapes are those of JSON; beyond these, DEL must be escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}
