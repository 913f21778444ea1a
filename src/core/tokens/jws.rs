//! The compact form of a signed token: three parts (RFC 7515, section 7.1).
//!
//! Owns its syntax, its size, and the header's members. It looks at no key and no claim. Everything
//! here is done before a signature is checked, so anyone can make it work: at most 4 KiB.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::Algorithm;
use super::invalid::Invalid;
use super::json::{NotObject, Object};

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 4_096;

/// A token, taken apart.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    /// The signed bytes: the first two parts, as they came.
    pub(super) signed: &'a [u8],
    /// The algorithm of the header, if it is one that a key could have.
    pub(super) algorithm: Option<Algorithm>,
    /// The `kid` of the header.
    pub(super) kid: Option<Box<str>>,
    /// The claims, as they were signed.
    pub(super) payload: Vec<u8>,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a [u8]) -> Result<Jws<'a>, Invalid> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Invalid::Form("it is longer than 4096 bytes"));
        }
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid::Form(
                "a token has three parts, with a dot between them",
            ));
        };
        match parts.count() {
            0 => {}
            2 => {
                return Err(Invalid::Form(
                    "it is encrypted, and only signed ones are read",
                ));
            }
            _ => {
                return Err(Invalid::Form(
                    "a token has three parts, with a dot between them",
                ));
            }
        }
        let decoded = decode(header, "the first part is not base64url without padding")?;
        let (algorithm, kid) = read_header(&decoded)?;
        Ok(Jws {
            signed: &token[..header.len() + 1 + payload.len()],
            algorithm,
            kid,
            payload: decode(payload, "the second part is not base64url without padding")?,
            signature: decode(signature, "the third part is not base64url without padding")?,
        })
    }
}

/// Decodes a part. Every text has one encoding: no padding, no blanks, no bits that nothing uses.
fn decode(part: &[u8], fault: &'static str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Invalid::Form(fault))
}

/// Reads the members of a header that matter. Those that would name a key beside `kid` (`jwk`,
/// `jku`, `x5c`, `x5u`) are never looked at.
fn read_header(text: &[u8]) -> Result<(Option<Algorithm>, Option<Box<str>>), Invalid> {
    let header = Object::parse(text).map_err(|fault| {
        Invalid::Form(match fault {
            NotObject::Syntax => "its header is not a JSON object",
            NotObject::Twice => "a member of its header is there twice",
            NotObject::Deep => "its header is nested too deep",
        })
    })?;
    let string = |name: &str, fault| match header.get(name) {
        None => Ok(None),
        Some(value) => value.string().map(Some).ok_or(Invalid::Form(fault)),
    };
    if header.get("enc").is_some() {
        return Err(Invalid::Form(
            "it is encrypted, and only signed ones are read",
        ));
    }
    // RFC 7515, section 4.1.11: a recipient must refuse critical extensions that it does not know.
    if header.get("crit").is_some() || header.get("b64").is_some() {
        return Err(Invalid::Form(
            "crit and b64 in its header are not supported",
        ));
    }
    let content = string("cty", "cty in its header is not a string")?;
    if content.is_some_and(|content| content.eq_ignore_ascii_case("JWT")) {
        return Err(Invalid::Form("there is another token in it"));
    }
    let kid = string("kid", "kid in its header is not a string")?;
    let algorithm = string("alg", "alg in its header is not a string")?;
    let algorithm = algorithm.ok_or(Invalid::Form("there is no alg in its header"))?;
    Ok((Algorithm::named(&algorithm), kid.map(|kid| kid.into())))
}
