//! Tokens that are to be refused, each with its reason.

mod claims;
mod forms;
mod signatures;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};

use super::*;
use claims::{forged_claims, forged_grants};
use forms::{forged_forms, forged_headers};
use signatures::{forged_algorithms, forged_signatures, public_keys_as_secrets, rsa};

const KEY: &str = "key: no key here fits its alg and kid";
const SIGNATURE: &str =
    "signature: it does not match the key; the token was signed with another key, or changed";
const CLAIMS: &str = "claim: the claims are not a JSON object";

/// Keys of all kinds without `kid`, an audience and an issuer.
fn all_keys() -> Rules {
    let files = [SECRET, ED25519.as_bytes(), P256.as_bytes(), RSA.as_bytes()];
    Rules {
        audience: Some("encke".into()),
        issuer: Some("https://issuer.example".into()),
        ..rules(&files)
    }
}

/// Public keys alone.
fn public_keys() -> Rules {
    rules(&[ED25519.as_bytes(), P256.as_bytes(), RSA.as_bytes()])
}

/// Keys with `kid`: two secrets, and the RSA key for RS256 alone.
fn jwks() -> Rules {
    let n = RsaKeyPair::from_pkcs8(&der(RSA_PRIVATE)).unwrap();
    let public: ring::rsa::PublicKeyComponents<Vec<u8>> = n.public().into();
    let (n, e) = (base64url(&public.n), base64url(&public.e));
    let (one, two) = (base64url(SECRET), base64url([7; 32]));
    let set = format!(
        r#"{{"keys":[{{"kty":"oct","kid":"one","k":"{one}"}},{{"kty":"oct","kid":"two","k":"{two}"}},
        {{"kty":"RSA","kid":"rs","alg":"RS256","n":"{n}","e":"{e}"}}]}}"#
    );
    rules(&[set.as_bytes()])
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The DER in a PEM file.
fn der(pem: &str) -> Vec<u8> {
    let base64 = pem.lines().filter(|line| !line.starts_with("-----"));
    let base64: String = base64.collect();
    STANDARD.decode(base64).unwrap()
}

/// A token with this header, signed by a secret of any length.
fn hs(secret: &[u8], header: &str, payload: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", base64url(header), base64url(payload));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", base64url(signature))
}

/// A token with this header and good claims, signed by the secret of the server.
fn header(header: &str) -> String {
    hs(SECRET, header, claims(&[]))
}

/// A token with this `kid` and good claims, signed by the first secret.
fn kid(json: &str) -> String {
    header(&format!(r#"{{"alg":"HS256","kid":{json}}}"#))
}

/// A token without signature, of this `alg`.
fn unsigned(alg: &str) -> String {
    let header = format!(r#"{{"alg":"{alg}"}}"#);
    format!("{}.{}.", base64url(header), base64url(claims(&[])))
}

/// A good token of each algorithm, with this header and another signature.
fn with_signature(alg: &str, signature: impl AsRef<[u8]>) -> String {
    let header = base64url(format!(r#"{{"alg":"{alg}"}}"#));
    format!(
        "{header}.{}.{}",
        base64url(claims(&[])),
        base64url(signature)
    )
}

/// The signature of a private key on the token that [`with_signature`] makes.
fn sign(alg: &str, by: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let unsigned = with_signature(alg, "");
    let signed = unsigned.strip_suffix('.').unwrap();
    with_signature(alg, by(signed.as_bytes()))
}

/// The parts of a good token.
fn parts() -> [String; 3] {
    let token = token(claims(&[]));
    let parts: Vec<_> = token.split('.').map(String::from).collect();
    parts.try_into().unwrap()
}

/// A signed token in which one claim is this JSON; empty: it is left out.
fn claim(name: &str, json: &str) -> String {
    token(claims(&[(name, json)]))
}

/// A signed token with this member in `encke`.
fn grant(name: &str, json: &str) -> String {
    claim("encke", &format!("{{\"{name}\":{json}}}"))
}

/// A row: the description of the forgery, its bytes, and the expected reason.
type Row = (&'static str, Vec<u8>, &'static str);

/// A row of a text.
fn row(what: &'static str, token: impl AsRef<[u8]>, reason: &'static str) -> Row {
    (what, token.as_ref().to_vec(), reason)
}

/// Judges rows, each by a verification of its own, and once more by one that has seen them all.
fn judge(rules: &Rules, rows: &[Row]) {
    let mut all = Tokens::new(rules.clone(), (1, 2));
    for (what, token, expected) in rows {
        let shown = String::from_utf8_lossy(token);
        let mut one = Tokens::new(rules.clone(), (3, 4));
        for tokens in [&mut one, &mut all] {
            let reason = reason(tokens.verify(token, NOW));
            assert_eq!(reason, *expected, "{what}: {shown}");
        }
        assert_eq!(one.counts().refused.iter().sum::<u64>(), 1);
        assert_eq!((one.counts().verified, one.counts().cache_entries), (0, 0));
    }
    let counts = all.counts();
    assert_eq!(counts.refused.iter().sum::<u64>(), rows.len() as u64);
    assert_eq!((counts.cache_entries, counts.cache_bytes), (0, 0));
}

#[test]
fn forgeries_are_refused_with_their_reason() {
    let rows = [
        forged_algorithms(),
        public_keys_as_secrets(),
        forged_signatures(),
        forged_forms(),
        forged_headers(),
        forged_claims(),
        forged_grants(),
    ]
    .concat();
    assert!(rows.len() >= 300, "{} forgeries", rows.len());
    judge(&all_keys(), &rows);
}

#[test]
fn public_key_as_a_secret_finds_no_key_where_there_are_no_secrets() {
    let mut rows = public_keys_as_secrets();
    for (_, _, reason) in &mut rows {
        *reason = KEY;
    }
    judge(&public_keys(), &rows);
}

#[test]
fn kid_selects_a_key_and_has_no_other_effect() {
    let mut rows: Vec<_> = [
        "\"../../../../dev/null\"",
        "\"/etc/passwd\"",
        "\"one\\u0000\"",
        "\"ONE\"",
        "\"one \"",
        "\"\"",
        "\"x' UNION SELECT 'key\"",
        "\"https://evil.example/key\"",
        "\"rs\"",
    ]
    .map(|json| row("a kid that is none", kid(json), KEY))
    .into();
    rows.push(row("the kid of another key", kid("\"two\""), SIGNATURE));
    let empty = hs(b"", r#"{"alg":"HS256","kid":"/dev/null"}"#, claims(&[]));
    rows.push(row("a path to an empty key", empty, KEY));
    let pss = sign("PS256", rsa(&RSA_PSS_SHA256));
    rows.push(row("PSS by a key for PKCS #1", pss, KEY));
    judge(&jwks(), &rows);

    let mut tokens = Tokens::new(jwks(), (1, 2));
    for good in [
        kid("\"one\""),
        header(r#"{"alg":"HS256"}"#),
        sign("RS256", rsa(&RSA_PKCS1_SHA256)),
    ] {
        assert_eq!(reason(tokens.verify(good.as_bytes(), NOW)), "accepted");
    }
}

#[test]
fn all_reasons_fit_into_an_error_description() {
    let rows = [
        forged_forms(),
        forged_headers(),
        forged_claims(),
        forged_grants(),
    ]
    .concat();
    let mut tokens = Tokens::new(all_keys(), (1, 2));
    let dated = [
        Invalid::Expired { ago_ms: u64::MAX },
        Invalid::NotYet { in_ms: u64::MAX },
        Invalid::Blocked,
        Invalid::Key,
        Invalid::Signature,
    ];
    let of_rows = rows
        .iter()
        .map(|(_, token, _)| tokens.verify(token, NOW).unwrap_err());
    for reason in of_rows.chain(dated) {
        let text = reason.to_string();
        // RFC 6750, section 3.
        let is_allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(text.bytes().all(is_allowed), "{text}");
        assert!(reason.index() < Invalid::NAMES.len());
    }
}
