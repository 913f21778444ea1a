//! Valid tokens, and the cache of verified ones.

use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};

use super::*;
use crate::tokens::{Counts, MAX_PATTERNS, MAX_TOKEN_BYTES};

fn verify(tokens: &mut Tokens, token: &str, unix_ms: u64) -> String {
    reason(tokens.verify(token.as_bytes(), unix_ms))
}

/// A good token whose `exp` is `seconds` from now, of this subject.
fn of(subject: &str, seconds: u64) -> String {
    let (sub, exp) = (format!("\"{subject}\""), (NOW_S + seconds).to_string());
    token(claims(&[("sub", &sub), ("exp", &exp)]))
}

#[test]
fn claims_are_kept() {
    let mut tokens = tokens(&[SECRET]);
    let text = token(claims(&[
        ("nbf", &NOW_S.to_string()),
        ("iat", "\"x\""),
        ("jti", "[]"),
    ]));
    let verified = tokens.verify(text.as_bytes(), NOW).unwrap();
    assert_eq!(verified.subject.as_deref(), Some("user-42"));
    assert_eq!(verified.expires_at_ms, NOW + 60_000);
    assert_eq!(verified.not_before_ms, NOW);
    assert!(tokens.has_key(verified.key));
    for (name, may_subscribe, may_publish) in [
        ("news", true, false),
        ("user/42/inbox/1", true, false),
        ("user/42", false, false),
        ("user/43/inbox", false, false),
        ("chat/7", false, true),
        ("chat", false, false),
        ("chat/7/8", false, false),
    ] {
        assert_eq!(verified.may_subscribe(name), may_subscribe, "{name}");
        assert_eq!(verified.may_publish(name), may_publish, "{name}");
    }
}

#[test]
fn token_without_grants_is_good_and_grants_nothing() {
    let mut tokens = tokens(&[SECRET]);
    for encke in [
        "",
        "{}",
        r#"{"subscribe":[],"publish":[],"info":{},"more":[1]}"#,
    ] {
        let text = token(claims(&[("encke", encke), ("sub", "")]));
        let verified = tokens.verify(text.as_bytes(), NOW).unwrap();
        assert_eq!(verified.subject, None);
        assert!(!verified.may_subscribe("news") && !verified.may_publish("news"));
    }
}

#[test]
fn limits_are_allowed_values() {
    let mut tokens = tokens(&[SECRET]);
    let patterns = format!("[{}]", vec!["\"a\""; MAX_PATTERNS].join(","));
    let encke = format!("{{\"subscribe\":{patterns},\"publish\":{patterns}}}");
    let subject = format!("\"{}\"", "x".repeat(255));
    let text = token(claims(&[
        ("encke", &encke),
        ("sub", &subject),
        ("exp", "9007199254740992"),
    ]));
    let verified = tokens.verify(text.as_bytes(), NOW).unwrap();
    assert_eq!(verified.expires_at_ms, (1 << 53) * 1_000);
    let longest = longest();
    assert_eq!(verify(&mut tokens, &longest, NOW), "accepted");
}

/// A good token of the greatest length.
fn longest() -> String {
    let of = |bytes: usize| token(claims(&[("x", &format!("\"{}\"", "x".repeat(bytes)))]));
    let mut texts = (2_000..4_000).map(of);
    let longest = texts.find(|text| text.len() == MAX_TOKEN_BYTES);
    longest.expect("three lengths of four are possible")
}

#[test]
fn text_that_begins_with_a_cached_token_is_not_that_token() {
    let mut tokens = tokens(&[SECRET]);
    let longest = longest();
    assert_eq!(verify(&mut tokens, &longest, NOW), "accepted");
    for behind in ["x", ".", "=", "\n"] {
        let reason = verify(&mut tokens, &(longest.clone() + behind), NOW);
        assert_eq!(reason, "malformed: it is longer than 4096 bytes");
    }
    assert_eq!(tokens.counts().cached, 0);
}

#[test]
fn expiry_is_exact_and_not_before_has_leeway() {
    let mut tokens = tokens(&[SECRET]);
    let text = of("a", 60);
    // At first sight and from the cache.
    for _ in 0..2 {
        assert_eq!(verify(&mut tokens, &text, NOW + 60_000), "expired 0 s ago");
        assert_eq!(
            verify(&mut tokens, &text, NOW + 100_999),
            "expired 40 s ago"
        );
        assert_eq!(verify(&mut tokens, &text, NOW + 59_999), "accepted");
    }
    for exp in [format!("{NOW_S}.25"), format!("{NOW_S}250e-3")] {
        let text = token(claims(&[("exp", &exp)]));
        assert_eq!(verify(&mut tokens, &text, NOW + 249), "accepted", "{exp}");
        assert_eq!(verify(&mut tokens, &text, NOW + 250), "expired 0 s ago");
    }
    let text = token(claims(&[("nbf", &(NOW_S + 10).to_string())]));
    for _ in 0..2 {
        let early = verify(&mut tokens, &text, NOW + 4_999);
        assert_eq!(early, "not valid yet, nbf is in 6 s");
        assert_eq!(verify(&mut tokens, &text, NOW + 5_000), "accepted");
    }
    let verified = verify(&mut tokens, &of("b", 1), u64::MAX);
    assert_eq!(
        verified,
        format!("expired {} s ago", (u64::MAX - NOW - 1_000) / 1_000)
    );
}

#[test]
fn audience_is_one_of_a_list_or_the_only_one() {
    let rules = Rules {
        audience: Some("encke".into()),
        ..rules(&[SECRET])
    };
    let mut tokens = Tokens::new(rules, (1, 2));
    for aud in ["\"encke\"", "[\"encke\"]", "[\"other\",\"enc\\u006be\"]"] {
        let text = token(claims(&[("aud", aud)]));
        assert_eq!(verify(&mut tokens, &text, NOW), "accepted", "{aud}");
    }
}

#[test]
fn every_algorithm_is_verified_by_its_key() {
    let files = [SECRET, ED25519.as_bytes(), P256.as_bytes(), RSA.as_bytes()];
    let mut tokens = tokens(&files);
    for file in [
        SECRET,
        ED25519_PRIVATE.as_bytes(),
        P256_PRIVATE.as_bytes(),
        RSA_PRIVATE.as_bytes(),
    ] {
        let signer = signer(file);
        for kid in [None, Some("any"), Some("with \" and \u{e9}")] {
            let text = signer.sign(&claims(&[]), kid).unwrap();
            assert_eq!(verify(&mut tokens, &text, NOW), "accepted", "{text}");
        }
    }
    // RFC 9864 gives EdDSA with Ed25519 a name of its own.
    let text = signer(ED25519_PRIVATE).sign_text(r#"{"alg":"Ed25519"}"#, claims(&[]).as_bytes());
    assert_eq!(verify(&mut tokens, &text.unwrap(), NOW), "accepted");
    assert_eq!(verify(&mut tokens, &signed_by_pss(), NOW), "accepted");
}

fn signed_by_pss() -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let lines: String = RSA_PRIVATE
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(lines).unwrap()).unwrap();
    let (header, payload) = (r#"{"alg":"PS256"}"#, claims(&[]));
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let mut signature = vec![0; key.public().modulus_len()];
    let random = random();
    key.sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature)
        .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn token_seen_before_comes_from_the_cache() {
    let mut tokens = tokens(&[SECRET]);
    let (one, other) = (of("a", 60), of("b", 60));
    let first = tokens.verify(one.as_bytes(), NOW).unwrap();
    let second = tokens.verify(one.as_bytes(), NOW).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &second));
    assert_eq!(verify(&mut tokens, &other, NOW), "accepted");
    assert_eq!(verify(&mut tokens, &other, NOW + 60_000), "expired 0 s ago");
    let counts = tokens.counts();
    let mut refused = [0; Invalid::NAMES.len()];
    refused[Invalid::Expired { ago_ms: 0 }.index()] = 1;
    let expected = Counts {
        verified: 2,
        cached: 1,
        refused,
        blocked: 0,
        cache_entries: 2,
        cache_bytes: counts.cache_bytes,
    };
    assert_eq!(counts, expected);
    assert!((200..2_000).contains(&counts.cache_bytes), "{counts:?}");
}

#[test]
fn token_that_is_refused_at_first_sight_is_not_kept() {
    let mut tokens = tokens(&[SECRET]);
    let text = of("a", 60);
    assert_eq!(verify(&mut tokens, &text, NOW + 60_000), "expired 0 s ago");
    assert_eq!(tokens.counts().cache_entries, 0);
    tokens.block("a", NOW + 1);
    assert_ne!(verify(&mut tokens, &text, NOW), "accepted");
    assert_eq!(tokens.counts().cache_entries, 0);
}

#[test]
fn replaced_rules_forget_tokens_and_keep_blocks() {
    let mut tokens = tokens(&[SECRET]);
    let (one, blocked) = (of("a", 60), of("b", 60));
    assert_eq!(verify(&mut tokens, &one, NOW), "accepted");
    tokens.block("b", NOW + 30_000);
    tokens.replace(rules(&[
        b"another secret of more than 32 bytes, as they must be",
    ]));
    assert_eq!(tokens.counts().cache_entries, 0);
    assert!(verify(&mut tokens, &one, NOW).starts_with("signature: "));
    tokens.replace(Rules::default());
    assert!(!tokens.has_keys());
    assert_eq!(
        verify(&mut tokens, &one, NOW),
        "key: no key here fits its alg and kid"
    );
    tokens.replace(rules(&[SECRET]));
    assert_eq!(verify(&mut tokens, &one, NOW), "accepted");
    let reason = verify(&mut tokens, &blocked, NOW);
    assert_eq!(reason, "the subject is blocked for a time");
}

#[test]
fn block_holds_for_cached_tokens_until_its_date() {
    let mut tokens = tokens(&[SECRET]);
    let (one, other) = (of("a", 60), of("b", 60));
    let nobody = token(claims(&[("sub", "")]));
    for text in [&one, &other, &nobody] {
        assert_eq!(verify(&mut tokens, text, NOW), "accepted");
    }
    tokens.block("a", NOW + 1_000);
    assert_eq!(tokens.counts().blocked, 1);
    let blocked = "the subject is blocked for a time";
    assert_eq!(verify(&mut tokens, &one, NOW + 999), blocked);
    assert_eq!(verify(&mut tokens, &other, NOW + 999), "accepted");
    assert_eq!(verify(&mut tokens, &nobody, NOW + 999), "accepted");
    assert_eq!(verify(&mut tokens, &one, NOW + 1_000), "accepted");
    assert_eq!(tokens.counts().blocked, 0);
    // The last word counts, also where it ends a block.
    tokens.block("a", NOW + 50_000);
    tokens.block("a", NOW);
    assert_eq!(verify(&mut tokens, &one, NOW), "accepted");
}

#[test]
fn first_of_several_keys_does_not_hide_the_others() {
    let other = b"another secret of more than 32 bytes, as they must be";
    let mut tokens = tokens(&[other, SECRET]);
    let mine = tokens.verify(of("a", 60).as_bytes(), NOW).unwrap().key;
    let theirs = signer(other).sign(&claims(&[]), None).unwrap();
    let theirs = tokens.verify(theirs.as_bytes(), NOW).unwrap().key;
    assert_ne!(mine, theirs);
    tokens.replace(rules(&[SECRET]));
    assert!(tokens.has_key(mine) && !tokens.has_key(theirs));
}

#[test]
fn signer_refuses_claims_that_a_server_would_refuse() {
    let signer = signer(SECRET);
    for (claims, words) in [
        ("{}", "claim: there is no exp"),
        (r#"{"exp":1,"encke":{"subscribe":["a*"]}}"#, "subscribe"),
        (r#"{"exp":1,"exp":1}"#, "twice"),
        (
            &format!(r#"{{"exp":1,"x":"{}"}}"#, "x".repeat(4_000)),
            "longer than 4096",
        ),
    ] {
        let error = signer.sign(claims, None).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
