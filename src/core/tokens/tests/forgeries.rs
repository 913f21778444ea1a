//! Tokens that are to be refused, each with its reason.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};

use super::*;

const KEY: &str = "key: no key here fits its alg and kid";
const SIGNATURE: &str = "signature";
const PARTS: &str = "malformed: a token has three parts, with a dot between them";
const ENCRYPTED: &str = "malformed: it is encrypted, and only signed ones are read";
const HEADER: &str = "malformed: its header is not a JSON object";
const FIRST: &str = "malformed: the first part is not base64url without padding";
const SECOND: &str = "malformed: the second part is not base64url without padding";
const THIRD: &str = "malformed: the third part is not base64url without padding";
const CRITICAL: &str = "malformed: crit and b64 in its header are not supported";
const CLAIMS: &str = "claim: the claims are not a JSON object";
const EXP: &str = "claim: exp is not a whole number of seconds, 0 to 2^53";
const NBF: &str = "claim: nbf is not a whole number of seconds, 0 to 2^53";
const SUB: &str = "claim: sub is not a string";
const AUD: &str = "claim: aud is neither a string nor a list of strings";
const ISS: &str = "claim: iss is not a string";
const AUDIENCE: &str = "audience: aud does not contain the one expected here";
const ISSUER: &str = "issuer: iss is not the one expected here";
const ENCKE: &str = "claim: encke is not an object";
const SUBSCRIBE: &str =
    "claim: subscribe in encke is not a list of at most 64 patterns of channel names";
const PUBLISH: &str =
    "claim: publish in encke is not a list of at most 64 patterns of channel names";

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
    base64::engine::general_purpose::STANDARD
        .decode(base64)
        .unwrap()
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

fn rsa(padding: &'static dyn ring::signature::RsaEncoding) -> impl FnOnce(&[u8]) -> Vec<u8> {
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

/// What a row is: the forgery in words, its bytes, and the reason that is expected.
type Row = (&'static str, Vec<u8>, &'static str);

/// A row of a text.
fn row(what: &'static str, token: impl AsRef<[u8]>, reason: &'static str) -> Row {
    (what, token.as_ref().to_vec(), reason)
}

fn forged_algorithms() -> Vec<Row> {
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
fn public_keys_as_secrets() -> Vec<Row> {
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

fn forged_signatures() -> Vec<Row> {
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

fn forged_forms() -> Vec<Row> {
    let [one, two, three] = parts();
    let join = |parts: &[&str]| parts.join(".");
    let good = join(&[&one, &two, &three]);
    let with = |place: usize, part: &str| {
        let mut parts = [&*one, &*two, &*three];
        parts[place] = part;
        parts.join(".")
    };
    let two_bytes = |text: &str, byte: u8| [text.as_bytes(), &[byte]].concat();
    // The last letter of `e30`, which is `{}`, has two bits that nothing uses.
    let unused_bits = "e31";
    let mut rows = vec![
        row("nothing", "", PARTS),
        row("a dot", ".", PARTS),
        row("two dots", "..", HEADER),
        row("three dots", "...", PARTS),
        row("four dots", "....", ENCRYPTED),
        row("a text", "token", PARTS),
        row("two parts", join(&[&one, &two]), PARTS),
        row("a dot behind", format!("{good}."), PARTS),
        row("a dot before", format!(".{good}"), PARTS),
        row("four parts", format!("{good}.{three}"), PARTS),
        row("six parts", format!("{good}.{good}"), PARTS),
        row("five parts", format!("{good}.{two}.{three}"), ENCRYPTED),
        row("no header", with(0, ""), HEADER),
        row("no claims", token(""), CLAIMS),
        row("a header with padding", with(0, &format!("{one}==")), FIRST),
        row(
            "claims with padding",
            with(1, &URL_SAFE.encode("{}")),
            SECOND,
        ),
        row(
            "a signature with padding",
            with(2, &format!("{three}=")),
            THIRD,
        ),
        row("a signature of one letter", with(2, "A"), THIRD),
        row(
            "standard base64",
            with(2, &STANDARD_NO_PAD.encode([0xff; 32])),
            THIRD,
        ),
        row("bits that nothing uses", with(1, unused_bits), SECOND),
        row("a blank before", format!(" {good}"), FIRST),
        row("a tab before", format!("\t{good}"), FIRST),
        row("a blank behind", format!("{good} "), THIRD),
        row("a line end behind", format!("{good}\n"), THIRD),
        row("CRLF behind", format!("{good}\r\n"), THIRD),
        row(
            "a blank within",
            with(1, &format!("{} {}", &two[..8], &two[8..])),
            SECOND,
        ),
        row(
            "a line end within",
            with(1, &format!("{}\n{}", &two[..64], &two[64..])),
            SECOND,
        ),
        row("a zero behind", two_bytes(&good, 0), THIRD),
        row("a byte above ASCII", two_bytes(&good, 0xff), THIRD),
        row("the scheme before it", format!("Bearer {good}"), FIRST),
        row("quotes around it", format!("\"{good}\""), FIRST),
        row("percent-encoded", good.replace('.', "%2E"), PARTS),
        row("two tokens", format!("{good},{good}"), ENCRYPTED),
    ];
    let padded = |length: usize| {
        let other = |text: String| token(claims(&[("x", &format!("\"{text}\""))]));
        let need = length - other(String::new()).len();
        let mut texts = (need * 3 / 4 - 4..need).map(|length| other("x".repeat(length)));
        texts.find(|token| token.len() >= length).unwrap()
    };
    let long = "malformed: it is longer than 4096 bytes";
    rows.push(row("4 KiB and a byte, signed", padded(4_097), long));
    rows.push(row("8 KiB, signed", padded(8_192), long));
    rows.push(row("a megabyte of dots", ".".repeat(1 << 20), long));
    rows
}

fn forged_headers() -> Vec<Row> {
    let deep = format!(
        "{{\"alg\":\"HS256\",\"x\":{}{}}}",
        "[".repeat(64),
        "]".repeat(64)
    );
    let twice = "malformed: a member of its header is there twice";
    let alg = "malformed: alg in its header is not a string";
    let kid_type = "malformed: kid in its header is not a string";
    let nested = "malformed: there is another token in it";
    vec![
        row("a list", header("[]"), HEADER),
        row("a string", header("\"HS256\""), HEADER),
        row("null", header("null"), HEADER),
        row("no JSON", header("alg=HS256"), HEADER),
        row("a comma too many", header(r#"{"alg":"HS256",}"#), HEADER),
        row("text behind", header(r#"{"alg":"HS256"}{}"#), HEADER),
        row(
            "a byte order mark",
            header("\u{feff}{\"alg\":\"HS256\"}"),
            HEADER,
        ),
        row("half an object", header(r#"{"alg":"HS256""#), HEADER),
        row("single quotes", header("{'alg':'HS256'}"), HEADER),
        row(
            "no alg",
            header("{}"),
            "malformed: there is no alg in its header",
        ),
        row(
            "ALG",
            header(r#"{"ALG":"HS256"}"#),
            "malformed: there is no alg in its header",
        ),
        row("alg as a number", header(r#"{"alg":256}"#), alg),
        row("alg as null", header(r#"{"alg":null}"#), alg),
        row("alg as a list", header(r#"{"alg":["HS256"]}"#), alg),
        row("alg as true", header(r#"{"alg":true}"#), alg),
        row("an unpaired surrogate", header(r#"{"alg":"\ud800"}"#), alg),
        row(
            "alg twice",
            header(r#"{"alg":"none","alg":"HS256"}"#),
            twice,
        ),
        row(
            "alg twice, equal",
            header(r#"{"alg":"HS256","alg":"HS256"}"#),
            twice,
        ),
        row(
            "alg twice, escaped",
            header(r#"{"alg":"HS256","\u0061lg":"none"}"#),
            twice,
        ),
        row(
            "kid twice",
            header(r#"{"alg":"HS256","kid":"a","kid":"b"}"#),
            twice,
        ),
        row(
            "another member twice",
            header(r#"{"alg":"HS256","x":1,"x":2}"#),
            twice,
        ),
        row(
            "deep",
            header(&deep),
            "malformed: its header is nested too deep",
        ),
        row(
            "crit",
            header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#),
            CRITICAL,
        ),
        row(
            "crit, empty",
            header(r#"{"alg":"HS256","crit":[]}"#),
            CRITICAL,
        ),
        row(
            "crit, null",
            header(r#"{"alg":"HS256","crit":null}"#),
            CRITICAL,
        ),
        row("b64", header(r#"{"alg":"HS256","b64":false}"#), CRITICAL),
        row(
            "b64 and crit",
            header(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#),
            CRITICAL,
        ),
        row("nested", header(r#"{"alg":"HS256","cty":"JWT"}"#), nested),
        row(
            "nested, jwt",
            header(r#"{"alg":"HS256","cty":"jwt"}"#),
            nested,
        ),
        row(
            "cty as a list",
            header(r#"{"alg":"HS256","cty":[]}"#),
            "malformed: cty in its header is not a string",
        ),
        row(
            "encrypted",
            header(r#"{"alg":"dir","enc":"A128GCM"}"#),
            ENCRYPTED,
        ),
        row("kid as a number", kid("1"), kid_type),
        row("kid as null", kid("null"), kid_type),
        row("kid as an object", kid(r#"{"kid":"one"}"#), kid_type),
        row(
            "not UTF-8",
            hs(SECRET, r#"{"alg":"HS256"}"#, b"{\"exp\":\"\xff\"}"),
            CLAIMS,
        ),
    ]
}

fn forged_claims() -> Vec<Row> {
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let long = format!("\"{}\"", "x".repeat(256));
    let wide = format!("\"{}\"", "\u{e9}".repeat(128));
    let sub_long = "claim: sub is longer than 255 bytes";
    let twice = "claim: a claim is there twice";
    let late = (NOW_S + 6).to_string();
    let mut rows = vec![
        row("a list", token("[]"), CLAIMS),
        row("null", token("null"), CLAIMS),
        row("a number", token("1"), CLAIMS),
        row("another token", token(token(claims(&[]))), CLAIMS),
        row("a form", token("exp=1&sub=a"), CLAIMS),
        row("text behind", token(claims(&[]) + "x"), CLAIMS),
        row("two objects", token(claims(&[]) + &claims(&[])), CLAIMS),
        row(
            "a byte order mark",
            token("\u{feff}".to_owned() + &claims(&[])),
            CLAIMS,
        ),
        row("UTF-16", token("{\0}\0"), CLAIMS),
        row("zeros before exp", claim("exp", "01767225660"), CLAIMS),
        row("exp as NaN", claim("exp", "NaN"), CLAIMS),
        row("exp in hexadecimals", claim("exp", "0x6956ABCD"), CLAIMS),
        row("exp with a sign", claim("exp", "+1767225660"), CLAIMS),
        row(
            "deep",
            claim("x", &deep),
            "claim: the claims are nested too deep",
        ),
        row("no exp", claim("exp", ""), "claim: there is no exp"),
        row(
            "EXP",
            token(r#"{"EXP":1767225660}"#),
            "claim: there is no exp",
        ),
        row(
            "exp twice",
            token(r#"{"exp":1767225660,"exp":1767225660}"#),
            twice,
        ),
        row(
            "exp twice, escaped",
            token(r#"{"exp":1,"\u0065xp":1767225660}"#),
            twice,
        ),
        row(
            "encke twice",
            token(r#"{"exp":1767225660,"encke":{},"encke":{"subscribe":["**"]}}"#),
            twice,
        ),
        row(
            "sub twice",
            token(r#"{"exp":1767225660,"sub":"a","sub":"b"}"#),
            twice,
        ),
        row(
            "another claim twice",
            token(r#"{"exp":1767225660,"x":"a","x":"b"}"#),
            twice,
        ),
        row("exp of 1970", claim("exp", "0"), "expired 1767225600 s ago"),
        row(
            "exp a second ago",
            claim("exp", "1767225599"),
            "expired 1 s ago",
        ),
        row("exp now", claim("exp", "1767225600"), "expired 0 s ago"),
        row(
            "nbf later",
            claim("nbf", &late),
            "not valid yet, nbf is in 6 s",
        ),
        row(
            "nbf far",
            claim("nbf", "9007199254740992"),
            "not valid yet, nbf is in 9007197487515392 s",
        ),
        row("sub too long", claim("sub", &long), sub_long),
        row("sub too long in bytes", claim("sub", &wide), sub_long),
        row("no aud", claim("aud", ""), AUDIENCE),
        row("another aud", claim("aud", "\"other\""), AUDIENCE),
        row("aud in capitals", claim("aud", "\"ENCKE\""), AUDIENCE),
        row("aud and more", claim("aud", "\"encke2\""), AUDIENCE),
        row(
            "several in one aud",
            claim("aud", "\"other encke\""),
            AUDIENCE,
        ),
        row("no aud in the list", claim("aud", "[]"), AUDIENCE),
        row("other auds", claim("aud", r#"["other","enck"]"#), AUDIENCE),
        row("a list in aud", claim("aud", r#"[["encke"]]"#), AUD),
        row("a number in aud", claim("aud", r#"["encke",1]"#), AUD),
        row("aud as an object", claim("aud", r#"{"encke":1}"#), AUD),
        row("no iss", claim("iss", ""), ISSUER),
        row(
            "another iss",
            claim("iss", "\"https://issuer.example/\""),
            ISSUER,
        ),
        row(
            "iss in capitals",
            claim("iss", "\"https://ISSUER.example\""),
            ISSUER,
        ),
        row(
            "iss as a list",
            claim("iss", r#"["https://issuer.example"]"#),
            ISS,
        ),
    ];
    let no_date = [
        "\"1767225660\"",
        "1767225660.0",
        "1767225660.5",
        "1e30",
        "1.7e9",
        "2E9",
        "-1",
        "-0",
        "null",
        "true",
        "[1767225660]",
        "{\"$date\":1}",
        "9007199254740993",
        "99999999999999999999999999",
        "\"\"",
    ];
    rows.extend(no_date.map(|json| row("exp", claim("exp", json), EXP)));
    rows.extend(no_date.map(|json| row("nbf", claim("nbf", json), NBF)));
    let no_text = ["1", "null", "true", "[\"user-42\"]", "{}", "\"\\ud800\""];
    rows.extend(no_text.map(|json| row("sub", claim("sub", json), SUB)));
    rows.extend(
        no_text[..3]
            .iter()
            .map(|json| row("iss", claim("iss", json), ISS)),
    );
    rows.extend(
        no_text[..3]
            .iter()
            .map(|json| row("aud", claim("aud", json), AUD)),
    );
    rows
}

fn forged_grants() -> Vec<Row> {
    let list = |pattern: &str, count: usize| format!("[{}]", vec![pattern; count].join(","));
    let long = format!("[\"{}\"]", "x".repeat(251));
    let (many, too_many) = (list("\"**\"", 500), list("\"a\"", 65));
    let no_patterns = [
        "\"**\"",
        "null",
        "1",
        "true",
        "{}",
        "{\"a\":\"b\"}",
        "[1]",
        "[null]",
        "[\"a\",1]",
        "[[\"a\"]]",
        "[\"\"]",
        "[\"/\"]",
        "[\"a//b\"]",
        "[\"/a\"]",
        "[\"a/\"]",
        "[\"a*\"]",
        "[\"*a\"]",
        "[\"***\"]",
        "[\"**/a\"]",
        "[\"a/**/b\"]",
        "[\"..\"]",
        "[\"a/./b\"]",
        "[\"a,b\"]",
        "[\"a\\n\"]",
        "[\"a\\u0000\"]",
        "[\"\\u0085\"]",
        "[\"\\udfff\"]",
        "[\"ok\",\"a*\"]",
        &long,
        &many,
        &too_many,
    ];
    let mut rows: Vec<_> = ["\"**\"", "null", "true", "1", "[]", "[\"**\"]"]
        .map(|json| row("encke", claim("encke", json), ENCKE))
        .into();
    rows.extend(no_patterns.map(|json| row("subscribe", grant("subscribe", json), SUBSCRIBE)));
    rows.extend(no_patterns.map(|json| row("publish", grant("publish", json), PUBLISH)));
    let no_object = ["\"Ann\"", "null", "[]", "1", "true"];
    let info = "claim: info in encke is not an object";
    rows.extend(no_object.map(|json| row("info", grant("info", json), info)));
    let twice = "claim: a member of encke is there twice";
    let encke = r#"{"subscribe":["a"],"subscribe":["**"]}"#;
    rows.push(row("subscribe twice", claim("encke", encke), twice));
    let encke = r#"{"publish":["a"],"pu\u0062lish":["**"]}"#;
    rows.push(row("publish twice, escaped", claim("encke", encke), twice));
    rows
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
fn kid_chooses_and_is_nothing_else() {
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
