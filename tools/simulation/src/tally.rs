//! Counts of events in all worlds, which show that every path was reached.

use encke_oracle::log::Transport;

use crate::run::Counts;

/// The endpoints to receive from, in the order of a tally. How a request to one differs from
/// others, its `Receive` says.
pub(crate) const ENDPOINTS: [Transport; 6] = [
    Transport::Poll,
    Transport::LongPoll,
    Transport::Sse,
    Transport::Ndjson,
    Transport::Frame,
    Transport::WebSocket,
];

/// Below this, a count is too seldom to find anything.
const SELDOM: u64 = 10;

/// Counts of what happened, each with its name: some are summed over worlds, some are maxima.
macro_rules! tally {
    (sums { $($sum:ident $sum_name:literal,)* } maxima { $($most:ident $most_name:literal,)* }) => {
        /// Counts of what happened.
        #[derive(Clone, Debug, Default)]
        pub struct Tally {
            $(pub(crate) $sum: u64,)*
            $(pub(crate) $most: u64,)*
            /// Messages received, by transport.
            pub(crate) received: [u64; Transport::ALL.len()],
        }

        impl Counts for Tally {
            fn add(&mut self, other: &Tally) {
                $(self.$sum += other.$sum;)*
                $(self.$most = self.$most.max(other.$most);)*
                for (mine, theirs) in self.received.iter_mut().zip(other.received) {
                    *mine += theirs;
                }
            }
        }

        impl Tally {
            /// The events, and how often each happened.
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                let names = [
                    "polled",
                    "long-polled",
                    "server-sent events",
                    "lines",
                    "scripts",
                    "frames",
                ];
                let mut counts = vec![$(($sum_name, self.$sum)),*];
                let received = ENDPOINTS.map(|endpoint| self.received[endpoint as usize]);
                counts.extend(names.into_iter().zip(received));
                counts
            }

            /// The most by which something was over.
            pub fn maxima(&self) -> Vec<(&'static str, u64)> {
                vec![$(($most_name, self.$most)),*]
            }
        }
    };
}

tally! {
    sums {
    steps "steps",
    accepted "connections",
    full "connections that found no room",
    asked "requests",
    pipelines "pipelines longer than a turn",
    answered "answers",
    messages "messages",
    floods "floods of producers",
    retries "publishes repeated",
    deletes "histories deleted",
    held "polls held",
    empty "holds expired",
    given_up "holds given up",
    early "polls with an early head",
    lingered "batches gathered",
    gaps "gaps",
    needless_gaps "gaps where a channel was forgotten",
    blocks "short writes",
    stalled "readers stalled",
    no_room "readers without room",
    recycled "streams ended for size or age",
    refused "requests refused",
    commands "commands",
    commands_refused "commands refused",
    commands_forbidden "commands without right",
    changes "changes of what is followed",
    pongs "pongs",
    jumps "jumps of the clock",
    wall_steps "steps of the calendar",
    drains "drains",
    reloads "reloads",
    rights "changes of rights",
    reviewed "rights taken away by a change",
    by_token "requests parked by token",
    unauthorized "requests refused with 401",
    forbidden "requests refused with 403",
    kicks "kicks",
    kicked "connections kicked",
    counts "counts of connections",
    expired "streams whose right ended",
    ends "channels ended",
    done "readers told of the end of all channels",
    done_in_part "readers told of the end of some channels",
    not_to_come_back "readers answered 204",
    by_lines "lines published as they came",
    broken_lines "requests by lines refused",
    paced "writes to paced streams",
    ended_holds "holds whose right ended",
    quiet "times of quiet",
    replaced "messages replaced",
    restarts "restarts",
    handed_over "hand-overs",
    beside "hand-overs with the one before beside",
    reloaded_by_hand_over "hand-overs with other settings",
    carried "segments carried over",
    failures "failures of the disk",
    full_channels "readers of full channels",
    missing_channels "readers of channels that publishers create",
    too_large "messages too large for their channel",
    }
    maxima {
    over_history "bytes over the limit for messages",
    over_buffers "bytes over the limit for buffers",
    left_buffered "bytes of shared answers left",
    }
}

impl Tally {
    /// Steps of worlds.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The events that were too rare: a simulation that never reaches a fault does not find it.
    /// Needless gaps may be as seldom as they like.
    pub fn seldom(&self) -> Vec<(&'static str, u64)> {
        let mut counts = self.counts();
        counts.retain(|&(name, count)| {
            count < SELDOM && name != "gaps where a channel was forgotten"
        });
        counts
    }
}
