//! Ports for programs that cannot choose one themselves.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// Ports of loopback that were unused just now, below those that the kernel gives to connections:
/// or those of thousands of clients would be in a server's way.
///
/// # Errors
///
/// All are taken.
pub fn free_ports<const WANTED: usize>() -> io::Result<[SocketAddrV4; WANTED]> {
    let first = fastrand::u16(..COUNT);
    let ports = (0..COUNT).map(|step| FIRST + (first + step) % COUNT);
    // Held until all are found.
    let free = ports.filter_map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok());
    let held: Vec<TcpListener> = free.take(WANTED).collect();
    let mut addresses = [SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0); WANTED];
    if held.len() < WANTED {
        return Err(io::Error::other("all ports are taken"));
    }
    for (address, listener) in addresses.iter_mut().zip(&held) {
        address.set_port(listener.local_addr()?.port());
    }
    Ok(addresses)
}
