//! Publishing over HTTP: one message, batches, types, names and keys.

use serde_json::{Value, json};

use crate::server::Server;

/// The one message that a channel holds.
fn only(server: &Server, channel: &str) -> Value {
    let batch = server.get(&format!("/poll/{channel}")).batch();
    assert_eq!(batch.messages().len(), 1, "{batch:?}");
    batch.messages()[0].clone()
}

#[test]
fn one_message_is_answered_with_its_id_and_audience() {
    let server = Server::start();
    let mut held = server.hold("/long-poll/news");
    let mut stream = server.stream("/sse/news");
    stream.opening();
    server.wait_subscribers("news", 2);
    let answer = server.client().post("/publish/news", "", "hello");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("Content-Type"), Some("application/json"));
    let json = answer.json();
    let id = json["id"].as_str().unwrap();
    assert_eq!(json, json!({"id": id, "channel": "news", "subscribers": 2}));
    assert_eq!(held.answer().batch().cursor, id);
    assert_eq!(stream.message().unwrap().id.as_deref(), Some(id));
}

#[test]
fn put_publishes_like_post() {
    let server = Server::start();
    let mut client = server.client();
    client.ask("PUT", "/publish/a/b", "Content-Length: 3\r\n");
    client.send("put");
    assert_eq!(client.answer().json()["channel"], "a/b");
    assert_eq!(only(&server, "a/b")["data"], "put");
}

#[test]
fn content_type_selects_the_kind_of_data() {
    let server = Server::start();
    let text = |text: &str| json!({"data": text});
    let base64 = |text: &str| json!({"data": text, "encoding": "base64"});
    let cases: &[(&str, &[u8], Value)] = &[
        ("", b"plain", text("plain")),
        ("text/plain", "\u{e4}\n".as_bytes(), text("\u{e4}\n")),
        (
            "application/x-www-form-urlencoded",
            b"a=1&b=%20",
            text("a=1&b=%20"),
        ),
        ("text/plain", b"\xff\x00", base64("/wA=")),
        ("", b"", text("")),
        ("application/octet-stream", b"abc", base64("YWJj")),
        ("application/octet-stream", b"", base64("")),
        (
            "application/json",
            br#"{"a":[1,null]}"#,
            json!({"data": {"a": [1, null]}}),
        ),
        (
            "APPLICATION/JSON; charset=utf-8",
            b" 7 ",
            json!({"data": 7}),
        ),
        ("application/ld+json", b"\"x\"", text("x")),
    ];
    for (index, (kind, body, expected)) in cases.iter().enumerate() {
        let channel = format!("types-{index}");
        let field = match *kind {
            "" => String::new(),
            kind => format!("Content-Type: {kind}\r\n"),
        };
        let target = format!("/publish/{channel}");
        let answer = server.client().post(&target, &field, body);
        assert_eq!(answer.status(), 200, "{kind} {answer:?}");
        let mut message = only(&server, &channel);
        let message = message.as_object_mut().unwrap();
        message.remove("id");
        message.remove("channel");
        assert_eq!(Value::Object(message.clone()), *expected, "{kind} {body:?}");
    }
}

#[test]
fn json_arrives_as_it_was_written() {
    let server = Server::start();
    let mut stream = server.stream("/ndjson/news");
    stream.object();
    let body =
        "{\"n\": 1.0, \"big\":12345678901234567890123456789,\r\n \"e\":1E+400,\n\"u\":\"\\u00e4\"}";
    let kind = "Content-Type: application/json\r\n";
    assert_eq!(
        server.client().post("/publish/news", kind, body).status(),
        200
    );
    let digits =
        "{\"n\": 1.0, \"big\":12345678901234567890123456789, \"e\":1E+400,\"u\":\"\\u00e4\"}";
    let polled = server.get("/poll/news");
    assert!(polled.text().contains(digits), "{}", polled.text());
    let line = stream.until("\n").unwrap();
    assert!(line.contains(digits), "{line}");
}

#[test]
fn body_that_is_no_json_is_refused() {
    let server = Server::start();
    for body in ["", "  ", "{", "{\"a\":1}x", "nul", "'a'", "[1,]"] {
        let kind = "Content-Type: application/json\r\n";
        let answer = server.client().post("/publish/news", kind, body);
        answer.problem(400);
    }
    let mut client = server.client();
    client.ask("POST", "/publish/news", "Content-Type: a/b+json\r\n");
    client.answer().problem(400);
    assert_eq!(server.channel("news"), None);
}

#[test]
fn no_body_is_an_empty_message() {
    let server = Server::start();
    let mut client = server.client();
    client.ask("POST", "/publish/news", "");
    assert_eq!(client.answer().status(), 200);
    assert_eq!(only(&server, "news")["data"], "");
}

#[test]
fn events_are_named_by_field_or_parameter() {
    let server = Server::start();
    for (query, fields, name) in [
        ("?event=order", "", "order"),
        ("", "Encke-Event: order\r\n", "order"),
        ("?event=x", "Encke-Event: order\r\n", "order"),
        ("?event=a+b%20c", "", "a+b c"),
        ("?event=%C3%A4", "", "\u{e4}"),
    ] {
        let target = format!("/publish/news{query}");
        let answer = server.client().post(&target, fields, "x");
        assert_eq!(answer.status(), 200, "{answer:?}");
        let batch = server.get("/poll/news").batch();
        assert_eq!(batch.messages().last().unwrap()["event"], name);
    }
}

#[test]
fn event_name_that_could_forge_a_field_is_refused() {
    let server = Server::start();
    for (query, fields) in [
        ("?event=cursor", ""),
        ("?event=gap", ""),
        ("?event=a%0Ab", ""),
        ("?event=a%0Db", ""),
        ("?event=%ff", ""),
        ("?event=%g0", ""),
        ("", "Encke-Event: gap\r\n"),
        ("", "Encke-Event: cursor\r\n"),
    ] {
        let target = format!("/publish/news{query}");
        server.client().post(&target, fields, "x").problem(400);
    }
    assert_eq!(server.channel("news"), None);
}

#[test]
fn batch_is_published_in_order() {
    let server = Server::start();
    let mut held = server.parked("a", "");
    let body = concat!(
        "{\"channel\":\"a\",\"data\":\"one\"}\n",
        "\n",
        "{\"data\":{\"n\":1.0},\"channel\":\"b\",\"event\":\"e\"}\r\n",
        "{\"channel\":\"a\",\"data\":null}",
    );
    let answer = server.client().post("/publish", "", body);
    let published = answer.json()["published"].clone();
    let ids = published.as_array().unwrap();
    let channels: Vec<_> = ids.iter().map(|one| &one["channel"]).collect();
    assert_eq!(channels, ["a", "b", "a"]);
    assert_eq!(ids[0]["subscribers"], 1);
    assert_eq!(ids[1]["subscribers"], 0);
    let batch = server.get("/poll/a,b").batch();
    let got: Vec<_> = batch.messages().iter().map(|m| &m["id"]).collect();
    assert_eq!(got, ids.iter().map(|one| &one["id"]).collect::<Vec<_>>());
    assert_eq!(batch.messages()[1]["event"], "e");
    // A held poll gets all messages of one batch in one response.
    let batch = held.answer().batch();
    assert_eq!(batch.messages().len(), 2);
}

#[test]
fn batch_is_all_or_nothing() {
    let server = Server::start();
    let good = "{\"channel\":\"a\",\"data\":1}\n";
    for bad in [
        "not json",
        "{\"data\":1}",
        "{\"channel\":\"a\"}",
        "{\"channel\":\"a,b\",\"data\":1}",
        "{\"channel\":\"\",\"data\":1}",
        "{\"channel\":7,\"data\":1}",
        "{\"channel\":\"a\",\"data\":1,\"event\":\"gap\"}",
        "{\"channel\":\"a\",\"data\":1,\"event\":\"x\\ny\"}",
    ] {
        let answer = server
            .client()
            .post("/publish", "", format!("{good}{bad}\n"));
        answer.problem(400);
    }
    server.client().post("/publish", "", "").problem(400);
    assert_eq!(server.channel("a"), None);
    assert_eq!(server.metric("encke_messages_published_total"), 0);
}

#[test]
fn batch_without_room_for_its_channels_publishes_nothing() {
    let server = Server::with(|config| config.max_channels = 2);
    let lines: String = ["a", "b", "c"]
        .map(|name| format!("{{\"channel\":\"{name}\",\"data\":1}}\n"))
        .concat();
    let answer = server.client().post("/publish", "", lines);
    answer.problem(503);
    assert!(answer.field("Retry-After").is_some());
    assert_eq!(server.metric("encke_messages_published_total"), 0);
}

#[test]
fn key_makes_a_retry_harmless() {
    let server = Server::start();
    let key = "Idempotency-Key: k1\r\n";
    let mut held = server.parked("news", "");
    let publish = |channel: &str, fields: &str| {
        let target = format!("/publish/{channel}");
        server.client().post(&target, fields, "x").json()
    };
    let first = publish("news", key);
    assert_eq!(first["subscribers"], 1);
    held.answer();
    server.wait_subscribers("news", 0);
    assert_eq!(publish("news", key), first, "the first result again");
    assert_eq!(server.get("/poll/news").batch().messages().len(), 1);
    assert_ne!(publish("other", key)["id"], first["id"]);
    assert_ne!(
        publish("news", "Idempotency-Key: k2\r\n")["id"],
        first["id"]
    );
    assert_eq!(server.get("/poll/news").batch().messages().len(), 2);
}

#[test]
fn key_is_forgotten_with_its_message() {
    let server = Server::with(|config| config.history.max_messages = 1);
    let key = "Idempotency-Key: k1\r\n";
    let publish = |fields: &str| server.client().post("/publish/news", fields, "x").json();
    let first = publish(key);
    publish("");
    assert_ne!(publish(key)["id"], first["id"]);
}

#[test]
fn idempotency_key_of_a_wrong_length_is_refused() {
    let server = Server::start();
    for (length, status) in [(0, 400), (1, 200), (255, 200), (256, 400)] {
        let field = format!("Idempotency-Key: {}\r\n", "k".repeat(length));
        let answer = server.client().post("/publish/news", &field, "x");
        assert_eq!(answer.status(), status, "{length}");
    }
}

#[test]
fn encoded_bodies_are_refused_before_they_are_read() {
    let server = Server::start();
    for fields in [
        "Content-Encoding: gzip\r\nContent-Length: 9\r\n",
        "Content-Encoding: br\r\nContent-Length: 9\r\nExpect: 100-continue\r\n",
        "Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n",
        "content-encoding: identity, gzip\r\nContent-Length: 9\r\n",
        "Content-Encoding: identity\r\nContent-Encoding: zstd\r\nContent-Length: 9\r\n",
        "Content-Encoding: unheard-of\r\nContent-Length: 9\r\n",
        "Content-Encoding: gzip\r\nContent-Length: 0\r\n",
        "Content-Encoding: gzip\r\n",
    ] {
        for (method, target) in [
            ("POST", "/publish/x"),
            ("PUT", "/publish/x"),
            ("POST", "/publish"),
        ] {
            let mut client = server.client();
            // No byte of a body is sent.
            client.ask(method, target, fields);
            let answer = client.answer();
            answer.problem(415);
            assert_eq!(
                answer.field("Accept-Encoding"),
                Some("identity"),
                "{fields}"
            );
        }
    }
    assert_eq!(server.channel("x"), None);
    for coding in [
        "identity",
        "Identity",
        "identity, identity",
        "",
        ",identity,",
    ] {
        let fields = format!("Content-Encoding: {coding}\r\n");
        let answer = server.client().post("/publish/x", &fields, "x");
        assert_eq!(answer.status(), 200, "{coding}");
    }
    // With the body at once, too, and the connection goes on.
    let mut client = server.client();
    client
        .post("/publish/x", "Content-Encoding: gzip\r\n", "x")
        .problem(415);
    assert_eq!(client.get("/healthz").status(), 200);
    // A poll has no body to decode, so its Content-Encoding does not matter.
    client.ask("GET", "/poll/x", "Content-Encoding: gzip\r\n");
    assert_eq!(client.answer().batch().messages().len(), 5);
}

fn nested(levels: usize) -> String {
    ["[".repeat(levels), "]".repeat(levels)].concat()
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn json_deeper_than_128_levels_is_refused() {
    let server = Server::start();
    let deepest = nested(128);
    let line = |json: &str| format!("{{\"channel\":\"news\",\"data\":{json}}}");
    let mut client = server.client();
    let status = client.post("/publish/news", JSON, &deepest).status();
    assert_eq!(status, 200);
    assert_eq!(client.post("/publish", "", line(&deepest)).status(), 200);
    for levels in [129, 100_000] {
        let answer = client.post("/publish/news", JSON, nested(levels));
        assert!(answer.problem(400).contains("deeper than 128 levels"));
        let answer = client.post("/publish", "", line(&nested(levels)));
        let detail = answer.problem(400);
        assert!(detail.starts_with("line 1: "), "{detail}");
        assert!(detail.contains("deeper than 128 levels"), "{detail}");
    }
    assert!(encke::Json::parse(nested(129)).is_err());
    // serde_json reads no deeper than 127 levels, and the batch has three around the data.
    let batch = server.get("/poll/news");
    let data = format!("\"data\":{deepest}}}");
    assert_eq!(batch.text().matches(&data).count(), 2);
}

#[test]
fn unpaired_surrogates_are_refused_with_their_position() {
    let server = Server::start();
    let mut client = server.client();
    for (body, position) in [
        (
            r#"{"emo":"\ud83d"}"#,
            r"unpaired surrogate \ud83d at column 9",
        ),
        (r#"["\uDE00"]"#, r"unpaired surrogate \ude00 at column 3"),
    ] {
        let detail = client.post("/publish/news", JSON, body).problem(400);
        assert!(detail.contains(position), "{detail}");
    }
    for (line, position) in [
        (
            r#"{"data":"\ud83d","channel":"news"}"#,
            r"\ud83d at column 10",
        ),
        (r#"{"channel":"\ud83d","data":1}"#, r"\ud83d at column 13"),
        (
            r#"{"channel":"n","data":1,"event":"\ud83d"}"#,
            r"\ud83d at column 34",
        ),
        (
            r#"{"channel":"n","data":[["\ud83d"]]}"#,
            r"\ud83d at column 26",
        ),
    ] {
        let body = format!("\n{line}\n");
        let detail = client.post("/publish", "", body).problem(400);
        assert_eq!(detail, format!("line 2: unpaired surrogate {position}"));
    }
    let pair = r#""\ud83d\ude00""#;
    assert_eq!(client.post("/publish/news", JSON, pair).status(), 200);
    let batch = server.get("/poll/news").batch();
    assert_eq!(batch.data(), ["\u{1f600}"]);
}

#[test]
fn byte_order_mark_before_json_is_skipped() {
    let server = Server::start();
    let mut client = server.client();
    let json = "\u{feff}{\"n\":1}";
    assert_eq!(client.post("/publish/news", JSON, json).status(), 200);
    let line = "{\"channel\":\"news\",\"data\":2}\n";
    let body = format!("\u{feff}{line}{line}");
    assert_eq!(client.post("/publish", "", body).status(), 200);
    assert_eq!(
        client.post("/publish/news", "", "\u{feff}text").status(),
        200
    );
    let batch = server.get("/poll/news").batch();
    let data: Vec<_> = batch.messages().iter().map(|m| m["data"].clone()).collect();
    assert_eq!(
        data,
        [json!({"n": 1}), json!(2), json!(2), json!("\u{feff}text")]
    );
}

#[test]
fn reserved_event_names_are_refused_to_every_publisher() {
    let server = Server::start();
    let mut client = server.client();
    for name in ["cursor", "gap", "end", "expired", "error", "open"] {
        let field = format!("Encke-Event: {name}\r\n");
        let escaped = format!("%{:02x}{}", name.as_bytes()[0], &name[1..]);
        let line = format!("{{\"channel\":\"a\",\"data\":1,\"event\":\"{name}\"}}");
        for answer in [
            client.post("/publish/a", &field, "x"),
            client.post(&format!("/publish/a?event={escaped}"), "", "x"),
            client.post("/publish", "", line),
        ] {
            let detail = answer.problem(400);
            assert!(detail.contains(&format!("`{name}`")), "{detail}");
        }
        let publication = encke::Publication::new("a", "x").event(name);
        assert!(server.publisher.send(publication).is_err(), "{name}");
    }
    let answer = client.post("/publish/a?event=Error", "", "x");
    assert_eq!(answer.status(), 200, "case counts");
}

/// Python's `splitlines`, and readers built on it, cut at these characters.
#[test]
fn separators_of_line_readers_are_escaped_inside_json() {
    let server = Server::start();
    let text = "a\u{85}b\u{2028}c\u{2029}d";
    let channel = "a\u{2028}b";
    let target = "/publish/a%E2%80%A8b?event=x";
    let (mut ndjson, mut sse, mut envelope) = (
        server.stream("/ndjson/a%E2%80%A8b"),
        server.stream("/sse/a%E2%80%A8b"),
        server.stream("/sse/a%E2%80%A8b?envelope=1"),
    );
    ndjson.object();
    sse.opening();
    envelope.opening();
    let mut client = server.client();
    let body = serde_json::to_string(text).unwrap();
    let answer = client.post(target, JSON, &body);
    assert!(!answer.text().contains(['\u{85}', '\u{2028}', '\u{2029}']));
    assert_eq!(answer.json()["channel"], channel);
    client.post(target, "", text);
    let escaped = r#""a\u0085b\u2028c\u2029d""#;
    for is_text in [false, true] {
        let line = ndjson.until("\n").unwrap();
        assert!(!line.contains(['\u{85}', '\u{2028}', '\u{2029}']), "{line}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["data"], text);
        assert_eq!(object["channel"], channel);
        assert_eq!(object["event"], "x");
        let data = sse.event().unwrap().data.unwrap();
        assert_eq!(data, if is_text { text } else { escaped });
        let data = envelope.event().unwrap().data.unwrap();
        assert!(!data.contains(['\u{85}', '\u{2028}', '\u{2029}']), "{data}");
    }
    // In the name of an event nothing escapes them on server-sent events.
    for separator in ["%C2%85", "%E2%80%A8", "%E2%80%A9"] {
        let target = format!("/publish/a%E2%80%A8b?event=x{separator}id:%201");
        client.post(&target, "", "x").problem(400);
    }
    let batch = server.get("/poll/a%E2%80%A8b");
    assert!(!batch.text().contains(['\u{85}', '\u{2028}', '\u{2029}']));
    assert_eq!(batch.batch().data(), [text, text]);
}
