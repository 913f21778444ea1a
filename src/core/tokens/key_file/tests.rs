use super::*;
use crate::tokens::algorithm::Algorithm;

const ED25519: &str = include_str!("../fixtures/ed25519.pem");
const P256: &str = include_str!("../fixtures/p256.pem");
const RSA: &str = include_str!("../fixtures/rsa.pem");
const RSA_PRIVATE: &str = include_str!("../fixtures/rsa.private.pem");

/// The key of `RSA` in the form of PKCS #1.
const RSA_PKCS1: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W2
6mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMs
D1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5
z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv
b3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8q2et
hFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQAB
-----END RSA PUBLIC KEY-----
";

/// Public keys that openssl made, which are refused.
const REFUSED: &[(&str, &str)] = &[
    (
        // P-384
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEkP9NBC1EcIFc5GfDRE+DGzxKLKs5Ua+F
         MKagmfV67rBgOUDhkFCDIU8D/xvSShhL+44JHu2PC3s67vSGWedr83NdKvbF6K4X
         TEKZdTXNOLlXZW4A4gowQN/yJegpAHsg",
        "the key is of another curve than P-256",
    ),
    (
        // secp256k1
        "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEe7pJWl0TRjizYVwl1hgFZ3bhFO0iTA2B
         egUQWLDLx530Bhs5De3HK+qElSG41dLzlmxAG7WLLnAgwPeyPCRgAw==",
        "the key is of another curve than P-256",
    ),
    (
        // P-256 by its parameters
        "MIIBSzCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAA
         AAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA////
         ///////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSd
         NgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5
         RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA
         //////////+85vqtpxeehPO5ysL8YyVRAgEBA0IABH/Nzidw9sRdQYPL7m/bS3tY
         BzM1e+nvE7rPbjx70VRFx/FEzRu9m36HLN/tue659LNpXW6pCyStikYjKIWI5a0=",
        "the key is of another curve than P-256",
    ),
    (
        // P-256, compressed
        "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADf83OJ3D2xF1Bg8vub9tLe1gHMzV7
         6e8Tus9uPHvRVEU=",
        "openssl ec -pubin -in FILE -conv_form uncompressed",
    ),
    (
        // X25519
        "MCowBQYDK2VuAyEAuHK7Z5LMmcXLQCxCwrYhOahmCFbIDGdqMlZwoCKMyXY=",
        "of a kind that is not used here",
    ),
    (
        // RSA of 1,024 bits
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC2Z/iITxnmz1o4334fSUya4mLT
         HEHtjpvzKRldvY+LIW/LbLHXmkmq4NVOfIHVJpeBI8KHvug4VJIaNz4gVOrZxRUv
         bso2PVRDa0XkOHqbBrXsYtsNkhaYZ2GAsCrGszhelxsfjAOoEyNVbArpf6+hL6b8
         OcH1F5on7MqlSYNN5wIDAQAB",
        "the key is an RSA key of 1024 bits; 2048 to 8192 are allowed",
    ),
    (
        // RSA for PSS alone
        "MIGdMAsGCSqGSIb3DQEBCgOBjQAwgYkCgYEAtewOJvs/wJPMaIMeHbQ42erqSTIA
         ZX1pU8pgpDRibXXn8wlnvrw9r8LPRBKs6xVxOu8ARvu20SywphmR5CHPIUs6g0Ph
         YZFX1E3dVwdXq29CG9hnqm1JkF454o2ziTNnVPFdhts3vnI7D2Y5Yv75ZkYa2VII
         /qFA+Q7zKvZ1rtMCAwEAAQ==",
        "of a kind that is not used here",
    ),
];

fn parsed(file: impl AsRef<[u8]>) -> Vec<Key> {
    match Key::parse(file.as_ref()) {
        Ok((keys, warnings)) if warnings.is_empty() => keys,
        other => panic!("{other:?}"),
    }
}

fn only(file: impl AsRef<[u8]>) -> Key {
    let mut keys = parsed(file);
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}

#[track_caller]
fn assert_refused(file: impl AsRef<[u8]>, words: &str) {
    let file = file.as_ref();
    let error = Key::parse(file).expect_err(words).to_string();
    let shown = String::from_utf8_lossy(file);
    assert!(error.contains(words), "{error:?} for {shown}");
    assert!(!error.contains('\n'));
}

/// The text of a PEM file without its lines around it.
fn base64(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

fn der(pem: &str) -> Vec<u8> {
    let standard = base64::engine::general_purpose::STANDARD;
    standard.decode(base64(pem)).unwrap()
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// A JWK of RSA whose modulus has so many bits.
fn rsa_jwk(bits: usize, e: &[u8]) -> String {
    let mut n = vec![0xff; bits.div_ceil(8)];
    n[0] = 0xff >> (n.len() * 8 - bits);
    let (n, e) = (base64url(n), base64url(e));
    format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)
}

#[test]
fn secret_is_the_file_without_its_line_end() {
    let secret = "x".repeat(32);
    let key = only(&secret);
    assert_eq!(key.algorithms(), [Algorithm::Hs256]);
    for end in ["\n", "\r\n"] {
        assert_eq!(only(secret.clone() + end), key);
    }
    for end in ["\n\n", "\r\n\r\n", "\r", " ", "\0", "\n\r"] {
        assert_ne!(only(secret.clone() + end), key, "{end:?}");
    }
    for (short, words) in [
        ("", "0 bytes"),
        ("\n", "0 bytes"),
        (&secret[1..], "31 bytes"),
        (&(secret[1..].to_owned() + "\n"), "31 bytes"),
        (&(secret[2..].to_owned() + "\r\n"), "30 bytes"),
    ] {
        assert_refused(short, words);
        assert_refused(short, "at least 32 are needed");
    }
}

#[test]
fn secret_may_be_any_bytes() {
    let tail = [0xff; 40];
    for start in [
        &b"\x00"[..],
        b"\xff\xfe",
        b"{",
        b"{\"",
        b"[",
        b"[\"a\"]",
        b"-----",
        b"-----begin ",
        b"0",
        b"sk-",
        b"ssh",
        b"\xef\xbb\xbf",
        b"\n\n",
        b"-----BEGIN",
        b"{\"keys",
        b"kty",
        b"ssh-",
        b"30",
    ] {
        only([start, &tail].concat());
    }
    // A secret in base64 or hexadecimals is its text, and not what it encodes.
    let text = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    assert_ne!(only(text), only("0123456789abcdef0123456789abcdef"));
}

#[test]
fn longest_file_is_a_mebibyte() {
    only(vec![b'x'; 1 << 20]);
    assert_refused(vec![b'x'; (1 << 20) + 1], "at most 1 MiB");
}

#[test]
fn public_keys_are_read_from_pem() {
    for (pem, algorithms) in [
        (ED25519, &[Algorithm::EdDsa][..]),
        (P256, &[Algorithm::Es256]),
        (RSA, &[Algorithm::Rs256, Algorithm::Ps256]),
        (RSA_PKCS1, &[Algorithm::Rs256, Algorithm::Ps256]),
    ] {
        let key = only(pem);
        assert_eq!((key.algorithms(), key.kid()), (algorithms, None));
        let one_line = pem.replace('\n', "").replace("-----M", "-----\nM");
        let one_line = one_line.replace("-----END", "\n-----END");
        for other in [
            pem.trim_end().to_owned(),
            pem.replace('\n', "\r\n"),
            pem.replace('\n', "\n\n"),
            format!("\u{feff}{pem}"),
            format!("  \n\n{pem}  \n"),
            format!("# the key of the application\n{pem}"),
            pem.lines().map(|line| format!("    {line}\n")).collect(),
            one_line,
        ] {
            assert_eq!(only(&other), key, "{other}");
        }
    }
    assert_eq!(only(RSA), only(RSA_PKCS1));
    let all = parsed([ED25519, P256, RSA].concat());
    assert_eq!(all, [only(ED25519), only(P256), only(RSA)]);
}

#[test]
fn other_public_keys_are_refused() {
    for (base64, words) in REFUSED {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
        assert_refused(&pem, words);
    }
}

#[test]
fn broken_pem_is_an_error_and_no_secret() {
    let end = "-----END PUBLIC KEY-----";
    for (file, words) in [
        (ED25519.replace(end, ""), "no END line"),
        (
            ED25519.replace(end, "-----END RSA PUBLIC KEY-----"),
            "no END line",
        ),
        (ED25519.replace('=', "").replace("URo", "UR"), "not base64"),
        (ED25519.replace("MCow", "MCo*"), "not base64"),
        (ED25519.replace("MCow", "MCox"), "DER is broken"),
        (ED25519.replace("MCowBQ", "MCkwBQ"), "DER is broken"),
        (
            ED25519.replace("PUBLIC KEY-----\nM", "PUBLIC KEY-----M"),
            "line of its own",
        ),
        (ED25519.replace('\n', "\\n"), "line of its own"),
        (
            ED25519.replace("PUBLIC", "PUBLISHED"),
            "neither PUBLIC KEY nor",
        ),
        ("-----BEGIN ".into(), "line of its own"),
        (
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----".into(),
            "DER is broken",
        ),
        (format!("{RSA}{}", &P256[..60]), "no END line"),
        (
            format!("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n{P256}"),
            "neither",
        ),
        (RSA_PKCS1.replace("RSA PUBLIC", "PUBLIC"), "DER is broken"),
        (RSA.replace("PUBLIC", "RSA PUBLIC"), "DER is broken"),
    ] {
        assert_refused(&file, words);
    }
    let latin = [b"# \xe9\n", ED25519.as_bytes()].concat();
    assert_refused(latin, "it is not text");
}

#[test]
fn key_among_other_text_is_no_secret() {
    let utf16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect()
    };
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let line = ED25519.replace('\n', "\\n");
    for (file, words) in [
        (format!("\"{ED25519}\"").into_bytes(), "line of its own"),
        (format!("\"{line}\"").into_bytes(), "line of its own"),
        (format!("KEY='{ED25519}'").into_bytes(), "line of its own"),
        (format!("KEY={jwk}").into_bytes(), "not a JSON object"),
        (format!("{jwk:?}").into_bytes(), "not a JSON object"),
        (format!("'{jwk}'").into_bytes(), "not a JSON object"),
        (utf16(ED25519), "in UTF-16; save it as UTF-8"),
        (utf16(jwk), "in UTF-16; save it as UTF-8"),
    ] {
        assert_refused(&file, words);
    }
}

#[test]
fn private_key_is_refused_whatever_else_is_there() {
    for label in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "DSA PRIVATE KEY",
        "ANY PRIVATE KEY",
    ] {
        let private = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let broken = format!("-----BEGIN {label}-----\nno base64");
        let both = format!("{ED25519}{private}");
        for file in [
            private.clone(),
            broken,
            both,
            format!("text\n\n{private}"),
            private.replace('\n', "\r\n"),
        ] {
            assert_refused(&file, "openssl pkey -in FILE -pubout");
        }
    }
    assert_refused(
        RSA_PRIVATE,
        "a private key; the server needs the public key alone",
    );
}

#[test]
fn public_key_in_another_form_is_no_secret() {
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let trusted = certificate.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    for file in [certificate, &trusted] {
        assert_refused(file, "openssl x509 -in FILE -noout -pubkey");
    }
    for start in [
        "ssh-ed25519 ",
        "ssh-rsa ",
        "ecdsa-sha2-nistp256 ",
        "sk-ssh-ed25519@openssh.com ",
    ] {
        let line =
            format!("{start}AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYj user@host");
        assert_refused(&line, "ssh-keygen -e -m PKCS8");
        assert_refused(format!("\n{line}\n"), "ssh-keygen -e -m PKCS8");
    }
    for pem in [ED25519, P256, RSA, RSA_PKCS1, RSA_PRIVATE] {
        assert_refused(der(pem), "openssl pkey -pubin -inform DER");
        let text = base64(pem);
        for text in [
            &text,
            &format!("{text}\n"),
            &format!(" {text} \r\n"),
            text.trim_end_matches('='),
            &format!("\"{text}\""),
            &text.replace('+', "-").replace('/', "_"),
        ] {
            assert_refused(text, "without the lines of PEM");
        }
        let lines: String = pem
            .lines()
            .filter(|line| !line.starts_with('-'))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_refused(lines, "without the lines of PEM");
    }
}

#[test]
fn jwk_is_a_set_of_one() {
    let (x, y) = (base64url(&der(P256)[27..59]), base64url(&der(P256)[59..]));
    let ed25519 = base64url(&der(ED25519)[12..]);
    let secret = base64url("a secret of 32 bytes, no fewer..");
    for (jwk, same) in [
        (
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ed25519}"}}"#),
            only(ED25519),
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#),
            only(P256),
        ),
        (
            format!(r#"{{"kty":"oct","k":"{secret}"}}"#),
            only("a secret of 32 bytes, no fewer.."),
        ),
    ] {
        assert_eq!(only(&jwk), same);
        let set = format!(r#" {{"keys": [ {jwk} ], "more": 1}}"#);
        assert_eq!(only(&set), same);
        assert_eq!(only(format!("\u{feff}{set}\n")), same);
        let described = jwk.replace(
            "{\"kty\"",
            r#"{"kid":"a","use":"sig","key_ops":["sign","verify"],"ext":true,"kty""#,
        );
        let described = only(&described);
        assert_eq!((described.kid(), described.id()), (Some("a"), same.id()));
        assert_ne!(described, same);
    }
}

#[test]
fn algorithm_of_a_jwk_limits_its_key() {
    let jwk = rsa_jwk(2_048, &[1, 0, 1]);
    let of = |alg: &str| jwk.replace("{\"kty\"", &format!("{{\"alg\":\"{alg}\",\"kty\""));
    assert_eq!(
        only(&jwk).algorithms(),
        [Algorithm::Rs256, Algorithm::Ps256]
    );
    assert_eq!(only(of("RS256")).algorithms(), [Algorithm::Rs256]);
    assert_eq!(only(of("PS256")).algorithms(), [Algorithm::Ps256]);
    for alg in ["RS512", "RSA-OAEP", "HS256", "ES256", "none", ""] {
        assert_refused(of(alg), "has another alg than RS256 or PS256");
    }
}

#[test]
fn rsa_keys_have_2048_to_8192_bits_and_a_fit_exponent() {
    for (bits, e, is_fit) in [
        (2_047, &[1, 0, 1][..], false),
        (2_048, &[1, 0, 1], true),
        (2_049, &[1, 0, 1], true),
        (8_192, &[1, 0, 1], true),
        (8_193, &[1, 0, 1], false),
        (2_048, &[3], true),
        (2_048, &[0, 0, 3], true),
        (2_048, &[1, 0xff, 0xff, 0xff, 0xff], true),
        (2_048, &[2, 0, 0, 0, 1], false),
        (2_048, &[1], false),
        (2_048, &[2], false),
        (2_048, &[1, 0, 0], false),
        (2_048, &[0], false),
        (2_048, &[], false),
    ] {
        let jwk = rsa_jwk(bits, e);
        assert_eq!(Key::parse(jwk.as_bytes()).is_ok(), is_fit, "{bits} {e:?}");
    }
    let even = rsa_jwk(2_048, &[1, 0, 1]).replace("_w\",\"e\"", "_g\",\"e\"");
    assert_refused(&even, "its modulus or its exponent");
}

#[test]
fn keys_for_other_uses_are_skipped_with_a_warning() {
    let good = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let with = |members: &str| good.replace("{\"kty\"", &format!("{{{members},\"kty\""));
    for (jwk, words) in [
        (with(r#""use":"enc""#), "its use is not sig"),
        (with(r#""use":1"#), "a member use that is no string"),
        (with(r#""key_ops":["sign"]"#), "its key_ops has no verify"),
        (with(r#""key_ops":[]"#), "its key_ops has no verify"),
        (with(r#""key_ops":"verify""#), "key_ops that is no list"),
        (with(r#""alg":"ES256""#), "another alg than EdDSA"),
        (with(r#""kid":7"#), "a member kid that is no string"),
        (with(r#""kid":"a","kid":"b""#), "a member twice"),
        (good.replace("Ed25519", "X25519"), "of another curve"),
        (good.replace("Ed25519", "Ed448"), "of another curve"),
        (
            good.replace("OKP", "AKP"),
            "of a kind that is not used here",
        ),
        (good.replace("OKP", "EC"), "of another curve"),
        (good.replace("\"x\"", "\"X\""), "has no member x"),
        (
            good.replace("URo\"", "URo=\""),
            "not base64url without padding",
        ),
        (good.replace("11qY", ""), "those have 32 bytes"),
        ("{}".into(), "has no kty"),
        ("null".into(), "is not a JSON object"),
        (
            r#"{"kty":"oct","k":"c2hvcnQ"}"#.into(),
            "at least 32 are needed",
        ),
        (
            r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#.into(),
            "32 bytes for x and for y",
        ),
        (
            r#"{"kty":"EC","crv":"P-384","x":"AAAA","y":"AAAA"}"#.into(),
            "of another curve",
        ),
    ] {
        let set = format!(r#"{{"keys":[{jwk},{good}]}}"#);
        let (keys, warnings) = Key::parse(set.as_bytes()).unwrap();
        assert_eq!(keys, [only(good)], "{jwk}");
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        assert!(warning.starts_with("key 1 of the JWK set "), "{warning}");
        assert!(warning.contains(words), "{warning}");
        assert_refused(format!(r#"{{"keys":[{jwk}]}}"#), words);
    }
}

#[test]
fn broken_set_is_an_error_and_no_secret() {
    let good = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    for (file, words) in [
        (format!(r#"{{"keys":[{good}]"#), "not a JSON object"),
        (format!(r#"{{"keys":[{good}]}}}}"#), "not a JSON object"),
        (format!(r#"{{"keys":[{good}],"keys":[]}}"#), "there twice"),
        (format!(r#"[{good}]"#), "not a JSON object"),
        (format!(r#"{{"keys":{good}}}"#), "keys is not a list"),
        (
            r#"{"keys":null,"padding":"0123456789"}"#.into(),
            "keys is not a list",
        ),
        (
            r#"{"keys":[],"padding":"0123456789"}"#.into(),
            "no key that verifies tokens",
        ),
        (
            r#"{"a":"0123456789012345678901234567890123456789"}"#.into(),
            "there is no member keys",
        ),
        (
            format!("{}{}", r#"{"keys":"#, "[".repeat(100_000)),
            "not a JSON object",
        ),
    ] {
        assert_refused(&file, words);
    }
    let private = good.replace(
        "}",
        r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#,
    );
    assert_refused(
        format!(r#"{{"keys":[{good},{private}]}}"#),
        "key 2 of the JWK set is a private key",
    );
    assert_refused(&private, "key 1 of the JWK set is a private key");
    let many = |count| format!(r#"{{"keys":[{}]}}"#, vec![good; count].join(","));
    assert_eq!(parsed(many(64)).len(), 64);
    assert_refused(many(65), "65 keys; at most 64 are allowed");
}

#[test]
fn debug_shows_no_secret() {
    let secret = "a secret of 32 bytes, no fewer..";
    let key = only(secret);
    let shown = format!("{key:?}");
    assert_eq!(shown, "Key { kid: None, algorithms: [Hs256], .. }");
    assert!(format!("{:?}", only(RSA)).contains("id: KeyId("));
}

#[test]
fn keys_are_equal_by_content() {
    let all = [
        ED25519,
        P256,
        RSA,
        "a secret of 32 bytes, no fewer..",
        "another one of 32 bytes, no less",
    ];
    for (index, one) in all.iter().enumerate() {
        for (other_index, other) in all.iter().enumerate() {
            let is_same = index == other_index;
            assert_eq!(only(one) == only(other), is_same);
            assert_eq!(only(one).id() == only(other).id(), is_same);
        }
    }
}
