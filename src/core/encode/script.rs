//! JSON inside JavaScript: JSONP answers and the scripts of a forever frame.
//!
//! Owns how JSON becomes part of a script, and the check of the function's name that a client may
//! put into one.
//!
//! Invariants:
//! - *No way out.* `<`, `>`, `&`, U+2028 and U+2029 are only ever written as escapes. In JSON they
//!   stand inside strings alone, so escaping them changes nothing that is said.
//! - *One message, one script.* A message that its page cannot bear does not stop the next.

use memchr::memmem;

use super::object::{closing_object, cursor_object, gap_object, object, write_json_string};

use crate::message::{Content, MessageId};

/// The longest name of a function to call.
const MAX_CALLBACK_BYTES: usize = 64;
/// Browsers, and proxies that guess at content, hold back the first bytes of a page.
const PADDING: [u8; 2_048] = [b' '; 2_048];

/// How a frame hands objects to the page around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver<'a> {
    /// Calls this function of the page, a name that has passed [`check_callback`].
    Call(&'a str),
    /// Posts to a page of the frame's own origin.
    PostOwn,
    /// Posts to a page of this origin, serialised.
    PostTo(&'a str),
}

/// Appends JSON as it may stand inside a `<script>`: still the same JSON.
pub fn escape_into(out: &mut Vec<u8>, json: &[u8]) {
    let mut kept = 0;
    for (place, byte) in json.iter().enumerate() {
        let (escape, length): (&[u8], _) = match byte {
            b'<' => (b"\\u003c", 1),
            b'>' => (b"\\u003e", 1),
            b'&' => (b"\\u0026", 1),
            0xe2 if json[place..].starts_with(b"\xe2\x80\xa8") => (b"\\u2028", 3),
            0xe2 if json[place..].starts_with(b"\xe2\x80\xa9") => (b"\\u2029", 3),
            _ => continue,
        };
        out.extend_from_slice(&json[kept..place]);
        out.extend_from_slice(escape);
        kept = place + length;
    }
    out.extend_from_slice(&json[kept..]);
}

/// Appends `/**/CALLBACK(JSON);`. The comment keeps the answer from beginning with bytes of the
/// client's choice.
pub fn jsonp(out: &mut Vec<u8>, callback: &str, json: &[u8]) {
    debug_assert!(
        check_callback(callback.as_bytes()).is_some(),
        "callbacks are checked"
    );
    out.extend_from_slice(b"/**/");
    out.extend_from_slice(callback.as_bytes());
    out.push(b'(');
    expression(out, json);
    out.extend_from_slice(b");");
}

/// Checks the name of a function: identifiers of `A-Za-z0-9_$` that do not begin with a digit,
/// joined by dots, at most 64 bytes in all.
pub fn check_callback(name: &[u8]) -> Option<&str> {
    let is_letter = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'$');
    let is_identifier = |part: &[u8]| match part.split_first() {
        Some((first, rest)) => {
            is_letter(first) && rest.iter().all(|b| is_letter(b) || b.is_ascii_digit())
        }
        None => false,
    };
    if name.len() > MAX_CALLBACK_BYTES || !name.split(|&b| b == b'.').all(is_identifier) {
        return None;
    }
    std::str::from_utf8(name).ok()
}

/// Appends how a frame opens: the document's head with the function `e` that delivers an object,
/// padding, and the cursor.
///
/// `e` first removes its own script and all that came before it, so that the page does not grow
/// and an object on which the page's function throws leaves nothing behind.
pub fn frame_opening(out: &mut Vec<u8>, deliver: Deliver<'_>, id: MessageId) {
    out.extend_from_slice(
        b"<!DOCTYPE html><html><head><meta charset=\"utf-8\"><script>function e(o){\
          var d=document,s=d.currentScript||d.scripts[d.scripts.length-1],p=s.parentNode;\
          while(p.firstChild!==s)p.removeChild(p.firstChild);p.removeChild(s);",
    );
    match deliver {
        Deliver::Call(name) => {
            debug_assert!(
                check_callback(name.as_bytes()).is_some(),
                "callbacks are checked"
            );
            out.extend_from_slice(b"parent.");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"(o)");
        }
        Deliver::PostOwn => out.extend_from_slice(b"parent.postMessage(o,location.origin)"),
        Deliver::PostTo(origin) => {
            let mut quoted = Vec::new();
            write_json_string(&mut quoted, origin);
            out.extend_from_slice(b"parent.postMessage(o,");
            escape_into(out, &quoted);
            out.push(b')');
        }
    }
    out.extend_from_slice(b"}</script>\n<!--");
    out.extend_from_slice(&PADDING);
    out.extend_from_slice(b"-->\n");
    frame_cursor(out, id);
}

/// Appends the script that delivers a message's object.
pub fn frame_message(out: &mut Vec<u8>, content: &Content<'_>) {
    script(out, |json| object(json, content));
}

/// Appends the script that delivers `{"cursor":"…"}`; it serves as the heartbeat.
pub fn frame_cursor(out: &mut Vec<u8>, id: MessageId) {
    script(out, |json| cursor_object(json, id));
}

/// Appends the script that says messages were lost: `{"gap":true,"cursor":"…"}`.
pub fn frame_gap(out: &mut Vec<u8>, id: MessageId) {
    script(out, |json| gap_object(json, id));
}

/// Appends a frame's last script, with the cursor to come back with and when, in milliseconds:
/// `{"cursor":"…","retry":N}`.
pub fn frame_closing(out: &mut Vec<u8>, retry_ms: u32, id: MessageId) {
    script(out, |json| closing_object(json, retry_ms, id));
}

fn script(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut json = Vec::new();
    write(&mut json);
    out.extend_from_slice(b"<script>e(");
    expression(out, &json);
    out.extend_from_slice(b")</script>\n");
}

/// Appends the JavaScript expression of a JSON value: the JSON itself, but where it may have a
/// key `__proto__`. In an object literal that key sets the prototype, and twice it is a syntax
/// error that would cost a whole batch; `JSON.parse` takes it for the key that it is.
fn expression(out: &mut Vec<u8>, json: &[u8]) {
    match std::str::from_utf8(json) {
        Ok(text) if may_name_prototype(json) => {
            let mut quoted = Vec::new();
            write_json_string(&mut quoted, text);
            out.extend_from_slice(b"JSON.parse(");
            escape_into(out, &quoted);
            out.push(b')');
        }
        _ => escape_into(out, json),
    }
}

/// Whether `__proto__` is there, or the escape of an ASCII character that can be a part of it.
/// To say yes too often is harmless.
fn may_name_prototype(json: &[u8]) -> bool {
    let is_part = |place: usize| matches!(json.get(place + 4), Some(b'5'..=b'7'));
    memmem::find(json, b"__proto__").is_some() || memmem::find_iter(json, b"\\u00").any(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::samples::{self, Received, id, sample};
    use super::*;
    use crate::message::Data;

    /// What the scripts of a page push, as JSON; panics on anything that is not such a script.
    fn pushed(page: &str) -> Vec<String> {
        let scripts = page.strip_suffix('\n').unwrap().split('\n');
        let argument = |script: &str| {
            let inner = script.strip_prefix("<script>e(").unwrap();
            value(inner.strip_suffix(")</script>").unwrap())
        };
        scripts.map(argument).collect()
    }

    /// The JSON of an expression, checked to be safe inside a script.
    fn value(expression: &str) -> String {
        let unsafe_characters = ['<', '>', '&', '\u{2028}', '\u{2029}', '\r', '\n'];
        assert!(!expression.contains(unsafe_characters), "{expression}");
        match expression.strip_prefix("JSON.parse(") {
            Some(rest) => serde_json::from_str(rest.strip_suffix(')').unwrap()).unwrap(),
            None => {
                assert!(!names_prototype(expression), "{expression}");
                expression.to_owned()
            }
        }
    }

    /// Whether any object has the key `__proto__`, found by looking at every key.
    fn names_prototype(json: &str) -> bool {
        fn any(value: &Value) -> bool {
            match value {
                Value::Array(items) => items.iter().any(any),
                Value::Object(map) => map
                    .iter()
                    .any(|(key, value)| key == "__proto__" || any(value)),
                _ => false,
            }
        }
        // Numbers that no float holds are of no interest here.
        let json = json.replace("1E400", "1").replace("1e-999", "1");
        any(&serde_json::from_str(&json).unwrap())
    }

    /// The text with the five escapes undone wherever they stand.
    fn unescaped(text: &str) -> String {
        let escapes = [("3c", "<"), ("3e", ">"), ("26", "&")];
        let text = text
            .replace("\\u2028", "\u{2028}")
            .replace("\\u2029", "\u{2029}");
        escapes.iter().fold(text, |text, (hex, plain)| {
            text.replace(&format!("\\u00{hex}"), plain)
        })
    }

    #[test]
    fn escapes() {
        let mut out = Vec::new();
        let text = "\"<!--</script>&amp;\u{2028}\u{2029}\u{2027}\u{2030}\u{e2}\u{80}\"";
        escape_into(&mut out, text.as_bytes());
        let expected = "\"\\u003c!--\\u003c/script\\u003e\\u0026amp;\\u2028\\u2029\
                        \u{2027}\u{2030}\u{e2}\u{80}\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn jsonp_calls() {
        let call = |json: &str| {
            let mut out = Vec::new();
            jsonp(&mut out, "a.$b", json.as_bytes());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(call("{\"a\":1.0}"), "/**/a.$b({\"a\":1.0});");
        assert_eq!(call("{\"a\":\"</\"}"), "/**/a.$b({\"a\":\"\\u003c/\"});");
        assert_eq!(
            call(r#"{"__proto__":"<"}"#),
            r#"/**/a.$b(JSON.parse("{\"__proto__\":\"\u003c\"}"));"#,
        );
        for key in [
            r"\u005f_proto__",
            r"__\u0070roto__",
            r"__pr\u006Fto__",
            r"__proto\u005F_",
        ] {
            let call = call(&format!("{{\"{key}\":1}}"));
            let escaped = key.replace('\\', r"\\");
            assert_eq!(
                call,
                format!(r#"/**/a.$b(JSON.parse("{{\"{escaped}\":1}}"));"#)
            );
        }
    }

    #[test]
    fn callbacks() {
        let longest = "a".repeat(MAX_CALLBACK_BYTES);
        for good in [
            "a",
            "$",
            "_",
            "a1",
            "jQuery1_2.cb$",
            "a.b.c",
            "if",
            &longest,
        ] {
            assert_eq!(check_callback(good.as_bytes()), Some(good));
        }
        let too_long = "a".repeat(MAX_CALLBACK_BYTES + 1);
        let bad = [
            "", ".", "a.", ".a", "a..b", "1a", "a.1", "a b", "a(", "a[0]", "a;b", "a/*", "\u{e9}",
            "a\n", "a\0", "a-b", "<a", &too_long,
        ];
        for bad in bad {
            assert_eq!(check_callback(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(check_callback(b"a\xff"), None);
    }

    #[test]
    fn openings_deliver_and_are_long_enough() {
        for (deliver, call) in [
            (Deliver::Call("a.b"), "parent.a.b(o)}"),
            (Deliver::PostOwn, "parent.postMessage(o,location.origin)}"),
            (
                Deliver::PostTo("https://[::1]:8443"),
                "parent.postMessage(o,\"https://[::1]:8443\")}",
            ),
        ] {
            let mut out = Vec::new();
            frame_opening(&mut out, deliver, id(9));
            assert!(out.len() >= 2_048);
            let page = String::from_utf8(out).unwrap();
            assert!(page.starts_with("<!DOCTYPE html>"));
            let (head, rest) = page.split_once("</script>\n<!--").unwrap();
            assert!(head.ends_with(call), "{head}");
            let (padding, scripts) = rest.split_once("-->\n").unwrap();
            assert!(padding.bytes().all(|b| b == b' '));
            assert_eq!(pushed(scripts), ["{\"cursor\":\"00000000-9\"}"]);
        }
    }

    proptest! {
        #[test]
        fn frames_push_what_was_published(
            samples in proptest::collection::vec(sample(), 1..4),
            retry_ms: u32,
        ) {
            let id = samples[0].id;
            let mut out = Vec::new();
            frame_gap(&mut out, id);
            frame_closing(&mut out, retry_ms, id);
            for sample in &samples {
                frame_message(&mut out, &sample.content());
            }
            let pushed = pushed(std::str::from_utf8(&out).unwrap());
            let own = |place: usize| serde_json::from_str::<Value>(&pushed[place]).unwrap();
            prop_assert_eq!(own(0), json!({"gap": true, "cursor": samples[0].id()}));
            prop_assert_eq!(own(1), json!({"cursor": samples[0].id(), "retry": retry_ms}));
            prop_assert_eq!(pushed.len(), samples.len() + 2);
            for (text, sample) in pushed[2..].iter().zip(&samples) {
                let mut plain = Vec::new();
                object(&mut plain, &sample.content());
                let plain = String::from_utf8(plain).unwrap();
                prop_assert_eq!(unescaped(text), unescaped(&plain));
                if text == &plain || !matches!(sample.data, Data::Json(_)) {
                    serde_json::from_str::<Received<'_>>(text).unwrap().assert_is(sample);
                }
            }
        }

        #[test]
        fn escaped_text_is_the_same_text(text in samples::text()) {
            let (mut quoted, mut escaped) = (Vec::new(), Vec::new());
            write_json_string(&mut quoted, &text);
            escape_into(&mut escaped, &quoted);
            let escaped = String::from_utf8(escaped).unwrap();
            value(&escaped);
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }

        #[test]
        fn names_are_judged_as_a_slow_reader_would(name in "[a-zA-Z_$0-9.( \u{e9}]{0,6}") {
            let is_good = name.split('.').all(|part| {
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
                !part.is_empty()
                    && part.chars().all(is_word)
                    && !part.starts_with(|c: char| c.is_ascii_digit())
            });
            prop_assert_eq!(check_callback(name.as_bytes()).is_some(), is_good);
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = check_callback(&bytes);
            escape_into(&mut Vec::new(), &bytes);
            jsonp(&mut Vec::new(), "f", &bytes);
        }
    }
}
