//! Polling: answers at once.

use serde_json::json;

use crate::server::Server;

#[test]
fn unknown_channel_answers_an_empty_batch_at_once() {
    let server = Server::start();
    let mut client = server.client();
    let answer = client.get("/poll/nothing");
    let batch = answer.batch();
    assert_eq!(batch.messages().len(), 0);
    assert_eq!(answer.field("Encke-Cursor"), Some(&*batch.cursor));
    assert!(batch.json["retry"].as_u64().unwrap() > 0, "{batch:?}");
    assert_eq!(answer.field("Connection"), Some("keep-alive"));
    // Unknown channels are not made by asking, and the connection goes on.
    assert_eq!(client.get("/channels/nothing").status(), 404);
    let next = client.get(&format!("/poll/nothing?since={}", batch.cursor));
    assert_eq!(next.batch().cursor, batch.cursor);
}

#[test]
fn without_a_cursor_history_comes_oldest_first() {
    let server = Server::start();
    let ids = ["one", "two", "three"].map(|text| server.publish("news", text));
    let answer = server.get("/poll/news");
    let batch = answer.batch();
    assert_eq!(batch.data(), ["one", "two", "three"]);
    assert_eq!(batch.cursor, ids[2]);
    assert_eq!(
        batch.messages()[0],
        json!({"id": ids[0], "channel": "news", "data": "one"})
    );
    assert!(!batch.has_more() && !batch.is_gap(), "{batch:?}");
    assert_eq!(batch.json.get("retry"), None, "advice is for idle polls");
}

#[test]
fn since_selects_the_first_message() {
    let server = Server::start();
    let ids = ["one", "two", "three"].map(|text| server.publish("news", text));
    let data = |query: &str| {
        let batch = server.get(&format!("/poll/news?{query}")).batch();
        assert!(!batch.is_gap(), "{query}: {batch:?}");
        batch.data().join(" ")
    };
    assert_eq!(data(&format!("since={}", ids[0])), "two three");
    assert_eq!(data(&format!("since={}", ids[2])), "");
    assert_eq!(data("since=earliest"), "one two three");
    assert_eq!(data("since=now"), "");
    assert_eq!(data("unknown=1&_=123456&since=now&x"), "");
}

#[test]
fn newest_messages_come_over_the_channels_together() {
    for (channels, count, expected) in [
        ("a", 1, &["4"][..]),
        // The oldest of `a` is evicted.
        ("a", 9, &["3", "4"]),
        ("a,b", 2, &["3", "4"]),
        ("a,b", 3, &["2", "3", "4"]),
        ("a,b,c,none", 1_000, &["2", "3", "4", "5"]),
        ("none", 3, &[]),
    ] {
        let server = Server::with(|config| config.history.max_messages = 2);
        for (channel, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("c", "5")] {
            server.publish(channel, text);
        }
        for endpoint in ["poll", "long-poll"] {
            let query = format!("{channels}?since=-{count}&hold=0");
            let batch = server.get(&format!("/{endpoint}/{query}")).batch();
            assert_eq!(batch.data(), expected, "{endpoint} {query}");
            assert!(!batch.is_gap() && !batch.has_more(), "{batch:?}");
            let next = format!("/poll/{channels}?since={}", batch.cursor);
            assert!(!server.get(&next).batch().is_gap(), "{endpoint} {query}");
        }
        let mut stream = server.stream(&format!("/ndjson/{channels}?since=-{count}"));
        assert!(stream.object().unwrap()["heartbeat"].is_u64());
        for text in expected {
            assert_eq!(stream.object().unwrap()["data"], *text);
        }
        let (first, _) = channels.split_once(',').unwrap_or((channels, ""));
        server.publish(first, "next");
        assert_eq!(stream.object().unwrap()["data"], "next");
    }
}

#[test]
fn all_history_has_no_gap_for_earlier_losses() {
    let server = Server::start();
    server.publish("kept", "1");
    let mut client = server.client();
    for query in ["earliest", "-5"] {
        server.publish("lost", "2");
        client.ask("DELETE", "/channels/lost", "");
        assert_eq!(client.answer().status(), 204);
        let batch = client
            .get(&format!("/poll/kept,lost?since={query}"))
            .batch();
        assert_eq!(batch.data(), ["1"]);
        let next = client.get(&format!("/poll/kept,lost?since={}", batch.cursor));
        assert!(!next.batch().is_gap(), "{query}");
    }
}

#[test]
fn limit_cuts_a_batch_and_says_more() {
    let server = Server::with(|config| config.max_batch = 3);
    for text in ["1", "2", "3", "4", "5"] {
        server.publish("news", text);
    }
    let mut cursor = "earliest".to_owned();
    let mut seen = Vec::new();
    for (limit, expected, more) in [
        (2, &["1", "2"][..], true),
        (1, &["3"][..], true),
        (9_999, &["4", "5"][..], false),
    ] {
        let target = format!("/poll/news?since={cursor}&limit={limit}");
        let batch = server.get(&target).batch();
        assert_eq!(batch.data(), expected);
        assert_eq!(batch.has_more(), more, "{batch:?}");
        cursor = batch.cursor.clone();
        seen.push(batch);
    }
    // Never more than the server's own limit.
    let batch = server.get("/poll/news?limit=4").batch();
    assert_eq!(batch.data(), ["1", "2", "3"]);
    assert!(batch.has_more());
}

#[test]
fn batch_has_a_limit_of_bytes_and_at_least_one_message() {
    let server = Server::with(|config| config.max_batch_bytes = 10);
    for text in ["a message of more than ten bytes", "12345", "67890", "x"] {
        server.publish("news", text);
    }
    let first = server.get("/poll/news").batch();
    assert_eq!(first.data(), ["a message of more than ten bytes"]);
    assert!(first.has_more());
    let second = server.get(&format!("/poll/news?since={}", first.cursor));
    assert_eq!(second.batch().data(), ["12345", "67890"]);
    assert!(second.batch().has_more());
}

#[test]
fn malformed_parameters_are_refused_by_name() {
    let server = Server::start();
    for (query, word) in [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=many", "limit"),
        ("since=", "since"),
        ("since=yesterday", "since"),
        ("since=abc-", "since"),
        ("since=-0", "since"),
        ("since=abc-x", "since"),
        ("since=%zz", "%"),
        ("callback=", "callback"),
    ] {
        let answer = server.get(&format!("/poll/news?{query}"));
        let detail = answer.problem(400);
        assert!(detail.contains(word), "{query}: {detail}");
    }
}

#[test]
fn retry_follows_the_rhythm_of_the_channel() {
    let server = Server::start();
    let retry = |channel: &str| {
        let answer = server.get(&format!("/poll/{channel}?since=now"));
        answer.batch().json["retry"].as_u64().expect("advice")
    };
    let unknown = retry("quiet");
    for _ in 0..20 {
        server.publish("busy", "x");
    }
    let busy = retry("busy");
    assert!(busy < unknown, "{busy} {unknown}");
}

#[test]
fn jsonp_calls_the_function() {
    let server = Server::start();
    server.publish("news", "<b>\u{2028}\u{2029}&");
    let answer = server.get("/poll/news?callback=app.$on_1");
    assert_eq!(answer.status(), 200);
    let kind = answer.field("Content-Type").unwrap();
    assert!(kind.starts_with("text/javascript"), "{kind}");
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
    let json = called(answer.text(), "app.$on_1");
    assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
    let batch: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(batch["messages"][0]["data"], "<b>\u{2028}\u{2029}&");
}

#[test]
fn callbacks_are_identifiers_joined_by_dots() {
    let server = Server::start();
    let longest = "a".repeat(64);
    for good in ["f", "_", "$", "a.b.c1", &longest] {
        let answer = server.get(&format!("/poll/news?callback={good}"));
        called(answer.text(), good);
    }
    let too_long = "a".repeat(65);
    for bad in [
        "1a", "a.", ".a", "a..b", "a.1", "a-b", "a%20b", "alert(1)", "a%3Bb", "%C3%A4", &too_long,
    ] {
        let answer = server.get(&format!("/poll/news?callback={bad}"));
        assert!(answer.problem(400).contains("callback"), "{bad}");
    }
}

#[test]
fn error_of_jsonp_is_a_call_with_the_problem() {
    let server = Server::start();
    for target in [
        "/poll/news?callback=f&limit=0",
        "/long-poll/news?hold=x&callback=f",
        "/poll/a*b?callback=f",
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
        let error: serde_json::Value = serde_json::from_str(called(answer.text(), "f")).unwrap();
        assert_eq!(error["error"]["status"], 400, "{target}");
        assert!(error["error"]["detail"].is_string());
    }
    // Endpoints without JSONP respond with a problem document.
    for target in ["/sse/news", "/ndjson/news", "/frame/news"] {
        let answer = server.get(&format!("{target}?callback=f&since=x"));
        assert!(answer.problem(400).contains("since"), "{target}");
    }
}

/// The argument with which a JSONP response calls its function.
pub(crate) fn called<'a>(text: &'a str, function: &str) -> &'a str {
    let begin = format!("/**/{function}(");
    let json = text.strip_prefix(&begin).and_then(|t| t.strip_suffix(");"));
    json.unwrap_or_else(|| panic!("no call of {function}: {text}"))
}
