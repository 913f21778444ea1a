//! Blocked subjects that are told again, and how much of the log that takes.

use super::*;
use crate::log::cluster::{BlockPlace, MAX_BLOCKS};

/// A node, and the blocked subjects of its caller.
struct Teller {
    script: Script,
    blocks: Vec<BlockPlace>,
    /// Which of them were told, in this order, and the bytes of the entries.
    told: Vec<u64>,
    bytes: usize,
}

impl Teller {
    fn new(settings: Settings, blocks: u64) -> Teller {
        let subject = "s".repeat(200);
        Teller {
            script: Script::new(settings),
            blocks: (0..blocks)
                .map(|until| (until, subject.as_str().into()))
                .collect(),
            told: Vec::new(),
            bytes: 0,
        }
    }

    /// Lets time pass, and gives the node the blocks that it wants.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(50) {
            self.script.pass(50);
            loop {
                if let Some(after) = self.script.node.wants_blocks() {
                    let is_after = |block: &&BlockPlace| after.is_none_or(|after| *block > after);
                    let next = self.blocks.iter().filter(is_after).take(MAX_BLOCKS);
                    let next: Vec<_> = next.cloned().collect();
                    self.script.node.tell_blocks(&next);
                }
                let entries = self.script.serve();
                if entries.is_empty() {
                    break;
                }
                entries.iter().for_each(|bytes| self.note(bytes));
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        if let Body::Kick(kicks) = Entry::read(bytes).unwrap().body {
            self.told.extend(kicks.iter().map(|kick| kick.until_ms));
            self.bytes += bytes.len();
        }
    }

    /// The connection breaks, and is there again.
    fn flap(&mut self) {
        self.script.node.broken(Lane::Publish);
        self.script.node.connected(Lane::Publish);
        assert!(matches!(self.script.command(), Some(Command::Open { .. })));
        self.script
            .opened(100, self.script.next - 1, Openness::GoesOn);
    }

    fn take(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn few_blocks_are_told_once_in_a_while_however_often_the_connection_breaks() {
    let mut teller = Teller::new(Settings::default(), 300);
    teller.pass(1_000);
    let all: Vec<u64> = (0..300).collect();
    assert_eq!(teller.take(), all);
    teller.pass(10_000);
    assert!(teller.take().is_empty());
    // What was told may not be in the log.
    teller.flap();
    teller.pass(50);
    assert_eq!(teller.take(), all);
    for _ in 0..20 {
        teller.flap();
        teller.pass(200);
    }
    assert!(teller.take().is_empty());
    teller.pass(1_000);
    assert_eq!(teller.take(), all);
}

#[test]
fn many_blocks_are_told_to_the_last_within_their_allowance() {
    let mut teller = Teller::new(Settings::default(), 65_536);
    let mut breaks = 0;
    // All of them are about 14 MB.
    while teller.told.len() < 65_536 {
        breaks += 1;
        teller.flap();
        teller.pass(1_000);
        assert!(breaks < 100, "{} told", teller.told.len());
    }
    let all: Vec<u64> = (0..65_536).collect();
    assert_eq!(teller.take()[..65_536], all, "each once, as a pass goes on");
    let (before, seconds) = (teller.bytes, 60);
    for _ in 0..seconds {
        teller.flap();
        teller.pass(1_000);
    }
    // What they earn of their own bytes, and an entry more than is allowed.
    let most = 180_000 * seconds * 4 / 3 + (64 << 10);
    let told = teller.bytes - before;
    assert!(told > most / 2 && told < most, "{told} of {most}");
    // The pass after the one under way begins at the first one again, and is the last.
    teller.take();
    teller.pass(200_000);
    let told = teller.take();
    let begins: Vec<usize> = (0..told.len()).filter(|&at| told[at] == 0).collect();
    assert_eq!(begins.len(), 1);
    assert_eq!(told[begins[0]..], all);
}

#[test]
fn log_that_moves_fast_has_them_before_it_drops_them() {
    let mut teller = Teller::new(Settings::default(), 65_536);
    let text = "x".repeat(4 << 20);
    let mut written = 0;
    while teller.told.last() != Some(&65_535) {
        teller.script.message("a", &text);
        teller.script.effects();
        teller.script.beat(EntryId::ZERO);
        teller.pass(50);
        written += text.len() as u64;
    }
    let log_bytes = Settings::default().log_bytes;
    assert!(written < log_bytes / 2, "{written}");
}
