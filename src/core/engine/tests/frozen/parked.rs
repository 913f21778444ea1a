//! Held polls and streams.

use super::*;

#[test]
fn held_polls_of_every_kind() {
    let cors = ["https://one.example", "https://two.example"];
    let mut server = Server::new(Config {
        cors: Cors::Origins(cors.map(str::to_owned).to_vec()),
        ..Config::default()
    });
    let targets = [
        "/long-poll/a",
        "/long-poll/a,b?hold=3",
        "/long-poll/a?early=1",
        "/long-poll/a?callback=f.g",
        "/long-poll/a?limit=1",
        "/long-poll/a?linger=400",
    ];
    let polls = targets.map(|target| server.get(target, None));
    let origin =
        server.ask("GET /long-poll/a HTTP/1.1\r\nHost: h\r\nOrigin: https://two.example\r\n\r\n");
    let old = server.ask("GET /long-poll/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let last = server.ask("GET /long-poll/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    for id in polls.into_iter().chain([origin, old, last]) {
        assert_eq!(server.state(id), State::Held);
    }
    // One gives up its hold, and its next request has arrived in part.
    server.send(polls[0], "GET /lo");
    let sent = server.hand_over(|engine, sockets, now_ms| {
        engine.input(polls[0], b"ng-poll/b HTTP/1.1\r\nHost: h\r\n\r\n", sockets);
        live_on(engine, sockets, now_ms);
    });
    assert!(sent[&polls[3].index].contains("f.g({"));
    assert!(sent[&origin.index].contains("Allow-Origin: https://two.example"));
    assert!(sent[&last.index].contains("Connection: close"));
}

#[test]
fn poll_that_lingers() {
    let mut server = Server::new(Config::default());
    let polls = [(); 2].map(|()| server.get("/long-poll/a,b?linger=400", None));
    server.publish("a", "first");
    server.pass(1);
    assert_eq!(server.state(polls[0]), State::Held);
    let sent = server.hand_over(live_on);
    for id in polls {
        let text = &sent[&id.index];
        assert!(text.contains("first") && text.contains("later"), "{text}");
    }
}

#[test]
fn lingering_poll_with_a_gap_and_an_end() {
    let mut config = Config::default();
    config.history.max_messages = 1;
    let mut server = Server::new(config);
    let poll = server.get("/long-poll/a,b?linger=400&callback=f", Some(0));
    server.publish("b", "one");
    server.pass(1);
    let ended =
        server.ask("POST /publish/b?end=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(server.state(ended), State::Idle);
    server.hand_over(|engine, sockets, now_ms| {
        sockets.room.clear();
        engine.writable(poll, sockets);
        live_on(engine, sockets, now_ms);
    });
}

#[test]
fn streams_of_every_kind() {
    let mut server = Server::new(Config::default());
    let targets = [
        "/sse/a",
        "/sse/a,b?envelope=1",
        "/ndjson/a",
        "/frame/a?callback=f",
        "/ndjson/a?pace=5",
    ];
    let streams = targets.map(|target| server.get(target, None));
    let old = server.ask("GET /sse/a HTTP/1.0\r\n\r\n");
    let sockets = ["/ws/a", "/ws/a?raw=1&publish=1"].map(|target| server.socket(target));
    server.publish("a", "before");
    server.pass(1);
    for id in streams.into_iter().chain([old]).chain(sockets) {
        assert_eq!(server.state(id), State::Streaming);
    }
    let sent = server.hand_over(live_on);
    for id in streams.into_iter().chain([old]).chain(sockets) {
        assert!(sent[&id.index].contains("later"), "{id:?}");
    }
}

#[test]
fn streams_whose_frames_are_half_sent() {
    let mut server = Server::new(Config::default());
    let streams = [(); 3].map(|()| server.get("/sse/a,b", None));
    for (id, room) in streams.into_iter().zip([0, 7, 30]) {
        server.sockets.room.insert(id.index, room);
    }
    server.publish("a", "before");
    server.pass(1);
    let sent = server.hand_over(|engine, sockets, now_ms| {
        sockets.room.insert(streams[1].index, 3);
        engine.writable(streams[1], sockets);
        sockets.room.clear();
        for id in streams {
            engine.writable(id, sockets);
        }
        live_on(engine, sockets, now_ms);
    });
    for id in streams {
        assert!(sent[&id.index].contains("later"));
    }
    assert!(sent[&streams[0].index].contains("before"));
}

#[test]
fn message_of_a_socket_that_arrives_in_part() {
    let frame = text_frame(r#"{"publish":"a","data":"mine"}"#);
    let [first, second] = [&frame[..], &frame[..]].map(<[u8]>::to_vec);
    let mut split = second;
    // A text in two frames: the first is not the last, and the second continues it.
    split[0] = 0x01;
    let mut end = text_frame("");
    end[0] = 0x80;
    let ping = [0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
    let whole = [&first[..], &ping, &split, &ping, &end].concat();
    for cut in 1..whole.len() {
        let mut server = Server::new(Config::default());
        let id = server.socket("/ws/a");
        server.send(id, &whole[..cut]);
        let sent = server.hand_over(|engine, sockets, now_ms| {
            engine.input(id, &whole[cut..], sockets);
            live_on(engine, sockets, now_ms);
        });
        assert!(sent[&id.index].contains("later"), "{cut}");
    }
}
