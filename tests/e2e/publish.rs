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
fn put_is_as_good_as_post() {
    let server = Server::start();
    let mut client = server.client();
    client.ask("PUT", "/publish/a/b", "Content-Length: 3\r\n");
    client.send("put");
    assert_eq!(client.answer().json()["channel"], "a/b");
    assert_eq!(only(&server, "a/b")["data"], "put");
}

#[test]
fn types_decide_what_data_is() {
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
    for (place, (kind, body, expected)) in cases.iter().enumerate() {
        let channel = format!("types-{place}");
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
fn bodies_that_are_no_json_are_refused() {
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
fn names_that_would_forge_are_refused() {
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
fn a_batch_is_published_in_order() {
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
    // A burst of one batch reaches who is held in one answer.
    let batch = held.answer().batch();
    assert_eq!(batch.messages().len(), 2);
}

#[test]
fn a_batch_is_all_or_nothing() {
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
fn a_batch_without_room_for_its_channels_publishes_nothing() {
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
fn a_key_makes_a_retry_harmless() {
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
fn a_key_is_forgotten_with_its_message() {
    let server = Server::with(|config| config.history.max_messages = 1);
    let key = "Idempotency-Key: k1\r\n";
    let publish = |fields: &str| server.client().post("/publish/news", fields, "x").json();
    let first = publish(key);
    publish("");
    assert_ne!(publish(key)["id"], first["id"]);
}

#[test]
fn keys_have_a_length() {
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
    // A request whose body nobody looks at is none of it.
    client.ask("GET", "/poll/x", "Content-Encoding: gzip\r\n");
    assert_eq!(client.answer().batch().messages().len(), 5);
}
