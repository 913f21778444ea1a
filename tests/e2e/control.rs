//! The control surface: lists, deletion, health, metrics, keys, and the addresses that serve it.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use encke::Address;
use serde_json::{Value, json};

use crate::DEADLINE;
use crate::client::Client;
use crate::server::{Server, any_port, config};

fn names(listing: &Value) -> Vec<&str> {
    let channels = listing["channels"].as_array().unwrap().iter();
    channels
        .map(|state| state["channel"].as_str().unwrap())
        .collect()
}

#[test]
fn channel_state_is_reported() {
    let server = Server::start();
    let ids = ["1", "22"].map(|text| server.publish("news", text));
    let _held = server.hold("/long-poll/news");
    let _streams = ["sse", "ndjson", "frame", "sse"]
        .map(|endpoint| server.stream(&format!("/{endpoint}/news")));
    server.wait_subscribers("news", 5);
    let mut state = server.channel("news").unwrap();
    let bytes = state.as_object_mut().unwrap().remove("bytes").unwrap();
    assert!(bytes.as_u64().unwrap() >= 3, "{bytes}");
    assert_eq!(
        state,
        json!({
            "channel": "news",
            "subscribers": {"total": 5, "long-poll": 1, "sse": 2, "ndjson": 1, "frame": 1, "ws": 0},
            "messages": 2,
            "oldest": ids[0],
            "newest": ids[1],
        })
    );
}

#[test]
fn channels_are_listed_by_name_in_pages() {
    let server = Server::start();
    for name in ["b/2", "a", "b/1", "c", "b/3", "\u{e4}"] {
        server.publisher.publish(name, "x").unwrap();
    }
    crate::eventually("all are published", || {
        server.metric("encke_messages_published_total") == 6
    });
    let list = |query: &str| server.get(&format!("/channels{query}")).json();
    assert_eq!(names(&list("")), ["a", "b/1", "b/2", "b/3", "c", "\u{e4}"]);
    assert_eq!(list("").get("more"), None);
    assert_eq!(names(&list("?prefix=b/")), ["b/1", "b/2", "b/3"]);
    let page = list("?prefix=b/&limit=2");
    assert_eq!(
        (names(&page), &page["more"]),
        (vec!["b/1", "b/2"], &json!(true))
    );
    let rest = list("?prefix=b/&limit=2&after=b/2");
    assert_eq!((names(&rest), rest.get("more")), (vec!["b/3"], None));
    assert_eq!(names(&list("?after=c")), ["\u{e4}"]);
    assert_eq!(names(&list("?after=%C3%A4")), [""; 0]);
    assert_eq!(names(&list("?prefix=nothing")), [""; 0]);
    for bad in ["?limit=0", "?limit=x", "?limit=1001", "?prefix=%ff"] {
        server.get(&format!("/channels{bad}")).problem(400);
    }
}

#[test]
fn delete_forgets_history_and_keeps_parked_readers() {
    let server = Server::start();
    server.publish("news", "old");
    let mut held = server.parked("news", "");
    let mut client = server.client();
    client.ask("DELETE", "/channels/news", "");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.body.len()), (204, 0));
    let state = server.channel("news").unwrap();
    assert_eq!(
        (&state["messages"], &state["oldest"]),
        (&json!(0), &Value::Null)
    );
    server.publish("news", "new");
    let batch = held.answer().batch();
    assert_eq!((batch.data(), batch.is_gap()), (vec!["new"], false));
}

#[test]
fn unused_channel_is_forgotten() {
    let server = Server::with(|config| config.max_channels = 1);
    drop(server.parked("a", ""));
    server.wait_subscribers("a", 0);
    server.publish("b", "needs its place");
    assert_eq!(server.channel("a"), None);
    // A channel that is in use stays.
    let answer = server.client().post("/publish/c", "", "x");
    answer.problem(503);
    assert!(answer.field("Retry-After").is_some());
    let mut stream = server.stream("/sse/c");
    let refusal = stream.event().unwrap();
    assert!(refusal.retry_ms.is_some() && refusal.data.is_none());
    assert_eq!(stream.event(), None);
    assert!(stream.is_complete);
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let server = Server::start();
    assert_eq!(server.get("/healthz").status(), 200);
    assert_eq!(server.get("/readyz").status(), 200);
    server.publish("news", "x");
    let answer = server.get("/metrics");
    let kind = answer.field("Content-Type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.text();
    assert!(text.contains("# TYPE encke_messages_published"), "{text}");
    assert_eq!(
        crate::server::metric(text, "encke_messages_published_total"),
        1
    );
    assert_eq!(crate::server::metric(text, "encke_connections"), 1);
}

#[test]
fn control_address_removes_the_control_surface_from_the_others() {
    let server = Server::with(|config| config.control = vec![any_port()]);
    let mut public = Client::connect(server.tcp(0));
    for target in ["/channels", "/channels/x", "/metrics"] {
        public.get(target).problem(404);
    }
    public.post("/publish/x", "", "x").problem(404);
    public.post("/publish", "", "x").problem(404);
    for method in ["DELETE", "PUT"] {
        public.ask(method, "/channels/x", "");
        public.answer().problem(404);
    }
    let mut control = Client::connect(server.tcp(1));
    assert_eq!(control.post("/publish/x", "", "hi").status(), 200);
    assert_eq!(public.get("/poll/x").batch().data(), ["hi"]);
    assert_eq!(control.get("/poll/x").batch().data(), ["hi"]);
    assert_eq!(control.get("/metrics").status(), 200);
    assert_eq!(control.get("/channels/x").status(), 200);
    assert_eq!(public.get("/healthz").status(), 200);
}

#[test]
fn key_guards_the_control_surface() {
    let server = Server::with(|config| config.publish_key = Some("se-cret".into()));
    let mut client = server.client();
    for field in [
        "",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer se-cre\r\n",
        "Authorization: Bearer se-crett\r\n",
        "Authorization: Bearer Se-cret\r\n",
        "Authorization: Basic se-cret\r\n",
        "Authorization: Bearer\r\n",
    ] {
        for answer in [
            client.post("/publish/x", field, "x"),
            client.post("/publish", field, "x"),
            client.get_with("/channels", field),
            client.get_with("/channels/x", field),
            client.get_with("/metrics", field),
        ] {
            answer.problem(401);
            let challenge = answer.field("WWW-Authenticate").unwrap();
            assert!(challenge.starts_with("Bearer"), "{challenge}");
        }
    }
    for field in [
        "Authorization: Bearer se-cret\r\n",
        "authorization: bearer se-cret\r\n",
    ] {
        assert_eq!(client.post("/publish/x", field, "x").status(), 200);
        assert_eq!(client.get_with("/metrics", field).status(), 200);
    }
    // Receiving needs none.
    assert_eq!(client.get("/poll/x").batch().messages().len(), 2);
    assert_eq!(client.get("/healthz").status(), 200);
}

#[test]
fn local_control_address_needs_no_key() {
    let server = Server::with(|config| {
        config.control = vec![any_port()];
        config.publish_key = Some("secret".into());
    });
    let mut control = Client::connect(server.tcp(1));
    assert_eq!(control.post("/publish/x", "", "x").status(), 200);
}

/// A path of its own for a socket, removed in the end.
struct SocketFile(PathBuf);

impl SocketFile {
    fn new(name: &str) -> SocketFile {
        let name = format!("encke-e2e-{}-{name}.sock", std::process::id());
        SocketFile(std::env::temp_dir().join(name))
    }

    fn client(&self) -> Client<UnixStream> {
        let socket = UnixStream::connect(&self.0).expect("the server accepts");
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Client::new(socket)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The server may have removed it first.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn unix_socket_serves_everything() {
    let file = SocketFile::new("serves");
    // A stale socket file does not prevent a start.
    drop(UnixListener::bind(&file.0).unwrap());
    let mut server = Server::with(|config| {
        config.listen = vec![Address::Unix(file.0.clone())];
        config.publish_key = None;
    });
    let mut held = file.client();
    held.ask("GET", "/long-poll/news", "");
    let mut client = file.client();
    crate::eventually("one is parked", || {
        let answer = client.get("/channels/news");
        answer.status() == 200 && answer.json()["subscribers"]["total"] == 1
    });
    assert_eq!(client.post("/publish/news", "", "hi").status(), 200);
    assert_eq!(held.answer().batch().data(), ["hi"]);
    server.stop().unwrap();
    assert!(!file.0.exists(), "its file goes with it");
}

#[test]
fn unix_socket_in_use_is_not_replaced() {
    let file = SocketFile::new("taken");
    let listener = UnixListener::bind(&file.0).unwrap();
    let refused = encke::Server::bind(encke::Config {
        listen: vec![Address::Unix(file.0.clone())],
        ..config()
    });
    match refused.err() {
        Some(encke::Error::Bind(address, _)) => assert_eq!(address, Address::Unix(file.0.clone())),
        other => panic!("{other:?}"),
    }
    assert!(file.0.exists());
    // The probe of the server that was refused, then ours.
    let _ours = UnixStream::connect(&file.0).unwrap();
    listener.accept().unwrap();
}

#[test]
fn file_that_is_no_socket_is_kept() {
    let file = SocketFile::new("file");
    std::fs::write(&file.0, "precious").unwrap();
    let refused = encke::Server::bind(encke::Config {
        listen: vec![Address::Unix(file.0.clone())],
        ..config()
    });
    assert!(matches!(refused.err(), Some(encke::Error::Bind(..))));
    assert_eq!(std::fs::read_to_string(&file.0).unwrap(), "precious");
}
