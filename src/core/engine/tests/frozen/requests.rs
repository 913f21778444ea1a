//! Connections between, within and behind requests.

use super::*;

#[test]
fn idle_connection_and_one_before_its_first_request() {
    let mut server = Server::new(Config::default());
    let idle = server.get("/healthz", None);
    let fresh = server.ask("");
    assert_eq!(
        [server.state(idle), server.state(fresh)],
        [State::Idle, State::Head]
    );
    server.hand_over(|engine, sockets, now_ms| {
        engine.input(idle, get("/healthz").as_bytes(), sockets);
        live_on(engine, sockets, now_ms);
    });
}

#[test]
fn head_that_arrives_in_part() {
    let request = b"GET /poll/a?since=earliest HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
    for cut in 1..request.len() {
        let mut server = Server::new(Config::default());
        let id = server.ask(&request[..cut]);
        assert_eq!(server.state(id), State::Head);
        let sent = server.hand_over(|engine, sockets, _| {
            engine.input(id, &request[cut..], sockets);
        });
        assert!(sent[&id.index].contains("\"messages\":[]"), "{cut}");
    }
}

#[test]
fn body_that_arrives_in_part() {
    let counted = publish("a", "text");
    let chunked = "POST /publish/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2;x=y\r\nte\r\n2\r\nxt\r\n0\r\nT: u\r\n\r\n";
    for request in [counted.as_bytes(), chunked.as_bytes()] {
        let head = memchr::memmem::find(request, b"\r\n\r\n").unwrap() + 4;
        for cut in head..request.len() {
            let mut server = Server::new(Config::default());
            let id = server.ask(&request[..cut]);
            assert_eq!(server.state(id), State::Body);
            let sent = server.hand_over(|engine, sockets, now_ms| {
                engine.input(id, &request[cut..], sockets);
                engine.input(id, get("/poll/a").as_bytes(), sockets);
                live_on(engine, sockets, now_ms);
            });
            assert!(sent[&id.index].contains("\"data\":\"text\""), "{cut}");
        }
    }
}

#[test]
fn body_that_does_not_come() {
    let mut server = Server::new(Config::default());
    let id = server.ask("POST /publish/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    let sent = server.hand_over(live_on);
    assert!(sent[&id.index].starts_with("HTTP/1.1 408 "));
}

#[test]
fn response_that_is_half_sent() {
    let mut server = Server::new(Config::default());
    let id = server.get("/encke.js", Some(100));
    server.send(id, get("/healthz"));
    let sent = server.hand_over(|engine, sockets, now_ms| {
        sockets.room.clear();
        engine.writable(id, sockets);
        live_on(engine, sockets, now_ms);
    });
    assert!(sent[&id.index].contains("export") && sent[&id.index].contains("ok\n"));
}

#[test]
fn client_that_reads_no_more() {
    let mut server = Server::new(Config::default());
    let id = server.get("/encke.js", Some(100));
    server.hand_over(|engine, sockets, now_ms| {
        live_on(engine, sockets, now_ms);
        assert_eq!(engine.state(id), None);
    });
}

#[test]
fn closing_connections() {
    let mut server = Server::new(Config::default());
    let closed = server.ask("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let refused = server.ask("NONSENSE\r\n\r\n");
    for id in [closed, refused] {
        assert_eq!(server.state(id), State::Closing);
    }
    server.hand_over(|engine, sockets, now_ms| {
        engine.eof(closed, sockets);
        live_on(engine, sockets, now_ms);
    });
}

#[test]
fn pipeline_that_waits_for_its_turn() {
    let mut server = Server::new(Config::default());
    let ids = [(); 2].map(|()| server.ask(get("/healthz").repeat(99)));
    let sent = server.hand_over(live_on);
    for id in ids {
        assert!(sent[&id.index].matches("200 OK").count() > 10);
    }
}

#[test]
fn listings_and_searches_that_take_long() {
    let mut config = config();
    config.max_channels = 10_000;
    let mut server = Server::new(config);
    for number in 0..9_000 {
        let draft = crate::message::Draft::new(
            crate::message::ChannelName::parse(format!("c/{number}").into_bytes()).unwrap(),
            crate::message::Data::from("x"),
        );
        server.engine.submit(draft).unwrap();
    }
    let listing = server.get("/channels?prefix=c/8&limit=3", None);
    let search = server.get("/connections?sub=ann", None);
    assert_eq!(server.state(listing), State::Deferred);
    server.pass(0);
    assert_eq!(server.state(listing), State::Deferred);
    let sent = server.hand_over(live_on);
    assert!(sent[&listing.index].contains("c/8"));
    assert!(server_answer(&sent, search).contains("\"connections\":0") || sent.len() > 1);
}
