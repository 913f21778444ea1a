//! Patterns of channel names, as tokens and policies use them.
//!
//! Owns their syntax and what they match. A pattern is a name whose segments, between `/`, may be
//! `*`, which stands for one segment, and whose last may be `**`, which stands for one or more.
//! Names contain no `*`, so every pattern has one meaning.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::message::{ChannelName, NameError};

/// Comparisons of a name with a pattern that cost as much as the rest of a budgeted step for one
/// channel.
pub(crate) const PATTERNS_PER_CHANNEL: usize = 8;

/// A pattern of channel names: `news`, `chat/*`, `user/42/**`, `**`.
///
/// ```
/// use encke_core::pattern::Pattern;
///
/// let pattern: Pattern = "chat/*".parse()?;
/// assert!(pattern.matches("chat/7"));
/// assert!(!pattern.matches("chat") && !pattern.matches("chat/7/typing"));
/// # Ok::<(), encke_core::pattern::PatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a channel name matches, in a time linear in the length of the name.
    pub fn matches(&self, name: &str) -> bool {
        // Most patterns differ from a name in a letter before their first star: no segments are
        // needed to see it.
        let mut pairs = self.0.bytes().zip(name.bytes());
        if let Some((wanted, _)) = pairs.find(|(wanted, given)| wanted != given)
            && wanted != b'*'
        {
            return false;
        }
        let mut segments = name.split('/');
        for wanted in self.0.split('/') {
            let Some(segment) = segments.next() else {
                return false;
            };
            match wanted {
                // Only the last can be `**`: it takes this segment and all that follow.
                "**" => return true,
                "*" => {}
                wanted if wanted == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }

    /// Whether it matches every name that `other` matches.
    pub fn covers(&self, other: &Pattern) -> bool {
        let mut segments = other.0.split('/');
        for wanted in self.0.split('/') {
            let Some(segment) = segments.next() else {
                return false;
            };
            match wanted {
                "**" => return true,
                // `**` of the other is one segment or more.
                "*" if segment != "**" => {}
                wanted if wanted == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "*" => {}
                "**" if segments.peek().is_none() => {}
                _ if segment.contains('*') => return Err(PatternError::Star),
                _ => {}
            }
        }
        // Any letter in the place of a star makes it the name of a channel, or it matches none.
        ChannelName::parse(text.replace('*', "x").into_bytes())?;
        Ok(Pattern(text.into()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason for which a pattern is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// A `*` beside other characters of its segment, or a `**` that is not the last segment.
    #[error("`*` must be a whole segment between `/`, and `**` the last one")]
    Star,
    /// It can match no channel name.
    #[error("no channel has such a name: {0}")]
    Name(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, by recursion over the segments.
    fn is_match(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            (["**"], [_, ..]) => true,
            ([], []) => true,
            ([wanted, pattern @ ..], [segment, name @ ..]) => {
                (*wanted == "*" || wanted == segment) && is_match(pattern, name)
            }
            _ => false,
        }
    }

    fn segments(words: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(words), 1..5)
    }

    proptest! {
        #[test]
        fn matches_as_defined(
            pattern in segments(&["a", "bc", "*", "**"]),
            name in segments(&["a", "bc", "d"]),
        ) {
            let parsed: Result<Pattern, _> = pattern.join("/").parse();
            let is_allowed = pattern[..pattern.len() - 1].iter().all(|&word| word != "**");
            prop_assert_eq!(parsed.is_ok(), is_allowed);
            if let Ok(parsed) = parsed {
                prop_assert_eq!(parsed.matches(&name.join("/")), is_match(&pattern, &name));
                prop_assert_eq!(parsed.to_string(), pattern.join("/"));
            }
        }
    }

    proptest! {
        /// A segment `z` is in no pattern, so only stars match it: a pattern that matches all names
        /// made of the other with `z` in the place of its stars matches all its names.
        #[test]
        fn covers_what_matches_all_names_of_the_other(
            first in segments(&["a", "bc", "*", "**"]),
            other in segments(&["a", "bc", "*", "**"]),
        ) {
            let parsed = [&first, &other].map(|words| words.join("/").parse::<Pattern>());
            if let [Ok(pattern), Ok(covered)] = parsed {
                let name = |more: usize| -> Vec<&str> {
                    let one = |&word: &&'static str| match word {
                        "*" => vec!["z"],
                        "**" => vec!["z"; more],
                        word => vec![word],
                    };
                    other.iter().flat_map(one).collect()
                };
                let expected = (1..6).all(|more| is_match(&first, &name(more)));
                prop_assert_eq!(pattern.covers(&covered), expected);
            }
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["a*", "*a", "a/b*", "***", "**/a", "a/**/b", "* *"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError::Star), "{text}");
        }
        let long = format!("{}/*", "x".repeat(250));
        for text in [
            "", "/", "a//b", "/a", "a/", "a,b", "..", "a/./b", "a\n", &long,
        ] {
            let parsed = text.parse::<Pattern>();
            assert!(matches!(parsed, Err(PatternError::Name(_))), "{text}");
        }
    }
}
