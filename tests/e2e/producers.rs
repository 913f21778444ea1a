//! Publishing from threads of the program that embeds the server.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use encke::{Data, Publication, PublishError};

use crate::server::{Server, config};

fn numbered(id: &str) -> u64 {
    let (_, seq) = id.rsplit_once('-').unwrap();
    seq.parse().unwrap()
}

#[test]
fn threads_publish_with_receipts() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let server = Server::with(|config| {
        config.queue = 8;
        config.history.max_messages = THREADS * EACH;
    });
    let mut stream = server.stream("/ndjson/news");
    stream.object();
    let producers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let publisher = server.publisher.clone();
            thread::spawn(move || {
                let mut ids = Vec::new();
                for number in 0..EACH {
                    let text = format!("{thread} {number}");
                    let message = Publication::new("news", text).event("n");
                    let (message, receipt) = message.with_receipt();
                    publisher.send(message).unwrap();
                    let accepted = receipt.wait().unwrap();
                    assert_eq!(accepted.subscribers, 1);
                    ids.push(numbered(&accepted.id));
                }
                ids
            })
        })
        .collect();
    let mut next = [0; THREADS];
    let mut seen = Vec::new();
    for _ in 0..THREADS * EACH {
        let object = stream.object().unwrap();
        let (thread, number) = object["data"].as_str().unwrap().split_once(' ').unwrap();
        let thread: usize = thread.parse().unwrap();
        assert_eq!(number.parse(), Ok(next[thread]), "in each producer's order");
        next[thread] += 1;
        seen.push(numbered(object["id"].as_str().unwrap()));
    }
    let mut ids: Vec<u64> = Vec::new();
    for producer in producers {
        let theirs = producer.join().unwrap();
        assert!(theirs.is_sorted());
        ids.extend(theirs);
    }
    ids.sort_unstable();
    assert_eq!(seen, ids, "each receipt is a message's, and in order");
}

#[test]
fn full_queue_makes_producers_wait() {
    let mut settings = config();
    settings.queue = 2;
    let server = encke::Server::bind(settings).unwrap();
    let publisher = server.publisher();
    // The server does not run yet, so the messages stay in the queue.
    publisher.try_publish("news", "1").unwrap();
    publisher.try_publish("news", "2").unwrap();
    assert_eq!(publisher.try_publish("news", "x"), Err(PublishError::Full));
    let (done, told) = channel();
    let waiting = thread::spawn(move || {
        let sent = publisher.publish("news", "3");
        done.send(()).unwrap();
        sent
    });
    assert!(
        told.recv_timeout(Duration::from_millis(20)).is_err(),
        "it waits"
    );
    let server = Server::run(server);
    waiting.join().unwrap().unwrap();
    crate::eventually("all are published", || {
        server.get("/poll/news").batch().data() == ["1", "2", "3"]
    });
}

#[test]
fn data_is_text_json_or_bytes() {
    let server = Server::start();
    let data: [Data; 3] = ["text".into(), vec![0xff].into(), Data::json("{}").unwrap()];
    for data in data {
        server.publisher.publish("news", data).unwrap();
    }
    crate::eventually("all are published", || {
        server.get("/poll/news").batch().messages().len() == 3
    });
    let batch = server.get("/poll/news").batch();
    let data: Vec<_> = batch.messages().iter().map(|m| m["data"].clone()).collect();
    assert_eq!(
        data,
        [
            serde_json::json!("text"),
            "/w==".into(),
            serde_json::json!({})
        ]
    );
}

#[test]
fn idempotency_key_of_a_thread_prevents_a_duplicate() {
    let server = Server::start();
    let publish = || {
        let message = Publication::new("news", "x").idempotency_key("k");
        let (message, receipt) = message.with_receipt();
        server.publisher.send(message).unwrap();
        receipt.wait().unwrap()
    };
    assert_eq!(publish(), publish());
    assert_eq!(server.get("/poll/news").batch().messages().len(), 1);
}

#[test]
fn invalid_publication_is_refused() {
    let server = Server::with(|config| {
        config.max_channels = 1;
        config.max_body_bytes = 10;
    });
    let publisher = &server.publisher;
    assert!(matches!(
        publisher.publish("a,b", "x"),
        Err(PublishError::Name(_))
    ));
    assert!(matches!(
        publisher.publish("", "x"),
        Err(PublishError::Name(_))
    ));
    let gap = Publication::new("a", "x").event("gap");
    assert!(matches!(publisher.send(gap), Err(PublishError::Event(_))));
    let large = publisher.publish("a", "12345678901");
    assert_eq!(large, Err(PublishError::TooLarge(10)));
    publisher.publish("a", "1234567890").unwrap();
    let (message, receipt) = Publication::new("b", "x").with_receipt();
    publisher.send(message).unwrap();
    assert_eq!(receipt.wait(), Err(PublishError::TooManyChannels));
}

#[test]
fn stopped_server_refuses_publications() {
    let mut server = Server::start();
    let publisher = server.publisher.clone();
    server.stop().unwrap();
    assert_eq!(publisher.publish("news", "x"), Err(PublishError::Closed));
    assert_eq!(
        publisher.try_publish("news", "x"),
        Err(PublishError::Closed)
    );
}

#[test]
fn dropped_server_releases_waiting_publishers() {
    let mut settings = config();
    settings.queue = 1;
    let server = encke::Server::bind(settings).unwrap();
    let publisher = server.publisher();
    let (message, receipt) = Publication::new("news", "x").with_receipt();
    publisher.send(message).unwrap();
    let waiting = thread::spawn(move || publisher.publish("news", "y"));
    drop(server);
    assert_eq!(waiting.join().unwrap(), Err(PublishError::Closed));
    assert_eq!(receipt.wait(), Err(PublishError::Closed));
}

#[test]
fn callbacks_run_on_the_servers_thread_each_for_its_own_event() {
    let mut server = encke::Server::bind(config()).unwrap();
    let (calls, called) = channel();
    let mut far_ends = Vec::new();
    for name in ["first", "second"] {
        let (mut near, far) = UnixStream::pair().unwrap();
        let source = near.try_clone().unwrap().into();
        let watched = calls.clone();
        let take = move || {
            let mut byte = [0];
            near.read_exact(&mut byte).unwrap();
            watched.send((name, byte[0])).unwrap();
        };
        server.watch(source, take).unwrap();
        far_ends.push(far);
        let periodic = calls.clone();
        server.every(Duration::from_millis(1), move || {
            // The test may be over.
            let _ = periodic.send((name, b'.'));
        });
    }
    let mut server = Server::run(server);
    far_ends[1].write_all(b"2").unwrap();
    far_ends[0].write_all(b"1").unwrap();
    let mut wanted = vec![
        ("first", b'1'),
        ("first", b'.'),
        ("second", b'2'),
        ("second", b'.'),
    ];
    while !wanted.is_empty() {
        let call = called
            .recv_timeout(crate::DEADLINE)
            .expect("all are called");
        assert!(
            !matches!(call, ("first", b'2') | ("second", b'1')),
            "{call:?}"
        );
        wanted.retain(|other| *other != call);
    }
    server.stop().unwrap();
}
