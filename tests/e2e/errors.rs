//! Refusals: their statuses, their documents, and whether the connection is closed.

use std::time::Duration;

use crate::client::request;
use crate::server::Server;

#[test]
fn unknown_endpoints_are_not_found() {
    let server = Server::start();
    let mut client = server.client();
    for target in [
        "/nothing",
        "/poll",
        "/healthz/",
        "/healthz/x",
        "//",
        "/POLL/x",
        "/sse",
    ] {
        client.get(target).problem(404);
    }
    client.get("/channels/unknown").problem(404);
    client.ask("DELETE", "/channels/unknown", "");
    client.answer().problem(404);
    assert_eq!(client.get("/healthz").status(), 200);
}

#[test]
fn wrong_method_gets_405_with_allow() {
    let server = Server::start();
    for (method, target, allow) in [
        ("POST", "/poll/x", "GET, HEAD, OPTIONS"),
        ("PUT", "/sse/x", "GET, HEAD, OPTIONS"),
        ("DELETE", "/long-poll/x", "GET, HEAD, OPTIONS"),
        ("PATCH", "/poll/x", "GET, HEAD, OPTIONS"),
        ("GET", "/publish/x", "POST, PUT, OPTIONS"),
        ("DELETE", "/publish/x", "POST, PUT, OPTIONS"),
        ("GET", "/publish", "POST, OPTIONS"),
        ("PUT", "/publish", "POST, OPTIONS"),
        ("POST", "/channels", "GET, HEAD, OPTIONS"),
        ("POST", "/channels/x", "GET, HEAD, DELETE, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
    ] {
        let mut client = server.client();
        client.ask(method, target, "");
        let answer = client.answer();
        answer.problem(405);
        assert_eq!(answer.field("Allow"), Some(allow), "{method} {target}");
        assert_eq!(client.get("/healthz").status(), 200, "{method} {target}");
    }
    let mut client = server.client();
    client.ask("HEAD", "/publish/x", "");
    assert_eq!(client.head().status, 405);
}

/// The answer to bytes after which the connection must be closed, with nothing served behind.
fn refused(server: &Server, bytes: &str, status: u16) {
    let mut client = server.client();
    client.send(format!("{bytes}{}", request("GET", "/healthz", "", "")));
    let answer = client.answer();
    answer.problem(status);
    assert_eq!(answer.field("Connection"), Some("close"), "{bytes}");
    client.expect_end();
}

#[test]
fn doubtful_framing_closes_the_connection() {
    let server = Server::start();
    let post = |fields: &str, body: &str| request("POST", "/publish/x", fields, body);
    for (bytes, status) in [
        (
            post(
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"),
            400,
        ),
        (post("Content-Length: +1\r\n", "a"), 400),
        (post("Content-Length: 1, 1\r\n", "a"), 400),
        (post("Transfer-Encoding: chunked\r\n", "x\r\n"), 400),
        (
            post("Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n"),
            400,
        ),
        (post("Transfer-Encoding: gzip\r\n", ""), 501),
        (post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400),
        ("GET /healthz HTTP/1.1\r\n\r\n".into(), 400),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(),
            400,
        ),
        ("GET /healthz HTTP/1.1\nHost: a\n\n".into(), 400),
        ("GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET /healthz\r\n".into(), 400),
        ("GET healthz HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n".into(),
            400,
        ),
        ("GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505),
        ("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n".into(), 501),
        (request("GET", "/healthz", "Expect: wonders\r\n", ""), 417),
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n".into(), 400),
    ] {
        refused(&server, &bytes, status);
    }
    assert_eq!(server.get("/healthz").status(), 200);
    assert_eq!(server.channel("x"), None);
}

#[test]
fn bad_request_behind_a_held_poll_ends_the_hold_and_is_refused() {
    let server = Server::start();
    let mut client = server.parked("news", "");
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.answer().batch().messages().len(), 0);
    client.answer().problem(400);
    client.expect_end();
    server.wait_subscribers("news", 0);
}

#[test]
fn oversized_requests_are_refused() {
    let server = Server::with(|config| {
        config.max_head_bytes = 1_000;
        config.max_body_bytes = 1_000;
    });
    let long = "x".repeat(1_000);
    refused(
        &server,
        &request("GET", &format!("/poll/{long}"), "", ""),
        414,
    );
    refused(
        &server,
        &request("GET", "/poll/x", &format!("X: {long}\r\n"), ""),
        431,
    );
    let fields: String = (0..101).map(|n| format!("a{n}:\r\n")).collect();
    refused(&server, &request("GET", "/poll/x", &fields, ""), 431);
    let body = "x".repeat(1_001);
    refused(
        &server,
        &request("POST", "/publish/x", "Content-Length: 1001\r\n", &body),
        413,
    );
    let chunked = format!("3e9\r\n{body}\r\n0\r\n\r\n");
    refused(
        &server,
        &request(
            "POST",
            "/publish/x",
            "Transfer-Encoding: chunked\r\n",
            &chunked,
        ),
        413,
    );
    let huge = "Content-Length: 18446744073709551615\r\n";
    refused(&server, &request("POST", "/publish/x", huge, ""), 413);
    let fits = "x".repeat(1_000);
    let answer = server.client().post("/publish/x", "", fits);
    assert_eq!(answer.status(), 200);
}

#[test]
fn slow_request_gets_408() {
    let server = Server::with(|config| {
        config.head_timeout = Duration::from_millis(50);
        config.body_timeout = Duration::from_millis(50);
        config.idle_timeout = Duration::from_millis(50);
    });
    for bytes in [
        "GET /healthz HTTP/1.1\r\nHo",
        "POST /publish/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
    ] {
        let mut client = server.client();
        client.send(bytes);
        let answer = client.answer();
        answer.problem(408);
        assert_eq!(answer.field("Connection"), Some("close"));
        client.expect_end();
    }
    // A connection that sent nothing is closed without a response, also between two requests.
    server.client().expect_end();
    let mut client = server.client();
    client.get("/healthz");
    client.expect_end();
    assert!(server.metric("encke_connections_ended_total{cause=\"idle\"}") >= 2);
    assert_eq!(server.channel("x"), None);
}

#[test]
fn partial_head_behind_a_whole_request_gets_408() {
    let server = Server::with(|config| {
        config.head_timeout = Duration::from_millis(50);
        config.body_timeout = Duration::from_millis(50);
    });
    server.publish("old", "x");
    let half = "GET /healthz HTTP/1.1\r\nHo";
    let get = |target: &str| request("GET", target, "", "");
    for (before, answers) in [
        (get("/healthz"), 1),
        (get("/nothing"), 1),
        (get("/poll/x"), 1),
        (get("/poll/old"), 1),
        (get("/channels"), 1),
        (get("/long-poll/x?hold=0"), 1),
        (get("/long-poll/x?hold=0.1"), 1),
        (get("/long-poll/x?hold=0.1&early=1"), 1),
        (get("/long-poll/x?hold=0.1&limit=1&linger=9"), 1),
        (request("OPTIONS", "*", "", ""), 1),
        (
            request("POST", "/publish/x", "Content-Length: 1\r\n", "a"),
            1,
        ),
        (
            request(
                "POST",
                "/publish/x",
                "Transfer-Encoding: chunked\r\n",
                "1\r\na\r\n0\r\n\r\n",
            ),
            1,
        ),
        // As many as are served in one go, one less and one more.
        (get("/healthz").repeat(31), 31),
        (get("/healthz").repeat(32), 32),
        (get("/healthz").repeat(33), 33),
    ] {
        let mut client = server.client();
        client.send(format!("{before}{half}"));
        for _ in 0..answers {
            assert_ne!(client.answer().status(), 408, "{before}");
        }
        let answer = client.answer();
        answer.problem(408);
        assert_eq!(answer.field("Connection"), Some("close"), "{before}");
        client.expect_end();
    }
}

#[test]
fn slow_head_request_gets_408_without_a_body() {
    let server = Server::with(|config| config.head_timeout = Duration::from_millis(50));
    let mut client = server.client();
    client.send("HEAD /healthz HTTP/1.1\r\nHo");
    assert_eq!(client.head().status, 408);
    client.expect_end();
}

#[test]
fn bad_request_does_not_affect_other_connections() {
    let server = Server::start();
    let mut held = server.parked("news", "");
    let mut stream = server.stream("/sse/news");
    stream.opening();
    for bytes in [
        "\0\0\0",
        "GET",
        "POST /publish/news HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        let mut client = server.client();
        client.send(bytes);
    }
    server.publish("news", "x");
    assert_eq!(held.answer().batch().data(), ["x"]);
    assert_eq!(stream.message().unwrap().data.as_deref(), Some("x"));
}
