//! Requests that publish by lines, and publishers that wait for the log.

use super::*;

#[test]
fn requests_that_publish_by_lines() {
    let head = "POST /publish/a?lines=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let acks = "POST /publish?lines=1&ack=1 HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    // More than are taken in one tick.
    let many = format!("{:x}\r\n{}\r\n", 6_000, "x\n".repeat(3_000));
    let mut server = Server::new(Config::default());
    let plain = server.ask(format!("{head}4\r\none\n\r\n6\r\ntwo"));
    let waiting = server.ask(format!("{head}{many}"));
    let with_acks = server.ask(format!(
        "{acks}1f\r\n{{\"channel\":\"b\",\"data\":\"first\"}}\n\r\n5\r\n{{\"cha\r\n"
    ));
    let broken = server.ask(format!("{head}{many}zz\r\n"));
    for id in [plain, waiting, with_acks, broken] {
        assert_eq!(server.state(id), State::Body);
    }
    let sent = server.hand_over(|engine, sockets, now_ms| {
        engine.input(plain, b"\r\n.\r\n0\r\n\r\n", sockets);
        engine.input(
            with_acks,
            b"1a\r\nnnel\":\"b\",\"data\":\"second\"}\r\n0\r\n\r\n",
            sockets,
        );
        live_on(engine, sockets, now_ms);
    });
    assert!(sent[&plain.index].contains("{\"published\":3"));
    assert!(sent[&waiting.index].contains("408"));
    assert!(sent[&broken.index].contains("400"));
    assert!(!sent[&with_acks.index].is_empty());
}

#[test]
fn publishers_that_wait_for_the_log() {
    let mut server = Server::saved(Config::default());
    let one = server.publish("a", "one");
    let several =
        server.ask([publish("a", "two"), publish("a,b", "no"), publish("b", "3")].concat());
    server.send(several, get("/healthz"));
    let socket = server.socket("/ws/a");
    server.send(socket, text_frame(r#"{"publish":"a","data":4,"ref":"r"}"#));
    server.send(socket, text_frame(r#"{"channels":["b"],"ref":5}"#));
    let lines = server.ask(
        "POST /publish/a?lines=1&ack=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nline\n\r\n",
    );
    assert_eq!(server.state(one), State::Publishing);
    let first = server.engine.take_unsaved().unwrap().up_to;
    server.publish("b", "six");
    let sent = server.hand_over(|engine, sockets, now_ms| {
        engine.saved(first, sockets);
        tick(engine, sockets, now_ms);
        let rest = engine.take_unsaved();
        live_on(engine, sockets, now_ms);
        if let Some(rest) = rest {
            engine.saved(rest.up_to, sockets);
        }
    });
    assert!(sent[&one.index].contains("200 OK"));
    assert!(sent[&several.index].contains("400") && sent[&several.index].contains("ok\n"));
    assert!(
        sent[&socket.index].contains("\"ref\":\"r\"") && sent[&socket.index].contains("\"ref\":5")
    );
    assert!(sent[&lines.index].contains("\"id\""));
}

/// The error counts what is saved, and says so when it is, or when that has taken too long.
#[test]
fn errors_of_lines_that_wait_for_the_log() {
    for is_saved in [true, false] {
        let mut server = Server::saved(Config::default());
        let lines = server.ask(
            "POST /publish?lines=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
             1b\r\n{\"channel\":\"a\",\"data\":1}\nb\n\r\n",
        );
        assert_eq!(server.state(lines), State::Publishing);
        let mark = server.engine.take_unsaved().unwrap().up_to;
        let sent = server.hand_over(|engine, sockets, now_ms| {
            if is_saved {
                engine.saved(mark, sockets);
            }
            live_on(engine, sockets, now_ms);
        });
        let told = &sent[&lines.index];
        assert_eq!(told.contains("\"published\":1"), is_saved, "{told}");
        assert_eq!(told.contains(" 503 "), !is_saved, "{told}");
    }
}

/// It pauses until its client has the answer: before that, and after it until the next tick.
#[test]
fn sockets_that_end_their_only_channel() {
    for is_saved in [false, true] {
        let mut server = Server::saved(Config::default());
        let socket = server.socket("/ws/a");
        server.send(
            socket,
            text_frame(r#"{"publish":"a","data":1,"end":true,"ref":"r"}"#),
        );
        server.pass(0);
        let mark = server.engine.take_unsaved().unwrap().up_to;
        if is_saved {
            server.engine.saved(mark, &mut server.sockets);
        }
        assert_eq!(server.state(socket), State::Streaming);
        let sent = server.hand_over(|engine, sockets, now_ms| {
            engine.saved(mark, sockets);
            for after_ms in [0, 16, 32, 48] {
                tick(engine, sockets, now_ms + after_ms);
            }
        });
        let told = &sent[&socket.index];
        assert_eq!(told.contains("\"ref\":\"r\""), !is_saved, "{told}");
        assert!(told.contains("\"end\":true"), "{told}");
    }
}
