//! Texts that are no tokens, and headers that are not those of a signed one.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};

use super::*;

const PARTS: &str = "malformed: a token has three parts, with a dot between them";
const ENCRYPTED: &str = "malformed: it is encrypted, and only signed ones are read";
const HEADER: &str = "malformed: its header is not a JSON object";
const FIRST: &str = "malformed: the first part is not base64url without padding";
const SECOND: &str = "malformed: the second part is not base64url without padding";
const THIRD: &str = "malformed: the third part is not base64url without padding";
const CRITICAL: &str = "malformed: crit and b64 in its header are not supported";

pub(super) fn forged_forms() -> Vec<Row> {
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

pub(super) fn forged_headers() -> Vec<Row> {
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
