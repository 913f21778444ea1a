//! Signed tokens whose claims are wrong.

use super::*;

const EXP: &str = "claim: exp is not a number of seconds, 0 to 2^53";
const NBF: &str = "claim: nbf is not a number of seconds, 0 to 2^53";
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

pub(super) fn forged_claims() -> Vec<Row> {
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
        "9007199254740992.5",
        "1e30",
        "1e999",
        "-1",
        "-1.5",
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

pub(super) fn forged_grants() -> Vec<Row> {
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
