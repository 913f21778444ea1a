//! HTTP/1.1: persistent connections, pipelines, forms of targets, and bodies.

use std::time::Duration;

use crate::client::request;
use crate::server::Server;

#[test]
fn many_requests_in_one_write_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.client();
    let mut bytes = String::new();
    for number in 0..1_000 {
        let body = number.to_string();
        let length = format!("Content-Length: {}\r\n", body.len());
        bytes += &request("POST", "/publish/news", &length, &body);
        bytes += &request("GET", "/poll/news?since=now", "", "");
        bytes += &request("HEAD", "/poll/news", "", "");
    }
    let mut writer = client.socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, bytes.as_bytes()).unwrap();
    });
    let mut last = 0;
    for _ in 0..1_000 {
        let published = client.answer().json();
        let id = published["id"].as_str().unwrap();
        let (_, seq) = id.rsplit_once('-').unwrap();
        let seq: u64 = seq.parse().unwrap();
        assert!(seq > last, "in order");
        last = seq;
        assert_eq!(client.answer().batch().cursor, id);
        assert_eq!(client.head().status, 200);
    }
    sender.join().unwrap();
    assert_eq!(server.metric("encke_connections_accepted_total"), 2);
}

#[test]
fn keep_alive_follows_the_http_version() {
    let server = Server::start();
    let mut client = server.client();
    for _ in 0..3 {
        let answer = client.get("/healthz");
        assert_eq!(answer.field("Connection"), Some("keep-alive"));
        assert_eq!(answer.field("Keep-Alive"), Some("timeout=74"));
    }
    client.ask("GET", "/healthz", "Connection: close\r\n");
    let answer = client.answer();
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(answer.field("Keep-Alive"), None);
    client.expect_end();

    let mut client = server.client();
    for _ in 0..3 {
        client.send("GET /poll/news HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.field("Connection"), Some("keep-alive"));
        assert_eq!(answer.field("Keep-Alive"), Some("timeout=74"));
    }
    client.send("GET /poll/news HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(answer.batch().messages().len(), 0);
    client.expect_end();
}

#[test]
fn keep_alive_names_a_second_less_than_the_idle_timeout() {
    for (idle_ms, timeout) in [
        (75_000, Some("timeout=74")),
        (2_000, Some("timeout=1")),
        (60_900, Some("timeout=59")),
        (1_999, None),
        (500, None),
    ] {
        let server = Server::with(|config| config.idle_timeout = Duration::from_millis(idle_ms));
        let mut client = server.client();
        client.ask("GET", "/healthz", "");
        let answer = client.answer();
        assert_eq!(answer.field("Keep-Alive"), timeout, "{idle_ms}");
        let connection = timeout.map(|_| "keep-alive");
        assert_eq!(answer.field("Connection"), connection, "{idle_ms}");
        let mut client = server.client();
        client.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.field("Keep-Alive"), timeout, "{idle_ms}");
        assert_eq!(answer.field("Connection"), Some("keep-alive"), "{idle_ms}");
    }
    // Held polls that share their response say it too, streams do not: nothing follows them.
    let server = Server::start();
    let mut held = server.parked("news", "");
    let stream = server.stream("/ndjson/news");
    assert_eq!(stream.head.field("Keep-Alive"), None);
    server.publish("news", "x");
    assert_eq!(held.answer().field("Keep-Alive"), Some("timeout=74"));
}

#[test]
fn long_poll_of_http_1_0_is_held() {
    let server = Server::start();
    for (field, connection) in [("", "close"), ("Connection: keep-alive\r\n", "keep-alive")] {
        let mut client = server.client();
        client.send(format!("GET /long-poll/news HTTP/1.0\r\n{field}\r\n"));
        server.wait_subscribers("news", 1);
        server.publish("news", "x");
        let answer = client.answer();
        assert_eq!(answer.field("Connection"), Some(connection));
        assert_eq!(answer.batch().data(), ["x"]);
    }
}

#[test]
fn head_is_answered_at_once_without_a_body() {
    let server = Server::start();
    server.publish("news", "x");
    let mut client = server.client();
    for target in [
        "/poll/news",
        "/long-poll/news",
        "/long-poll/news?early=1",
        "/healthz",
        "/readyz",
        "/metrics",
        "/channels",
        "/channels/news",
    ] {
        client.ask("HEAD", target, "");
        assert_eq!(client.head().status, 200, "{target}");
        // The next bytes are the next response, not a body.
        assert_eq!(client.get("/healthz").text(), "ok\n", "{target}");
    }
    for target in ["/nothing", "/channels/unknown", "/poll/news?limit=0"] {
        client.ask("HEAD", target, "");
        let head = client.head();
        assert!(head.status >= 400, "{target}");
        assert_eq!(client.get("/healthz").text(), "ok\n", "{target}");
    }
    for endpoint in ["sse", "ndjson", "frame"] {
        let mut client = server.client();
        client.ask("HEAD", &format!("/{endpoint}/news"), "");
        assert_eq!(client.head().status, 200, "{endpoint}");
        client.expect_end();
    }
    assert_eq!(server.metric("encke_connections_parked"), 0);
}

#[test]
fn targets_may_be_absolute() {
    let server = Server::start();
    server.publish("news", "x");
    let answer = server.get("http://elsewhere.example:8080/poll/news?limit=1");
    assert_eq!(answer.batch().data(), ["x"]);
    assert_eq!(server.get("http://elsewhere.example/nothing").status(), 404);
}

#[test]
fn expectation_of_100_continue_is_answered() {
    let server = Server::start();
    let mut client = server.client();
    let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    client.ask("POST", "/publish/news", fields);
    let go_on = client.head();
    assert_eq!(go_on.status, 100);
    client.send("hello");
    assert_eq!(client.answer().status(), 200);
    // A client that does not wait gets no `100 Continue`.
    client.send(request("POST", "/publish/news", fields, "again"));
    assert_eq!(client.answer().status(), 200);
    assert_eq!(server.get("/poll/news").batch().data(), ["hello", "again"]);
}

#[test]
fn request_refused_for_its_head_is_refused_before_its_body() {
    let server = Server::with(|config| config.max_body_bytes = 1_000);
    for (target, length, status) in [
        ("/publish/news", 1_001, 413),
        ("/publish/a*b", 1_000, 400),
        ("/nothing", 1_000, 404),
        ("/poll/news", 1_000, 405),
    ] {
        let mut client = server.client();
        let fields = format!("Content-Length: {length}\r\nExpect: 100-continue\r\n");
        client.ask("POST", target, &fields);
        client.answer().problem(status);
        client.expect_end();
    }
}

#[test]
fn bodies_may_come_in_pieces() {
    let server = Server::start();
    let mut client = server.client();
    client.socket.set_nodelay(true).unwrap();
    let text: String = (0..200).map(|n| format!("{n} ")).collect();
    let length = format!("Content-Length: {}\r\n", text.len());
    for piece in request("POST", "/publish/news", &length, &text)
        .as_bytes()
        .chunks(7)
    {
        client.send(piece);
    }
    assert_eq!(client.answer().status(), 200);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body = "4;name=\"value\"\r\nWiki\r\n00005\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nTrailer: x\r\n\r\n";
    let bytes = request("POST", "/publish/news", chunked, body);
    for byte in bytes.as_bytes().chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.answer().status(), 200);
    client.send(bytes);
    assert_eq!(client.answer().status(), 200);
    let batch = server.get("/poll/news").batch();
    let wiki = "Wikipedia in\r\n\r\nchunks.";
    assert_eq!(batch.data(), [&*text, wiki, wiki]);
}

#[test]
fn large_body_arrives_whole() {
    let server = Server::start();
    let text = "0123456789abcdef".repeat(1 << 16);
    let mut held = server.parked("news", "");
    server.publish("news", &text);
    assert_eq!(held.answer().batch().data(), [&*text]);
}

#[test]
fn body_of_a_get_is_not_taken_for_a_request() {
    let server = Server::start();
    let mut client = server.client();
    let body = request("GET", "/nothing", "", "");
    let length = format!("Content-Length: {}\r\n", body.len());
    client.send(request("GET", "/healthz", &length, &body));
    client.ask("GET", "/readyz", "");
    assert_eq!(client.answer().text(), "ok\n");
    assert_eq!(client.answer().text(), "ready\n");
}

#[test]
fn requests_before_a_fin_are_answered() {
    let server = Server::start();
    let mut client = server.client();
    client.ask("GET", "/healthz", "");
    client.ask("GET", "/readyz", "");
    client.socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.answer().text(), "ok\n");
    assert_eq!(client.answer().text(), "ready\n");
    client.expect_end();
}

#[test]
fn unneeded_body_is_discarded_and_not_buffered() {
    let server = Server::start();
    let mut client = server.client();
    client.send("GET /poll/x HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    client.send("x".repeat(299_000));
    // Far less than was sent: what is kept is the head.
    crate::eventually("the body has arrived", || {
        let kept = server.metric("encke_buffer_bytes");
        assert!(kept < 10_000, "{kept}");
        kept > 0
    });
    client.send("x".repeat(1_000));
    assert_eq!(client.answer().status(), 200);
    assert_eq!(client.get("/healthz").status(), 200);
}

#[test]
fn refused_head_request_gets_no_body() {
    let server = Server::start();
    for (before, fields) in [
        ("", "Host: x\r\nContent-Length: 99999999\r\n"),
        ("", "Host: a b\r\n"),
        ("\r\n", "Host: a b\r\n"),
    ] {
        let mut client = server.client();
        client.send(format!("{before}HEAD /healthz HTTP/1.1\r\n{fields}\r\n"));
        let answer = client.until_end();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.starts_with("HTTP/1.1 4"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}

#[test]
fn present_cursor_is_that_of_the_newest_message() {
    let server = Server::start();
    let id = server.publish("news", "x");
    let mut client = server.client();
    let answer = client.get("/cursor");
    assert_eq!(answer.json(), serde_json::json!({"cursor": id}));
    let cache = Some("no-store, no-transform");
    assert_eq!(answer.field("Cache-Control"), cache);
    assert_eq!(client.get("/cursor?since=x").status(), 200);
    let other = "Origin: https://other.example\r\n";
    client.get_with("/cursor", other).problem(403);
    assert_eq!(client.post("/cursor", "", "").status(), 405);
}

#[test]
fn client_may_be_loaded_by_pages_of_any_origin() {
    let server = Server::start();
    let mut client = server.client();
    let own = client.get("/encke.js");
    assert_eq!(own.status(), 200);
    assert!(own.text().contains("export"), "it is a module");
    let answer = client.get_with("/encke.js", "Origin: https://other.example\r\n");
    assert_eq!(answer.text(), own.text());
    for (name, value) in [
        ("Access-Control-Allow-Origin", "*"),
        ("Cache-Control", "public, max-age=3600"),
        ("Content-Type", "text/javascript; charset=utf-8"),
        ("Connection", "keep-alive"),
    ] {
        assert_eq!(answer.field(name), Some(value));
    }
    assert!(answer.field("ETag").unwrap().starts_with('"'));
    assert!(answer.field("Date").is_some());
    client.ask("HEAD", "/encke.js", "");
    let head = client.head();
    let tag = answer.field("ETag").unwrap();
    assert_eq!(head.field("ETag"), Some(tag));
    for (tags, status) in [
        (tag.to_owned(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let again = client.get_with("/encke.js", &format!("If-None-Match: {tags}\r\n"));
        assert_eq!((again.status(), again.field("ETag")), (status, Some(tag)));
        assert_eq!(again.text().is_empty(), status == 304);
    }

    let server = Server::with(|config| config.page = false);
    server.get("/encke.js").problem(404);
    server.get("/").problem(404);
    assert_eq!(server.get("/cursor").status(), 200);
}
