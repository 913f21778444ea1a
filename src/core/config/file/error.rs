//! The error of a file.
//!
//! Owns the form of its one line. Keys and values may contain anything, so they are made printable
//! here.

use std::fmt;

/// Longer keys and texts are cut: an error is one line that a log can take.
pub(super) const MAX_SHOWN_CHARS: usize = 400;

/// The error of a file: `LINE: KEY: what is wrong; what is allowed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The line, from 1.
    pub line: u32,
    /// The key at fault; of a policy with `channels.` before it.
    pub key: String,
    /// The fault, and the allowed values.
    pub detail: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileError { line, key, detail } = self;
        write!(f, "{line}: {}: {}", printable(key), printable(detail))
    }
}

impl std::error::Error for FileError {}

/// A text without control characters, and not longer than an error may be.
fn printable(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).map(printable).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
