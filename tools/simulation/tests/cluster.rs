//! Clusters in simulation: no world breaks a rule, and what is to happen does.

use encke_simulation::Counts;
use encke_simulation::cluster::{Tally, live};

#[test]
fn no_world_breaks_a_rule() {
    let mut tally = Tally::default();
    for seed in 0..120 {
        match live(seed, 600, false) {
            Ok(lived) => tally.add(&lived),
            Err((why, _)) => panic!("seed {seed}: {why}"),
        }
    }
    let happened = [
        tally.published,
        tally.unknown,
        tally.received,
        tally.gaps,
        tally.retold,
        tally.resent,
        tally.losses_all,
        tally.handed_over,
    ];
    assert!(happened.iter().all(|&count| count > 10), "{tally:?}");
}
