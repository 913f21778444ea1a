//! The examples of the RFCs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

/// Before the `exp` of the examples.
const THEN: u64 = 1_300_819_379_999;

/// RFC 7515, appendix A.1: the key.
const HS_JWK: &str = r#"{"kty":"oct",
    "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;

/// RFC 7515, appendix A.1.1: the token.
const HS: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 7515, appendix A.2.1.
const RS: &str = "eyJhbGciOiJSUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
    jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb\
    1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO\
    YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/// RFC 7515, appendix A.3.1.
const ES: &str = "eyJhbGciOiJFUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 7515, appendix A.5: an unsecured one.
const NONE: &str = "eyJhbGciOiJub25lIn0\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

/// RFC 8037, appendix A.4. It signs a text, which are no claims.
const ED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\
    .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// RFC 8037, appendix A.2.
const ED_JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// RFC 7517, appendix A.1.
const SET: &str = r#"{"keys":
  [
    {"kty":"EC",
     "crv":"P-256",
     "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
     "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
     "use":"enc",
     "kid":"1"},

    {"kty":"RSA",
     "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
     "e":"AQAB",
     "alg":"RS256",
     "kid":"2011-04-29"}
  ]
}"#;

#[test]
fn examples_of_rfc_7515_are_verified() {
    for (file, token) in [(HS_JWK, HS), (RSA, RS), (P256, ES)] {
        let mut tokens = tokens(&[file.as_bytes()]);
        let verified = tokens.verify(token.as_bytes(), THEN).unwrap();
        assert_eq!(verified.expires_at_ms, 1_300_819_380_000);
        assert_eq!(verified.subject, None);
        assert!(!verified.may_subscribe("news") && !verified.may_publish("news"));
        let late = tokens.verify(token.as_bytes(), THEN + 40_001);
        assert_eq!(reason(late), "expired 40 s ago");
        for other in [HS, RS, ES, NONE] {
            let is_own = other == token;
            assert_eq!(
                tokens.verify(other.as_bytes(), THEN).is_ok(),
                is_own,
                "{other}"
            );
        }
    }
}

#[test]
fn example_of_rfc_8037_is_verified_up_to_its_claims() {
    for file in [ED25519, ED_JWK] {
        let mut tokens = tokens(&[file.as_bytes()]);
        let verified = tokens.verify(ED.as_bytes(), THEN);
        assert_eq!(reason(verified), "claim: the claims are not a JSON object");
        let changed = ED.replace("hgyY0", "hgyY1");
        assert!(reason(tokens.verify(changed.as_bytes(), THEN)).starts_with("signature: "));
    }
    let payload = b"Example of Ed25519 signing";
    let signed = signer(ED25519_PRIVATE).sign_text(r#"{"alg":"EdDSA"}"#, payload);
    assert_eq!(signed.unwrap(), ED);
}

#[test]
fn example_of_rfc_7515_is_signed() {
    let header = "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}";
    let claims =
        "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    let key = HS_JWK.split('"').rev().nth(1).unwrap();
    let key = URL_SAFE_NO_PAD.decode(key).unwrap();
    assert_eq!(
        signer(key).sign_text(header, claims.as_bytes()).unwrap(),
        HS
    );
    let rs = signer(RSA_PRIVATE).sign_text(r#"{"alg":"RS256"}"#, claims.as_bytes());
    assert_eq!(rs.unwrap(), RS);
}

#[test]
fn example_of_rfc_7517_has_one_key_for_signatures() {
    let (keys, warnings) = Key::parse(SET.as_bytes()).unwrap();
    let [key] = &keys[..] else {
        panic!("{keys:?}");
    };
    assert_eq!(key.kid(), Some("2011-04-29"));
    assert_eq!(key.algorithms(), [crate::tokens::Algorithm::Rs256]);
    let expected = "key 1 of the JWK set is for another use: its use is not sig";
    assert_eq!(warnings, [expected]);
}
