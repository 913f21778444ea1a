//! Gaps: when a reader gets one, and when not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Batch;
use crate::eventually;
use crate::server::Server;
use crate::stream::Stream;

fn poll(server: &Server, channel: &str, since: &str) -> Batch {
    let target = format!("/poll/{channel}?since={since}");
    server.get(&target).batch()
}

#[test]
fn evicted_message_is_a_gap_for_readers_that_missed_it() {
    let server = Server::with(|config| config.history.max_messages = 2);
    let ids = ["1", "2", "3", "4"].map(|text| server.publish("news", text));
    let missed = poll(&server, "news", &ids[0]);
    assert!(missed.is_gap());
    assert_eq!(missed.data(), ["3", "4"]);
    // If the loss is known exactly, a gap is sent only if there is one.
    let just = poll(&server, "news", &ids[1]);
    assert!(!just.is_gap());
    assert_eq!(just.data(), ["3", "4"]);
    assert!(!poll(&server, "news", "earliest").is_gap());
    assert!(!server.get("/poll/news").batch().is_gap());
    // Said once.
    let next = poll(&server, "news", &missed.cursor);
    assert!(!next.is_gap());
    assert_eq!(next.messages().len(), 0);
}

#[test]
fn long_poll_with_a_gap_is_answered_at_once() {
    let server = Server::with(|config| config.history.max_messages = 0);
    let first = server.publish("news", "1");
    let second = server.publish("news", "2");
    let target = format!("/long-poll/news?hold=60&since={first}");
    let batch = server.get(&target).batch();
    assert!(batch.is_gap());
    assert_eq!(batch.messages().len(), 0);
    assert_eq!(batch.cursor, second);
    let mut held = server.parked("news", &format!("since={second}&hold=60"));
    server.publish("news", "3");
    let batch = held.answer().batch();
    assert!(!batch.is_gap(), "history of none still delivers");
    assert_eq!(batch.data(), ["3"]);
}

#[test]
fn expired_messages_are_a_gap() {
    let server = Server::with(|config| config.history.max_age = Duration::from_millis(30));
    let before = poll(&server, "news", "now").cursor;
    let id = server.publish("news", "1");
    eventually("the message is dropped", || {
        server
            .channel("news")
            .is_none_or(|state| state["messages"] == 0)
    });
    assert!(poll(&server, "news", &before).is_gap());
    assert!(!poll(&server, "news", &id).is_gap());
}

#[test]
fn deleted_message_is_a_gap_for_readers_that_missed_it() {
    let server = Server::start();
    let ids = ["1", "2"].map(|text| server.publish("news", text));
    let mut client = server.client();
    client.ask("DELETE", "/channels/news", "");
    assert_eq!(client.answer().status(), 204);
    let missed = poll(&server, "news", &ids[0]);
    assert!(missed.is_gap());
    assert_eq!(missed.messages().len(), 0);
    assert!(!poll(&server, "news", &missed.cursor).is_gap());
    assert!(!poll(&server, "news", &ids[1]).is_gap());
    assert!(!poll(&server, "news", "earliest").is_gap());
}

#[test]
fn cursor_on_a_forgotten_channel_is_a_gap() {
    let server = Server::with(|config| config.max_channels = 1);
    let before = poll(&server, "news", "now").cursor;
    let id = server.publish("news", "1");
    let mut client = server.client();
    client.ask("DELETE", "/channels/news", "");
    client.answer();
    // There is room for one channel: this use forgets the other.
    server.publish("other", "2");
    assert_eq!(server.channel("news"), None);
    let missed = poll(&server, "news", &before);
    assert!(missed.is_gap());
    assert!(!poll(&server, "news", &missed.cursor).is_gap());
    assert!(!poll(&server, "news", &id).is_gap());
    assert!(!poll(&server, "news", "earliest").is_gap());
    let target = format!("/long-poll/news?hold=60&since={before}");
    assert!(server.get(&target).batch().is_gap());
}

#[test]
fn stream_on_a_forgotten_channel_gets_a_gap() {
    let server = Server::with(|config| config.max_channels = 1);
    let before = poll(&server, "news", "now").cursor;
    server.publish("news", "1");
    let mut client = server.client();
    client.ask("DELETE", "/channels/news", "");
    client.answer();
    server.publish("other", "2");
    client.ask("DELETE", "/channels/other", "");
    client.answer();
    let mut stream = server.stream(&format!("/sse/news?since={before}"));
    stream.opening();
    assert_eq!(stream.event().unwrap().event.as_deref(), Some("gap"));
}

#[test]
fn unknown_epoch_or_future_number_is_a_gap() {
    let server = Server::start();
    let id = server.publish("news", "1");
    let (epoch, seq) = id.rsplit_once('-').unwrap();
    let next = seq.parse::<u64>().unwrap() + 1;
    for since in [
        "zzzzzzzz-1",
        "a-1",
        &format!("{epoch}-{next}"),
        &format!("{epoch}-18446744073709551615"),
    ] {
        for endpoint in ["poll", "long-poll"] {
            let target = format!("/{endpoint}/news?since={since}");
            let batch = server.get(&target).batch();
            assert!(batch.is_gap(), "{target}");
            assert_eq!(batch.data(), ["1"], "{target}");
            assert_eq!(batch.cursor, id, "{target}");
        }
    }
    let empty = server.get("/long-poll/empty?since=zzzzzzzz-1").batch();
    assert!(empty.is_gap());
    assert_eq!(empty.cursor, id);
}

#[test]
fn each_stream_format_reports_gaps() {
    let server = Server::start();
    server.publish("news", "1");
    let mut sse = server.stream("/sse/news?since=zzzzzzzz-1");
    sse.opening();
    let gap = sse.event().unwrap();
    assert_eq!(gap.event.as_deref(), Some("gap"));
    assert_eq!(gap.id, gap.data);
    assert_eq!(sse.message().unwrap().data.as_deref(), Some("1"));
    for (target, read) in [
        ("ndjson", Stream::object as fn(&mut Stream) -> _),
        ("frame", Stream::script),
    ] {
        let mut stream = server.stream(&format!("/{target}/news?since=zzzzzzzz-1"));
        assert_eq!(read(&mut stream).unwrap().get("gap"), None, "{target}");
        let gap = read(&mut stream).unwrap();
        assert_eq!(gap["gap"], true, "{target}");
        assert!(gap["cursor"].is_string(), "{target}");
        assert_eq!(read(&mut stream).unwrap()["data"], "1", "{target}");
    }
}

/// A client that is cut off between the two comes back with the cursor of the opening.
#[test]
fn stream_cut_before_its_gap_gets_it_again() {
    let server = Server::start();
    server.publish("news", "1");
    let foreign = "since=zzzzzzzz-1";
    let openings = [
        server.stream(&format!("/sse/news?{foreign}")).opening(),
        cursor_of(server.stream(&format!("/ndjson/news?{foreign}")).object()),
        cursor_of(server.stream(&format!("/frame/news?{foreign}")).script()),
    ];
    for opening in openings {
        // It looks like any other cursor, and no number is lost in a program that reads it as one.
        assert_eq!(opening, "00000gap-0");
        for endpoint in ["poll", "long-poll"] {
            let target = format!("/{endpoint}/news?since={opening}");
            let batch = server.get(&target).batch();
            assert!(batch.is_gap() && batch.data() == ["1"], "{target}");
        }
        let field = format!("Last-Event-ID: {opening}\r\n");
        let mut again = Stream::open(server.client(), "/sse/news", &field);
        assert_eq!(again.opening(), opening);
        assert_eq!(again.event().unwrap().event.as_deref(), Some("gap"));
    }
}

/// A client that comes back with the first cursor of a stream gets no gap for messages that were lost
/// before the stream began: it was told of them, or had asked for what is kept.
#[test]
fn stream_cut_before_its_first_message_goes_on_without_a_gap() {
    for (max_messages, kept) in [(2, vec!["3", "4"]), (0, vec![])] {
        let server = Server::with(|config| config.history.max_messages = max_messages);
        for text in ["1", "2", "3", "4"] {
            server.publish("news", text);
        }
        let open = |target: &str| server.stream(target);
        let [told_sse, told_ndjson, told_frame] = ["sse", "ndjson", "frame"].map(|endpoint| {
            let mut stream = open(&format!("/{endpoint}/news?since=zzzzzzzz-1"));
            match endpoint {
                "sse" => {
                    stream.opening();
                    stream.event().unwrap().id.expect("a gap has an id")
                }
                "ndjson" => {
                    stream.object();
                    cursor_of(stream.object())
                }
                _ => {
                    stream.script();
                    cursor_of(stream.script())
                }
            }
        });
        for cursor in [
            told_sse,
            told_ndjson,
            told_frame,
            open("/sse/news?since=earliest").opening(),
            cursor_of(open("/ndjson/news?since=earliest").object()),
            cursor_of(open("/frame/news?since=earliest").script()),
        ] {
            let batch = poll(&server, "news", &cursor);
            assert!(!batch.is_gap(), "{max_messages}, {cursor}");
            assert_eq!(batch.data(), kept, "{cursor}");
        }
    }
}

fn cursor_of(object: Option<serde_json::Value>) -> String {
    let object = object.expect("an object");
    object["cursor"].as_str().expect("a cursor").to_owned()
}

#[test]
fn last_event_id_overrides_since_on_every_endpoint() {
    let server = Server::start();
    let first = server.publish("news", "1");
    server.publish("news", "2");
    let field = format!("Last-Event-ID: {first}\r\n");
    for endpoint in ["poll", "long-poll"] {
        let target = format!("/{endpoint}/news?since=now&hold=60");
        let batch = server.client().get_with(&target, &field).batch();
        assert_eq!(batch.data(), ["2"], "{endpoint}");
    }
    for endpoint in ["sse", "ndjson", "frame"] {
        let target = format!("/{endpoint}/news?since=earliest");
        let mut stream = Stream::open(server.client(), &target, &field);
        let data = match endpoint {
            "sse" => stream.message().unwrap().data.unwrap(),
            "ndjson" => read_data(&mut stream, Stream::object),
            _ => read_data(&mut stream, Stream::script),
        };
        assert_eq!(data, "2", "{endpoint}");
    }
    for (word, expected) in [("earliest", &["1", "2"][..]), ("now", &[])] {
        let field = format!("Last-Event-ID: {word}\r\n");
        let target = format!("/poll/news?since={first}");
        let batch = server.client().get_with(&target, &field).batch();
        assert_eq!(batch.data(), expected, "{word}");
    }
}

fn read_data(
    stream: &mut Stream,
    read: impl Fn(&mut Stream) -> Option<serde_json::Value>,
) -> String {
    loop {
        let object = read(stream).expect("a message");
        if let Some(data) = object["data"].as_str() {
            return data.to_owned();
        }
    }
}

#[test]
fn empty_last_event_id_counts_as_absent() {
    let server = Server::start();
    let first = server.publish("news", "1");
    server.publish("news", "2");
    let target = format!("/poll/news?since={first}");
    for field in ["Last-Event-ID:\r\n", "Last-Event-ID:   \r\n"] {
        let batch = server.client().get_with(&target, field).batch();
        assert_eq!(batch.data(), ["2"]);
        assert!(!batch.is_gap());
    }
}

#[test]
fn malformed_last_event_id_is_a_gap() {
    let server = Server::start();
    server.publish("news", "1");
    for id in ["nonsense", "-", "a-b", "7", "%20", "\u{e4}"] {
        let field = format!("Last-Event-ID: {id}\r\n");
        let batch = server.client().get_with("/poll/news", &field).batch();
        assert!(batch.is_gap(), "{id}");
        assert_eq!(batch.data(), ["1"], "{id}");
        let mut stream = Stream::open(server.client(), "/sse/news", &field);
        stream.opening();
        let gap = stream.event().unwrap();
        assert_eq!(gap.event.as_deref(), Some("gap"), "{id}");
    }
}

/// Reads the first data that a stream brings after its opening.
fn first_data(endpoint: &str, stream: &mut Stream) -> String {
    match endpoint {
        "sse" => stream.message().unwrap().data.unwrap(),
        "ndjson" => read_data(stream, Stream::object),
        _ => read_data(stream, Stream::script),
    }
}

const STAND_INS: [&str; 4] = [
    "lastEventId",
    "lastEventID",
    "Last-Event-ID",
    "last%45ventId",
];

#[test]
fn last_event_id_parameter_overrides_since_and_yields_to_the_header() {
    let server = Server::start();
    let [first, second, _] = ["1", "2", "3"].map(|text| server.publish("news", text));
    let header = format!("Last-Event-ID: {second}\r\n");
    for name in STAND_INS {
        let queries = [
            format!("{name}={first}&since=now&hold=60"),
            format!("since=now&{name}={first}&hold=60"),
            format!("since=nonsense&{name}=nonsense&{name}={first}&{name}=&hold=60"),
        ];
        for query in queries {
            for endpoint in ["poll", "long-poll"] {
                let target = format!("/{endpoint}/news?{query}");
                let batch = server.get(&target).batch();
                assert_eq!(batch.data(), ["2", "3"], "{target}");
                assert!(!batch.is_gap(), "{target}");
                let batch = server.client().get_with(&target, &header).batch();
                assert_eq!(batch.data(), ["3"], "{target}");
                let empty = "Last-Event-ID: \r\n";
                let batch = server.client().get_with(&target, empty).batch();
                assert_eq!(batch.data(), ["2", "3"], "{target}");
                let mut client = server.client();
                client.ask("HEAD", &target, "");
                let cursor = batch.cursor.as_str();
                assert_eq!(
                    client.head().field("Encke-Cursor"),
                    Some(cursor),
                    "{target}"
                );
            }
            for endpoint in ["sse", "ndjson", "frame"] {
                let target = format!("/{endpoint}/news?{query}");
                let mut stream = server.stream(&target);
                assert_eq!(first_data(endpoint, &mut stream), "2", "{target}");
                let mut stream = Stream::open(server.client(), &target, &header);
                assert_eq!(first_data(endpoint, &mut stream), "3", "{target}");
            }
        }
    }
}

#[test]
fn malformed_last_event_id_parameter_is_a_gap() {
    let server = Server::start();
    server.publish("news", "1");
    for name in STAND_INS {
        for id in [
            "nonsense",
            "-",
            "7",
            "%20",
            "%",
            "%ff",
            "%00",
            "a-1,b-2",
            "zzzzzzzz-1",
        ] {
            let query = format!("{name}={id}&since=now&hold=60");
            for endpoint in ["poll", "long-poll"] {
                let batch = server.get(&format!("/{endpoint}/news?{query}")).batch();
                assert!(batch.is_gap(), "{endpoint} {query}");
                assert_eq!(batch.data(), ["1"], "{endpoint} {query}");
            }
            let mut sse = server.stream(&format!("/sse/news?{query}"));
            sse.opening();
            assert_eq!(
                sse.event().unwrap().event.as_deref(),
                Some("gap"),
                "{query}"
            );
            for (endpoint, read) in [
                ("ndjson", Stream::object as fn(&mut Stream) -> _),
                ("frame", Stream::script),
            ] {
                let mut stream = server.stream(&format!("/{endpoint}/news?{query}"));
                read(&mut stream).expect("the opening");
                assert_eq!(
                    read(&mut stream).unwrap()["gap"],
                    true,
                    "{endpoint} {query}"
                );
            }
        }
    }
}

#[test]
fn last_of_several_since_counts() {
    let server = Server::start();
    let first = server.publish("news", "1");
    server.publish("news", "2");
    let query = format!("since=nonsense&since=now&since={first}");
    assert_eq!(
        server.get(&format!("/poll/news?{query}")).batch().data(),
        ["2"]
    );
    let target = format!("/poll/news?since={first}&since=nonsense");
    server.get(&target).problem(400);
}

/// Two servers behind a balancer do not know each other's cursors. Each answer of theirs is a gap
/// at once, so without advice a client would ask in a tight loop.
#[test]
fn gap_without_messages_has_a_retry_that_differs_for_each_request() {
    let server = Server::start();
    let read = |target: &str| -> Value {
        let text = String::from_utf8(server.get(target).body).unwrap();
        let json = text
            .strip_prefix("/**/f(")
            .and_then(|text| text.strip_suffix(");"));
        serde_json::from_str(json.unwrap_or(&text)).unwrap()
    };
    for target in [
        "/poll/news?",
        "/long-poll/news?",
        "/long-poll/news?hold=0&",
        "/long-poll/news?early=1&",
        "/long-poll/news?early=1&hold=60&limit=1&",
        "/long-poll/news?linger=1000&",
        "/long-poll/news?callback=f&",
        "/long-poll/news,sport?limit=1&",
    ] {
        let retries: BTreeSet<u64> = (0..8)
            .map(|_| {
                let batch = read(&format!("{target}since=zzzzzzzz-1"));
                assert_eq!(batch["gap"], true, "{target} {batch}");
                assert_eq!(batch["messages"], json!([]), "{target}");
                batch["retry"].as_u64().expect("advice")
            })
            .collect();
        assert!(retries.len() > 1, "{target}: {retries:?}");
        assert!(
            retries.iter().all(|&retry| retry >= 400),
            "{target}: {retries:?}"
        );
    }
    // A gap with messages, and a hold that is over, need no advice.
    let over = read("/long-poll/news?hold=0");
    assert_eq!(over.get("retry"), None, "{over}");
    server.publish("news", "1");
    let gap = read("/long-poll/news?since=zzzzzzzz-1");
    assert_eq!(
        (&gap["gap"], gap.get("retry")),
        (&json!(true), None),
        "{gap}"
    );
}
