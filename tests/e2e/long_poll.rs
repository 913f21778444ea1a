//! Long polling: held until an event, the end of the hold, or the client's next request.

use std::time::Duration;

use crate::client::request;
use crate::poll::called;
use crate::server::Server;

#[test]
fn poll_without_a_cursor_waits_for_the_next_message() {
    let server = Server::start();
    server.publish("news", "before");
    let mut client = server.parked("news", "");
    let id = server.publish("news", "after");
    let answer = client.answer();
    assert_eq!(answer.batch().data(), ["after"]);
    assert_eq!(answer.batch().cursor, id);
    assert_eq!(answer.field("Encke-Cursor"), Some(&*id));
    assert_eq!(answer.field("Connection"), Some("keep-alive"));
    assert_eq!(answer.field("Keep-Alive"), Some("timeout=74"));
    server.wait_subscribers("news", 0);
    assert_eq!(client.get("/healthz").status(), 200);
}

#[test]
fn backlog_is_answered_at_once() {
    let server = Server::start();
    let first = server.publish("news", "one");
    server.publish("news", "two");
    for query in ["", "&linger=60000", "&early=0"] {
        let answer = server.get(&format!("/long-poll/news?since={first}&hold=60{query}"));
        assert_eq!(answer.batch().data(), ["two"], "{query}");
    }
    let all = server.get("/long-poll/news?since=earliest&limit=1").batch();
    assert_eq!(all.data(), ["one"]);
    assert!(all.has_more());
}

#[test]
fn nothing_is_lost_between_two_requests() {
    let server = Server::start();
    let mut client = server.parked("news", "");
    server.publish("news", "one");
    let cursor = client.answer().batch().cursor;
    server.publish("news", "two");
    server.publish("news", "three");
    let next = client.get(&format!("/long-poll/news?since={cursor}"));
    assert_eq!(next.batch().data(), ["two", "three"]);
}

#[test]
fn expired_hold_is_answered_with_an_empty_batch() {
    let server = Server::with(|config| config.hold = Duration::from_millis(40));
    let id = server.publish("news", "before");
    let mut client = server.client();
    for target in [
        "/long-poll/news",
        "/long-poll/news?hold=0.05",
        "/long-poll/news?hold=0",
        "/long-poll/news?hold=0.05&limit=7",
    ] {
        let answer = client.get(target);
        let batch = answer.batch();
        assert_eq!(batch.messages().len(), 0, "{target}");
        assert!(!batch.is_gap(), "{target}");
        assert_eq!(batch.cursor, id, "{target}");
        assert_eq!(answer.field("Encke-Cursor"), Some(&*id), "{target}");
    }
}

#[test]
fn hold_is_capped() {
    let server = Server::with(|config| {
        config.hold = Duration::from_millis(50);
        config.max_hold = Duration::from_millis(50);
    });
    for hold in ["3600", "99999999999999999999999", "60.5"] {
        let answer = server.get(&format!("/long-poll/news?hold={hold}"));
        assert_eq!(answer.batch().messages().len(), 0, "{hold}");
    }
}

#[test]
fn malformed_parameters_are_refused_by_name() {
    let server = Server::start();
    for (query, word) in [
        ("hold=-1", "hold"),
        ("hold=", "hold"),
        ("hold=soon", "hold"),
        ("hold=1e3", "hold"),
        ("hold=+1", "hold"),
        ("linger=0.5", "linger"),
        ("linger=x", "linger"),
        ("early=yes", "early"),
        ("limit=0", "limit"),
    ] {
        let answer = server.get(&format!("/long-poll/news?{query}"));
        assert!(answer.problem(400).contains(word), "{query}");
    }
}

#[test]
fn early_head_leaves_before_the_event() {
    let server = Server::start();
    let mut client = server.client();
    client.ask("GET", "/long-poll/news?early=1", "");
    let head = client.head();
    assert_eq!(head.status, 200);
    assert!(head.is_chunked());
    assert_eq!(head.field("Encke-Cursor"), None);
    assert_eq!(head.field("Content-Type"), Some("application/json"));
    server.wait_subscribers("news", 1);
    let id = server.publish("news", "late");
    let size = usize::from_str_radix(&client.line().unwrap(), 16).unwrap();
    let body = client.take(size).unwrap();
    let batch = crate::client::Batch::new(serde_json::from_slice(&body).unwrap());
    assert_eq!(batch.data(), ["late"]);
    assert_eq!(batch.cursor, id);
    assert_eq!(client.take(7).unwrap(), b"\r\n0\r\n\r\n");
    assert_eq!(client.get("/healthz").text(), "ok\n");
}

#[test]
fn early_response_has_its_cursor_in_the_body_only() {
    let server = Server::start();
    server.publish("news", "one");
    for (target, data) in [
        ("/long-poll/news?early=1&since=earliest", &["one"][..]),
        ("/long-poll/news?early=1&hold=0", &[]),
        ("/long-poll/news?early=1&hold=0.03", &[]),
        ("/long-poll/news?early=1&hold=0.03&limit=3&linger=9", &[]),
    ] {
        let answer = server.get(target);
        assert_eq!(answer.field("Encke-Cursor"), None, "{target}");
        assert!(answer.head.is_chunked(), "{target}");
        assert_eq!(answer.batch().data(), data, "{target}");
    }
}

#[test]
fn early_answer_to_http_1_0_ends_with_the_connection() {
    let server = Server::start();
    let mut client = server.client();
    client.send("GET /long-poll/news?early=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let head = client.head();
    assert!(!head.is_chunked());
    assert_eq!(head.field("Content-Length"), None);
    server.wait_subscribers("news", 1);
    server.publish("news", "late");
    let body = client.until_end();
    let batch: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(batch["messages"][0]["data"], "late");
}

#[test]
fn linger_gathers_a_burst_until_the_limit() {
    let server = Server::start();
    let mut client = server.parked("news", "hold=120&linger=100000&limit=3");
    for text in ["one", "two", "three"] {
        server.publish("news", text);
    }
    let batch = client.answer().batch();
    assert_eq!(batch.data(), ["one", "two", "three"]);
    assert!(!batch.has_more());
}

#[test]
fn linger_ends_with_its_time_and_with_the_hold() {
    let server = Server::start();
    for query in ["hold=120&linger=30", "hold=2&linger=100000"] {
        let mut client = server.parked("news", query);
        let id = server.publish("news", "one");
        let batch = client.answer().batch();
        assert_eq!(batch.data(), ["one"], "{query}");
        assert_eq!(batch.cursor, id, "{query}");
    }
}

#[test]
fn lingering_poll_counts_as_parked() {
    let server = Server::start();
    let mut client = server.parked("news", "hold=120&linger=100000&limit=2");
    server.publish("news", "one");
    let answer = server.client().post("/publish/news", "", "two");
    assert_eq!(answer.json()["subscribers"], 1);
    assert_eq!(client.answer().batch().data(), ["one", "two"]);
}

#[test]
fn further_request_gives_up_the_hold() {
    let server = Server::start();
    let before = server.publish("news", "before");
    let mut client = server.parked("news", "");
    client.send(request(
        "POST",
        "/publish/news",
        "Content-Length: 2\r\n",
        "hi",
    ));
    let empty = client.answer().batch();
    assert_eq!(empty.messages().len(), 0);
    assert_eq!(empty.cursor, before);
    let published = client.answer().json();
    assert_eq!(published["subscribers"], 0);
    let next = client.get(&format!("/long-poll/news?since={}", empty.cursor));
    assert_eq!(next.batch().data(), ["hi"]);
}

#[test]
fn lingering_message_is_not_lost_when_the_hold_is_given_up() {
    let server = Server::start();
    let mut client = server.parked("news", "hold=120&linger=100000");
    let id = server.publish("news", "one");
    assert_eq!(server.subscribers("news"), 1);
    client.ask("GET", "/healthz", "");
    let batch = client.answer().batch();
    assert_eq!((batch.data(), &batch.cursor), (vec!["one"], &id));
    assert_eq!(client.answer().text(), "ok\n");
}

#[test]
fn partial_head_does_not_give_up_the_hold() {
    let server = Server::start();
    let mut client = server.parked("news", "");
    client.send("GET /healthz HTTP/1.1\r\nHo");
    server.publish("news", "one");
    assert_eq!(client.answer().batch().data(), ["one"]);
    client.send("st: test\r\n\r\n");
    assert_eq!(client.answer().text(), "ok\n");
}

#[test]
fn held_poll_is_dropped_when_its_client_leaves() {
    let server = Server::start();
    let client = server.parked("news", "");
    drop(client);
    server.wait_subscribers("news", 0);

    let mut half_closed = server.parked("news", "");
    half_closed
        .socket
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    server.wait_subscribers("news", 0);
    half_closed.expect_end();

    let lingering = server.parked("news", "linger=100000&hold=120");
    server.publish("news", "one");
    drop(lingering);
    server.wait_subscribers("news", 0);
    assert_eq!(server.metric("encke_connections_parked"), 0);
}

#[test]
fn jsonp_is_held_too() {
    let server = Server::start();
    let mut client = server.parked("news", "callback=on.event");
    server.publish("news", "<script>");
    let answer = client.answer();
    let json = called(answer.text(), "on.event");
    let batch: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(batch["messages"][0]["data"], "<script>");
    assert_eq!(client.get("/healthz").status(), 200);
}

#[test]
fn every_held_poll_gets_the_message() {
    let server = Server::start();
    let mut clients: Vec<_> = (0..50)
        .map(|_| server.hold("/long-poll/news,other"))
        .collect();
    server.wait_subscribers("news", 50);
    let answer = server.client().post("/publish/news", "", "all");
    assert_eq!(answer.json()["subscribers"], 50);
    for client in &mut clients {
        assert_eq!(client.answer().batch().data(), ["all"]);
    }
    server.wait_subscribers("other", 0);
}

#[test]
fn message_of_a_shared_batch_counts_once_for_each_receiver() {
    let server = Server::start();
    let mut clients = [server.parked("news", ""), server.hold("/long-poll/news")];
    server.wait_subscribers("news", 2);
    let lines = "{\"channel\":\"news\",\"data\":\"one\"}\n{\"channel\":\"news\",\"data\":\"two\"}";
    server.client().post("/publish", "", lines);
    for client in &mut clients {
        assert_eq!(client.answer().batch().data(), ["one", "two"]);
    }
    assert_eq!(server.metric("encke_messages_delivered_total"), 4);
}

#[test]
fn held_poll_cut_by_the_batch_limit_says_more() {
    let server = Server::with(|config| config.max_batch = 1);
    let mut held = server.hold("/long-poll/x,y");
    let lines = "{\"channel\":\"x\",\"data\":1}\n{\"channel\":\"y\",\"data\":2}\n";
    assert_eq!(server.client().post("/publish", "", lines).status(), 200);
    let first = held.answer().batch();
    assert_eq!((first.messages().len(), first.has_more()), (1, true));
    let cursor = first.json["cursor"].as_str().unwrap();
    let rest = server
        .get(&format!("/long-poll/x,y?since={cursor}"))
        .batch();
    assert_eq!((rest.messages().len(), rest.has_more()), (1, false));
}
