//! The claims of a token (RFC 7519, section 4).
//!
//! Owns their types and limits. It is called for signed claims alone, and judges no date.

use std::borrow::Cow;

use super::invalid::Invalid;
use super::json::{NotObject, Object, Value};
use super::key::KeyId;
use super::token::Token;
use crate::pattern::Pattern;

/// The longest subject, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 255;

/// The most patterns in a list.
pub const MAX_PATTERNS: usize = 64;

/// The claims of a token.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    /// Those that are kept.
    pub(super) token: Token,
    issuer: Option<Cow<'a, str>>,
    audience: Vec<Cow<'a, str>>,
}

impl<'a> Claims<'a> {
    /// Reads the claims of a token whose signature is of `key`.
    pub(super) fn parse(payload: &'a [u8], key: KeyId) -> Result<Claims<'a>, Invalid> {
        let claims = Object::parse(payload).map_err(|fault| {
            Invalid::Claim(match fault {
                NotObject::Syntax => "the claims are not a JSON object",
                NotObject::Twice => "a claim is there twice",
                NotObject::Deep => "the claims are nested too deep",
            })
        })?;
        let claim = |name, read, fault| member(&claims, name, read, fault);
        let exp = "exp is not a number of seconds, 0 to 2^53";
        let nbf = "nbf is not a number of seconds, 0 to 2^53";
        let expires_at_ms = claim("exp", milliseconds, exp)?;
        let not_before_ms = claim("nbf", milliseconds, nbf)?;
        let subject = member(&claims, "sub", Value::string, "sub is not a string")?;
        if subject
            .as_ref()
            .is_some_and(|subject| subject.len() > MAX_SUBJECT_BYTES)
        {
            return Err(Invalid::Claim("sub is longer than 255 bytes"));
        }
        let issuer = member(&claims, "iss", Value::string, "iss is not a string")?;
        let aud = "aud is neither a string nor a list of strings";
        let audience = member(&claims, "aud", one_or_several, aud)?;
        let [subscribe, publish] = grants(&claims)?;
        Ok(Claims {
            token: Token {
                subject: subject.map(|subject| subject.into()),
                expires_at_ms: expires_at_ms.ok_or(Invalid::Claim("there is no exp"))?,
                not_before_ms: not_before_ms.unwrap_or(0),
                key,
                subscribe,
                publish,
            },
            issuer,
            audience: audience.unwrap_or_default(),
        })
    }

    /// Judges the claims that stay the same for as long as the rules do.
    pub(super) fn check(
        &self,
        audience: Option<&str>,
        issuer: Option<&str>,
    ) -> Result<(), Invalid> {
        if audience.is_some_and(|wanted| self.audience.iter().all(|one| one != wanted)) {
            return Err(Invalid::Audience);
        }
        if issuer.is_some_and(|wanted| self.issuer.as_deref() != Some(wanted)) {
            return Err(Invalid::Issuer);
        }
        Ok(())
    }
}

/// Reads a member of an object, if it is there.
fn member<'a, T>(
    object: &Object<'a>,
    name: &str,
    read: fn(Value<'a>) -> Option<T>,
    fault: &'static str,
) -> Result<Option<T>, Invalid> {
    let value = object
        .get(name)
        .map(|value| read(value).ok_or(Invalid::Claim(fault)));
    value.transpose()
}

/// A `NumericDate` (RFC 7519, section 2): seconds, which may have a fraction. What is beyond
/// milliseconds is cut off. No product of it overflows.
fn milliseconds(value: Value<'_>) -> Option<u64> {
    match value.integer() {
        Some(seconds) => Some(seconds * 1_000),
        None => value.number().map(|seconds| (seconds * 1_000.0) as u64),
    }
}

fn one_or_several<'a>(value: Value<'a>) -> Option<Vec<Cow<'a, str>>> {
    value
        .string()
        .map(|one| vec![one])
        .or_else(|| value.strings())
}

/// The patterns for receiving and for publishing. A token without the claim grants nothing.
fn grants(claims: &Object<'_>) -> Result<[Box<[Pattern]>; 2], Invalid> {
    let Some(encke) = claims.get("encke") else {
        return Ok(Default::default());
    };
    let encke = encke.object().map_err(|fault| {
        Invalid::Claim(match fault {
            NotObject::Twice => "a member of encke is there twice",
            NotObject::Syntax | NotObject::Deep => "encke is not an object",
        })
    })?;
    let info = |value: Value<'_>| value.is_object().then_some(());
    member(&encke, "info", info, "info in encke is not an object")?;
    let subscribe = "subscribe in encke is not a list of at most 64 patterns of channel names";
    let publish = "publish in encke is not a list of at most 64 patterns of channel names";
    Ok([
        member(&encke, "subscribe", patterns, subscribe)?.unwrap_or_default(),
        member(&encke, "publish", patterns, publish)?.unwrap_or_default(),
    ])
}

fn patterns(value: Value<'_>) -> Option<Box<[Pattern]>> {
    let texts = value
        .strings()
        .filter(|texts| texts.len() <= MAX_PATTERNS)?;
    texts.iter().map(|text| text.parse().ok()).collect()
}
