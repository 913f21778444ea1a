//! A file of settings: TOML, whose keys are the options without their dashes, and the policies.
//!
//! Owns the format. The keys and their values are those of `table` and of `policy::keys`; there is
//! no second list. It never opens a file: the text is an argument, and an error has the line and
//! the key, to which the caller adds the name of the file.
//!
//! Invariants:
//! - *Nothing is ignored.* A key that is not known is an error, as is a value of a wrong type.
//! - *Every error is one line*, whatever the file contains.

mod error;
mod form;
mod syntax;

pub use error::FileError;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::policy::{POLICY_KEYS, Policy, PolicyKind};
use super::setting::{Options, Setting};
use super::table::SETTINGS;
use super::value::Resolve;
use form::Form;
use syntax::{Lines, nearest};

/// The key of the policies.
const CHANNELS: &str = "channels";

/// The option that names the file, which the file cannot.
const CONFIG: &str = "config";

/// A parsed file. Its settings are not checked yet: [`FileSetting::set`] does.
#[derive(Debug)]
pub struct File {
    settings: Vec<FileSetting>,
    policies: Vec<Policy>,
    policy_lines: Vec<u32>,
}

/// The value of one setting in a file.
pub struct FileSetting {
    setting: &'static Setting,
    /// The line of its key, from 1.
    line: u32,
    /// Its texts in the syntax of the option, each with its line.
    texts: Vec<(String, u32)>,
}

impl File {
    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// It is not TOML, a key is not known or given twice, a value is of the wrong type, or a policy
    /// is wrong. Of several faults the first is returned.
    pub fn parse(text: &str) -> Result<File, FileError> {
        let lines = Lines::new(text);
        let table = DeTable::parse(text).map_err(|error| lines.syntax_error(&error))?;
        let mut file = File {
            settings: Vec::new(),
            policies: Vec::new(),
            policy_lines: Vec::new(),
        };
        for (key, value) in in_order(table.get_ref()) {
            let line = lines.of(key.span().start);
            let name = &**key.get_ref();
            if name == CHANNELS {
                file.parse_policies(value, line, &lines)?;
                continue;
            }
            let refused = |detail| error(line, name, detail);
            if name == CONFIG {
                let detail = "a file cannot name another; give it on the command line";
                return Err(refused(detail.into()));
            }
            let setting = SETTINGS.iter().find(|setting| setting.name() == name);
            let setting = setting.ok_or_else(|| {
                let names = SETTINGS.iter().map(Setting::name);
                refused(unknown(name, names.chain([CHANNELS])))
            })?;
            if let Some(texts) = Form::of(setting).texts(value, &lines).map_err(refused)? {
                file.settings.push(FileSetting {
                    setting,
                    line,
                    texts,
                });
            }
        }
        Ok(file)
    }

    /// The settings that it gives, in the order of the file.
    pub fn settings(&self) -> &[FileSetting] {
        &self.settings
    }

    /// The policies, in the order of the file.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The line at which each policy begins.
    pub fn policy_lines(&self) -> &[u32] {
        &self.policy_lines
    }

    fn parse_policies(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        line: u32,
        lines: &Lines<'_>,
    ) -> Result<(), FileError> {
        let wrong = || {
            let detail = "a policy begins with a line [[channels]], and its keys follow";
            error(line, CHANNELS, detail.into())
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(wrong());
        };
        for policy in array.iter() {
            let DeValue::Table(table) = policy.get_ref() else {
                return Err(wrong());
            };
            let line = lines.of(policy.span().start);
            self.policies.push(parse_policy(table, line, lines)?);
            self.policy_lines.push(line);
        }
        Ok(())
    }
}

fn parse_policy(table: &DeTable<'_>, line: u32, lines: &Lines<'_>) -> Result<Policy, FileError> {
    // Of all names, until its pattern comes.
    let mut policy = Policy::of("**".parse().expect("it is a pattern"));
    let mut has_pattern = false;
    for (key, value) in in_order(table) {
        let line = lines.of(key.span().start);
        let name = &**key.get_ref();
        let refused = |detail| error(line, &format!("{CHANNELS}.{name}"), detail);
        let known = POLICY_KEYS.iter().find(|key| key.name == name);
        let known =
            known.ok_or_else(|| refused(unknown(name, POLICY_KEYS.iter().map(|key| key.name))))?;
        let texts = Form::of_policy(known)
            .texts(value, lines)
            .map_err(refused)?;
        for (text, _) in texts.into_iter().flatten() {
            known.set(&mut policy, &text).map_err(refused)?;
        }
        has_pattern |= matches!(known.kind, PolicyKind::Pattern);
    }
    if !has_pattern {
        let detail = "`match` is missing; a policy has a pattern, such as match = \"chat/**\"";
        return Err(error(line, CHANNELS, detail.into()));
    }
    Ok(policy)
}

impl FileSetting {
    /// The setting.
    pub fn setting(&self) -> &'static Setting {
        self.setting
    }

    /// The line of its key, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Its texts in the syntax of the option.
    pub fn texts(&self) -> Vec<String> {
        self.texts.iter().map(|(text, _)| text.clone()).collect()
    }

    /// Parses the value and sets it, as [`Setting::set`] does.
    ///
    /// # Errors
    ///
    /// The value is not allowed.
    pub fn set(&self, options: &mut Options, resolve: Resolve) -> Result<(), FileError> {
        let set = self.setting.set(options, &self.texts(), resolve);
        set.map_err(|refusal| {
            // Of a list over several lines the first value that is refused alone is at fault.
            let alone = |text: &&(String, u32)| {
                let text = std::slice::from_ref(&text.0);
                let set = self.setting.set(&mut options.clone(), text, resolve);
                set.is_err()
            };
            let line = self
                .texts
                .iter()
                .find(alone)
                .map_or(self.line, |text| text.1);
            error(line, self.setting.name(), refusal.detail)
        })
    }
}

impl std::fmt::Debug for FileSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not its texts, which may be secrets.
        write!(f, "{} in line {}", self.setting.name(), self.line)
    }
}

/// The entries of a table in the order of the file.
fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn unknown<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let nearest = nearest(name, names);
    format!("there is no such key; the nearest is {nearest}")
}

fn error(line: u32, key: &str, detail: String) -> FileError {
    FileError {
        line,
        key: key.to_owned(),
        detail,
    }
}

#[cfg(test)]
mod tests;
