//! Two nodes over a Redis Cluster, while the log moves from one of its servers to another.

use std::thread;

use encke_test_rig::redis::Clustered;

use crate::encke::Encke;
use crate::nodes::{poll_all, publish, publish_once};

/// Two nodes, and the ids of all messages that were published on them.
struct Published {
    nodes: [Encke; 2],
    ids: Vec<String>,
}

impl Published {
    /// Publishes on one node after the other, now and then with a key.
    fn publish(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.ids.len();
            let data = number.to_string();
            let node = &mut self.nodes[number % 2];
            let id = match number % 3 {
                0 => publish_once(node, "news", &data, &data),
                _ => publish(node, "news", &data),
            };
            self.ids.push(id);
        }
    }

    /// Publishes until something is done, and then some more.
    fn publish_during(&mut self, change: impl FnOnce() -> Result<(), String> + Send) {
        thread::scope(|scope| {
            let changed = scope.spawn(change);
            while !changed.is_finished() {
                self.publish(1);
            }
            changed.join().expect("no panic").expect("it is done");
        });
        self.publish(6);
    }

    /// Both nodes have all, in one order and without a gap, and know the keys.
    fn check(&mut self) {
        let count = self.ids.len();
        for node in &mut self.nodes {
            let all = poll_all(node, "news", "earliest", count);
            assert!(all.into_iter().map(|(id, _)| id).eq(self.ids.clone()));
            assert_eq!(
                poll_all(node, "news", &self.ids[0], count - 1).len(),
                count - 1
            );
            assert_eq!(publish_once(node, "news", "0", "0"), self.ids[0]);
        }
    }
}

#[test]
fn log_goes_from_server_to_server_without_a_gap() {
    let Some(mut all) = Clustered::of_test() else {
        return;
    };
    // The first server stays, and names the one that has the log.
    let url = all.servers[0].url();
    let nodes = ["a", "b"].map(|name| {
        let engine = ["--engine", &url, "--node", name, "--engine-patience", "30s"];
        let mut node = Encke::start(&[&engine[..], &["--history-messages", "100000"]].concat());
        node.until_readyz(200);
        node
    });
    let ids = Vec::new();
    let mut published = Published { nodes, ids };
    published.publish(6);

    // The slot goes to another server, while the nodes publish.
    published.publish_during(|| all.move_slot_of("{encke}:log", 0, 1));
    published.check();

    // Its replica takes over, while it is there and when it was killed.
    all.follow(2, 1).expect("it becomes a replica");
    published.publish_during(|| all.fail_over_to(2));
    published.check();
    all.wait_for_replica(1, 2).expect("it becomes a replica");
    all.servers[2].kill().expect("it is ours");
    published.publish_during(|| all.replace_by(1));
    published.check();
}
