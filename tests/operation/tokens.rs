//! Tokens for the traffic: good ones, and one for each reason to refuse.

use std::time::SystemTime;

use encke::tokens::{Signer, SystemRandom};
use serde_json::{Value, json};

/// The secret that encke verifies with.
pub(crate) const SECRET: &str = "a secret of the tests of operation";

/// The audience and the issuer that encke expects.
pub(crate) const AUDIENCE: &str = "encke";
pub(crate) const ISSUER: &str = "tests";

/// Signed by [`SECRET`], without `exp`.
const WITHOUT_EXP: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0._Lakt_4zUzoD1YE6xcDoHNf-YNQHaYwsAjF9Rs9jCUw";

/// A token of `ann`, whose claims are changed by these.
fn sign(changes: Value) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let exp = now.unwrap().as_secs() + 3_600;
    let mut claims = json!({
        "sub": "ann", "exp": exp, "aud": AUDIENCE, "iss": ISSUER,
        "encke": { "subscribe": ["**"] },
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let signer = Signer::parse(SECRET.as_bytes(), SystemRandom::new()).unwrap();
    signer.sign(&claims.to_string(), None).unwrap()
}

/// A token that is accepted.
pub(crate) fn good() -> String {
    sign(json!({}))
}

/// One token for each reason to refuse that needs no more than the token.
pub(crate) fn bad() -> [String; 8] {
    let (signed, _) = WITHOUT_EXP.rsplit_once('.').unwrap();
    [
        "no.token".into(),
        // {"alg":"ES256"}
        format!("eyJhbGciOiJFUzI1NiJ9.e30.{}", "A".repeat(86)),
        format!("{signed}.{}", "A".repeat(43)),
        WITHOUT_EXP.into(),
        sign(json!({ "exp": 1 })),
        sign(json!({ "nbf": 9_000_000_000_u64 })),
        sign(json!({ "aud": "other" })),
        sign(json!({ "iss": "other" })),
    ]
}
