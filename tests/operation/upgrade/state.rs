//! Everything that clients have under way goes along: no connection is closed, no message lost or
//! repeated, and counts go on.

use std::io::Write;

use encke_test_rig::Directory;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::Server;
use crate::http::Connection;

const UPGRADES: usize = 3;

fn publish(server: &Server, channel: &str, message: &str) -> String {
    let target = format!("/publish/{channel}");
    let (status, body) = server.address.answer("POST", &target, message.as_bytes());
    assert_eq!(status, 200);
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

#[test]
fn streams_of_every_kind_go_on() {
    let mut server = Server::start(&[]);
    let targets = ["/sse/news", "/ndjson/news", "/frame/news"];
    let mut streams: Vec<Connection> = targets
        .iter()
        .map(|target| server.address.open(target))
        .collect();
    let mut held = server.address.ask("GET", "/long-poll/news?hold=100", b"");
    let first = publish(&server, "other", "x");
    let (epoch, _) = first.split_once('-').unwrap();
    for upgrade in 0..UPGRADES {
        server.upgrade();
        let message = format!("message {upgrade}");
        let id = publish(&server, "news", &message);
        assert_eq!(id, format!("{epoch}-{}", upgrade + 2));
        for stream in &mut streams {
            stream.read_to(&message);
        }
        let batch = held.json();
        assert_eq!(batch["messages"][0]["data"], message.as_str());
        assert_eq!(batch["messages"].as_array().unwrap().len(), 1);
        held = server
            .address
            .ask("GET", &format!("/long-poll/news?hold=100&since={id}"), b"");
    }
    assert_eq!(server.metric("encke_gaps_total"), 0.0);
    let accepted = server.metric("encke_connections_accepted_total");
    assert!(accepted > 10.0, "{accepted} of all processes");
}

#[test]
fn request_goes_on_wherever_it_is_cut() {
    let mut server = Server::start(&[]);
    let request = b"POST /publish/news HTTP/1.1\r\nHost: encke\r\nIdempotency-Key: k\r\n\
        Content-Length: 10\r\n\r\n0123456789";
    let mut begun: Vec<(usize, Connection)> = Vec::new();
    for cut in 1..request.len() {
        let mut connection = server.address.connect();
        connection.socket.write_all(&request[..cut]).unwrap();
        begun.push((cut, connection));
    }
    server.upgrade();
    for (cut, mut connection) in begun {
        connection.socket.write_all(&request[cut..]).unwrap();
        connection.finish();
        assert_eq!(connection.status, 200, "cut at {cut}");
    }
    let page = server.address.get_json("/poll/news");
    assert_eq!(
        page["messages"].as_array().unwrap().len(),
        1,
        "they have one key"
    );
}

/// Its socket is full, so that the rest of a message waits in the process.
#[test]
fn half_written_responses_are_written_to_their_ends() {
    let mut server = Server::start(&["--max-body-bytes=4M", "--history-bytes=64M"]);
    let mut stream = server.address.open("/sse/news");
    let long = format!("{}END", "x".repeat(3 << 20));
    for number in 0..4 {
        publish(&server, "news", &format!("{number}{long}"));
    }
    server.upgrade();
    for number in 0..4 {
        stream.read_to(&format!("data: {number}xxx"));
        stream.read_to("END");
    }
    publish(&server, "news", "next");
    stream.read_to("next");
}

#[test]
fn saved_history_goes_on_and_survives_a_crash_afterwards() {
    let directory = Directory::new();
    let data = directory.path("data");
    let option = format!("--data-dir={}", data.display());
    let mut server = Server::start(&[&option]);
    let mut stream = server.address.open("/sse/news");
    let mut ids = Vec::new();
    for upgrade in 0..4 {
        for _ in 0..50 {
            ids.push(publish(&server, "news", &format!("message {}", ids.len())));
        }
        stream.read_to(&format!("message {}", ids.len() - 1));
        if upgrade < 3 {
            server.upgrade();
        }
    }
    // No number is left out, and none is given twice.
    for (id, number) in ids.iter().zip(1..) {
        assert_eq!(id.split_once('-').unwrap().1.parse(), Ok(number));
    }
    assert_eq!(server.metric("encke_disk_records_replayed"), 0.0);
    server.signal(Signal::KILL);
    drop(server);
    // A process that was killed is not gone at once, and until then it has the directory.
    let lock = std::fs::File::open(data.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    drop(lock);
    let again = Server::start(&[&option]);
    let page = again.address.get_json("/poll/news?limit=1000");
    assert_eq!(page["messages"].as_array().unwrap().len(), ids.len());
    assert_eq!(
        again.metric("encke_disk_records_replayed"),
        ids.len() as f64
    );
}

/// Also publishers that wait until their messages are saved.
#[test]
fn directory_is_in_use_all_the_time() {
    let directory = Directory::new();
    let data = directory.path("data");
    let option = format!("--data-dir={}", data.display());
    let mut server = Server::start(&[&option, "--data-sync=always"]);
    let address = server.address.clone();
    let publisher = std::thread::spawn(move || {
        let mut connection = address.connect();
        for number in 0..300 {
            connection.send("POST", "/publish/news", format!("{number}").as_bytes());
            connection.status = 0;
            connection.finish();
            assert_eq!(connection.status, 200, "{number}");
        }
    });
    for _ in 0..UPGRADES {
        server.upgrade();
        let second = std::process::Command::new(crate::ENCKE)
            .args(["--listen=127.0.0.1:0", &option])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&second.stderr);
        assert!(said.contains("is in use by another process"), "{said}");
    }
    publisher.join().unwrap();
    let page = server.address.get_json("/poll/news?limit=1000");
    assert_eq!(page["messages"].as_array().unwrap().len(), 300);
}

/// More connections than the new settings allow: the old process serves on.
#[test]
fn settings_that_do_not_fit_are_refused() {
    let directory = Directory::new();
    let file = directory.path("encke.toml");
    std::fs::write(&file, "max-connections = 100").unwrap();
    let server = Server::start(&[&format!("--config={}", file.display())]);
    let mut streams: Vec<Connection> = (0..20).map(|_| server.address.open("/sse/news")).collect();
    std::fs::write(&file, "max-connections = 10").unwrap();
    let line = server.fail();
    assert!(line.contains("max-connections"), "{line}");
    publish(&server, "news", "still there");
    for stream in &mut streams {
        stream.read_to("still there");
    }
    assert_eq!(server.upgrades("refused"), 1.0);
}
