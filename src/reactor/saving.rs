//! The reactor's part in saving history: it hands over what a tick has published, and takes
//! reports.
//!
//! Owns the hand-over between the engine, whose records are to be saved, and what saves them.

use std::fs::File;
use std::io;

use super::sockets::Sockets;
use crate::disk::{Event, Frozen, Health, HistoryBytes, Saver, Usage};
use encke_core::engine::{DiskGauges, Engine};
use encke_core::log::{Health as LogHealth, Mark};

/// The state of saving history.
pub(super) struct Saving {
    saver: Saver,
    /// The end of what is handed over.
    up_to: Mark,
    health: Health,
    /// Whether everything that takes long was at rest since that was wanted: nothing is handed over
    /// from then on.
    has_rested: bool,
}

impl Saving {
    /// History that is saved by `saver`. The start has read so many records, and cut off so many
    /// bytes.
    pub(super) fn new(
        saver: Saver,
        engine: &mut Engine,
        (replayed, cut_bytes): (u64, u64),
    ) -> Saving {
        engine.gauges().disk = Some(Box::new(DiskGauges {
            replayed,
            cut_bytes,
            ..DiskGauges::default()
        }));
        let usage = saver.usage();
        let saving = Saving {
            saver,
            up_to: Mark::default(),
            health: usage.health,
            has_rested: false,
        };
        if saving.health == Health::Fails {
            engine.set_log_health(LogHealth::Fails);
        }
        note(engine, usage);
        saving
    }

    /// History whose saving another process has begun; the engine is as it was there.
    pub(super) fn go_on(saver: Saver, engine: &mut Engine) -> Saving {
        let usage = saver.usage();
        note(engine, usage);
        Saving {
            saver,
            up_to: Mark::default(),
            health: usage.health,
            has_rested: false,
        }
    }

    /// Whether it can be saved at present, or is not saved any more.
    pub(super) fn works(&self) -> bool {
        self.health != Health::Fails
    }

    /// Lets nothing begin any more that may take long, or goes on.
    pub(super) fn rest(&mut self, is_wanted: bool) {
        self.has_rested = false;
        self.saver.rest(is_wanted);
    }

    /// Whether all that may take long has come to rest, since which nothing is handed over any more.
    pub(super) fn has_rested(&self) -> bool {
        self.has_rested
    }

    /// Whether what was handed over before is written too.
    pub(super) fn is_at_rest(&self) -> bool {
        self.has_rested && self.saver.is_at_rest()
    }

    /// The state of the saver for a process that takes it over, and the file that holds the lock.
    pub(super) fn freeze(&self) -> io::Result<(Frozen, File)> {
        self.saver.freeze()
    }

    /// Takes the reports of what was saved: its publishers are answered.
    pub(super) fn take_reports(&mut self, engine: &mut Engine, sockets: &mut Sockets) {
        while let Some(report) = self.saver.next_report() {
            note(engine, report.usage);
            if report.usage.health != self.health {
                self.health = report.usage.health;
                match self.health {
                    Health::Works => engine.set_log_health(LogHealth::Works),
                    Health::Fails => engine.set_log_health(LogHealth::Fails),
                    Health::Forgotten => engine.stop_saving(sockets),
                }
            }
            match report.event {
                Event::Saved(took) => {
                    if let Some(disk) = &mut engine.gauges().disk {
                        disk.write_us.record(took.as_micros() as u64);
                    }
                    engine.saved(self.up_to, sockets);
                }
                Event::Judge(records) => self.judge(engine, &records),
                Event::Usage => {}
                Event::AtRest => self.has_rested = true,
            }
        }
    }

    /// Has the log judge old records, which are about to be removed.
    fn judge(&mut self, engine: &mut Engine, records: &[u8]) {
        let before = engine.unsaved_bytes();
        let carried = engine.carry(records);
        let bytes = engine.unsaved_bytes().saturating_sub(before) as u64;
        if let Err(error) = &carried {
            log::error!("saved records cannot be read any more: {error}");
        }
        self.saver.judged(carried.is_ok().then_some(bytes));
    }

    /// Hands over what was published, unless the last hand-over is under way: then the next one
    /// takes this too. Returns whether there are reports already.
    pub(super) fn save(&mut self, engine: &mut Engine) -> bool {
        if !self.saver.is_idle() || self.has_rested {
            return false;
        }
        let meter = engine.hub().meter();
        let history = HistoryBytes {
            used: meter.used() as u64,
            max: meter.limit() as u64,
        };
        let newest = engine.newest();
        let records = match engine.take_unsaved() {
            Some(unsaved) => {
                self.up_to = unsaved.up_to;
                unsaved.records
            }
            None if self.saver.has_judged() => Vec::new(),
            None => return false,
        };
        self.saver.hand_over(records, newest, history)
    }

    /// Saves the rest at the end.
    pub(super) fn finish(self, engine: &mut Engine) {
        let unsaved = engine.take_unsaved();
        let records = unsaved.map_or_else(Vec::new, |unsaved| unsaved.records);
        self.saver.finish(records, engine.newest());
    }
}

fn note(engine: &mut Engine, usage: Usage) {
    if let Some(disk) = &mut engine.gauges().disk {
        disk.is_failing = usage.health != Health::Works;
        disk.bytes = usage.bytes;
        disk.segments = usage.segments;
        disk.errors = usage.errors;
    }
}
