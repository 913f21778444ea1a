//! Draining, by signal on the real binary and by handle in this process.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::child::Encke;
use crate::eventually;
use crate::server::Server;
use crate::stream::Stream;

#[test]
fn draining_server_accepts_during_its_delay_and_announces_the_drain() {
    let mut encke = Encke::start(&["--drain-delay", "60"]);
    let mut idle = encke.client();
    idle.get("/healthz");
    encke.program.signal(Signal::TERM);
    encke.program.line_with("draining");
    eventually("readiness is refused", || {
        encke.get("/readyz").status() == 503
    });
    let answer = encke.get("/readyz");
    answer.problem(503);
    assert!(answer.field("Retry-After").is_some());
    assert_eq!(answer.field("Connection"), Some("close"));
    for method in ["OPTIONS", "HEAD"] {
        let mut client = encke.client();
        client.ask(method, "/readyz", "");
        assert_eq!(client.head().status, 503, "{method}");
    }
    // A preflight is no question of readiness, and other endpoints are as they were.
    for (target, fields) in [
        ("/readyz", "Access-Control-Request-Method: GET\r\n"),
        ("/healthz", ""),
        ("*", ""),
    ] {
        let mut client = encke.client();
        client.ask("OPTIONS", target, fields);
        assert_eq!(client.answer().status(), 204, "{target}");
    }
    let answer = encke.client().post("/publish/news", "", "x");
    answer.problem(503);
    assert!(answer.field("Retry-After").is_some());
    encke.client().post("/publish", "", "x").problem(503);
    let answer = encke.get("/healthz");
    assert_eq!(
        (answer.status(), answer.field("Connection")),
        (200, Some("close"))
    );
    let answer = encke.get("/poll/news");
    assert!(answer.batch().json["retry"].is_u64());
    // Nothing new is held.
    let answer = encke.get("/long-poll/news?hold=60");
    assert!(answer.batch().json["retry"].is_u64());
    let mut stream = encke.stream("/sse/news");
    let event = stream.event().unwrap();
    assert!(event.retry_ms.is_some(), "{event:?}");
    while stream.event().is_some() {}
    assert!(stream.is_complete);
    let answer = idle.get("/healthz");
    assert_eq!(answer.field("Connection"), Some("close"));
    idle.expect_end();
    encke.program.signal(Signal::TERM);
    assert_eq!(encke.program.exit_code(), Some(128 + 15));
}

#[test]
fn parked_connections_are_released_with_a_retry() {
    let mut encke = Encke::start(&["--drain", "1"]);
    let mut held = encke.client();
    held.ask("GET", "/long-poll/news?hold=100", "");
    let mut early = encke.client();
    early.ask("GET", "/long-poll/news?hold=100&early=1&limit=5", "");
    let mut sse = encke.stream("/sse/news");
    let mut ndjson = encke.stream("/ndjson/news");
    let mut frame = encke.stream("/frame/news");
    encke.wait_subscribers("news", 5);
    let mut idle = encke.client();
    idle.get("/healthz");
    encke.program.signal(Signal::INT);

    let answer = held.answer();
    let batch = answer.batch();
    assert_eq!(answer.field("Connection"), Some("close"));
    assert!(batch.json["retry"].is_u64(), "{batch:?}");
    assert_eq!(batch.messages().len(), 0);
    held.expect_end();
    assert!(early.answer().batch().json["retry"].is_u64());

    sse.opening();
    let cursor = sse.event().unwrap();
    assert_eq!(cursor.event.as_deref(), Some("cursor"));
    assert!(cursor.retry_ms.is_some(), "{cursor:?}");
    assert_eq!(sse.event(), None);
    assert!(sse.is_complete, "it ended by a cut");
    for (stream, read) in [
        (&mut ndjson, Stream::object as fn(&mut Stream) -> _),
        (&mut frame, Stream::script),
    ] {
        let mut last = None;
        while let Some(object) = read(stream) {
            last = Some(object);
        }
        let last = last.unwrap();
        assert!(
            last["retry"].is_u64() && last["cursor"].is_string(),
            "{last}"
        );
        assert!(stream.is_complete, "it ended by a cut");
    }
    idle.expect_end();
    assert_eq!(encke.program.exit_code(), Some(0));
}

#[test]
fn drain_without_connections_ends_at_once() {
    let mut encke = Encke::start(&["--drain", "3600"]);
    encke.program.signal(Signal::TERM);
    assert_eq!(encke.program.exit_code(), Some(0));
}

#[test]
fn connection_after_the_delay_is_refused() {
    let mut encke = Encke::start(&["--drain", "3600"]);
    let _held = encke.stream("/sse/news");
    encke.program.signal(Signal::TERM);
    eventually("connections are refused", || {
        TcpStream::connect(encke.address).is_err()
    });
    encke.program.signal(Signal::INT);
    assert_eq!(encke.program.exit_code(), Some(128 + 2));
}

/// It sees the first signal no sooner than the second, as one that hangs would.
#[test]
fn second_signal_ends_the_process_before_the_first_is_served() {
    let mut encke = Encke::start(&["--drain", "3600"]);
    let _held = encke.stream("/sse/news");
    encke.program.signal(Signal::STOP);
    encke.program.signal(Signal::INT);
    encke.program.signal(Signal::TERM);
    encke.program.signal(Signal::CONT);
    let code = encke.program.exit_code();
    assert!([Some(128 + 2), Some(128 + 15)].contains(&code), "{code:?}");
}

#[test]
fn accepted_message_is_delivered_during_a_drain() {
    let mut server = Server::with(|config| config.drain = Duration::from_secs(1));
    let mut held = server.parked("news", "hold=100");
    let mut stream = server.stream("/sse/other");
    stream.opening();
    let receipts: Vec<_> = (0..50)
        .map(|number| {
            let message = encke::Publication::new("other", number.to_string());
            let (message, receipt) = message.with_receipt();
            server.publisher.send(message).unwrap();
            receipt
        })
        .collect();
    server.publish("news", "last");
    server.handle.shutdown();
    assert_eq!(held.answer().batch().data(), ["last"]);
    for number in 0..50 {
        assert_eq!(stream.message().unwrap().data, Some(number.to_string()));
    }
    for receipt in receipts {
        receipt.wait().unwrap();
    }
    server.stop().unwrap();
    assert_eq!(
        server.publisher.publish("news", "late"),
        Err(encke::PublishError::Closed)
    );
}

#[test]
fn drain_ends_though_a_client_does_not_read() {
    let mut server = Server::with(|config| {
        config.drain = Duration::from_millis(300);
        config.history.max_messages = 2;
    });
    let stalled = server.stream("/sse/news");
    let text = "x".repeat(256 << 10);
    eventually("the stream's socket is full", || {
        server.publish("news", &text);
        server.metric("encke_writes_blocked_total") > 0
    });
    server.stop().unwrap();
    drop(stalled);
}

#[test]
fn sighup_changes_nothing() {
    let mut encke = Encke::start(&[]);
    encke.program.signal(Signal::HUP);
    encke.program.line_with("SIGHUP");
    assert_eq!(encke.get("/readyz").status(), 200);
    encke.program.signal(Signal::TERM);
    assert_eq!(encke.program.exit_code(), Some(0));
}

#[test]
fn log_option_sets_the_level() {
    let encke = Encke::start(&["--log", "debug"]);
    encke.get("/poll/seen");
    encke.program.line_with("GET /poll/seen 200");
}

#[test]
fn key_is_read_from_its_file() {
    let path = std::env::temp_dir().join(format!("encke-key-{}", std::process::id()));
    std::fs::write(&path, "from-a-file\n").unwrap();
    let encke = Encke::start(&["--publish-key-file", path.to_str().unwrap()]);
    let refused = encke.client().post("/publish/x", "", "x");
    refused.problem(401);
    let key = "Authorization: Bearer from-a-file\r\n";
    assert_eq!(encke.client().post("/publish/x", key, "x").status(), 200);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn drain_of_zero_time_still_sends_final_responses() {
    let mut encke = Encke::start(&["--drain", "0"]);
    let mut held = encke.client();
    held.ask("GET", "/long-poll/news?hold=60", "");
    let mut sse = encke.stream("/sse/news");
    encke.wait_subscribers("news", 2);
    let _unused = encke.client();
    encke.program.signal(Signal::TERM);
    assert!(held.answer().batch().json["retry"].is_u64());
    sse.opening();
    assert!(sse.event().unwrap().retry_ms.is_some());
    assert_eq!(sse.event(), None);
    assert_eq!(encke.program.exit_code(), Some(0));
}
