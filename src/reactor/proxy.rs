//! The PROXY protocol (HAProxy's proxy-protocol.txt, versions 1 and 2): the address of the client.
//!
//! Owns the first bytes of a connection on a `proxy:` listener. They are peeked at and read only
//! when the header is complete, so nothing is buffered here.

use std::net::IpAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};

use super::Reactor;
use super::sockets::Read;
use encke_core::engine::{ConnId, ConnectionLimit};

/// The longest header taken: room for version 2 with the additions that proxies send.
const MAX_HEADER_BYTES: usize = 4_096;

/// The state of a header of which some bytes have arrived.
enum Header {
    Partial,
    Whole(usize, Option<IpAddr>),
    Wrong,
}

impl Reactor {
    /// Reads a connection's header. Returns whether it is complete and the connection is still
    /// open.
    pub(super) fn take_header(&mut self, id: ConnId) -> bool {
        let buffer = &mut self.buffer[..MAX_HEADER_BYTES];
        let length = match self.sockets.peek(id, buffer) {
            Read::Bytes(length) => length,
            Read::Nothing => return false,
            Read::Eof | Read::Broken | Read::TimedOut => {
                self.engine.broken(id);
                return false;
            }
        };
        match header(&buffer[..length]) {
            Header::Partial => false,
            Header::Wrong => {
                log::debug!("a connection without a PROXY protocol header is closed");
                self.engine.broken(id);
                false
            }
            Header::Whole(length, address) => {
                // The header was peeked at just now, so one read takes all of it.
                let _ = self.sockets.read(id, &mut self.buffer[..length]);
                self.count_address(id, address)
            }
        }
    }

    /// Counts the connection for the address that the header names.
    fn count_address(&mut self, id: ConnId, address: Option<IpAddr>) -> bool {
        match self.addresses.add(address) {
            Some(index) => {
                self.sockets.end_header(id, index);
                true
            }
            None => {
                self.reject_registered(id, ConnectionLimit::Address);
                false
            }
        }
    }
}

fn header(bytes: &[u8]) -> Header {
    match ProxyHeader::parse(bytes, ParseConfig::default()) {
        Ok((header, length)) => {
            let address = header.proxied_address();
            Header::Whole(length, address.map(|address| address.source.ip()))
        }
        Err(Error::BufferTooShort) if bytes.len() < MAX_HEADER_BYTES => Header::Partial,
        Err(_) => Header::Wrong,
    }
}
