//! `encke token`: prints a token.
//!
//! Owns the claims that it has. The keys, and the rules for what a server accepts, are those of the
//! library. The secret comes from a file, never from the command line, which others can read.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ArgMatches;
use encke::config::Span;
use encke::pattern::Pattern;
use encke::tokens::{MAX_FILE_BYTES, Signer, SystemRandom};
use serde_json::{Map, Value, json};

/// The word of the command.
pub(super) const NAME: &str = "token";

/// Makes the token that the options describe. An error is one line that names the option.
pub(super) fn token(matches: &ArgMatches) -> Result<String, String> {
    let text = |name| matches.get_one::<String>(name);
    let file = text("key-file").map(Path::new).unwrap_or(Path::new(""));
    let signer = read(file)
        .and_then(|key| Signer::parse(&key, SystemRandom::new()).map_err(|error| error.to_string()))
        .map_err(|error| format!("--key-file: {}: {error}", file.display()))?;
    let expires = text("expires").map_or("", String::as_str);
    let mut claims = Map::new();
    for (option, claim) in [("sub", "sub"), ("audience", "aud"), ("issuer", "iss")] {
        claims.extend(text(option).map(|text| (claim.to_owned(), json!(text))));
    }
    claims.insert("exp".into(), json!(exp(expires)?));
    let mut grants = Map::new();
    for option in ["subscribe", "publish"] {
        let patterns = patterns(matches, option)?;
        if !patterns.is_empty() {
            grants.insert(option.into(), json!(patterns));
        }
    }
    claims.insert("encke".into(), Value::Object(grants));
    let claims = Value::Object(claims).to_string();
    let signed = signer.sign(&claims, text("kid").map(String::as_str));
    signed.map_err(|error| format!("a server would refuse this token: {error}"))
}

/// Reads the file of a key, and of a file that is too long only so much that it is seen to be.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut key = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut key))
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(key)
}

/// The moment of expiry, in seconds since 1970, rounded up.
fn exp(expires: &str) -> Result<u64, String> {
    let refused = |detail: &str| format!("--expires: {expires:?}: {detail}");
    let Span(span) = expires.parse().map_err(|error: String| refused(&error))?;
    if span.is_zero() {
        return Err(refused(
            "the token would be expired at once; 1s or more is allowed",
        ));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let exp = now
        .checked_add(span)
        .ok_or_else(|| refused("the duration is too long"))?;
    Ok(exp.as_secs() + u64::from(exp.subsec_nanos() > 0))
}

/// The patterns of an option, checked one by one, so that an error shows the one at fault.
fn patterns(matches: &ArgMatches, option: &str) -> Result<Vec<String>, String> {
    let texts = matches.get_many::<String>(option).into_iter().flatten();
    let checked = texts.map(|text| match text.parse::<Pattern>() {
        Ok(_) => Ok(text.clone()),
        Err(error) => Err(format!("--{option}: {text:?}: {error}")),
    });
    checked.collect()
}
