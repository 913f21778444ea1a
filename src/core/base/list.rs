//! Doubly linked lists of `u32` indices, with the links kept in the caller's own table.
//!
//! Owns the two ends of each list; the links belong to the entries of a table behind
//! [`LinkTable`]. One table may hold any number of lists. A list never allocates and reads only the
//! links of an entry, and every operation is O(1), the splice included.
//!
//! Invariants:
//! - *One list*: through one [`Links`] an entry is a member of at most one list at a time.
//! - *Both ways*: walked backwards, a list is its forward walk reversed.
//! - *Clean removal*: an entry that `pop_front` or `unlink` removed is unlinked again.
//!
//! An entry does not record which list it is in: the caller must know. Debug builds assert what is
//! cheap to check: the ends of the list, and that an entry is not pushed twice.

use std::iter;

/// Marks the end of a list. `u32::MAX` can therefore not be a member.
const NIL: u32 = u32::MAX;

/// The links of an entry to its neighbours. The default is unlinked.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    prev: u32,
    next: u32,
}

const _: () = assert!(size_of::<Links>() == 8);

impl Links {
    /// Links of an entry that is in no list.
    pub const UNLINKED: Links = Links {
        prev: NIL,
        next: NIL,
    };

    /// False also for the only member of a list, which has no neighbours either.
    fn has_neighbour(self) -> bool {
        self.prev != NIL || self.next != NIL
    }
}

impl Default for Links {
    fn default() -> Links {
        Links::UNLINKED
    }
}

/// A table whose entries carry the links of the lists they are in.
pub trait LinkTable {
    /// The links of the entry at `index`, which exists.
    fn links(&self, index: u32) -> Links;

    /// The links of the entry at `index`, which exists, to be changed by a [`List`] only.
    fn links_mut(&mut self, index: u32) -> &mut Links;
}

/// The two ends of one list. Every call on it must be given the same table.
///
/// Dropping a list that has members leaves their links in the table: remove the members first.
#[derive(Debug)]
pub struct List {
    head: u32,
    tail: u32,
}

const _: () = assert!(size_of::<List>() == 8);

impl List {
    /// An empty list.
    pub const fn new() -> List {
        List {
            head: NIL,
            tail: NIL,
        }
    }

    /// Whether the list has no members.
    pub fn is_empty(&self) -> bool {
        debug_assert_eq!(self.head == NIL, self.tail == NIL);
        self.head == NIL
    }

    /// The first member.
    pub fn front(&self) -> Option<u32> {
        member(self.head)
    }

    /// The last member.
    pub fn back(&self) -> Option<u32> {
        member(self.tail)
    }

    /// Makes `index`, which is in no list, the last member.
    pub fn push_back(&mut self, table: &mut impl LinkTable, index: u32) {
        self.debug_assert_can_join(table, index);
        let last = self.tail;
        *table.links_mut(index) = Links {
            prev: last,
            next: NIL,
        };
        self.tail = index;
        match member(last) {
            Some(last) => table.links_mut(last).next = index,
            None => self.head = index,
        }
    }

    /// Removes and returns the first member.
    pub fn pop_front(&mut self, table: &mut impl LinkTable) -> Option<u32> {
        let first = self.front()?;
        self.unlink(table, first);
        Some(first)
    }

    /// Removes `index`, which must be a member of this list.
    pub fn unlink(&mut self, table: &mut impl LinkTable, index: u32) {
        let links = std::mem::take(table.links_mut(index));
        match member(links.prev) {
            Some(prev) => {
                debug_assert_eq!(table.links(prev).next, index, "torn list");
                table.links_mut(prev).next = links.next;
            }
            None => {
                debug_assert_eq!(self.head, index, "not a member of this list");
                self.head = links.next;
            }
        }
        match member(links.next) {
            Some(next) => {
                debug_assert_eq!(table.links(next).prev, index, "torn list");
                table.links_mut(next).prev = links.prev;
            }
            None => {
                debug_assert_eq!(self.tail, index, "not a member of this list");
                self.tail = links.prev;
            }
        }
    }

    /// Moves all members of `other`, in their order, to the end of this list.
    /// Touches at most two entries, however long the lists are.
    pub fn append(&mut self, table: &mut impl LinkTable, other: &mut List) {
        let Some(first) = other.front() else {
            return;
        };
        match self.back() {
            Some(last) => {
                debug_assert_ne!(last, other.tail, "a list appended to itself");
                table.links_mut(last).next = first;
                table.links_mut(first).prev = last;
            }
            None => self.head = first,
        }
        self.tail = other.tail;
        *other = List::new();
    }

    /// The member after `index`, which must be a member.
    pub fn after(&self, table: &impl LinkTable, index: u32) -> Option<u32> {
        let next = table.links(index).next;
        (next != NIL).then_some(next)
    }

    /// The members from first to last.
    pub fn iter(&self, table: &impl LinkTable) -> impl Iterator<Item = u32> {
        iter::successors(self.front(), |&index| {
            let next = member(table.links(index).next)?;
            debug_assert_eq!(table.links(next).prev, index, "torn list");
            Some(next)
        })
    }

    fn debug_assert_can_join(&self, table: &impl LinkTable, index: u32) {
        debug_assert_ne!(index, NIL, "u32::MAX is no index");
        debug_assert!(!table.links(index).has_neighbour(), "already in a list");
        debug_assert_ne!(self.head, index, "already in this list");
    }
}

impl Default for List {
    fn default() -> List {
        List::new()
    }
}

fn member(index: u32) -> Option<u32> {
    (index != NIL).then_some(index)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const ENTRIES: u32 = 24;
    const LISTS: usize = 4;

    /// Counts the writes to entries, to check the cost of `append`.
    struct Table {
        links: Vec<Links>,
        writes: usize,
    }

    impl Table {
        fn new() -> Table {
            Table {
                links: vec![Links::default(); ENTRIES as usize],
                writes: 0,
            }
        }
    }

    impl LinkTable for Table {
        fn links(&self, index: u32) -> Links {
            self.links[index as usize]
        }

        fn links_mut(&mut self, index: u32) -> &mut Links {
            self.writes += 1;
            &mut self.links[index as usize]
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        /// Moves an entry, wherever it is, to the back of a list.
        PushBack(usize, u32),
        PopFront(usize),
        Unlink(u32),
        Append(usize, usize),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let list = 0..LISTS;
        let entry = 0..ENTRIES;
        let op = prop_oneof![
            4 => (list.clone(), entry.clone()).prop_map(|(l, i)| Op::PushBack(l, i)),
            2 => list.clone().prop_map(Op::PopFront),
            2 => entry.prop_map(Op::Unlink),
            1 => (list.clone(), list).prop_map(|(to, from)| Op::Append(to, from)),
        ];
        prop::collection::vec(op, 1..200)
    }

    struct Pair {
        table: Table,
        lists: [List; LISTS],
        models: [VecDeque<u32>; LISTS],
    }

    impl Pair {
        fn new() -> Pair {
            Pair {
                table: Table::new(),
                lists: [const { List::new() }; LISTS],
                models: Default::default(),
            }
        }

        fn apply(&mut self, op: &Op) {
            match *op {
                Op::PushBack(list, index) => {
                    self.unlink(index);
                    self.lists[list].push_back(&mut self.table, index);
                    self.models[list].push_back(index);
                }
                Op::PopFront(list) => {
                    let popped = self.lists[list].pop_front(&mut self.table);
                    assert_eq!(popped, self.models[list].pop_front());
                }
                Op::Unlink(index) => self.unlink(index),
                Op::Append(to, from) if to != from => {
                    let [to_list, from_list] = self.lists.get_disjoint_mut([to, from]).unwrap();
                    self.table.writes = 0;
                    to_list.append(&mut self.table, from_list);
                    assert!(self.table.writes <= 2);
                    let [to_model, from_model] = self.models.get_disjoint_mut([to, from]).unwrap();
                    to_model.append(from_model);
                }
                Op::Append(..) => {}
            }
        }

        fn unlink(&mut self, index: u32) {
            let Some(list) = self.models.iter().position(|model| model.contains(&index)) else {
                return;
            };
            self.models[list].retain(|&member| member != index);
            self.lists[list].unlink(&mut self.table, index);
        }

        fn check(&self) {
            for (list, model) in self.lists.iter().zip(&self.models) {
                assert_eq!(list.is_empty(), model.is_empty());
                assert_eq!(list.front(), model.front().copied());
                assert_eq!(list.back(), model.back().copied());
                // At most one entry too many is taken, so that a cycle fails the test and does not
                // hang it.
                let forwards = list.iter(&self.table).take(model.len() + 1);
                assert!(forwards.eq(model.iter().copied()));
                let backwards =
                    iter::successors(list.back(), |&index| member(self.table.links(index).prev));
                assert!(
                    backwards
                        .take(model.len() + 1)
                        .eq(model.iter().rev().copied())
                );
            }
            for index in 0..ENTRIES {
                let listed = self.models.iter().any(|model| model.contains(&index));
                assert!(listed || !self.table.links(index).has_neighbour());
            }
        }
    }

    proptest! {
        #[test]
        fn lists_equal_their_twins_after_each_step(ops in ops()) {
            let mut pair = Pair::new();
            for op in &ops {
                pair.apply(op);
                pair.check();
            }
        }
    }

    #[cfg(debug_assertions)]
    mod misuse {
        use super::*;

        #[test]
        #[should_panic(expected = "already in a list")]
        fn entry_with_neighbours_cannot_join_another_list() {
            let (mut table, mut one, mut other) = (Table::new(), List::new(), List::new());
            one.push_back(&mut table, 1);
            one.push_back(&mut table, 2);
            other.push_back(&mut table, 1);
        }

        #[test]
        #[should_panic(expected = "already in this list")]
        fn lone_member_cannot_join_again() {
            let (mut table, mut list) = (Table::new(), List::new());
            list.push_back(&mut table, 1);
            list.push_back(&mut table, 1);
        }

        #[test]
        #[should_panic(expected = "not a member of this list")]
        fn end_of_another_list_cannot_be_unlinked() {
            let (mut table, mut one, mut other) = (Table::new(), List::new(), List::new());
            one.push_back(&mut table, 1);
            other.push_back(&mut table, 2);
            other.unlink(&mut table, 1);
        }

        #[test]
        #[should_panic(expected = "not a member of this list")]
        fn entry_in_no_list_cannot_be_unlinked() {
            let (mut table, mut list) = (Table::new(), List::new());
            list.unlink(&mut table, 1);
        }

        #[test]
        #[should_panic(expected = "no index")]
        fn end_marker_cannot_join_a_list() {
            List::new().push_back(&mut Table::new(), u32::MAX);
        }
    }
}
