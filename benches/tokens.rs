//! Tokens: the processor time that one takes at first sight, by its algorithm, and when it is seen
//! again.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;
use support::Bencher;

use std::hint::black_box;

use criterion::BatchSize;
use encke_core::tokens::{Key, Rules, Signer, SystemRandom, Tokens};

/// The date of the benches, before all tokens expire.
const UNIX_MS: u64 = 1_800_000_000_000;

const CLAIMS: &str = r#"{"sub":"user-42","exp":4102444800,"encke":{"subscribe":["news","user/42/**"],"publish":["chat/*"]}}"#;

const SECRET: &[u8] = b"a secret of more than 32 bytes, and of no use elsewhere";
const ED25519: &[u8] = include_bytes!("../src/core/tokens/fixtures/ed25519.pem");
const P256: &[u8] = include_bytes!("../src/core/tokens/fixtures/p256.pem");
const RSA: &[u8] = include_bytes!("../src/core/tokens/fixtures/rsa.pem");

/// A token for PSS, which is verified and not signed here. Its claims are [`CLAIMS`].
const PSS: &str = include_str!("support/pss.token");

fn main() {
    support::run(|criterion| {
        first_sight(criterion);
        seen_again(criterion);
        forged(criterion);
    });
}

/// A key, and a good token of it.
fn tokens() -> [(&'static str, &'static [u8], String); 5] {
    let sign = |private: &[u8]| {
        let signer = Signer::parse(private, SystemRandom::new()).expect("a key");
        signer.sign(CLAIMS, None).expect("good claims")
    };
    let private = [
        &include_bytes!("../src/core/tokens/fixtures/ed25519.private.pem")[..],
        include_bytes!("../src/core/tokens/fixtures/p256.private.pem"),
        include_bytes!("../src/core/tokens/fixtures/rsa.private.pem"),
    ];
    [
        ("HS256", SECRET, sign(SECRET)),
        ("EdDSA", ED25519, sign(private[0])),
        ("ES256", P256, sign(private[1])),
        ("RS256", RSA, sign(private[2])),
        ("PS256", RSA, PSS.trim_end().to_owned()),
    ]
}

fn verification(key: &[u8]) -> Tokens {
    let (keys, _) = Key::parse(key).expect("a key");
    let rules = Rules {
        keys,
        ..Rules::default()
    };
    Tokens::new(rules, (1, 2))
}

/// A token that was never seen: its signature is checked, its claims are read, it is kept.
fn first_sight(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("tokens/first sight");
    for (name, key, token) in tokens() {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || verification(key),
                |tokens| {
                    let verified = tokens.verify(black_box(token.as_bytes()), UNIX_MS);
                    assert!(verified.is_ok());
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// A token that is in the cache.
fn seen_again(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("tokens/seen again");
    for (name, key, token) in tokens() {
        let mut tokens = verification(key);
        assert!(tokens.verify(token.as_bytes(), UNIX_MS).is_ok());
        group.bench_function(name, |bencher| {
            bencher.iter(|| tokens.verify(black_box(token.as_bytes()), UNIX_MS).is_ok());
        });
    }
}

/// A token with a signature that no key made, such as anyone can send.
fn forged(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("tokens/forged");
    for (name, key, token) in tokens() {
        let mut tokens = verification(key);
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let (first, rest) = signature.split_at(1);
        let other = if first == "A" { "B" } else { "A" };
        let forged = format!("{signed}.{other}{rest}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let verified = tokens.verify(black_box(forged.as_bytes()), UNIX_MS);
                assert!(verified.is_err());
            });
        });
    }
}
