use super::*;

const ED25519: &str = include_str!("../fixtures/ed25519.pem");
const ED25519_PRIVATE: &str = include_str!("../fixtures/ed25519.private.pem");
const P256_PRIVATE: &str = include_str!("../fixtures/p256.private.pem");
const RSA_PRIVATE: &str = include_str!("../fixtures/rsa.private.pem");

/// The key of `P256_PRIVATE` in the form of SEC 1, as older programs write it.
const P256_SEC1: &str = "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49
AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b
focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END EC PRIVATE KEY-----
";

#[allow(
    clippy::disallowed_methods,
    reason = "tests have what the core has not"
)]
fn parse(file: impl AsRef<[u8]>) -> Result<Signer, SignerError> {
    Signer::parse(file.as_ref(), SystemRandom::new())
}

fn block(label: &str, text: &str) -> String {
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn algorithm_is_that_of_the_key() {
    for (file, algorithm) in [
        ("a secret of 32 bytes, no fewer..\n", Algorithm::Hs256),
        (ED25519_PRIVATE, Algorithm::EdDsa),
        (P256_PRIVATE, Algorithm::Es256),
        (RSA_PRIVATE, Algorithm::Rs256),
    ] {
        assert_eq!(parse(file).unwrap().algorithm(), algorithm);
        // A public key beside it is no obstacle.
        let both = format!("{file}\n{ED25519}");
        let is_pem = file.starts_with('-');
        assert!(!is_pem || parse(both).unwrap().algorithm() == algorithm);
    }
}

#[test]
fn rsa_key_may_be_in_pkcs1() {
    // Its PKCS #1 form is the octet string at the end of PKCS #8.
    let lines: String = RSA_PRIVATE
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let standard = base64::engine::general_purpose::STANDARD;
    let pkcs8 = standard.decode(lines).unwrap();
    let pkcs1 = block("RSA PRIVATE KEY", &standard.encode(&pkcs8[26..]));
    let tokens = [parse(pkcs1), parse(RSA_PRIVATE)].map(|signer| {
        let claims = r#"{"exp":1767225600}"#;
        signer.unwrap().sign(claims, None).unwrap()
    });
    assert_eq!(tokens[0], tokens[1]);
}

#[test]
fn file_that_cannot_sign_is_refused_with_what_to_do() {
    let fields = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA";
    let x25519 = "MC4CAQAwBQYDK2VuBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    let two = format!("{ED25519_PRIVATE}{P256_PRIVATE}");
    for (file, words) in [
        (ED25519, "a public key cannot sign"),
        (&block("CERTIFICATE", "MIIB"), "a public key cannot sign"),
        (&two, "several private keys"),
        (P256_SEC1, "openssl pkcs8 -topk8 -nocrypt"),
        (
            &block("ENCRYPTED PRIVATE KEY", "MIGb"),
            "openssl pkey -in FILE -out NEW",
        ),
        (
            &block("RSA PRIVATE KEY", fields),
            "openssl pkey -in FILE -out NEW",
        ),
        (
            &block("OPENSSH PRIVATE KEY", "AAAA"),
            "ssh-keygen -p -m PKCS8",
        ),
        (
            &block("DSA PRIVATE KEY", "AAAA"),
            "of a kind that is not used here",
        ),
        (
            &block("PRIVATE KEY", x25519),
            "of a kind that is not used here",
        ),
        (&block("PRIVATE KEY", "AAAA"), "its DER is broken"),
        (&block("PRIVATE KEY", "A*AA"), "not base64"),
        (
            &block("PRIVATE KEY", "MAwCAQAwBQYDK2VwBAA="),
            "an Ed25519 key in PKCS #8 is needed",
        ),
        (&RSA_PRIVATE.replace("MIIE", "MIID"), "its DER is broken"),
        (
            &block("RSA PRIVATE KEY", "MAA="),
            "an RSA key of 2048 to 4096 bits is needed",
        ),
        (r#"{"kty":"oct","k":"AAAA"}"#, "a JWK cannot sign here"),
        (r#"{"keys":[]}"#, "a JWK cannot sign here"),
        (&"x".repeat((1 << 20) + 1), "at most 1 MiB"),
        ("short", "the key is a secret of 5 bytes"),
        (
            "ssh-ed25519 AAAA user@host, and more",
            "this is a key in the form of OpenSSH",
        ),
    ] {
        let error = parse(file).err().expect(words).to_string();
        assert!(error.contains(words), "{error:?} for {file}");
    }
}

#[test]
fn kid_is_written_as_json() {
    let signer = parse("a secret of 32 bytes, no fewer..").unwrap();
    let token = signer
        .sign(r#"{"exp":1767225600}"#, Some("a\"b\\\n"))
        .unwrap();
    let jws = Jws::parse(token.as_bytes()).unwrap();
    assert_eq!(jws.kid.as_deref(), Some("a\"b\\\n"));
    assert_eq!(jws.algorithm, Some(Algorithm::Hs256));
}
