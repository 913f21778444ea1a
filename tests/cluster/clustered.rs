//! Two nodes over a Redis Cluster, whose servers take the log from each other.

use encke_test_rig::redis::Clustered;

use crate::encke::Encke;
use crate::nodes::{poll_all, publish, publish_once};

/// What two nodes have published so far, as ids.
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
        let mut node =
            Encke::start(&["--engine", &url, "--node", name, "--engine-patience", "30s"]);
        node.until_readyz(200);
        node
    });
    let ids = Vec::new();
    let mut published = Published { nodes, ids };
    published.publish(6);

    // The slot goes to another server, while the nodes publish.
    std::thread::scope(|scope| {
        scope.spawn(|| published.publish(6));
        all.move_slot_of("{encke}:log", 0, 1).expect("it is moved");
    });
    published.check();

    // Its replica takes over, while it is there and when it was killed.
    all.follow(2, 1).expect("it becomes a replica");
    std::thread::scope(|scope| {
        scope.spawn(|| published.publish(6));
        all.fail_over_to(2).expect("it is promoted");
    });
    published.check();
    all.wait_for_replica(1, 2).expect("it becomes a replica");
    all.servers[2].kill().expect("it is ours");
    std::thread::scope(|scope| {
        scope.spawn(|| published.publish(6));
        all.replace_by(1).expect("it is promoted");
    });
    published.check();
}
