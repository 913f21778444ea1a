//! Properties of all tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;

/// A good token of each algorithm.
fn good() -> Vec<String> {
    let files = [
        SECRET,
        ED25519_PRIVATE.as_bytes(),
        P256_PRIVATE.as_bytes(),
        RSA_PRIVATE.as_bytes(),
    ];
    let all = files.map(|file| signer(file).sign(&claims(&[]), None).unwrap());
    all.into()
}

fn all_keys() -> Tokens {
    tokens(&[SECRET, ED25519.as_bytes(), P256.as_bytes(), RSA.as_bytes()])
}

#[test]
fn token_with_any_bit_changed_is_refused() {
    for token in good() {
        let mut tokens = all_keys();
        assert_eq!(reason(tokens.verify(token.as_bytes(), NOW)), "accepted");
        for bit in 0..token.len() * 8 {
            let mut changed = token.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            let verified = tokens.verify(&changed, NOW);
            assert!(verified.is_err(), "{}", String::from_utf8_lossy(&changed));
        }
        assert_eq!(tokens.counts().cache_entries, 1);
    }
}

#[test]
fn token_cut_or_doubled_anywhere_is_refused() {
    for token in good() {
        let mut tokens = all_keys();
        assert_eq!(reason(tokens.verify(token.as_bytes(), NOW)), "accepted");
        for at in 0..token.len() {
            let (before, behind) = token.split_at(at);
            for changed in [
                before,
                behind,
                &[before, &behind[1..]].concat(),
                &[before, &behind[..1], behind].concat(),
            ] {
                let is_same = changed == token;
                assert!(
                    is_same || tokens.verify(changed.as_bytes(), NOW).is_err(),
                    "{changed}"
                );
            }
        }
    }
}

/// JSON such as in claims, and not quite such.
fn json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "0",
        "1767225660",
        "1.5",
        "1e9",
        "-1",
        "null",
        "true",
        "\"a\"",
        "\"encke\"",
        "\"a*\"",
        "\"\\u0065xp\"",
        "\"\\ud800\"",
        "9007199254740993",
        "",
        "{",
        "]",
    ]);
    let leaf = word.prop_map(String::from);
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name = prop::sample::select(vec![
            "exp",
            "nbf",
            "sub",
            "aud",
            "iss",
            "encke",
            "subscribe",
            "publish",
            "info",
            "alg",
            "kid",
        ]);
        let list = prop::collection::vec(inner.clone(), 0..4);
        let object = prop::collection::vec((name, inner), 0..6);
        prop_oneof![
            list.prop_map(|items| format!("[{}]", items.join(","))),
            object.prop_map(|members| {
                let members = members
                    .iter()
                    .map(|(name, json)| format!("\"{name}\":{json}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(all_keys().verify(&bytes, NOW).is_err());
    }

    #[test]
    fn random_parts_are_refused(
        header in prop_oneof![json(), Just(r#"{"alg":"ES256"}"#.into()), Just(r#"{"alg":"RS256"}"#.into())],
        payload in json(),
        signature in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let parts = [header.as_bytes(), payload.as_bytes(), &signature];
        let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(all_keys().verify(token.as_bytes(), NOW).is_err());
    }

    #[test]
    fn random_claims_are_judged(payload in json()) {
        let mut tokens = all_keys();
        let token = token(&payload);
        let first = tokens.verify(token.as_bytes(), NOW);
        // What is found again is the same.
        prop_assert_eq!(&first, &tokens.verify(token.as_bytes(), NOW));
        if let Ok(verified) = first {
            prop_assert!(verified.expires_at_ms > NOW);
            prop_assert_eq!(tokens.counts().cached, 1);
        }
    }

    #[test]
    fn random_bytes_as_a_key_are_a_secret_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        match Key::parse(&bytes) {
            Ok((keys, _)) => prop_assert!(keys.len() == 1 && bytes.len() >= 32),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn damaged_public_key_is_never_a_secret(
        file in prop::sample::select(vec![ED25519, P256, RSA]),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        // The first line says what it is meant to be.
        let begin = "-----BEGIN PUBLIC KEY-----".len();
        let mut file = file.as_bytes().to_vec();
        let at = begin + at.index(file.len() - begin);
        file[at] = byte;
        if let Ok((keys, _)) = Key::parse(&file) {
            let is_secret = |key: &Key| key.algorithms() == [crate::tokens::Algorithm::Hs256];
            prop_assert!(!keys.iter().any(is_secret));
        }
    }

    /// A verification with a cache says what one says that sees each token for the first time.
    #[test]
    fn cache_changes_nothing(
        steps in prop::collection::vec((0..6_usize, 0..8_u64, 0..120_u64), 1..60),
    ) {
        let texts: Vec<_> = (0..6).map(|index| {
            let sub = format!("\"user-{}\"", index % 3);
            let (exp, nbf) = ((NOW_S + 40 + index * 10).to_string(), (NOW_S + index).to_string());
            token(claims(&[("sub", &sub), ("exp", &exp), ("nbf", &nbf)]))
        }).collect();
        let mut tokens = tokens(&[SECRET]);
        let mut blocks: Vec<(String, u64)> = Vec::new();
        let mut unix_ms = NOW;
        for (index, what, seconds) in steps {
            let subject = format!("user-{}", index % 3);
            match what {
                0 => {
                    tokens.block(&subject, NOW + seconds * 1_000);
                    blocks.retain(|(blocked, _)| *blocked != subject);
                    blocks.push((subject, NOW + seconds * 1_000));
                }
                1 => tokens.replace(rules(&[SECRET])),
                2 => unix_ms += seconds * 100,
                _ => {
                    let mut fresh = self::tokens(&[SECRET]);
                    for (subject, until_ms) in &blocks {
                        fresh.block(subject, *until_ms);
                    }
                    let text = texts[index].as_bytes();
                    prop_assert_eq!(tokens.verify(text, unix_ms), fresh.verify(text, unix_ms));
                }
            }
        }
    }
}
