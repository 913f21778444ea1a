//! Publishing by lines: what is published when, and what the request is answered.

use proptest::prelude::*;

use super::support::{LAST_CHUNK, Server, chunk, chunked, config, get, other_rules, status, token};
use crate::config::Config;
use crate::engine::{Access, ConnId, State};

/// The body of a response that is whole, or of the part of one that is there.
fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The data of all messages in the history of a channel.
fn history(server: &mut Server, channel: &str) -> Vec<String> {
    let request = get(&format!("/poll/{channel}"));
    let (_, response) = server.ask(Access::Trusted, &request);
    let batch: serde_json::Value = serde_json::from_str(body(&response)).unwrap();
    let messages = batch["messages"].as_array().unwrap().iter();
    messages
        .map(|message| match message["data"].as_str() {
            Some(text) => text.to_owned(),
            None => message["data"].to_string(),
        })
        .collect()
}

/// Lets requests whose input waits have their turns.
fn resume_all(server: &mut Server) -> Vec<(ConnId, String)> {
    let mut responses = Vec::new();
    while let Some(id) = server.engine.next_deferred() {
        responses.push((id, server.resume(id)));
    }
    responses
}

#[test]
fn line_is_published_when_its_end_arrives() {
    let mut server = Server::new(&Config::default());
    let (id, response) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
    assert_eq!(response, "");
    for (piece, expected) in [
        ("on", &[][..]),
        ("e\n", &["one"]),
        ("two\r\n\n\nth", &["one", "two"]),
        ("ree\n", &["one", "two", "three"]),
        ("la", &["one", "two", "three"]),
    ] {
        assert_eq!(server.ask_again(id, chunk(piece)), "");
        assert_eq!(history(&mut server, "a"), expected, "{piece:?}");
    }
    assert_eq!(server.engine.stats().lines, 3);
    let response = server.ask_again(id, &(chunk("st") + LAST_CHUNK));
    assert_eq!(status(&response), "200");
    let summary: serde_json::Value = serde_json::from_str(body(&response)).unwrap();
    assert_eq!(summary["published"], 4);
    assert_eq!(history(&mut server, "a"), ["one", "two", "three", "last"]);
    // The connection goes on.
    assert!(response.contains("keep-alive"), "{response}");
    assert_eq!(server.engine.state(id), Some(State::Idle));
    assert_eq!(server.engine.buffered_bytes(), 0);
}

#[test]
fn acknowledgements_come_line_by_line() {
    let mut server = Server::new(&Config::default());
    let target = "/publish/a?lines=1&ack=1";
    let (id, response) = server.ask(Access::Trusted, &chunked(target, ""));
    assert_eq!(status(&response), "200");
    assert!(response.contains("Content-Type: application/x-ndjson\r\n"));
    assert!(response.contains("Connection: close\r\n") && body(&response).is_empty());
    let response = server.ask_again(id, chunk("1\n\n2\n3"));
    let acknowledged: Vec<&str> = response.matches("\"subscribers\":0}\n").collect();
    assert_eq!(acknowledged.len(), 2, "{response}");
    let response = server.ask_again(id, LAST_CHUNK);
    let (last, rest) = response.split_once("\"subscribers\":0}\n").unwrap();
    let last_id = last.split('"').nth(3).unwrap();
    let summary = format!("{{\"published\":3,\"last\":\"{last_id}\"}}\n");
    assert!(rest.ends_with(&format!("{summary}\r\n0\r\n\r\n")), "{rest}");
    assert_eq!(server.engine.state(id), Some(State::Closing));
}

/// A body and the ends of its pieces.
fn pieces() -> impl Strategy<Value = (String, Vec<usize>)> {
    let part = prop::sample::select(vec!["a", "\u{e4}", "b c", "\r", "\n", "\n\n", "\r\n"]);
    let body = prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat());
    (body, prop::collection::vec(0..200_usize, 0..6))
}

proptest! {
    #[test]
    fn lines_are_the_same_however_they_are_cut(
        (body, cuts) in pieces(),
        is_chunked: bool,
    ) {
        let mut server = Server::new(&Config::default());
        let (head, bytes) = match is_chunked {
            true => {
                let (first, second) = body.split_at(body.char_indices().nth(5).map_or(0, |c| c.0));
                let chunks = [first, second].into_iter().filter(|part| !part.is_empty());
                let chunks: String = chunks.map(chunk).collect();
                (chunked("/publish/a?lines=1", ""), chunks + LAST_CHUNK)
            }
            false => {
                let length = body.len();
                let head = format!("POST /publish/a?lines=1 HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
                (head, body.clone())
            }
        };
        let bytes = (head + &bytes).into_bytes();
        let id = server.engine.accept(Access::Trusted).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut from = 0;
        let mut response = String::new();
        for cut in cuts {
            response += &server.ask_again(id, &bytes[from..cut]);
            from = cut;
        }
        let expected: Vec<String> = body
            .split('\n')
            .enumerate()
            .map(|(place, line)| {
                let is_last = place == body.matches('\n').count();
                let line = if is_last { line } else { line.strip_suffix('\r').unwrap_or(line) };
                line.to_owned()
            })
            .filter(|line| !line.is_empty())
            .collect();
        prop_assert_eq!(status(&response), "200");
        let published = format!("{{\"published\":{}", expected.len());
        prop_assert!(super::lines::body(&response).starts_with(&published), "{}", response);
        prop_assert_eq!(history(&mut server, "a"), expected);
        prop_assert_eq!(server.engine.buffered_bytes(), 0);
    }
}

#[test]
fn content_type_says_what_lines_are() {
    let mut server = Server::new(&Config::default());
    let json = "Content-Type: application/json\r\n";
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", json));
    server.ask_again(id, chunk("{\"a\":1}\r\n \n\t\"x\" \n"));
    let response = server.ask_again(id, LAST_CHUNK);
    assert_eq!(status(&response), "200");
    assert_eq!(history(&mut server, "a"), ["{\"a\":1}", "x"]);
    // UTF-8 that is split, and bytes that are none.
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish/b?lines=1", ""));
    server.ask_again(id, b"1\r\n\xc3\r\n");
    server.ask_again(id, b"3\r\n\xa4\n\xff\r\n");
    server.ask_again(id, b"1\r\n\n\r\n0\r\n\r\n");
    assert_eq!(history(&mut server, "b"), ["\u{e4}", "/w=="]);
}

#[test]
fn lines_of_a_batch_name_their_channels() {
    let mut server = Server::new(&Config::default());
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish?lines=1&end=1", ""));
    server.ask_again(id, chunk("\u{feff}{\"channel\":\"a\",\"data\":1}\n"));
    assert_eq!(history(&mut server, "a"), ["1"]);
    server.ask_again(id, chunk("{\"channel\":\"b\",\"data\":2,\"end\":true}\n\n"));
    let response = server.ask_again(
        id,
        &(chunk("{\"channel\":\"c\",\"data\":3}\n") + LAST_CHUNK),
    );
    assert!(response.contains("\"published\":3"), "{response}");
    let hub = server.engine.hub();
    let ended = |name| hub.channel(hub.find(name).unwrap()).has_ended();
    assert_eq!([ended("a"), ended("b"), ended("c")], [false, true, true]);
}

#[test]
fn bad_line_ends_the_request_and_earlier_lines_stay_published() {
    for (target, kind, good, bad, expected) in [
        ("/publish/a", "application/json", "1", "{", "400"),
        (
            "/publish",
            "",
            "{\"channel\":\"a\",\"data\":1}",
            "{}",
            "400",
        ),
        (
            "/publish",
            "",
            "{\"channel\":\"a\",\"data\":1}",
            "{\"channel\":\"*\"}",
            "400",
        ),
    ] {
        for ack in ["", "&ack=1"] {
            let mut server = Server::new(&Config::default());
            let fields = format!("Content-Type: {kind}\r\n");
            let target = format!("{target}?lines=1{ack}");
            let (id, mut response) = server.ask(Access::Trusted, &chunked(&target, &fields));
            response += &server.ask_again(id, chunk(&format!("{good}\n\n{good}\n")));
            response += &server.ask_again(id, chunk(&format!("{bad}\n{good}\n")));
            assert_eq!(history(&mut server, "a"), ["1", "1"]);
            let answered = if ack.is_empty() { expected } else { "200" };
            assert_eq!(status(&response), answered, "{response}");
            assert!(response.contains("line 4: "), "{response}");
            assert!(response.contains("; 2 messages were published before\""));
            assert!(response.contains("\"published\":2}"), "{response}");
            assert!(response.contains("Connection: close"), "{response}");
            assert_eq!(response.contains("{\"error\":{\"title\""), !ack.is_empty());
            assert_eq!(server.engine.state(id), Some(State::Closing));
        }
    }
}

#[test]
fn line_is_as_long_as_a_body_may_be() {
    let config = Config {
        max_body_bytes: 100,
        ..Config::default()
    };
    let (fits, too_long) = ("x".repeat(100), "x".repeat(101));
    let mut server = Server::new(&config);
    for end in ["\n", "\r\n"] {
        let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
        // Longer together than a body may be.
        for _ in 0..3 {
            assert_eq!(server.ask_again(id, chunk(&fits)), "");
            assert_eq!(server.ask_again(id, chunk(end)), "");
        }
        assert_eq!(server.ask_again(id, chunk("y\n")), "");
        let response = server.ask_again(id, chunk(&too_long));
        assert_eq!(status(&response), "413");
        assert!(response.contains("line 5: "), "{response}");
        assert!(response.contains("\"published\":4}"), "{response}");
    }
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
    let response = server.ask_again(id, chunk(&format!("{too_long}\n")));
    assert_eq!(status(&response), "413");
}

#[test]
fn whole_retry_with_a_key_is_harmless() {
    let mut server = Server::new(&Config::default());
    let key = "Idempotency-Key: K\r\n";
    let body = chunk("1\n\n2\n3") + LAST_CHUNK;
    let request = chunked("/publish/a?lines=1&end=1", key) + &body;
    let (_, first) = server.ask(Access::Trusted, &request);
    assert!(first.contains("\"published\":3"), "{first}");
    // The first attempt broke off.
    let (_, again) = server.ask(Access::Trusted, &request);
    assert_eq!(super::lines::body(&again), super::lines::body(&first));
    assert_eq!(history(&mut server, "a"), ["1", "2", "3"]);
    assert_eq!(
        server.engine.hub().head().0,
        4,
        "three messages and the end"
    );
    // A line with the key of another is the same message.
    let single =
        "POST /publish/a HTTP/1.1\r\nHost: h\r\nIdempotency-Key: K/3\r\nContent-Length: 1\r\n\r\n2";
    server.ask(Access::Trusted, single);
    assert_eq!(server.engine.hub().head().0, 4);
}

#[test]
fn end_comes_after_the_last_line() {
    let mut server = Server::new(&Config::default());
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1&end=1", ""));
    server.ask_again(id, chunk("1\n2\n"));
    let has_ended = |server: &Server| {
        let hub = server.engine.hub();
        hub.find("a")
            .is_some_and(|channel| hub.channel(channel).has_ended())
    };
    assert!(!has_ended(&server));
    server.ask_again(id, LAST_CHUNK);
    assert!(has_ended(&server));
    // Not after a line that is refused, nor where the client breaks off.
    for broken in ["x\r\n", ""] {
        let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1&end=1", ""));
        server.ask_again(id, chunk("1\n2"));
        assert!(!has_ended(&server));
        server.ask_again(id, broken);
        server.end_of_input(id);
        assert!(!has_ended(&server));
    }
    assert_eq!(history(&mut server, "a"), ["1", "2", "1", "1"]);
    // Without a line.
    let (_, response) = server.ask(
        Access::Trusted,
        "POST /publish/b?lines=1&end=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    assert!(
        response.contains("{\"published\":0,\"last\":\""),
        "{response}"
    );
    let (_, response) = server.ask(
        Access::Trusted,
        "PUT /publish/b?lines=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(response.ends_with("{\"published\":0}"), "{response}");
}

#[test]
fn body_timeout_counts_between_lines() {
    let mut server = Server::new(&Config::default());
    let timeout_ms = crate::base::time::millis(Config::default().body_timeout);
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
    for _ in 0..5 {
        server.pass(timeout_ms - 100);
        assert_eq!(server.ask_again(id, chunk("x\n")), "");
    }
    // Bytes without a line end do not count.
    server.pass(timeout_ms / 2);
    assert_eq!(server.ask_again(id, chunk("x")), "");
    server.pass(timeout_ms / 2 + 100);
    let response = server.take(id);
    assert_eq!(status(&response), "408");
    assert!(response.contains("\"published\":5}"), "{response}");
    assert_eq!(server.engine.buffered_bytes(), 0);
}

#[test]
fn drain_ends_requests_by_lines() {
    let mut server = Server::new(&Config::default());
    let (busy, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
    let (quiet, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1&ack=1", ""));
    server.ask_again(busy, chunk("1\n"));
    server.engine.begin_drain();
    let response = server.ask_again(busy, chunk("2\n"));
    assert_eq!(status(&response), "503");
    assert!(response.contains("\"published\":1}"), "{response}");
    server.engine.release_drained(100_000);
    server.pass(10_000);
    let response = server.take(quiet);
    assert!(response.contains("\"status\":503"), "{response}");
    assert_eq!(history(&mut server, "a"), ["1"]);
}

#[test]
fn rights_are_judged_while_lines_come() {
    let publish = |token: &str| {
        chunked(
            "/publish/a?lines=1",
            &format!("Authorization: Bearer {token}\r\n"),
        )
    };
    let ann = token("ann", 10, "x", "a");
    let mut server = Server::new(&config());
    let (expiring, _) = server.ask(Access::Public, &publish(&ann));
    assert_eq!(server.ask_again(expiring, chunk("1\n")), "");
    server.pass(10_000);
    let response = server.ask_again(expiring, chunk("2\n"));
    assert_eq!(status(&response), "401");
    assert!(
        response.contains("; 1 messages were published before"),
        "{response}"
    );

    // The key of the token is removed.
    let ann = token("ann", 600, "x", "a");
    let (reviewed, _) = server.ask(Access::Public, &publish(&ann));
    assert_eq!(server.ask_again(reviewed, chunk("1\n")), "");
    server.engine.reconfigure(&config());
    assert_eq!(server.ask_again(reviewed, chunk("2\n")), "");
    server.engine.reconfigure(&Config {
        tokens: other_rules(),
        ..Config::default()
    });
    let response = server.ask_again(reviewed, chunk("3\n"));
    assert_eq!(status(&response), "401", "{response}");

    // Its subject's connections are ended.
    server.engine.reconfigure(&config());
    let (kicked, _) = server.ask(Access::Public, &publish(&ann));
    let (other, _) = server.ask(Access::Public, &publish(&token("bob", 600, "x", "a")));
    for target in [
        "/connections?sub=ann&channel=b",
        "/connections?sub=ann&channel=a",
    ] {
        let response = server.control("DELETE", target);
        let expected = if target.ends_with("=a") { "1" } else { "0" };
        assert!(
            response.ends_with(&format!("{{\"ended\":{expected}}}")),
            "{response}"
        );
    }
    server.pass(20);
    let response = server.take(kicked);
    assert_eq!(status(&response), "401", "{response}");
    assert_eq!(server.ask_again(other, chunk("4\n")), "");

    // A line of a batch is judged by itself.
    let request = chunked(
        "/publish?lines=1",
        &format!("Authorization: Bearer {ann}\r\n"),
    );
    let (batch, _) = server.ask(Access::Public, &request);
    assert_eq!(
        server.ask_again(batch, chunk("{\"channel\":\"a\",\"data\":5}\n")),
        ""
    );
    let response = server.ask_again(batch, chunk("{\"channel\":\"b\",\"data\":6}\n"));
    assert_eq!(status(&response), "403");
    assert!(response.contains("line 2: "), "{response}");
    assert_eq!(history(&mut server, "a"), ["1", "1", "2", "4", "5"]);
}

#[test]
fn many_lines_take_turns() {
    let mut server = Server::new(&Config::default());
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
    let empty = chunk(&"\n".repeat(60_000));
    for _ in 0..17 {
        assert_eq!(server.ask_again(id, &empty), "");
        assert!(
            !server.engine.wants_input(id),
            "its lines wait for their turns"
        );
        let mut turns = 0;
        while let Some(deferred) = server.engine.next_deferred() {
            server.resume(deferred);
            turns += 1;
            assert!(turns < 1_000);
        }
        assert!(turns > 20, "{turns}");
    }
    assert_eq!(
        server.engine.buffered_bytes() / 1_024,
        0,
        "the head alone is kept"
    );
    let response = server.ask_again(id, LAST_CHUNK);
    assert!(response.ends_with("{\"published\":0}"), "{response}");
}

#[test]
fn request_behind_lines_is_served_after_them() {
    let mut server = Server::new(&Config::default());
    let lines = "x\n".repeat(5_000);
    let request = chunked("/publish/a?lines=1", "") + &chunk(&lines) + LAST_CHUNK;
    let next = get("/healthz");
    let (id, mut response) = server.ask(Access::Trusted, &(request + &next));
    assert_eq!(response, "");
    for (deferred, more) in resume_all(&mut server) {
        assert_eq!(deferred, id);
        response += &more;
    }
    assert!(response.contains("\"published\":5000,"), "{response}");
    assert!(response.ends_with("ok\n"), "{response}");
}

#[test]
fn malformed_body_ends_the_request_after_its_lines() {
    let mut server = Server::new(&Config::default());
    let (id, _) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
    let response = server.ask_again(id, &(chunk("1\n2\n3") + "x\r\n"));
    assert_eq!(status(&response), "400");
    assert!(response.contains("\"published\":2}"), "{response}");
    assert_eq!(history(&mut server, "a"), ["1", "2"]);
}

#[test]
fn forms_of_the_request() {
    let mut server = Server::new(&Config::default());
    let expect = chunked("/publish/a?lines=1&ack=1", "Expect: 100-continue\r\n");
    let (id, response) = server.ask(Access::Trusted, &expect);
    assert!(
        response.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{response}"
    );
    server.end_of_input(id);
    let old = "POST /publish/a?lines=1&ack=1 HTTP/1.0\r\nContent-Length: 4\r\n\r\n1\n2\n";
    let (_, response) = server.ask(Access::Trusted, old);
    assert!(!response.contains("chunked"), "{response}");
    assert!(body(&response).starts_with("{\"id\":"), "{response}");
    assert!(
        response.ends_with("\"}\n") && response.contains("\n{\"published\":2,"),
        "{response}"
    );
    for target in [
        "/publish/a?lines=2",
        "/publish/a?lines=1&ack=x",
        "/publish/a?lines=1&end=",
    ] {
        let (_, response) = server.ask(Access::Trusted, &chunked(target, ""));
        assert_eq!(status(&response), "400");
    }
    // As for every publish: refused before its body is there.
    let coded = chunked("/publish/a?lines=1", "Content-Encoding: gzip\r\n");
    let (_, response) = server.ask(Access::Trusted, &coded);
    assert_eq!(status(&response), "415");
    assert_eq!(history(&mut server, "a"), ["1", "2"]);
}

#[test]
fn buffers_of_lines_are_counted_and_limited() {
    let config = Config {
        max_buffer_bytes: 64 << 10,
        ..Config::default()
    };
    let mut server = Server::new(&config);
    let part = chunk(&"x".repeat(8 << 10));
    let mut refused = 0;
    for _ in 0..12 {
        let (id, response) = server.ask(Access::Trusted, &chunked("/publish/a?lines=1", ""));
        let response = match status(&response) {
            "none" => server.ask_again(id, &part),
            _ => response,
        };
        refused += usize::from(status(&response) == "503");
    }
    assert!((3..9).contains(&refused), "{refused}");
    assert!(server.engine.buffered_bytes() <= (64 << 10) + part.len());
}
