//! What somebody does to the log by hand, while the nodes run.

use encke_test_rig::redis::Server;

use crate::encke::Encke;
use crate::nodes::{nodes, poll_all, publish, publish_once};
use crate::redis;

const LOG: &str = "{encke}:log";

/// An entry of somebody else, with an id of the server's choice.
fn add_entry(server: &Server, fields: [&str; 2]) -> String {
    let [name, value] = fields;
    let answer = server.ask(&format!("XADD {LOG} * {name} \"{value}\""));
    let answer = answer.expect("an answer");
    answer.lines().nth(1).expect("an id").to_owned()
}

#[test]
fn entry_that_is_not_of_a_node_is_skipped() {
    let Some(server) = redis(&[]) else { return };
    let [mut a, mut b] = nodes(&server, &["--engine-patience", "30s"]);
    let mut published = vec![publish(&mut a, "news", "0")];
    for fields in [["field", "value"], ["b", "{}"], ["b", ""]] {
        let id = add_entry(&server, fields);
        let number = published.len().to_string();
        published.push(publish(&mut a, "news", &number));
        published.push(publish(&mut b, "news", &number));
        if fields[0] == "field" {
            let line = b.line_with("is not of encke");
            assert!(line.contains(&id), "{line}");
        }
    }
    let url = server.url();
    let mut c = Encke::start(&["--engine", &url, "--node", "c"]);
    for node in [&mut a, &mut b, &mut c] {
        node.until_readyz(200);
        let all = poll_all(node, "news", "earliest", 7);
        assert!(all.into_iter().map(|(id, _)| id).eq(published.clone()));
        // None of them is a gap for a cursor.
        assert_eq!(poll_all(node, "news", &published[0], 6).len(), 6);
    }
    let (_, metrics) = a.ask("GET", "/metrics", "");
    assert!(
        metrics.contains("encke_engine_foreign_total 3"),
        "{metrics}"
    );
}

#[test]
fn older_log_under_a_running_server_gives_no_key_the_id_of_another_message() {
    let Some(server) = redis(&[]) else { return };
    let [mut a, mut b] = nodes(&server, &["--engine-patience", "30s"]);
    let mut published = vec![publish(&mut a, "news", "0")];
    server.tell("COPY {encke}:log {encke}:old").expect("OK");
    for number in 1..200 {
        published.push(publish(&mut a, "news", &number.to_string()));
    }
    poll_all(&mut b, "news", &published[0], 199);
    let put_back = "COPY {encke}:old {encke}:log REPLACE";
    server.tell(put_back).expect("OK");
    let first = std::thread::spawn(move || {
        let id = publish_once(&mut a, "news", "key", "once");
        (a, id)
    });
    let again = publish_once(&mut b, "news", "key", "once");
    let (mut a, id) = first.join().expect("no panic");
    assert_eq!(id, again);
    published.push(id);
    let mut c = Encke::start(&["--engine", &server.url(), "--node", "c"]);
    c.until_readyz(200);
    for (node, since) in [(&mut a, 0), (&mut b, 0), (&mut c, 199)] {
        let all = poll_all(node, "news", &published[since], 200 - since);
        assert!(all.iter().map(|(id, _)| id).eq(&published[since + 1..]));
        assert_eq!(all.last().expect("one").1, "once");
    }
    assert_eq!(publish_once(&mut c, "news", "key", "once"), again);
}
