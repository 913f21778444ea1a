//! The faults of a cluster, by name.
//!
//! Owns their names, what each needs, and how often one is done. What is done is in `actions`.

/// A fault that is done to a cluster, again and again in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// None: a run for comparison.
    None,
    /// Redis is killed and starts empty.
    Kill,
    /// Redis is killed and starts with its append-only file, saved every second.
    KillWithLog,
    /// Redis is killed and starts with a snapshot of some seconds before.
    RollBack,
    /// Redis is stopped for 1, 4 and 15 s.
    Stop,
    /// The master is killed when its replica has missed the last messages; Sentinel promotes it.
    LoseMaster,
    /// Sentinel is told to promote the replica.
    Promote,
    /// A replica is promoted while its master goes on, which some nodes keep for some time.
    Split,
    /// A node is killed and starts again.
    KillNode,
    /// All nodes are drained and started again, one after the other.
    RollNodes,
    /// All nodes are upgraded, one after the other: another process takes over from each.
    Upgrade,
    /// A node and Redis are killed together.
    KillBoth,
    /// The connections between nodes and Redis are closed, and none is accepted.
    Cut,
    /// All that goes between nodes and Redis is delayed by 50 ms.
    Delay,
    /// What nodes and Redis send each other does not arrive, and no connection is closed.
    HalfOpen,
    /// 1 Mbit/s between each node and Redis.
    Slow,
    /// FLUSHALL.
    Flush,
    /// The key of the log is deleted.
    DeleteLog,
    /// The log is trimmed to ten entries while a node is stopped.
    Trim,
    /// Somebody who is no node appends an entry to the log.
    WriteLog,
    /// An older copy of the log is put in its place.
    OlderLog,
    /// A node is stopped for longer than the log reaches.
    StopNode,
    /// The wall clocks of nodes are stepped by up to a day.
    NodeClocks,
    /// The wall clock of Redis is stepped by up to a day.
    RedisClock,
    /// Redis refuses what nodes need: a right is missing, or the log has another format.
    Refuse,
    /// All nodes are killed, and Redis is not.
    KillNodes,
    /// All nodes and Redis are killed, and Redis starts with a snapshot of some seconds before.
    RollBackAll,
}

/// The servers of Redis that a fault needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    /// One, which each node reaches through a proxy of its own.
    Single,
    /// A master, which each node reaches through a proxy of its own, and a replica.
    Pair,
    /// A master, a replica and three Sentinels.
    Sentinel,
}

use Fault::*;

impl Fault {
    /// All of them, in the order in which they are done, and their names.
    const NAMED: [(Fault, &str); 27] = [
        (None, "none"),
        (Kill, "f1"),
        (KillWithLog, "f2-aof"),
        (RollBack, "f2-rdb"),
        (Stop, "f3"),
        (LoseMaster, "f4"),
        (Promote, "f5"),
        (Split, "f6"),
        (KillNode, "f7-kill"),
        (RollNodes, "f7-roll"),
        (Upgrade, "f7-upgrade"),
        (KillBoth, "f8"),
        (Cut, "f9-cut"),
        (Delay, "f9-delay"),
        (HalfOpen, "f9-half-open"),
        (Slow, "f9-slow"),
        (Flush, "f10-flush"),
        (DeleteLog, "f10-delete"),
        (Trim, "f10-trim"),
        (WriteLog, "f10-write"),
        (OlderLog, "f10-older"),
        (StopNode, "f11"),
        (NodeClocks, "f12-nodes"),
        (RedisClock, "f12-redis"),
        (Refuse, "f13"),
        (KillNodes, "f14-kept"),
        (RollBackAll, "f14-rolled"),
    ];

    pub(super) fn name(self) -> &'static str {
        let mut named = Fault::NAMED.iter();
        let found = named.find(|(fault, _)| *fault == self);
        found.map_or("", |(_, name)| name)
    }

    /// The faults that a name means: one, all of a number, or all.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub(super) fn named(name: &str) -> Result<Vec<Fault>, String> {
        let is_meant = |(_, full): &(Fault, &str)| {
            let rest = full.strip_prefix(name);
            name == "all" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let found = Fault::NAMED.into_iter().filter(is_meant);
        let found: Vec<Fault> = found.map(|(fault, _)| fault).collect();
        match found.is_empty() {
            true => {
                let names = Fault::NAMED.map(|(_, name)| name).join(", ");
                Err(format!("there is no fault {name}; there are {names}"))
            }
            false => Ok(found),
        }
    }

    pub(super) fn topology(self) -> Topology {
        match self {
            LoseMaster | Promote => Topology::Sentinel,
            Split => Topology::Pair,
            _ => Topology::Single,
        }
    }

    /// Whether the clocks of nodes, and that of Redis, are those of libfaketime.
    pub(super) fn fakes_clocks(self) -> (bool, bool) {
        (self == NodeClocks, self == RedisClock)
    }

    /// Whether it makes a gap possible. By the others nothing is lost, so that each gap is wrong.
    pub(super) fn may_lose(self) -> bool {
        matches!(self, Split | KillBoth | Trim | StopNode | RollBackAll)
    }

    /// How long nothing is done after the fault is over, in microseconds.
    pub(super) fn calm_us(self) -> u64 {
        match self {
            Upgrade | NodeClocks | RedisClock => 2_000_000,
            Promote => 5_000_000,
            _ => 6_000_000,
        }
    }

    /// Messages a second, at least.
    pub(super) fn min_rate(self) -> f64 {
        match self {
            // More than the log keeps is to pass while the node is stopped.
            StopNode => 300.0,
            _ => 0.0,
        }
    }

    /// Bytes of the log in Redis: `--engine-log-bytes`.
    pub(super) fn log_bytes(self) -> &'static str {
        match self {
            StopNode => "1M",
            _ => "256M",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_found() {
        for (place, (fault, name)) in Fault::NAMED.into_iter().enumerate() {
            let others = &Fault::NAMED[..place];
            let is_other = |other: &(Fault, &str)| other.0 != fault && other.1 != name;
            assert!(others.iter().all(is_other), "{name}");
            assert_eq!(fault.name(), name);
            assert_eq!(Fault::named(name).unwrap(), [fault], "{name}");
        }
        assert_eq!(Fault::named("f1").unwrap(), [Kill], "not f10");
        assert_eq!(Fault::named("f2").unwrap(), [KillWithLog, RollBack]);
        assert_eq!(Fault::named("f9").unwrap().len(), 4);
        assert_eq!(Fault::named("all").unwrap().len(), Fault::NAMED.len());
        assert!(Fault::named("f").is_err());
        assert!(Fault::named("").is_err());
    }

    #[test]
    fn faults_by_which_nothing_is_lost_are_those_of_the_design() {
        let lossless = Fault::NAMED.iter().filter(|(fault, _)| !fault.may_lose());
        let names: Vec<&str> = lossless.map(|(_, name)| *name).collect();
        for number in ["f1", "f2", "f3", "f4", "f5", "f7", "f9", "f12", "f13"] {
            for fault in Fault::named(number).unwrap() {
                assert!(names.contains(&fault.name()), "{}", fault.name());
            }
        }
    }
}
