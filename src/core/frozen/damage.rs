//! Damage to a state whose checksums match all the same, for tests.

use proptest::prelude::*;

use crate::base::record;

/// The values of a state, as bytes.
pub(crate) fn values(mut state: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    while let record::Read::Record { entry, rest } = record::read(state) {
        values.push(entry.to_vec());
        state = rest;
    }
    values
}

/// The state of these values, with checksums that match.
pub(crate) fn state_of(values: &[Vec<u8>]) -> Vec<u8> {
    let mut state = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        record::append(&mut state, |out| out.extend_from_slice(value));
    }
    state
}

/// A change of a state; the checksums are computed again afterwards.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    /// A byte of a value becomes another one.
    Change(prop::sample::Index, prop::sample::Index, u8),
    Insert(prop::sample::Index, prop::sample::Index, u8),
    Remove(prop::sample::Index, prop::sample::Index),
    /// A value is missing, there twice, or swapped with another.
    Drop(prop::sample::Index),
    Repeat(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
}

/// Any damage.
pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    let byte = || prop_oneof![0..12u8, any::<u8>(), Just(127), Just(255)];
    prop_oneof![
        12 => (place(), place(), byte()).prop_map(|(at, byte, new)| Damage::Change(at, byte, new)),
        2 => (place(), place(), byte()).prop_map(|(at, byte, new)| Damage::Insert(at, byte, new)),
        2 => (place(), place()).prop_map(|(at, byte)| Damage::Remove(at, byte)),
        1 => place().prop_map(Damage::Drop),
        1 => place().prop_map(Damage::Repeat),
        1 => (place(), place()).prop_map(|(one, other)| Damage::Swap(one, other)),
    ]
}

impl Damage {
    fn apply(self, values: &mut Vec<Vec<u8>>) {
        let count = values.len();
        match self {
            Damage::Change(at, byte, new) => {
                let value = &mut values[at.index(count)];
                if !value.is_empty() {
                    let byte = byte.index(value.len());
                    value[byte] = new;
                }
            }
            Damage::Insert(at, byte, new) => {
                let value = &mut values[at.index(count)];
                value.insert(byte.index(value.len() + 1), new);
            }
            Damage::Remove(at, byte) => {
                let value = &mut values[at.index(count)];
                if !value.is_empty() {
                    value.remove(byte.index(value.len()));
                }
            }
            Damage::Drop(at) => drop(values.remove(at.index(count))),
            Damage::Repeat(at) => values.insert(at.index(count), values[at.index(count)].clone()),
            Damage::Swap(one, other) => values.swap(one.index(count), other.index(count)),
        }
    }
}

/// A state with these damages, in all its records but the one at the place `spared`.
pub(crate) fn damaged(state: &[u8], spared: usize, damages: Vec<Damage>) -> Vec<u8> {
    let mut values = values(state);
    let value = values.remove(spared);
    for damage in damages {
        if !values.is_empty() {
            damage.apply(&mut values);
        }
    }
    values.insert(spared.min(values.len()), value);
    state_of(&values)
}
