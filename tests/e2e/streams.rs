//! Streams: their first events, their content, and their ends.

use std::time::Duration;

use serde_json::{Value, json};

use crate::eventually;
use crate::server::Server;
use crate::stream::Stream;

#[test]
fn stream_heads_forbid_proxies_to_buffer() {
    let server = Server::start();
    for (endpoint, kind) in [
        ("sse", "text/event-stream; charset=utf-8"),
        ("ndjson", "application/x-ndjson"),
        ("frame", "text/html; charset=utf-8"),
    ] {
        let stream = server.stream(&format!("/{endpoint}/news"));
        let field = |name| stream.head.field(name);
        assert_eq!(field("Content-Type"), Some(kind));
        assert_eq!(field("Cache-Control"), Some("no-store, no-transform"));
        assert_eq!(field("X-Accel-Buffering"), Some("no"));
        assert_eq!(field("X-Content-Type-Options"), Some("nosniff"));
        assert!(stream.head.is_chunked());
        assert_eq!(field("Content-Length"), None);
    }
}

#[test]
fn http_1_0_reads_until_the_end_of_the_connection() {
    let server = Server::with(|config| config.stream_max_bytes = 4_000);
    for (endpoint, text) in [
        ("sse", "data: hello"),
        ("ndjson", "hello"),
        ("frame", "hello"),
    ] {
        let mut client = server.client();
        client.send(format!(
            "GET /{endpoint}/news HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        ));
        let head = client.head();
        assert!(!head.is_chunked());
        assert_eq!(head.field("Connection"), Some("close"));
        let mut stream = Stream::new(client, head);
        server.wait_subscribers("news", 1);
        let long = "x".repeat(4_000);
        server.publish("news", "hello");
        server.publish("news", &long);
        let body = stream.rest();
        assert!(body.contains(text), "{body}");
        assert!(body.contains(&long), "{body}");
        assert!(body.contains("retry"), "{body}");
        let is_size = |line: &str| line.len() < 5 && usize::from_str_radix(line, 16).is_ok();
        assert!(!body.lines().any(is_size), "a chunk size: {body}");
    }
}

#[test]
fn sse_opens_with_a_cursor_that_resumes() {
    let server = Server::start();
    server.publish("news", "before");
    let mut stream = server.stream("/sse/news");
    let cursor = stream.opening();
    drop(stream);
    server.publish("news", "while away");
    let field = format!("Last-Event-ID: {cursor}\r\n");
    let mut stream = Stream::open(server.client(), "/sse/news", &field);
    assert_eq!(stream.opening(), cursor);
    assert_eq!(
        stream.message().unwrap().data.as_deref(),
        Some("while away")
    );
}

#[test]
fn sse_carries_text_line_by_line() {
    let server = Server::start();
    let mut stream = server.stream("/sse/news");
    stream.opening();
    for (text, arrives) in [
        ("plain", "plain"),
        ("", ""),
        (" a\rb\nc\r\nd\n", " a\nb\nc\nd\n"),
        ("\n", "\n"),
        (
            "x\rdata: forged\r\revent: gap",
            "x\ndata: forged\n\nevent: gap",
        ),
        ("id: 7\n\nid: 8", "id: 7\n\nid: 8"),
        ("\u{feff}:comment", "\u{feff}:comment"),
    ] {
        let id = server.publish("news", text);
        let event = stream.event().unwrap();
        assert_eq!(event.data.as_deref(), Some(arrives), "{text:?}");
        assert_eq!((event.id, event.event), (Some(id), None), "{text:?}");
    }
}

#[test]
fn sse_carries_names_json_and_binary() {
    let server = Server::start();
    let mut stream = server.stream("/sse/news");
    stream.opening();
    let mut client = server.client();
    client.post(
        "/publish/news?event=order",
        "Content-Type: application/json\r\n",
        "{\n\"n\": 1.0 }",
    );
    let event = stream.event().unwrap();
    assert_eq!(event.event.as_deref(), Some("order"));
    assert_eq!(event.data.as_deref(), Some("{\"n\": 1.0 }"));
    let kind = "Content-Type: application/octet-stream\r\n";
    client.post("/publish/news", kind, b"\x00\xff");
    assert_eq!(stream.event().unwrap().data.as_deref(), Some("AP8="));
}

#[test]
fn sse_envelope_is_the_message_object() {
    let server = Server::start();
    let mut stream = server.stream("/sse/news?envelope=1");
    stream.opening();
    let mut client = server.client();
    client.post("/publish/news?event=e", "", "a\nb");
    let event = stream.event().unwrap();
    assert_eq!(event.event.as_deref(), Some("e"));
    let object: Value = serde_json::from_str(&event.data.unwrap()).unwrap();
    assert_eq!(object, server.get("/poll/news").batch().messages()[0]);
    server.get("/sse/news?envelope=2").problem(400);
}

#[test]
fn ndjson_lines_are_the_message_objects() {
    let server = Server::start();
    let mut stream = server.stream("/ndjson/news");
    let opening = stream.object().unwrap();
    assert_eq!(opening.as_object().unwrap().len(), 2);
    assert!(opening["cursor"].is_string());
    assert_eq!(opening["heartbeat"], 15_000);
    let mut client = server.client();
    client.post("/publish/news?event=e", "", "a\r\nb\u{2028}");
    client.post(
        "/publish/news",
        "Content-Type: application/json\r\n",
        "[1,\r\n2]",
    );
    let batch = server.get("/poll/news").batch();
    assert_eq!(stream.object().unwrap(), batch.messages()[0]);
    assert_eq!(stream.object().unwrap(), batch.messages()[1]);
}

#[test]
fn frame_is_a_page_of_scripts() {
    let server = Server::start();
    let mut stream = server.stream("/frame/news");
    let opening = stream.until("<script>e(").unwrap();
    assert!(opening.starts_with("<!DOCTYPE html>"), "{opening}");
    assert!(opening.len() > 1_024, "padded so that it is shown at once");
    assert!(
        opening.contains("postMessage(o,location.origin)"),
        "{opening}"
    );
    assert!(opening.contains("removeChild"), "{opening}");
    assert!(stream.until("</script>\n").unwrap().contains("cursor"));
    let hostile = "</script><!--<script>&\u{2028}\u{2029}";
    server.publish("news", hostile);
    let script = stream.until("</script>\n").unwrap();
    let inner = script.strip_prefix("<script>e(").unwrap();
    let inner = inner.strip_suffix(")</script>\n").unwrap();
    assert!(
        !inner.contains(['<', '>', '&', '\u{2028}', '\u{2029}']),
        "{inner}"
    );
    let object: Value = serde_json::from_str(inner).unwrap();
    assert_eq!(object, server.get("/poll/news").batch().messages()[0]);
    assert_eq!(object["data"], hostile);
}

#[test]
fn frame_calls_or_posts_to_allowed_targets_only() {
    let server = Server::with(|config| {
        config.cors = encke::Cors::Origins(vec!["https://good.example".into()]);
    });
    let opening = |query: &str| {
        let mut stream = server.stream(&format!("/frame/news?{query}"));
        stream.until("<script>e(").unwrap()
    };
    let called = opening("callback=app.on");
    assert!(called.contains("parent.app.on(o)"), "{called}");
    assert!(!called.contains("postMessage"), "{called}");
    let posted = opening("origin=https://good.example");
    assert!(
        posted.contains("postMessage(o,\"https://good.example\")"),
        "{posted}"
    );
    server
        .get("/frame/news?origin=https://evil.example")
        .problem(403);
    for bad in [
        "origin=*",
        "origin=null",
        "origin=x",
        "callback=a-b",
        "callback=1",
    ] {
        server.get(&format!("/frame/news?{bad}")).problem(400);
    }
}

#[test]
fn silent_stream_gets_heartbeats() {
    let server = Server::with(|config| config.heartbeat = Duration::from_millis(20));
    let id = server.publish("other", "x");
    let mut sse = server.stream("/sse/news");
    let event = sse.event().unwrap();
    assert_eq!(event.comment.as_deref(), Some("heartbeat 20"));
    let mut ndjson = server.stream("/ndjson/news");
    let mut frame = server.stream("/frame/news");
    let opening = json!({"cursor": id, "heartbeat": 20});
    assert_eq!(ndjson.object().unwrap(), opening);
    assert_eq!(frame.script().unwrap(), opening);
    for _ in 0..3 {
        assert_eq!(sse.event().unwrap().comment.as_deref(), Some(""));
        assert_eq!(ndjson.object().unwrap(), json!({"cursor": id}));
        assert_eq!(frame.script().unwrap(), json!({"cursor": id}));
    }
}

#[test]
fn stream_ends_cleanly_at_its_size() {
    let server = Server::with(|config| config.stream_max_bytes = 3_000);
    let text = "x".repeat(200);
    let ids: Vec<String> = (0..300).map(|_| server.publish("news", &text)).collect();
    for endpoint in ["sse", "ndjson", "frame"] {
        let (mut seen, mut cursor, mut streams) = (Vec::new(), "earliest".to_owned(), 0);
        while seen.len() < ids.len() {
            let target = format!("/{endpoint}/news?since={cursor}");
            let mut stream = server.stream(&target);
            let last = read_all(endpoint, &mut stream, &mut seen, ids.len());
            streams += 1;
            match last {
                Some(last) => cursor = last,
                None => break,
            }
        }
        assert_eq!(seen, ids, "{endpoint}");
        assert!(streams > 3, "{endpoint}: {streams}");
    }
    assert!(server.metric("encke_streams_recycled_total") > 9);
}

/// Reads a stream to its end or to `most` messages, and returns the cursor at its end, if it ended.
fn read_all(
    endpoint: &str,
    stream: &mut Stream,
    seen: &mut Vec<String>,
    most: usize,
) -> Option<String> {
    let mut end = (None, false);
    while seen.len() < most {
        let object = match endpoint {
            "sse" => stream.event().map(|event| match event.event.as_deref() {
                Some("cursor") => json!({"cursor": event.id, "retry": event.retry_ms}),
                Some(name) => panic!("{name}"),
                None => json!({"id": event.id}),
            }),
            "ndjson" => stream.object(),
            _ => stream.script(),
        };
        let Some(object) = object else {
            assert!(stream.is_complete, "{endpoint}: it ended by a cut");
            assert!(end.1, "{endpoint}: it says last when to come back");
            return Some(end.0.expect("a cursor to come back with"));
        };
        end.1 = object["retry"].is_u64();
        if let Some(cursor) = object["cursor"].as_str() {
            end.0 = Some(cursor.to_owned());
        }
        if let Some(id) = object["id"].as_str() {
            seen.push(id.to_owned());
        }
    }
    None
}

#[test]
fn stream_ends_cleanly_at_its_age() {
    let server = Server::with(|config| config.stream_max_age = Duration::from_millis(60));
    let id = server.publish("news", "x");
    for endpoint in ["sse", "ndjson", "frame"] {
        let mut stream = server.stream(&format!("/{endpoint}/news"));
        let mut seen = Vec::new();
        let end = read_all(endpoint, &mut stream, &mut seen, 1);
        assert_eq!(end.as_ref(), Some(&id), "{endpoint}");
        stream.client.expect_end();
    }
}

#[test]
fn input_on_a_stream_is_ignored_up_to_a_limit() {
    let server = Server::start();
    let mut stream = server.stream("/sse/news");
    stream.opening();
    stream
        .client
        .send("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
    server.publish("news", "one");
    assert_eq!(stream.event().unwrap().data.as_deref(), Some("one"));
    stream.client.send(vec![b'x'; 32 << 10]);
    stream.client.until_end();
    server.wait_subscribers("news", 0);
    assert_eq!(
        server.metric("encke_connections_ended_total{cause=\"unexpected-input\"}"),
        1
    );
}

#[test]
fn stream_of_a_client_that_left_is_freed() {
    let server = Server::start();
    for endpoint in ["sse", "ndjson", "frame"] {
        let stream = server.stream(&format!("/{endpoint}/news"));
        server.wait_subscribers("news", 1);
        let state = server.channel("news").unwrap();
        assert_eq!(state["subscribers"][endpoint], 1, "{state}");
        drop(stream);
        server.wait_subscribers("news", 0);
    }
}

#[test]
fn stream_may_begin_with_history() {
    let server = Server::start();
    let texts: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for text in &texts {
        server.publisher.publish("news", &**text).unwrap();
    }
    eventually("all are published", || {
        server.metric("encke_messages_published_total") == 300
    });
    let mut sse = server.stream("/sse/news?since=earliest");
    let mut ndjson = server.stream("/ndjson/news?since=earliest");
    ndjson.object();
    for text in &texts {
        assert_eq!(sse.message().unwrap().data.as_deref(), Some(&**text));
        assert_eq!(ndjson.object().unwrap()["data"], **text);
    }
}
