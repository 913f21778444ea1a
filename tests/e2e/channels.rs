//! Names of channels, and requests for several.

use crate::server::Server;

#[test]
fn messages_of_several_channels_come_in_one_order() {
    let server = Server::start();
    let ids = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")]
        .map(|(channel, text)| server.publish(channel, text));
    let batch = server.get("/poll/b,a").batch();
    assert_eq!(batch.data(), ["1", "2", "3", "5"]);
    let channels: Vec<_> = batch.messages().iter().map(|m| &m["channel"]).collect();
    assert_eq!(channels, ["a", "b", "a", "b"]);
    let batch = server.get(&format!("/poll/c,b,a?since={}&limit=2", ids[1]));
    assert_eq!(batch.batch().data(), ["3", "4"]);
    assert!(batch.batch().has_more());
    let mut stream = server.stream("/sse/b,c?since=earliest");
    let got = [(); 3].map(|()| stream.message().unwrap().data.unwrap());
    assert_eq!(got, ["2", "4", "5"]);
}

#[test]
fn channel_named_twice_counts_once() {
    let server = Server::start();
    let mut stream = server.stream("/ndjson/a,a,%61");
    stream.object();
    let mut held = server.hold("/long-poll/a,b,a");
    server.wait_subscribers("b", 1);
    assert_eq!(server.subscribers("a"), 2);
    server.publish("a", "once");
    assert_eq!(held.answer().batch().data(), ["once"]);
    server.publish("a", "then");
    let data = [(); 2].map(|()| stream.object().unwrap()["data"].clone());
    assert_eq!(data, ["once", "then"]);
    assert_eq!(server.get("/poll/a,a").batch().data(), ["once", "then"]);
}

#[test]
fn request_for_more_than_64_channels_is_refused() {
    let server = Server::start();
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
        names.join(",")
    };
    for endpoint in ["poll", "long-poll", "sse", "ndjson", "frame"] {
        let answer = server.get(&format!("/{endpoint}/{}", names(65)));
        assert!(answer.problem(400).contains("64"), "{endpoint}");
    }
    let twice = format!("{},{}", names(64), names(64));
    assert_eq!(server.get(&format!("/poll/{twice}")).status(), 200);
    let mut held = server.hold(&format!("/long-poll/{}", names(64)));
    server.wait_subscribers("c63", 1);
    server.publish("c40", "x");
    assert_eq!(held.answer().batch().data(), ["x"]);
}

#[test]
fn invalid_names_are_refused() {
    let server = Server::start();
    let too_long = "x".repeat(251);
    for name in [
        "", "a//b", "/a", "a/", ".", "..", "a/./b", "a/../b", "%2e%2E", "a%00b", "a%0Ab", "a%1F",
        "a%7F", "%C2%80", "%C2%9F", "a*b", "*", "a%2Ab", "a%2Cb", "%ff", "%C3", "a%", "a%4",
        "a%zz", "a,", ",a", "a,,b", "ok,.", &too_long,
    ] {
        for target in [format!("/poll/{name}"), format!("/sse/{name}")] {
            server.get(&target).problem(400);
        }
        let target = format!("/publish/{name}");
        server.client().post(&target, "", "x").problem(400);
    }
    for target in ["/publish/a,b", "/channels/a,b"] {
        let answer = match target {
            "/publish/a,b" => server.client().post(target, "", "x"),
            _ => server.get(target),
        };
        answer.problem(400);
    }
    assert_eq!(
        server.get("/channels").json()["channels"],
        serde_json::json!([])
    );
}

#[test]
fn valid_names_are_accepted() {
    let server = Server::start();
    let longest = "x".repeat(250);
    for (raw, name) in [
        ("a", "a"),
        ("a/b/c", "a/b/c"),
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("%20", " "),
        ("%C3%A4", "\u{e4}"),
        ("...", "..."),
        ("a.b", "a.b"),
        ("%C2%A0", "\u{a0}"),
        ("~user:1;v=2", "~user:1;v=2"),
        (&longest, &longest),
    ] {
        let answer = server.client().post(&format!("/publish/{raw}"), "", raw);
        assert_eq!(answer.json()["channel"], *name, "{raw}");
        let batch = server.get(&format!("/poll/{raw}")).batch();
        assert_eq!(batch.messages().last().unwrap()["data"], *raw);
    }
}
