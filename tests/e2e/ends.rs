//! Channels that end: how each transport says so, and which readers are done.

use serde_json::{Value, json};

use crate::server::Server;
use crate::socket::Socket;
use crate::stream::Stream;

/// Ends a channel without a message. Returns the id of its end.
fn end(server: &Server, channel: &str) -> String {
    let answer = server
        .client()
        .post(&format!("/publish/{channel}?end=1"), "", "");
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// Publishes the last message of a channel. Returns its id and that of the end, which follows it.
fn publish_last(server: &Server, channel: &str, text: &str) -> (String, String) {
    let answer = server
        .client()
        .post(&format!("/publish/{channel}?end=1"), "", text);
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let (epoch, seq) = id.split_once('-').expect("an epoch and a number");
    let next = seq.parse::<u64>().expect("a number") + 1;
    let end = format!("{epoch}-{next}");
    (id, end)
}

#[test]
fn poll_says_the_end_with_the_last_message_and_after_it() {
    let server = Server::start();
    server.publish("chat", "one");
    let (_, end) = publish_last(&server, "chat", "two");
    let batch = server.get("/poll/chat").batch();
    assert_eq!(batch.data(), ["one", "two"]);
    assert_eq!(batch.json["end"], true);
    assert_eq!(batch.cursor, end);
    assert_eq!(
        batch.json.get("retry"),
        None,
        "nothing is to be asked again"
    );
    for target in ["/poll/chat?since=", "/long-poll/chat?since="] {
        for since in [&end[..], "now", "-1"] {
            let batch = server.get(&format!("{target}{since}")).batch();
            assert_eq!(batch.json["end"], true, "{target}{since}");
            assert_eq!(batch.messages().len(), usize::from(since == "-1"));
        }
    }
    let part = server.get("/poll/chat?limit=1").batch();
    assert_eq!(part.data(), ["one"]);
    assert!(
        part.has_more() && part.json.get("end").is_none(),
        "{part:?}"
    );
}

#[test]
fn held_poll_is_answered_by_the_end() {
    let server = Server::start();
    for query in ["", "?linger=60000", "?early=1"] {
        let target = format!("/long-poll/chat{query}");
        let mut held = server.hold(&target);
        server.wait_subscribers("chat", 1);
        let end = end(&server, "chat");
        let batch = held.answer().batch();
        let expected = json!({"cursor": end, "messages": [], "end": true});
        assert_eq!(batch.json, expected, "{query}");
        server.publish("chat", "it is open again");
    }
}

#[test]
fn stream_ends_by_itself() {
    let server = Server::start();
    let mut ndjson = server.stream("/ndjson/chat");
    let mut sse = server.stream("/sse/chat");
    let mut frame = server.stream("/frame/chat");
    let mut socket = Socket::open(&server, "/ws/chat");
    let mut raw = Socket::open(&server, "/ws/chat?raw=1");
    ndjson.object();
    sse.opening();
    frame.script();
    socket.opening();
    server.wait_subscribers("chat", 5);
    let (last, end) = publish_last(&server, "chat", "last");
    let said = json!({"cursor": end, "end": true});

    assert_eq!(ndjson.object().unwrap()["id"], last);
    assert_eq!(ndjson.object().unwrap(), said);
    assert_eq!(ndjson.rest(), "");
    assert!(ndjson.is_complete);

    assert_eq!(sse.message().unwrap().id.as_deref(), Some(&*last));
    let event = sse.event().unwrap();
    assert_eq!(event.event.as_deref(), Some("end"));
    assert_eq!(
        (event.id.as_deref(), event.data.as_deref()),
        (Some(&*end), Some(&*end))
    );
    assert_eq!(sse.rest(), "");
    assert!(sse.is_complete);

    assert_eq!(frame.script().unwrap()["id"], last);
    assert_eq!(frame.script().unwrap(), said);
    assert_eq!(frame.rest(), "");

    assert_eq!(socket.object()["id"], last);
    let (code, reason) = socket.closed();
    assert_eq!(code, 1000);
    assert_eq!(serde_json::from_str::<Value>(&reason).unwrap(), said);
    assert_eq!(raw.frame(encke_test_client::websocket::TEXT), b"last");
    assert_eq!(raw.closed(), (1000, reason));
    server.wait_subscribers("chat", 0);
    assert_eq!(server.metric("encke_channels_ended_total"), 1);
    assert_eq!(server.metric("encke_readers_done_total"), 5);
}

#[test]
fn http_1_0_stream_ends_with_its_connection() {
    let server = Server::start();
    let mut client = server.client();
    client.send("GET /ndjson/chat HTTP/1.0\r\n\r\n");
    let head = client.head();
    let mut stream = Stream::new(client, head);
    stream.object();
    server.wait_subscribers("chat", 1);
    let end = end(&server, "chat");
    assert_eq!(
        stream.object().unwrap(),
        json!({"cursor": end, "end": true})
    );
    assert_eq!(stream.rest(), "");
}

#[test]
fn event_source_that_has_the_end_is_answered_204() {
    let server = Server::start();
    let before = server.publish("chat", "one");
    let (last, end) = publish_last(&server, "chat", "two");
    let mut client = server.client();
    for fields in [format!("Last-Event-ID: {end}\r\n"), String::new()] {
        let target = match fields.is_empty() {
            true => format!("/sse/chat?since={end}"),
            false => "/sse/chat".to_owned(),
        };
        let answer = client.get_with(&target, &fields);
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.field("Connection"), Some("keep-alive"));
    }
    // A later cursor, of another channel.
    let later = server.publish("other", "x");
    let answer = client.get(&format!("/sse/chat?since={later}"));
    assert_eq!(answer.status(), 204);
    for (since, messages) in [(&before, 1), (&last, 0)] {
        let mut stream = server.stream(&format!("/sse/chat?since={since}"));
        stream.opening();
        for _ in 0..messages {
            assert_eq!(stream.event().unwrap().data.as_deref(), Some("two"));
        }
        assert_eq!(stream.event().unwrap().event.as_deref(), Some("end"));
        assert_eq!(stream.rest(), "");
    }
    // The opening of a reader without a cursor, and at once the end.
    for query in ["", "?since=now", "?since=-3", "?since=earliest"] {
        let mut stream = server.stream(&format!("/sse/chat{query}"));
        stream.opening();
        let events = std::iter::from_fn(|| stream.event());
        let names: Vec<_> = events.map(|event| event.event).collect();
        assert_eq!(names.last().unwrap().as_deref(), Some("end"), "{query}");
    }
    // Other streams do not come back by themselves.
    let mut stream = server.stream(&format!("/ndjson/chat?since={end}"));
    assert!(stream.object().unwrap()["heartbeat"].is_number());
    assert_eq!(
        stream.object().unwrap(),
        json!({"cursor": end, "end": true})
    );
    assert_eq!(stream.rest(), "");
}

#[test]
fn reader_of_several_channels_is_done_with_the_last() {
    let server = Server::start();
    let mut ndjson = server.stream("/ndjson/a,b,c");
    let mut sse = server.stream("/sse/a,b,c?envelope=1");
    let mut plain = server.stream("/sse/a,b,c");
    let mut socket = Socket::open(&server, "/ws/a,b,c");
    ndjson.object();
    sse.opening();
    plain.opening();
    socket.opening();
    server.wait_subscribers("a", 4);
    let first = end(&server, "a");
    let said = json!({"cursor": first, "ended": ["a"]});
    assert_eq!(ndjson.object().unwrap(), said);
    assert_eq!(socket.object(), said);
    let event = sse.event().unwrap();
    assert_eq!((event.event, event.id.as_deref()), (None, Some(&*first)));
    assert_eq!(
        serde_json::from_str::<Value>(&event.data.unwrap()).unwrap(),
        said
    );
    let event = plain.event().unwrap();
    assert_eq!(
        (event.event.as_deref(), event.id),
        (Some("cursor"), Some(first))
    );

    // One that joins is told at once, and one that polls without a cursor.
    let mut late = server.stream("/ndjson/b,a");
    late.object();
    assert_eq!(late.object().unwrap()["ended"], json!(["a"]));
    let batch = server.get("/long-poll/a,b").batch();
    assert_eq!(batch.json["ended"], json!(["a"]));
    let mut held = server.hold(&format!("/long-poll/a,b?since={}", batch.cursor));
    server.wait_subscribers("b", 6);

    let second = end(&server, "b");
    let said = json!({"cursor": second, "ended": ["b"]});
    assert_eq!(ndjson.object().unwrap(), said);
    assert_eq!(
        late.object().unwrap(),
        json!({"cursor": second, "end": true})
    );
    assert_eq!(held.answer().batch().json["end"], true);
    server.publish("c", "x");
    let third = end(&server, "c");
    assert_eq!(ndjson.object().unwrap()["data"], "x");
    assert_eq!(
        ndjson.object().unwrap(),
        json!({"cursor": third, "end": true})
    );
    assert_eq!(ndjson.rest(), "");
    let polled = server.get("/poll/a,b,c").batch();
    assert_eq!(
        (polled.data(), &polled.json["end"]),
        (vec!["x"], &json!(true))
    );
}

#[test]
fn later_publish_opens_the_channel_again() {
    let server = Server::start();
    let (_, first) = publish_last(&server, "chat", "one");
    assert_eq!(server.channel("chat").unwrap()["ended"], true);
    assert_eq!(server.channel("chat").unwrap()["messages"], 1);
    assert_eq!(end(&server, "chat"), first, "it has ended");
    server.publish("chat", "two");
    assert_eq!(server.channel("chat").unwrap().get("ended"), None);
    let mut stream = server.stream(&format!("/ndjson/chat?since={first}"));
    stream.object();
    assert_eq!(stream.object().unwrap()["data"], "two");
    let batch = server.get("/poll/chat").batch();
    assert_eq!(
        (batch.data(), batch.json.get("end")),
        (vec!["one", "two"], None)
    );
    let second = end(&server, "chat");
    assert_ne!(second, first);
    assert_eq!(
        stream.object().unwrap(),
        json!({"cursor": second, "end": true})
    );
    // Not opened by a publish that is repeated.
    let key = "Idempotency-Key: k\r\n";
    let mut client = server.client();
    let first = client.post("/publish/chat?end=1", key, "three").json();
    assert_eq!(
        client.post("/publish/chat?end=1", key, "three").json(),
        first
    );
    assert_eq!(server.channel("chat").unwrap()["ended"], true);
}

#[test]
fn deletion_forgets_the_end() {
    let server = Server::start();
    let (_, end) = publish_last(&server, "chat", "one");
    let mut client = server.client();
    client.ask("DELETE", "/channels/chat", "");
    assert_eq!(client.answer().status(), 204);
    let mut stream = server.stream(&format!("/sse/chat?since={end}"));
    stream.opening();
    server.publish("chat", "two");
    assert_eq!(stream.event().unwrap().data.as_deref(), Some("two"));
}

#[test]
fn lines_of_a_batch_end_their_channels() {
    let server = Server::start();
    let body = r#"{"channel":"a","data":1,"end":true}
                  {"channel":"b","end":true}
                  {"channel":"c","data":"x"}
                  {"channel":"a","end":true}"#;
    let answer = server.client().post("/publish", "", body);
    assert_eq!(answer.status(), 200, "{answer:?}");
    let published = answer.json()["published"].as_array().unwrap().len();
    assert_eq!(published, 4);
    let ended = |name| server.channel(name).unwrap().get("ended").is_some();
    assert_eq!((ended("a"), ended("b"), ended("c")), (true, true, false));
    let batch = server.get("/poll/a,b").batch();
    assert_eq!(
        (batch.messages().len(), &batch.json["end"]),
        (1, &json!(true))
    );
    let refusal = server.client().post("/publish?end=1", "", body);
    refusal.problem(400);
    server
        .client()
        .post("/publish/a?end=2", "", "")
        .problem(400);
}

#[test]
fn socket_is_told_of_the_ends_of_the_channels_that_it_changes_to() {
    let server = Server::start();
    end(&server, "a");
    let mut socket = Socket::open(&server, "/ws/live");
    socket.opening();
    socket.ask(json!({"channels": ["a", "live"]}));
    assert!(socket.object()["channels"].is_array());
    assert_eq!(socket.object()["ended"], json!(["a"]));
    socket.ask(json!({"publish": "live", "data": 1, "end": true}));
    // The answer and what is delivered come in either order.
    let objects = [socket.object(), socket.object()];
    assert!(
        objects
            .iter()
            .any(|object| object.get("published").is_some())
    );
    assert!(objects.iter().any(|object| object.get("data").is_some()));
    assert_eq!(socket.closed().0, 1000);

    let mut socket = Socket::open(&server, "/ws/other");
    socket.opening();
    socket.ask(json!({"channels": []}));
    assert!(socket.object()["channels"].is_array());
    socket.ask(json!({"channels": ["a"]}));
    assert!(socket.object()["channels"].is_array());
    assert_eq!(socket.closed().0, 1000);
}
