use proptest::prelude::*;

use super::*;
use crate::encode::samples::{json, name, sample, text};
use crate::encode::{object, write_json_string};

const MAX: usize = 1 << 20;

fn one(line: &str) -> Draft<'static> {
    parse_line(line.as_bytes(), MAX).unwrap().unwrap()
}

#[test]
fn json_is_measured_before_its_separators_are_escaped() {
    let json = format!("[\"{}\"]", "\u{85}".repeat(10));
    let line = format!("{{\"channel\":\"a\",\"data\":{json}}}");
    assert!(parse_line(line.as_bytes(), json.len()).is_ok());
    assert!(matches!(
        parse_line(line.as_bytes(), json.len() - 1),
        Err(LineError::TooLarge { .. })
    ));
}

#[test]
fn each_kind_of_data_is_parsed() {
    for (member, expected) in [
        (r#""a\nb""#, Data::Text("a\nb".into())),
        (r#""""#, Data::Text("".into())),
        ("null", Data::json("null").unwrap()),
        ("1.00E400", Data::json("1.00E400").unwrap()),
        (
            "{ \"a\" : [1.0] }",
            Data::json("{ \"a\" : [1.0] }").unwrap(),
        ),
        ("[\r1\r]", Data::json("[1]").unwrap()),
        (
            r#""/wA=","encoding":"base64""#,
            Data::Binary((*b"\xff\0").into()),
        ),
        (r#""","encoding":"base64""#, Data::Binary((*b"").into())),
        (
            r#""a","encoding":null,"event":null"#,
            Data::Text("a".into()),
        ),
    ] {
        let line = one(&format!(" {{\"channel\":\"c\",\"data\":{member}}}\r"));
        assert_eq!(
            (&*line.channel, line.event, line.data),
            ("c", None, expected)
        );
    }
    let line = one(r#"{"\u0065vent":"e","id":[{}],"data":0,"x":{"data":1},"channel":"\u0063"}"#);
    assert_eq!((&*line.channel, line.event.as_deref()), ("c", Some("e")));
}

#[test]
fn each_malformed_line_names_its_fault() {
    for (line, part) in [
        ("1", "must be a JSON object"),
        (r#"["c",1]"#, "must be a JSON object"),
        (r#"{"channel":"c"}"#, "`data` is missing"),
        (r#"{"channel":"c","end":false}"#, "`data` is missing"),
        (
            r#"{"channel":"c","end":true,"event":"e"}"#,
            "`data` is missing",
        ),
        (
            r#"{"channel":"c","end":true,"encoding":"base64"}"#,
            "`data` is missing",
        ),
        (r#"{"channel":"c","data":1,"end":1}"#, "invalid type"),
        (r#"{"channel":"c","data":1,"end":null}"#, "invalid type"),
        (r#"{"data":1}"#, "missing field `channel`"),
        (r#"{"channel":1,"data":1}"#, "invalid type: integer `1`"),
        (r#"{"channel":null,"data":1}"#, "invalid type: null"),
        (
            r#"{"channel":"c","data":1,"data":1}"#,
            "duplicate field `data`",
        ),
        (
            r#"{"channel":"c","data":1,"ch\u0061nnel":"c"}"#,
            "duplicate field `channel`",
        ),
        (
            r#"{"channel":"c","data":1,"event":null,"event":"e"}"#,
            "duplicate field `event`",
        ),
        (
            r#"{"channel":"c","data":1,}"#,
            "trailing comma at column 25",
        ),
        (r#"{"channel":"c","data":1} {}"#, "trailing characters"),
        (r#"{"channel":"c","data":"#, "EOF"),
        (
            r#"{"data":"\ud83d","channel":"c"}"#,
            r"unpaired surrogate \ud83d at column 10",
        ),
        (
            r#"{"channel":"\udead","data":1}"#,
            r"unpaired surrogate \udead at column 13",
        ),
        (
            r#"{"channel":"c","data":{"\ud83d":1}}"#,
            r"unpaired surrogate \ud83d at column 25",
        ),
        (
            r#"{"channel":"c","data":1,"x":"\ud83d\ud83d"}"#,
            r"unpaired surrogate \ud83d at column 30",
        ),
        (
            r#"{"channel":"a,b","data":1}"#,
            r#"channel "a,b": a channel"#,
        ),
        (r#"{"channel":"\n","data":1}"#, "control characters"),
        (
            r#"{"channel":"c","data":"a","encoding":"base64"}"#,
            "not padded base64",
        ),
        (
            r#"{"channel":"c","data":"_w==","encoding":"base64"}"#,
            "not padded base64",
        ),
        (
            r#"{"channel":"c","data":1,"encoding":"base64"}"#,
            "must be a string",
        ),
        (
            r#"{"channel":"c","data":"a","encoding":"hex"}"#,
            "must be \"base64\"",
        ),
        (r#"{"channel":"c","data":1,"event":"gap"}"#, "are reserved"),
        (r#"{"channel":"c","data":1,"event":"a\rb"}"#, "CR, LF, NUL"),
        (r#"{"channel":"c","data":1,"event":1}"#, "invalid type"),
    ] {
        let detail = parse_line(line.as_bytes(), MAX).unwrap_err().to_string();
        assert!(detail.contains(part), "{line}: {detail}");
        assert!(!detail.contains(" line "), "{detail}");
    }
    assert!(matches!(
        parse_line(b"{\"\xff\"", MAX),
        Err(LineError::NotUtf8)
    ));
}

#[test]
fn lines_end_their_channels() {
    let channel = || ChannelName::parse(b"c").unwrap();
    for (line, kind, data) in [
        (r#"{"channel":"c","data":1}"#, DraftKind::Message, "1"),
        (
            r#"{"channel":"c","data":1,"end":false}"#,
            DraftKind::Message,
            "1",
        ),
        (
            r#"{"channel":"c","data":1,"end":true}"#,
            DraftKind::Last,
            "1",
        ),
        (
            r#"{"end":true,"channel":"c","data":null}"#,
            DraftKind::Last,
            "null",
        ),
    ] {
        let draft = parse_line(line.as_bytes(), MAX).unwrap().unwrap();
        let expected = Draft {
            kind,
            ..Draft::new(channel(), Data::json(data).unwrap())
        };
        assert_eq!(draft, expected, "{line}");
    }
    for line in [
        r#"{"channel":"c","end":true}"#,
        r#"{"channel":"c","end":true,"event":"","id":"x"}"#,
    ] {
        let draft = parse_line(line.as_bytes(), MAX).unwrap().unwrap();
        assert_eq!(draft, Draft::end(channel()));
    }
}

#[test]
fn sizes_are_those_of_the_data() {
    let line = br#"{"channel":"c","data":"\u0061\u0062"}"#;
    assert!(parse_line(line, 2).is_ok());
    let error = parse(line, 1).unwrap_err();
    assert!(error.is_too_large());
    assert_eq!(error.to_string(), "line 1: a message is at most 1 bytes");
}

#[test]
fn bodies_are_parsed_line_by_line() {
    let line = r#"{"channel":"c","data":1}"#;
    let body = format!("\n{line}\r\n \t\r\n{line}\n\n{line}");
    assert_eq!(parse(body.as_bytes(), MAX).unwrap(), vec![one(line); 3]);
    let marked = format!("\u{feff}{line}");
    assert_eq!(parse(marked.as_bytes(), MAX).unwrap(), vec![one(line)]);
    let error = parse(format!("{line}\n{marked}").as_bytes(), MAX).unwrap_err();
    assert_eq!(error.to_string(), "line 2: it must be a JSON object");
    for empty in ["", "\n", " \r\n\r\n\t", "\u{feff}"] {
        assert!(matches!(
            parse(empty.as_bytes(), MAX),
            Err(LinesError::NoLine)
        ));
    }
    let error = parse(format!("{line}\r\n\n{line}\n{{}}\n!").as_bytes(), MAX).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 4: missing field `channel` at column 2"
    );
    assert!(!error.is_too_large());
}

#[test]
fn nesting_costs_no_stack() {
    let deep = |levels| ["[".repeat(levels), "]".repeat(levels)].concat();
    let line = |x: &str, data: &str| {
        let line = format!("{{\"x\":{x},\"channel\":\"c\",\"data\":{data}}}");
        parse_line(line.as_bytes(), usize::MAX)
    };
    let draft = line(&deep(MAX), &deep(128)).unwrap().unwrap();
    assert_eq!(draft.data, Data::json(deep(128)).unwrap());
    for levels in [129, MAX] {
        let fault = line("1", &deep(levels)).unwrap_err().to_string();
        assert_eq!(
            fault,
            "`data` is refused: it is nested deeper than 128 levels"
        );
    }
}

proptest! {
    #[test]
    fn published_objects_can_be_published_again(
        samples in proptest::collection::vec(sample(), 1..4),
    ) {
        let mut body = Vec::new();
        for sample in &samples {
            object(&mut body, &sample.content());
            body.push(b'\n');
        }
        let lines = parse(&body, MAX).unwrap();
        prop_assert_eq!(lines.len(), samples.len());
        for (line, sample) in lines.iter().zip(&samples) {
            prop_assert_eq!(&*line.channel, &*sample.channel);
            prop_assert_eq!(&line.event, &sample.event);
            match &sample.data {
                // A message that is a JSON string and one that is text look the same.
                Data::Json(json) if json.starts_with('"') => {
                    let text = serde_json::from_str::<Box<str>>(json).unwrap();
                    prop_assert_eq!(&line.data, &Data::Text(text));
                }
                data => prop_assert_eq!(&line.data, data),
            }
        }
    }

    #[test]
    fn json_is_kept_as_in_a_publish_of_its_own(json in json(), channel in name()) {
        let mut line = b"{\"channel\":".to_vec();
        write_json_string(&mut line, &channel);
        line.extend_from_slice(b",\"data\":");
        line.extend_from_slice(json.as_bytes());
        line.push(b'}');
        let line = parse_line(&line, MAX).unwrap().unwrap();
        let alone = Data::accept(Some(b"application/json"), json.as_bytes()).unwrap();
        prop_assert_eq!(&*line.channel, &channel);
        if !matches!(line.data, Data::Text(_)) {
            prop_assert_eq!(line.data, alone);
        }
    }

    #[test]
    fn any_body_does_not_panic(body: Vec<u8>, member in text()) {
        let _ = parse(&body, MAX).map_err(|error| error.to_string());
        let line = format!("{{\"channel\":\"c\",\"data\":{member}}}\n{member}");
        let _ = parse(line.as_bytes(), 3).map_err(|error| error.to_string());
    }
}
