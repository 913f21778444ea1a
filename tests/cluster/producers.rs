//! Producers of a node: a program that embeds it, and standard input.

use std::io::Write;
use std::thread;

use encke::{Address, Config, Publication, Server};

use crate::encke::Encke;
use crate::nodes::poll_all;
use crate::redis;

#[test]
fn receipt_has_the_id_that_every_node_gives_the_message() {
    let Some(server) = redis(&[]) else { return };
    let mut config = Config {
        listen: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
        ..Config::default()
    };
    config.engine.url = Some(server.url().parse().expect("a URL"));
    let embedded = Server::bind(config).expect("it is bound");
    let (publisher, handle) = (embedded.publisher(), embedded.handle());
    let running = thread::spawn(move || embedded.run());

    // Messages wait until the node has read the log.
    let mut receipts = Vec::new();
    for number in 0..100 {
        let publication = Publication::new("news", number.to_string());
        let publication = match number % 10 {
            0 => publication.idempotency_key(format!("key-{}", number / 20)),
            _ => publication,
        };
        let (publication, receipt) = publication.with_receipt();
        publisher.send(publication).expect("it is valid");
        receipts.push(receipt);
    }
    let accepted = receipts.into_iter().map(|receipt| receipt.wait());
    let ids: Vec<String> = accepted
        .map(|one| one.expect("it is accepted").id)
        .collect();
    // Two with the same key are one message.
    assert_eq!(ids[0], ids[10]);

    let mut other = Encke::start(&["--engine", &server.url()]);
    other.until_readyz(200);
    let received = poll_all(&mut other, "news", "earliest", 95);
    for (id, data) in &received {
        assert_eq!(&ids[data.parse::<usize>().expect("a number")], id);
    }
    assert_eq!(received.len(), 95);
    handle.shutdown();
    running.join().expect("no panic").expect("no error");
}

#[test]
fn lines_of_standard_input_are_received_on_another_node_in_order() {
    let Some(server) = redis(&[]) else { return };
    let url = server.url();
    let (source, mut input) = std::io::pipe().expect("a pipe");
    let _node = Encke::start_with(&["--engine", &url, "--stdin=news"], source.into());
    let mut lines = String::new();
    for number in 0..2_000 {
        lines += &format!("{number}\n");
    }
    input.write_all(lines.as_bytes()).expect("it reads");
    let mut other = Encke::start(&["--engine", &url, "--history-messages", "5000"]);
    other.until_readyz(200);
    let received = poll_all(&mut other, "news", "earliest", 2_000);
    let data = received.iter().map(|(_, data)| data.parse::<usize>());
    assert!(data.eq((0..2_000).map(Ok)));
}
