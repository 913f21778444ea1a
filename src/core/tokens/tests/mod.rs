//! The support of all tests of tokens: keys, and tokens with any header and any claims.

mod behaviour;
mod forgeries;
mod properties;
mod vectors;

use ring::rand::SystemRandom;

use super::{Invalid, Key, Rules, Signer, Tokens};

/// A date, in seconds since 1970.
const NOW_S: u64 = 1_767_225_600;

/// The same date in milliseconds.
const NOW: u64 = NOW_S * 1_000;

const SECRET: &[u8] = b"a secret of more than 32 bytes, and of no use elsewhere";

const ED25519: &str = include_str!("../fixtures/ed25519.pem");
const P256: &str = include_str!("../fixtures/p256.pem");
const RSA: &str = include_str!("../fixtures/rsa.pem");

const ED25519_PRIVATE: &str = include_str!("../fixtures/ed25519.private.pem");
const P256_PRIVATE: &str = include_str!("../fixtures/p256.private.pem");
const RSA_PRIVATE: &str = include_str!("../fixtures/rsa.private.pem");

/// The source of chance of the tests, which the core itself never has.
#[allow(
    clippy::disallowed_methods,
    reason = "tests have what the core has not"
)]
fn random() -> SystemRandom {
    SystemRandom::new()
}

fn signer(file: impl AsRef<[u8]>) -> Signer {
    Signer::parse(file.as_ref(), random()).unwrap()
}

fn keys(file: impl AsRef<[u8]>) -> Vec<Key> {
    let (keys, warnings) = Key::parse(file.as_ref()).unwrap();
    assert_eq!(warnings, [""; 0]);
    keys
}

/// Rules with these keys alone.
fn rules(files: &[&[u8]]) -> Rules {
    Rules {
        keys: files.iter().flat_map(keys).collect(),
        ..Rules::default()
    }
}

/// A verification by these keys alone.
fn tokens(files: &[&[u8]]) -> Tokens {
    Tokens::new(rules(files), (1, 2))
}

/// Good claims, in which some are replaced, added or (by an empty text) left out: names and JSON.
fn claims(changes: &[(&str, &str)]) -> String {
    let exp = (NOW_S + 60).to_string();
    let good = [
        ("sub", "\"user-42\""),
        ("exp", &exp),
        ("aud", "\"encke\""),
        ("iss", "\"https://issuer.example\""),
        (
            "encke",
            r#"{"subscribe":["news","user/42/**"],"publish":["chat/*"],"info":{"name":"Ann"}}"#,
        ),
    ];
    let is_changed = |name| changes.iter().any(|(changed, _)| *changed == name);
    let kept = good.iter().filter(|(name, _)| !is_changed(*name));
    let all = kept.chain(changes).filter(|(_, json)| !json.is_empty());
    let members: Vec<_> = all
        .map(|(name, json)| format!("\"{name}\":{json}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A token with this payload, signed by the secret.
fn token(payload: impl AsRef<[u8]>) -> String {
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    signer(SECRET).sign_text(header, payload.as_ref()).unwrap()
}

fn reason(verified: Result<std::sync::Arc<super::Token>, Invalid>) -> String {
    verified.map_or_else(|reason| reason.to_string(), |_| "accepted".into())
}
