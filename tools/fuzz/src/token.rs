//! Tokens, claims, headers and the files of keys, by the first byte of the input: `t`, `c`, `h`,
//! `k`.
//!
//! Claims and headers are signed by the secret of the server, so that what is behind the signature
//! is reached too. They are held against a reader that knows only JSON. A token that is not signed
//! here must be refused, unless it is one of the seeds: nobody can sign for a key that he has not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use encke_core::pattern::Pattern;
use encke_core::tokens::{
    Algorithm, Invalid, Key, MAX_TOKEN_BYTES, Rules, Signer, SystemRandom, Token, Tokens,
};
use ring::hmac;

use crate::tree::Tree;

const UNIX_MS: u64 = 1_700_000_000_000;

const SECRET: &[u8] = b"a secret of more than 32 bytes, and of no use elsewhere";
const PUBLIC: [&str; 3] = [
    include_str!("../../../src/core/tokens/fixtures/ed25519.pem"),
    include_str!("../../../src/core/tokens/fixtures/p256.pem"),
    include_str!("../../../src/core/tokens/fixtures/rsa.pem"),
];

const AUDIENCE: &str = "encke";
const ISSUER: &str = "me";

/// Reads bytes as what their first says.
pub fn token(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b't', text)) => any(text),
        Some((b'c', text)) => claims(text),
        Some((b'h', text)) => header(text),
        Some((b'k', text)) => key(text),
        _ => {}
    }
}

fn server() -> Tokens {
    let files = PUBLIC.iter().map(|pem| pem.as_bytes()).chain([SECRET]);
    let keys = files.flat_map(|file| Key::parse(file).expect("a key").0);
    let rules = Rules {
        keys: keys.collect(),
        audience: Some(AUDIENCE.into()),
        issuer: Some(ISSUER.into()),
    };
    Tokens::new(rules, (1, 2))
}

/// Verifies a text twice: the second time it may be in the cache.
fn verify(text: &[u8]) -> Result<Token, Invalid> {
    let mut tokens = server();
    let first = tokens.verify(text, UNIX_MS);
    assert_eq!(
        first,
        tokens.verify(text, UNIX_MS),
        "the cache says otherwise"
    );
    let counts = tokens.counts();
    match &first {
        Ok(_) => assert_eq!(
            (counts.verified, counts.cached, counts.cache_entries),
            (1, 1, 1)
        ),
        Err(reason) => {
            assert_eq!(counts.refused[reason.index()], 2);
            assert_eq!(counts.cache_entries, 0);
            let text = reason.to_string();
            let is_allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(text.bytes().all(is_allowed), "{text:?}");
        }
    }
    first.map(|token| Token::clone(&token))
}

/// A token that someone made. What is accepted has the three parts of a compact JWS, a header with
/// an algorithm of ours, and claims that the slow reader takes.
fn any(text: &[u8]) {
    let Ok(token) = verify(text) else {
        return;
    };
    let text = std::str::from_utf8(text).expect("base64url is ASCII");
    let parts: Vec<_> = text.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("{} parts", parts.len());
    };
    let decode = |part| URL_SAFE_NO_PAD.decode(part).expect("base64url");
    assert!(!decode(signature).is_empty());
    if let Some(header) = Tree::read(&decode(header)) {
        let alg = slow_header(&header).expect("nothing to object to");
        assert!(["HS256", "EdDSA", "Ed25519", "ES256", "RS256", "PS256"].contains(&&*alg));
    }
    if let Some(claims) = Tree::read(&decode(payload)) {
        Slow::read(&claims)
            .expect("nothing to object to")
            .compare(&token);
    }
}

fn sign(header: &[u8], payload: &[u8]) -> String {
    let mut token = URL_SAFE_NO_PAD.encode(header) + ".";
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

fn claims(payload: &[u8]) {
    let text = sign(br#"{"alg":"HS256"}"#, payload);
    let verified = verify(text.as_bytes());
    if text.len() > MAX_TOKEN_BYTES {
        return;
    }
    let Some(tree) = Tree::read(payload) else {
        let is_claim = matches!(verified, Err(Invalid::Claim(_)));
        assert!(is_claim || Tree::may_be_beyond(payload), "{verified:?}");
        return;
    };
    match (Slow::read(&tree), verified) {
        (Some(slow), Ok(token)) => {
            assert!(slow.is_good(), "accepted");
            slow.compare(&token);
        }
        (Some(slow), Err(reason)) => assert!(!slow.is_good(), "refused for nothing: {reason}"),
        (None, Ok(_)) => panic!("accepted, and wrong"),
        (None, Err(reason)) => assert!(matches!(reason, Invalid::Claim(_)), "{reason}"),
    }
}

fn header(header: &[u8]) {
    let payload = br#"{"exp":1800000000,"aud":"encke","iss":"me"}"#;
    let text = sign(header, payload);
    let verified = verify(text.as_bytes());
    if text.len() > MAX_TOKEN_BYTES {
        return;
    }
    let Some(tree) = Tree::read(header) else {
        let is_form = matches!(verified, Err(Invalid::Form(_)));
        assert!(is_form || Tree::may_be_beyond(header), "{verified:?}");
        return;
    };
    match (slow_header(&tree).as_deref(), verified) {
        (Some("HS256"), Ok(_)) => {}
        (Some("HS256"), verified) => panic!("refused for nothing: {verified:?}"),
        (Some("EdDSA" | "Ed25519" | "ES256" | "RS256" | "PS256"), verified) => {
            assert_eq!(verified, Err(Invalid::Signature));
        }
        (Some(alg), verified) => assert_eq!(verified, Err(Invalid::Key), "{alg}"),
        (None, verified) => assert!(matches!(verified, Err(Invalid::Form(_))), "{verified:?}"),
    }
}

/// A member of an object by its name.
fn get<'a>(members: &'a [(String, Tree)], name: &str) -> Option<&'a Tree> {
    let found = members.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value)
}

/// A member that may be missing: `None` if it is there and of another type.
fn optional<'a, T>(
    members: &'a [(String, Tree)],
    name: &str,
    read: impl Fn(&'a Tree) -> Option<T>,
) -> Option<Option<T>> {
    match get(members, name) {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

/// The `alg` of a header to which there is nothing to object.
fn slow_header(tree: &Tree) -> Option<String> {
    let members = tree.members()?;
    let is_refused = ["crit", "b64", "enc"]
        .iter()
        .any(|name| get(members, name).is_some());
    let cty = optional(members, "cty", Tree::text)?;
    let is_nested = cty.is_some_and(|cty| cty.eq_ignore_ascii_case("jwt"));
    optional(members, "kid", Tree::text)?;
    if is_refused || is_nested || tree.levels() > 64 {
        return None;
    }
    optional(members, "alg", Tree::text)?.map(String::from)
}

/// Claims as a reader of JSON finds them.
struct Slow {
    exp_ms: u64,
    nbf_ms: u64,
    sub: Option<String>,
    is_audience: bool,
    is_issuer: bool,
    subscribe: Vec<Pattern>,
    publish: Vec<Pattern>,
}

impl Slow {
    /// The claims, if each of them is of its type.
    fn read(tree: &Tree) -> Option<Slow> {
        let members = tree.members().filter(|_| tree.levels() <= 64)?;
        let short = |value: &Tree| {
            value
                .text()
                .filter(|sub| sub.len() <= 255)
                .map(String::from)
        };
        let one_or_several = |value: &Tree| {
            let texts = value
                .text()
                .map(|one| vec![one])
                .or_else(|| value.texts())?;
            Some(texts.contains(&AUDIENCE))
        };
        let none = Tree::Object(Vec::new());
        let encke = get(members, "encke").unwrap_or(&none).members()?;
        let is_object = |value: &Tree| matches!(value, Tree::Object(_)).then_some(());
        optional(encke, "info", is_object)?;
        Some(Slow {
            exp_ms: optional(members, "exp", milliseconds)??,
            nbf_ms: optional(members, "nbf", milliseconds)?.unwrap_or(0),
            sub: optional(members, "sub", short)?,
            is_audience: optional(members, "aud", one_or_several)?.unwrap_or(false),
            is_issuer: optional(members, "iss", Tree::text)? == Some(ISSUER),
            subscribe: optional(encke, "subscribe", patterns)?.unwrap_or_default(),
            publish: optional(encke, "publish", patterns)?.unwrap_or_default(),
        })
    }
}

/// A time in seconds, whole ones up to 2^53.
fn milliseconds(value: &Tree) -> Option<u64> {
    match *value {
        Tree::Integer(seconds) => (seconds <= 1 << 53).then(|| seconds * 1_000),
        Tree::Number(seconds) if seconds.is_sign_negative() => None,
        Tree::Number(seconds) => {
            (seconds < 9_007_199_254_740_992.0).then_some((seconds * 1e3) as u64)
        }
        Tree::Other | Tree::Text(_) | Tree::List(_) | Tree::Object(_) => None,
    }
}

fn patterns(value: &Tree) -> Option<Vec<Pattern>> {
    let texts = value.texts().filter(|texts| texts.len() <= 64)?;
    texts.iter().map(|text| text.parse().ok()).collect()
}

impl Slow {
    fn is_good(&self) -> bool {
        let is_now = UNIX_MS < self.exp_ms && self.nbf_ms <= UNIX_MS + 5_000;
        self.is_audience && self.is_issuer && is_now
    }

    fn compare(&self, token: &Token) {
        assert_eq!(token.subject.as_deref(), self.sub.as_deref());
        assert_eq!(token.expires_at_ms, self.exp_ms);
        assert_eq!(token.not_before_ms, self.nbf_ms);
        for name in ["news", "user/42/inbox", "chat/7", "a", "a/b", "a/b/c"] {
            let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
            assert_eq!(token.may_subscribe(name), any(&self.subscribe));
            assert_eq!(token.may_publish(name), any(&self.publish));
        }
    }
}

/// The file of a key: an error, or keys that are the same when it is read again.
fn key(file: &[u8]) {
    let signer = Signer::parse(file, SystemRandom::new());
    let Ok((keys, _)) = Key::parse(file) else {
        return;
    };
    assert!((1..=64).contains(&keys.len()));
    assert_eq!(Key::parse(file).expect("it was read").0, keys);
    let is_secret = |key: &Key| key.algorithms() == [Algorithm::Hs256];
    let is_pem = file.windows(11).any(|part| part == b"-----BEGIN ");
    if is_pem {
        assert!(!keys.iter().any(is_secret), "a public key is a secret");
        assert!(signer.is_err(), "a private key verifies");
    }
    // What signs is a secret here, and what it signs is verified.
    if let Ok(signer) = signer {
        let [key] = &keys[..] else {
            panic!("{} secrets in a file", keys.len());
        };
        assert!(is_secret(key) && signer.algorithm() == Algorithm::Hs256);
        let token = signer
            .sign(r#"{"exp":1800000000}"#, None)
            .expect("good claims");
        let rules = Rules {
            keys,
            ..Rules::default()
        };
        let verified = Tokens::new(rules, (1, 2)).verify(token.as_bytes(), UNIX_MS);
        assert!(verified.is_ok(), "{verified:?}");
    }
}
