//! JSON inside JavaScript, as JSONP and the scripts of a forever frame have it.
//!
//! Owns how JSON becomes part of a script, and the check of the function's name that a client may
//! put into one.
//!
//! Invariant: *script-safe.* `<`, `>`, `&`, U+2028 and U+2029 are always escaped. In JSON they
//! occur only inside strings, so escaping does not change the value.

use memchr::memmem;

use super::object::write_json_string;

/// The longest name of a function to call.
const MAX_CALLBACK_BYTES: usize = 64;

/// Appends JSON as it may stand inside a `<script>`: still the same JSON.
pub(crate) fn escape_into(out: &mut Vec<u8>, json: &[u8]) {
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

/// Appends the JavaScript expression of a JSON value: the JSON itself, but where it may have a
/// key `__proto__`. In an object literal that key sets the prototype, and twice it is a syntax
/// error that would cost a whole batch; `JSON.parse` takes it for the key that it is.
pub(crate) fn expression(out: &mut Vec<u8>, json: &[u8]) {
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

    use super::super::samples::{self, value};
    use super::*;

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

    proptest! {
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
