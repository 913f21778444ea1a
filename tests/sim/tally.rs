//! What happened in all the runs, to show that they reached what they should.

/// Counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) messages: u64,
    pub(crate) retries: u64,
    pub(crate) deletes: u64,
    pub(crate) received: [u64; 5],
    pub(crate) held: u64,
    pub(crate) empty: u64,
    pub(crate) given_up: u64,
    pub(crate) early: u64,
    pub(crate) lingered: u64,
    pub(crate) gaps: u64,
    pub(crate) needless_gaps: u64,
    pub(crate) blocks: u64,
    pub(crate) stalled: u64,
    pub(crate) no_room: u64,
    pub(crate) recycled: u64,
    pub(crate) refused: u64,
    pub(crate) drains: u64,
    pub(crate) quiet: u64,
    /// The most by which what is kept for readers was over its limit, in bytes.
    pub(crate) over_history: u64,
    /// The same of buffers.
    pub(crate) over_buffers: u64,
    /// Bytes of shared answers left at the end.
    pub(crate) left_buffered: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.steps += other.steps;
        self.messages += other.messages;
        self.retries += other.retries;
        self.deletes += other.deletes;
        for (mine, theirs) in self.received.iter_mut().zip(other.received) {
            *mine += theirs;
        }
        self.held += other.held;
        self.empty += other.empty;
        self.given_up += other.given_up;
        self.early += other.early;
        self.lingered += other.lingered;
        self.gaps += other.gaps;
        self.needless_gaps += other.needless_gaps;
        self.blocks += other.blocks;
        self.stalled += other.stalled;
        self.no_room += other.no_room;
        self.recycled += other.recycled;
        self.refused += other.refused;
        self.drains += other.drains;
        self.quiet += other.quiet;
        self.over_history = self.over_history.max(other.over_history);
        self.over_buffers = self.over_buffers.max(other.over_buffers);
        self.left_buffered = self.left_buffered.max(other.left_buffered);
    }
}
