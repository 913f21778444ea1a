//! Every attack at a tiny size, on encke: it must fail at nothing that is not a matter of time.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use encke_tools::adversary::{ALL, Finding};

mod support;

const ADVERSARY: &str = env!("CARGO_BIN_EXE_adversary");

/// Trials at once: most of one is waiting until channels are forgotten.
const AT_ONCE: usize = 5;

/// Runs an attack; adversary ends with an error by itself if anything is wrong.
fn run(attack: &str) {
    let output = Command::new(ADVERSARY)
        .args(["--connections", "300", "--seconds", "2", "--json", attack])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{attack}: {complaint} {text}");
    let finding: Finding = serde_json::from_str(&text).unwrap();
    assert_eq!(finding.attack, attack);
    assert!(
        finding.tally.connected > 0 && finding.disturbed.count > 0,
        "{text}"
    );
}

#[test]
fn encke_bears_every_attack() {
    support::build_encke(ADVERSARY);
    // The buffers of the kernel for readers that do not read are to be full in these two seconds.
    let (large, others): (Vec<_>, Vec<_>) = ALL
        .iter()
        .map(|attack| attack.name)
        .partition(|name| name.starts_with("deaf-") || name.starts_with("sipping-"));
    assert_eq!(large.len(), 4, "{large:?}");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| large.iter().for_each(|name| run(name)));
        for _ in 1..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(name);
                }
            });
        }
    });
}

#[test]
fn an_attack_that_there_is_not_is_no_success() {
    let output = Command::new(ADVERSARY)
        .arg("no-such-attack")
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
}
