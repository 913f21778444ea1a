//! The types of TOML that the value of a key may have.
//!
//! Owns the conversion of TOML's values to the texts of options, which the table of settings
//! parses: a number may be a number of TOML or a text with its unit.

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::syntax::Lines;
use crate::config::policy::{PolicyKey, PolicyKind};
use crate::config::setting::{Kind, Setting, TextForm, Unit};

/// The types that a value may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A whole number, or a text.
    Count,
    /// A whole number of bytes, or a text.
    Bytes,
    /// A number of seconds, or a text.
    Duration,
    /// Octal digits, as a number or a text.
    Mode,
    /// A boolean.
    Flag,
    /// A text.
    Text,
    /// A text; or true for an option without a value, or false for none.
    BareText,
    /// A list of texts, or a single text.
    List,
}

/// The value of one key: texts of its option, each with its line.
type Texts = Vec<(String, u32)>;

impl Form {
    pub(super) fn of(setting: &Setting) -> Form {
        match setting.kind {
            Kind::Duration { .. } => Form::Duration,
            Kind::Number { unit, .. } => Form::of_number(unit),
            Kind::Flag { .. } => Form::Flag,
            Kind::Mode { .. } => Form::Mode,
            Kind::Addresses { .. }
            | Kind::Origins { .. }
            | Kind::Patterns { .. }
            | Kind::Paths { .. } => Form::List,
            Kind::Text {
                form: TextForm::MayBeBare,
                ..
            } => Form::BareText,
            Kind::Directory { .. }
            | Kind::Parsed { .. }
            | Kind::Word { .. }
            | Kind::Text { .. } => Form::Text,
        }
    }

    pub(super) fn of_policy(key: &PolicyKey) -> Form {
        match key.kind {
            PolicyKind::Duration { .. } => Form::Duration,
            PolicyKind::Number { unit, .. } => Form::of_number(unit),
            PolicyKind::Flag { .. } => Form::Flag,
            PolicyKind::Pattern | PolicyKind::Word { .. } => Form::Text,
        }
    }

    fn of_number(unit: Unit) -> Form {
        match unit {
            Unit::Count => Form::Count,
            Unit::Bytes => Form::Bytes,
        }
    }

    /// The texts of a value; `None` if it says that there is none.
    ///
    /// # Errors
    ///
    /// The value has another type.
    pub(super) fn texts(
        self,
        value: &Spanned<DeValue<'_>>,
        lines: &Lines<'_>,
    ) -> Result<Option<Texts>, String> {
        let line = lines.of(value.span().start);
        let one = |text: String| Ok(Some(vec![(text, line)]));
        match (self, value.get_ref()) {
            (Form::Flag, DeValue::Boolean(flag)) => one(flag.to_string()),
            (Form::BareText, DeValue::Boolean(true)) => one(String::new()),
            (Form::BareText, DeValue::Boolean(false)) => Ok(None),
            (Form::Mode, DeValue::Integer(digits)) => one(self.mode(digits)?),
            (Form::Count | Form::Bytes | Form::Duration, DeValue::Integer(number)) => {
                one(self.decimal(number)?)
            }
            (Form::Duration, DeValue::Float(seconds)) => one(seconds.as_str().to_owned()),
            (Form::List, DeValue::Array(values)) => {
                let text = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
                    DeValue::String(text) => {
                        Ok((text.clone().into_owned(), lines.of(value.span().start)))
                    }
                    other => Err(self.mismatch(other)),
                };
                values.iter().map(text).collect::<Result<_, _>>().map(Some)
            }
            (Form::Flag, other) => Err(self.mismatch(other)),
            (_, DeValue::String(text)) => one(text.clone().into_owned()),
            (_, other) => Err(self.mismatch(other)),
        }
    }

    /// A whole number in decimal digits, whatever its notation.
    fn decimal(self, number: &DeInteger<'_>) -> Result<String, String> {
        let value = i128::from_str_radix(number.as_str(), number.radix());
        let value = value.map_err(|_| format!("the number is too large; {}", self.allowed()))?;
        Ok(value.to_string())
    }

    /// The digits of a mode: 660 and 0o660 are the same, as both are octal for chmod.
    fn mode(self, digits: &DeInteger<'_>) -> Result<String, String> {
        match digits.radix() {
            8 | 10 => Ok(digits.as_str().to_owned()),
            _ => Err(format!(
                "neither hexadecimal nor binary; {}",
                self.allowed()
            )),
        }
    }

    fn mismatch(self, value: &DeValue<'_>) -> String {
        let found = match value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        format!("{found} is not allowed; {}", self.allowed())
    }

    fn allowed(self) -> &'static str {
        match self {
            Form::Count => "a whole number, such as 1000",
            Form::Bytes => "a whole number, or a text with a unit, such as \"64K\"",
            Form::Duration => "a number of seconds, or a text with a unit, such as \"500ms\"",
            Form::Mode => "three octal digits, such as 660",
            Form::Flag => "true or false",
            Form::Text => "a text in quotes",
            Form::BareText => "a text in quotes, or true or false",
            Form::List => "a list of texts, such as [\"a\", \"b\"], or one text",
        }
    }
}
