//! JWK sets (RFC 7517), with keys of RSA, P-256 and secrets (RFC 7518, section 6) and Ed25519
//! (RFC 8037, section 2).
//!
//! Owns which keys of a set are used. Those for another use, or of a kind that is not known, are
//! skipped with a warning, as RFC 7517, section 5, asks: providers publish them side by side.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use super::algorithm::Algorithm;
use super::json::{NotObject, Object};
use super::key::{Key, KeyMaterial, Label};
use super::key_error::KeyError;
use super::key_material;

/// The most reasons in an error.
const MAX_REASONS: usize = 3;

/// Whether a file is meant as a JWK set or a JWK: it is a JSON object, or something in it is a
/// member `kty` or `keys`, be it in quotes or behind a name. A secret may begin with a brace too.
pub(super) fn is_json(file: &[u8]) -> bool {
    let has = |word: &str| memmem::find(file, word.as_bytes()).is_some();
    has("\"kty") || has("\"keys\"") || Object::parse(file).is_ok()
}

/// Reads the keys of a set, or the only one of a JWK alone. The texts are warnings: what was
/// skipped, and why.
pub(super) fn parse(file: &[u8]) -> Result<(Vec<Key>, Vec<String>), KeyError> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let set = Object::parse(file).map_err(|fault| {
        KeyError::Jwks(match fault {
            NotObject::Syntax => "it is not a JSON object",
            NotObject::Twice => "a member of it is there twice",
            NotObject::Deep => "it is nested too deep",
        })
    })?;
    let jwks = match (set.get("keys"), set.get("kty")) {
        (Some(keys), _) => {
            let keys = keys.list().ok_or(KeyError::Jwks("keys is not a list"))?;
            keys.into_iter().map(|key| key.object().ok()).collect()
        }
        (None, Some(_)) => vec![Some(set)],
        (None, None) => return Err(KeyError::Jwks("there is no member keys")),
    };
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (index, jwk) in jwks.iter().enumerate() {
        let number = index + 1;
        let used = jwk
            .as_ref()
            .ok_or("is not a JSON object, or has a member twice".into());
        match used.and_then(|jwk| key(jwk)) {
            Ok(Some(key)) => keys.push(key),
            Ok(None) => return Err(KeyError::PrivateJwk(number)),
            Err(reason) => skipped.push(format!("key {number} of the JWK set {reason}")),
        }
    }
    match keys.len() {
        0 => Err(KeyError::NoKey(reasons(&skipped))),
        _ => Ok((keys, skipped)),
    }
}

fn reasons(skipped: &[String]) -> String {
    let shown = skipped.iter().take(MAX_REASONS);
    shown.flat_map(|reason| [": ", reason]).collect()
}

/// Reads a JWK. `Ok(None)`: it is a private key. An error follows "key 1 of the JWK set".
fn key(jwk: &Object<'_>) -> Result<Option<Key>, String> {
    let kty = string(jwk, "kty")?.ok_or("has no kty")?;
    if kty != "oct" && jwk.get("d").is_some() {
        return Ok(None);
    }
    check_use(jwk)?;
    let bytes = |name| bytes(jwk, name);
    let crv = string(jwk, "crv")?;
    // What the material borrows.
    let (one, other);
    let material = match (&*kty, crv.as_deref()) {
        ("oct", _) => {
            one = bytes("k")?;
            key_material::secret(&one)
        }
        ("OKP", Some("Ed25519")) => key_material::ed25519(&bytes("x")?),
        ("EC", Some("P-256")) => p256(&bytes("x")?, &bytes("y")?),
        ("RSA", _) => {
            (one, other) = (bytes("n")?, bytes("e")?);
            key_material::rsa(&one, &other)
        }
        ("OKP" | "EC", _) => Err("is of another curve than Ed25519 and P-256".into()),
        _ => Err("is of a kind that is not used here: its kty is none of OKP, EC, RSA, oct".into()),
    }?;
    let label = Label {
        kid: string(jwk, "kid")?.map(String::into_boxed_str),
        algorithm: algorithm(jwk, &material)?,
    };
    Ok(Some(Key::new(material, label)))
}

/// RFC 7517, sections 4.2 and 4.3.
fn check_use(jwk: &Object<'_>) -> Result<(), String> {
    if string(jwk, "use")?.is_some_and(|wanted| wanted != "sig") {
        return Err("is for another use: its use is not sig".into());
    }
    let Some(operations) = jwk.get("key_ops") else {
        return Ok(());
    };
    let operations = operations
        .strings()
        .ok_or("has key_ops that is no list of strings")?;
    match operations.iter().any(|operation| operation == "verify") {
        true => Ok(()),
        false => Err("is for another use: its key_ops has no verify".into()),
    }
}

fn algorithm(jwk: &Object<'_>, material: &KeyMaterial<'_>) -> Result<Option<Algorithm>, String> {
    let Some(name) = string(jwk, "alg")? else {
        return Ok(None);
    };
    let of_kind = material.algorithms();
    let named = Algorithm::named(&name).filter(|named| of_kind.contains(named));
    match named {
        Some(named) => Ok(Some(named)),
        None => {
            let names: Vec<_> = of_kind.iter().map(|own| own.name()).collect();
            Err(format!("has another alg than {}", names.join(" or ")))
        }
    }
}

/// RFC 7518, section 6.2.1: each coordinate in its full length.
fn p256(x: &[u8], y: &[u8]) -> Result<KeyMaterial<'static>, String> {
    match (x.len(), y.len()) {
        (32, 32) => key_material::p256(&[&[4], x, y].concat()),
        _ => Err("is not a P-256 key: those have 32 bytes for x and for y".into()),
    }
}

fn string(jwk: &Object<'_>, name: &str) -> Result<Option<String>, String> {
    match jwk.get(name).map(|value| value.string()) {
        None => Ok(None),
        Some(Some(text)) => Ok(Some(text.into_owned())),
        Some(None) => Err(format!("has a member {name} that is no string")),
    }
}

fn bytes(jwk: &Object<'_>, name: &str) -> Result<Vec<u8>, String> {
    let text = string(jwk, name)?.ok_or_else(|| format!("has no member {name}"))?;
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| format!("has a member {name} that is not base64url without padding"))
}
