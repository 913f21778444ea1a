//! Publishing by lines over sockets: readers follow, a writer breaks off, acknowledgements pile up.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;

use serde_json::{Value, json};

use crate::client::Client;
use crate::eventually;
use crate::server::Server;
use crate::socket::Socket;
use crate::stream::Stream;

/// A request by lines under way.
struct Writer {
    client: Client,
}

impl Writer {
    fn open(server: &Server, target: &str) -> Writer {
        let mut client = server.client();
        client.ask("POST", target, "Transfer-Encoding: chunked\r\n");
        Writer { client }
    }

    fn write(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.client.send(chunk);
    }

    /// Ends the body, and reads the answer.
    fn finish(mut self) -> Value {
        self.client.send("0\r\n\r\n");
        let answer = self.client.answer();
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.json()
    }
}

#[test]
fn token_stream_is_followed_resumed_and_replayed() {
    let server = Server::start();
    let mut page = server.stream("/sse/chat/42");
    page.opening();
    let mut socket = Socket::open(&server, "/ws/chat/42");
    socket.opening();
    server.wait_subscribers("chat/42", 2);
    let mut writer = Writer::open(&server, "/publish/chat/42?lines=1&end=1");
    writer.write("Once\n");
    let first = page.message().unwrap();
    assert_eq!(first.data.as_deref(), Some("Once"));
    assert_eq!(socket.data(), "Once");
    // It is cut, and resumes; another joins late.
    drop(page);
    writer.write(" upon\r\n a");
    let field = format!("Last-Event-ID: {}\r\n", first.id.unwrap());
    let mut page = Stream::open(server.client(), "/sse/chat/42", &field);
    page.opening();
    assert_eq!(page.message().unwrap().data.as_deref(), Some(" upon"));
    let mut late = server.stream("/ndjson/chat/42?since=earliest");
    late.object();
    assert_eq!(late.object().unwrap()["data"], "Once");
    assert_eq!(server.metric("encke_line_requests"), 1);
    writer.write(" time");
    let summary = writer.finish();
    assert_eq!(summary["published"], 3);
    assert_eq!(server.metric("encke_line_requests"), 0);
    assert_eq!(server.metric("encke_lines_published_total"), 3);

    // All three stop by themselves.
    assert_eq!(page.message().unwrap().data.as_deref(), Some(" a time"));
    assert_eq!(page.event().unwrap().event.as_deref(), Some("end"));
    assert_eq!(page.rest(), "");
    assert_eq!(late.object().unwrap()["data"], " upon");
    let last = late.object().unwrap();
    assert_eq!(
        (&last["data"], &last["id"]),
        (&json!(" a time"), &summary["last"])
    );
    assert_eq!(late.object().unwrap()["end"], true);
    assert_eq!(late.rest(), "");
    assert_eq!(
        (socket.data(), socket.data()),
        (json!(" upon"), json!(" a time"))
    );
    assert_eq!(socket.closed().0, 1000);
}

#[test]
fn writer_that_breaks_off_has_published_what_was_whole() {
    let server = Server::start();
    for how in [Some(Shutdown::Write), Some(Shutdown::Both), None] {
        let mut writer = Writer::open(&server, "/publish/chat?lines=1&end=1");
        writer.write("whole\nhalf");
        match how {
            Some(how) => writer.client.socket.shutdown(how).unwrap(),
            None => drop(writer),
        }
        eventually("the request is gone", || {
            server.metric("encke_line_requests") == 0
        });
    }
    let batch = server.get("/poll/chat").batch();
    assert_eq!(batch.data(), ["whole"; 3]);
    assert_eq!(batch.json.get("end"), None);
}

#[test]
fn acknowledgements_that_are_not_read_hold_the_sender_back() {
    let server = Server::with(|config| config.max_buffer_bytes = 4 << 20);
    let mut writer = Writer::open(&server, "/publish/chat?lines=1&ack=1");
    let head = writer.client.head();
    rustix::net::sockopt::set_socket_recv_buffer_size(&writer.client.socket, 16 << 10).unwrap();
    writer.client.socket.set_nonblocking(true).unwrap();
    // Short lines have acknowledgements that are much longer.
    let lines = "x\n".repeat(1_000);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    let (mut sent, mut at) = (0_u64, 0);
    let mut is_stuck = 0;
    while is_stuck < 200 {
        match writer.client.socket.write(&chunk.as_bytes()[at..]) {
            Ok(length) => {
                at += length;
                is_stuck = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // The server is given the time for a request on another connection.
                server.get("/healthz");
                is_stuck += 1;
            }
        }
        if at == chunk.len() {
            (sent, at) = (sent + 1_000, 0);
        }
        assert!(sent < 100_000_000, "it is never held back");
    }
    let published = server.metric("encke_lines_published_total");
    assert!(published < sent + 1_000);
    assert!(server.metric("encke_buffer_bytes") < 1 << 20);

    // Once they are read, it goes on.
    writer.client.socket.set_nonblocking(false).unwrap();
    let mut rest = chunk.as_bytes()[at..].to_vec();
    let lines_left = if at == 0 { 0 } else { 1_000 };
    if at == 0 {
        rest.clear();
    }
    rest.extend_from_slice(b"0\r\n\r\n");
    let mut socket = writer.client.socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || socket.write_all(&rest).unwrap());
    let mut acknowledged = Stream::new(writer.client, head);
    let mut count = 0;
    let summary = loop {
        let object = acknowledged.object().expect("a summary");
        match object.get("id") {
            Some(_) => count += 1,
            None => break object,
        }
    };
    sender.join().unwrap();
    assert_eq!(count, sent + lines_left);
    assert_eq!(summary["published"], json!(count));
}

#[test]
fn lines_that_arrive_together_are_published_in_order() {
    let server = Server::with(|config| config.history.max_messages = 30_000);
    let mut stream = server.stream("/ndjson/chat");
    stream.object();
    server.wait_subscribers("chat", 1);
    let lines: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    let mut client = server.client();
    let answer = client.post("/publish/chat?lines=1", "", &lines);
    assert_eq!(answer.json()["published"], 20_000);
    assert_eq!(client.get("/healthz").status(), 200);
    for number in 0..20_000 {
        let object = stream.object().unwrap();
        assert_eq!(object.get("gap"), None);
        assert_eq!(object["data"], json!(number.to_string()));
    }
}

#[test]
fn refusal_says_the_line_and_closes_in_order() {
    let server = Server::start();
    let mut client = server.client();
    let body =
        "{\"channel\":\"a\",\"data\":1}\n\n{\"channel\":\"a\"}\n".to_owned() + &"x".repeat(90_000);
    let answer = client.post("/publish?lines=1", "", body);
    let detail = answer.problem(400);
    assert!(detail.contains("line 3: `data` is missing"), "{detail}");
    assert_eq!(answer.json()["published"], 1);
    client.expect_end();
    assert_eq!(server.get("/poll/a").batch().messages().len(), 1);
}
