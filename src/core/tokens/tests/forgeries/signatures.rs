//! Algorithms that are none, and signatures that are not of the key.

use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::*;

pub(super) fn rsa(
    padding: &'static dyn ring::signature::RsaEncoding,
) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |signed| {
        let key = RsaKeyPair::from_pkcs8(&der(RSA_PRIVATE)).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &random(), signed, &mut signature)
            .unwrap();
        signature
    }
}

fn p256_in_der(signed: &[u8]) -> Vec<u8> {
    let key = der(P256_PRIVATE);
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random());
    key.unwrap()
        .sign(&random(), signed)
        .unwrap()
        .as_ref()
        .to_vec()
}

/// A signature of Ed25519 whose scalar is not reduced: s + L, another text for the same signature.
fn ed25519_not_reduced(signed: &[u8]) -> Vec<u8> {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let key = ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der(ED25519_PRIVATE));
    let mut signature = key.unwrap().sign(signed).as_ref().to_vec();
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    signature
}

pub(super) fn forged_algorithms() -> Vec<Row> {
    let none = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "none ",
        " none",
        "no\\u006ee",
        "none\\u0000",
        "null",
    ];
    let other = [
        "hs256",
        "HS256 ",
        "HS384",
        "HS512",
        "RS384",
        "RS512",
        "PS384",
        "PS512",
        "ES384",
        "ES512",
        "ES256K",
        "Ed448",
        "eddsa",
        "RSA1_5",
        "dir",
        "A128KW",
        "PBES2-HS256+A128KW",
        "SHA256",
    ];
    let mut rows: Vec<_> = none
        .iter()
        .map(|alg| row("no algorithm", unsigned(alg), KEY))
        .collect();
    let signed = |alg| header(&format!(r#"{{"alg":"{alg}"}}"#));
    rows.extend(none.map(|alg| row("no algorithm, signed", signed(alg), KEY)));
    rows.extend(other.map(|alg| row("unknown algorithm", signed(alg), KEY)));
    rows
}

/// A public key is known to all: its bytes, in any form, are no secret.
pub(super) fn public_keys_as_secrets() -> Vec<Row> {
    let mut rows = Vec::new();
    for pem in [ED25519, P256, RSA] {
        let der = der(pem);
        let raw = der[der.len() - 32..].to_vec();
        let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let secrets = [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            &der,
            &raw,
            lines.as_bytes(),
            b"",
        ];
        for secret in secrets {
            let token = hs(secret, r#"{"alg":"HS256"}"#, claims(&[]));
            rows.push(row("HS256 with a public key", token, SIGNATURE));
        }
    }
    rows
}

pub(super) fn forged_signatures() -> Vec<Row> {
    let good = token(claims(&[]));
    let other_claims = claim("sub", "\"admin\"");
    let swapped = |one: &str, two: &str| {
        let [one, two]: [Vec<&str>; 2] = [one, two].map(|token| token.split('.').collect());
        format!("{}.{}.{}", one[0], one[1], two[2])
    };
    let hs_bytes = URL_SAFE_NO_PAD.decode(&parts()[2]).unwrap();
    let attacker = {
        let key = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let jwk = r#"{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"KEY"}}"#;
        let x = base64url(ring::signature::KeyPair::public_key(&key));
        let signed = format!(
            "{}.{}",
            base64url(jwk.replace("KEY", &x)),
            base64url(claims(&[]))
        );
        format!("{signed}.{}", base64url(key.sign(signed.as_bytes())))
    };
    let fields = |alg: &str| {
        hs(
            b"x",
            &format!(
                r#"{{"alg":"{alg}","jku":"https://evil.example/jwks.json",
            "x5u":"https://evil.example/cert.pem","x5c":["AAAA"]}}"#
            ),
            claims(&[]),
        )
    };
    let mut rows = vec![
        row(
            "the signature of other claims",
            swapped(&other_claims, &good),
            SIGNATURE,
        ),
        row("no signature", swapped(&good, "a.b."), SIGNATURE),
        row(
            "a secret of one letter more",
            hs(&[SECRET, b"x"].concat(), r#"{"alg":"HS256"}"#, claims(&[])),
            SIGNATURE,
        ),
        row("a key in its header", attacker, SIGNATURE),
        row(
            "addresses of keys in its header",
            fields("HS256"),
            SIGNATURE,
        ),
        row(
            "addresses of keys in its header, RSA",
            fields("RS256"),
            SIGNATURE,
        ),
        row("a DER signature", sign("ES256", p256_in_der), SIGNATURE),
        row(
            "a scalar that is not reduced",
            sign("EdDSA", ed25519_not_reduced),
            SIGNATURE,
        ),
        row(
            "PKCS #1 named as PSS",
            sign("PS256", rsa(&RSA_PKCS1_SHA256)),
            SIGNATURE,
        ),
        row(
            "PSS named as PKCS #1",
            sign("RS256", rsa(&RSA_PSS_SHA256)),
            SIGNATURE,
        ),
        row(
            "another hash",
            sign("RS256", rsa(&ring::signature::RSA_PKCS1_SHA512)),
            SIGNATURE,
        ),
        row(
            "RSA named as P-256",
            sign("ES256", rsa(&RSA_PKCS1_SHA256)),
            SIGNATURE,
        ),
        row(
            "P-256 named as Ed25519",
            sign("EdDSA", p256_in_der),
            SIGNATURE,
        ),
        row(
            "the key of a scalar that is all zeros",
            with_signature("EdDSA", [0; 64]),
            SIGNATURE,
        ),
    ];
    for length in [0, 1, 16, 31, 33, 64] {
        let mut bytes = hs_bytes.clone();
        bytes.resize(length, 0);
        let text = format!("{}.{}.{}", parts()[0], parts()[1], base64url(bytes));
        rows.push(row("a signature cut or grown", text, SIGNATURE));
    }
    for alg in ["HS256", "EdDSA", "Ed25519", "ES256", "RS256", "PS256"] {
        for fill in [0, 1, 255] {
            for length in [32, 64, 256] {
                let token = with_signature(alg, vec![fill; length]);
                rows.push(row("a signature of equal bytes", token, SIGNATURE));
            }
        }
    }
    rows
}
