//! The parts of a file's errors beside the fault: the line, the key, the nearest known key.
//!
//! Owns the conversion of places in the text to lines, and of TOML's errors to ours.

use super::error::{FileError, MAX_SHOWN_CHARS};
use crate::config::policy::POLICY_KEYS;
use crate::config::setting::Setting;
use crate::config::table::SETTINGS;

/// The places of the lines of a text.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// The offset at which each line begins.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Lines<'t> {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines {
            text,
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The line of an offset, from 1.
    pub(super) fn of(&self, offset: usize) -> u32 {
        let before = self.starts.partition_point(|start| *start <= offset);
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// An error of TOML. Its key is the known one that stands before `=` in the line: anything else
    /// there may be a part of a secret.
    pub(super) fn syntax_error(&self, error: &toml::de::Error) -> FileError {
        let span = error.span().unwrap_or(self.text.len()..self.text.len());
        let line = self.of(span.start);
        let start = self.starts[line as usize - 1];
        let content = self.text[start..].lines().next().unwrap_or_default();
        let before = content.split('=').next().unwrap_or_default().trim();
        let settings = SETTINGS.iter().map(Setting::name);
        let mut keys = settings.chain(POLICY_KEYS.iter().map(|key| key.name));
        let is_twice = error.message().starts_with("duplicate key");
        FileError {
            line,
            key: keys.find(|key| *key == before).unwrap_or("TOML").into(),
            detail: match is_twice {
                true => "given twice; once is allowed".into(),
                false => format!("not TOML: {}", error.message()),
            },
        }
    }
}

/// The known name that is most like `name`.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> &'n str {
    let name = name.to_lowercase().replace('_', "-");
    let name = name.trim_start_matches("encke-").trim_start_matches('-');
    // The time is quadratic in the length.
    let name: String = name.chars().take(MAX_SHOWN_CHARS).collect();
    let likeness = |known: &&str| strsim::jaro_winkler(&name, known);
    let by_likeness = |a: &&str, b: &&str| likeness(a).total_cmp(&likeness(b));
    known.max_by(by_likeness).unwrap_or_default()
}
