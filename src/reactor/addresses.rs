//! The number of connections of each IP address.
//!
//! Owns the count for the limit on connections from one IP address. Where there is no limit it
//! keeps nothing. Unix sockets have no address and no limit.

use std::collections::HashMap;
use std::net::IpAddr;

use slab::Slab;

/// The index of a connection whose address is not counted.
pub(super) const UNCOUNTED: u32 = u32::MAX;

/// The addresses that have connections.
pub(super) struct Addresses {
    max_per_address: Option<usize>,
    indices: HashMap<IpAddr, u32>,
    counts: Slab<(IpAddr, usize)>,
}

impl Addresses {
    pub(super) fn new(max_per_address: Option<usize>) -> Addresses {
        Addresses {
            max_per_address,
            indices: HashMap::new(),
            counts: Slab::new(),
        }
    }

    /// Sets another limit. Connections that were accepted while there was none are not counted.
    pub(super) fn set_limit(&mut self, max_per_address: Option<usize>) {
        self.max_per_address = max_per_address;
    }

    /// Counts one more connection of an address, and returns the index to give to
    /// [`Addresses::remove`] when the connection is closed; `None` where the limit is reached.
    pub(super) fn add(&mut self, address: Option<IpAddr>) -> Option<u32> {
        let (Some(max), Some(address)) = (self.max_per_address, address) else {
            return Some(UNCOUNTED);
        };
        let address = address.to_canonical();
        let index = *self
            .indices
            .entry(address)
            .or_insert_with(|| self.counts.insert((address, 0)) as u32);
        let (_, count) = &mut self.counts[index as usize];
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(index)
    }

    /// The addresses and their indices.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        let counts = self.counts.iter();
        counts.map(|(index, (address, _))| (index as u32, *address))
    }

    /// Counts one connection more of an address that another process has counted, whatever the
    /// limit.
    pub(super) fn add_again(&mut self, address: IpAddr) -> u32 {
        let index = *self
            .indices
            .entry(address)
            .or_insert_with(|| self.counts.insert((address, 0)) as u32);
        self.counts[index as usize].1 += 1;
        index
    }

    /// Counts one connection less at an index.
    pub(super) fn remove(&mut self, index: u32) {
        if index == UNCOUNTED {
            return;
        }
        let (address, count) = &mut self.counts[index as usize];
        *count -= 1;
        if *count == 0 {
            self.indices.remove(address);
            self.counts.remove(index as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_until_their_last_connection_closes() {
        let mut addresses = Addresses::new(Some(2));
        let ip = |text: &str| Some(text.parse().unwrap());
        let first = addresses.add(ip("10.0.0.1")).unwrap();
        let second = addresses.add(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(first, second, "one address in both of its forms");
        assert_eq!(addresses.add(ip("10.0.0.1")), None);
        assert_eq!(addresses.add(None), Some(UNCOUNTED));
        let other = addresses.add(ip("10.0.0.2")).unwrap();
        assert_ne!(other, first);
        addresses.remove(first);
        assert_eq!(addresses.add(ip("10.0.0.1")), Some(first));
        for index in [first, first, other, UNCOUNTED] {
            addresses.remove(index);
        }
        assert!(addresses.indices.is_empty() && addresses.counts.is_empty());
    }

    #[test]
    fn limit_that_changes_counts_from_then_on() {
        let ip = Some([10, 0, 0, 1].into());
        let mut addresses = Addresses::new(None);
        let before = addresses.add(ip).unwrap();
        addresses.set_limit(Some(1));
        let counted = addresses.add(ip).unwrap();
        assert_eq!(addresses.add(ip), None);
        addresses.set_limit(None);
        let after = addresses.add(ip).unwrap();
        for index in [before, counted, after] {
            addresses.remove(index);
        }
        assert!(addresses.indices.is_empty() && addresses.counts.is_empty());
    }

    #[test]
    fn no_limit_keeps_no_address() {
        let mut addresses = Addresses::new(None);
        assert_eq!(addresses.add(Some([10, 0, 0, 1].into())), Some(UNCOUNTED));
        assert!(addresses.indices.is_empty());
    }
}
