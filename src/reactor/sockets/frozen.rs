//! Sockets as they are handed over: a record and a descriptor each, in the order of their indices.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use serde::{Deserialize, Serialize};

use super::{Socket, Sockets};
use crate::handover::Fault;
use crate::reactor::addresses::{Addresses, UNCOUNTED};
use encke_core::engine::ConnId;
use encke_core::frozen::ThawError;

/// The state of a socket that is handed over beside its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::reactor) struct Record {
    index: u32,
    generation: u32,
    /// The index in the addresses of the process that hands it over.
    address: u32,
    flags: u8,
}

const WATCHES_WRITES: u8 = 1;
const IS_UNREAD: u8 = 1 << 1;
const AWAITS_HEADER: u8 = 1 << 2;

impl Record {
    /// Its connection.
    pub(in crate::reactor) fn id(&self) -> ConnId {
        ConnId {
            index: self.index,
            generation: self.generation,
        }
    }

    /// Whether the queue of deferred reads has its connection.
    pub(in crate::reactor) fn is_read_deferred(&self) -> bool {
        self.flags & IS_UNREAD != 0
    }
}

/// Checks records: their order, and what they refer to. Returns them with addresses of this
/// process, which count them.
///
/// # Errors
///
/// They are damaged, or do not fit.
pub(in crate::reactor) fn check(
    records: &mut [Record],
    of_addresses: &[(u32, IpAddr)],
    addresses: &mut Addresses,
    max_connections: usize,
) -> Result<(), ThawError> {
    let known: HashMap<u32, IpAddr> = of_addresses.iter().copied().collect();
    if !records.is_sorted_by(|one, next| one.index < next.index) {
        return Err(ThawError::Damaged("sockets are not in their order"));
    }
    if let Some(last) = records.last()
        && last.index as usize >= max_connections
    {
        return Err(ThawError::Exceeds(format!(
            "a connection has the place {}, and there are {max_connections} (--max-connections, the \
             file limit): give as many as before",
            last.index
        )));
    }
    for record in records {
        if record.generation == 0 || record.flags >= 1 << 3 {
            return Err(ThawError::Damaged("a socket"));
        }
        if record.address != UNCOUNTED {
            let address = known.get(&record.address);
            let address = address.ok_or(ThawError::Damaged("the address of a socket"))?;
            record.address = addresses.add_again(*address);
        }
    }
    Ok(())
}

/// Sockets that come from another process, one after another.
pub(in crate::reactor) struct Arriving<'r> {
    records: std::slice::Iter<'r, Record>,
    sockets: Vec<Option<Socket>>,
    registry: Registry,
}

impl<'r> Arriving<'r> {
    /// Expects the sockets of records, which were checked.
    pub(in crate::reactor) fn new(
        records: &'r [Record],
        registry: Registry,
        max_connections: usize,
    ) -> Arriving<'r> {
        Arriving {
            records: records.iter(),
            sockets: Vec::with_capacity(max_connections),
            registry,
        }
    }

    /// Takes the next one and watches it. What is readable already raises an event.
    pub(in crate::reactor) fn take(&mut self, fd: OwnedFd) -> Result<(), Fault> {
        let Some(record) = self.records.next() else {
            return Err(Fault::Unreadable("there is a socket too many".into()));
        };
        let index = record.index as usize;
        let socket = Socket {
            generation: record.generation,
            address: record.address,
            watches_writes: record.flags & WATCHES_WRITES != 0,
            is_read_deferred: record.is_read_deferred(),
            awaits_header: record.flags & AWAITS_HEADER != 0,
            fd,
        };
        let interest = match socket.watches_writes {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        let token = Token(record.id().to_token());
        let raw = socket.fd.as_raw_fd();
        self.registry
            .register(&mut SourceFd(&raw), token, interest)?;
        self.sockets.resize_with(index + 1, || None);
        self.sockets[index] = Some(socket);
        Ok(())
    }

    /// All sockets, if they are here.
    pub(in crate::reactor) fn finish(self) -> Option<Sockets> {
        let Arriving {
            mut records,
            sockets,
            registry,
        } = self;
        records
            .next()
            .is_none()
            .then_some(Sockets { sockets, registry })
    }
}

impl Sockets {
    /// The state of each socket as it is handed over.
    pub(in crate::reactor) fn records(&self) -> impl Iterator<Item = Record> {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let all = self.sockets.iter().zip(0..);
        all.filter_map(move |(socket, index)| {
            let socket = socket.as_ref()?;
            Some(Record {
                index,
                generation: socket.generation,
                address: socket.address,
                flags: flag(socket.watches_writes, WATCHES_WRITES)
                    | flag(socket.is_read_deferred, IS_UNREAD)
                    | flag(socket.awaits_header, AWAITS_HEADER),
            })
        })
    }

    /// Their descriptors, in the same order.
    pub(in crate::reactor) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let all = self.sockets.iter().flatten();
        all.map(|socket| socket.fd.as_fd())
    }
}
