//! A TCP proxy between a node and Redis, which can be made to fail.
//!
//! Owns its connections: two threads each, which copy bytes in one direction. It knows nothing of
//! what goes through it. A change of the manner holds for connections that are open, too.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The treatment of bytes that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Manner {
    /// They go on at once.
    Open,
    /// All connections are closed, and new ones at once.
    Cut,
    /// They go on after [`DELAY`].
    Delay,
    /// They wait, and connections stay open.
    HalfOpen,
    /// They go on at [`SLOW_BYTES`] a second.
    Slow,
}

/// The delay of bytes in one direction.
const DELAY: Duration = Duration::from_millis(50);

/// 1 Mbit/s.
const SLOW_BYTES: u64 = 125_000;

/// How often a thread that waits looks whether the manner has changed.
const STEP: Duration = Duration::from_millis(10);

/// Bytes that are read at once. While they are slow, a change of the manner waits for them.
const PIECE: usize = 16 << 10;

struct Shared {
    manner: AtomicU8,
    to: Mutex<SocketAddrV4>,
    /// Both ends of all connections, so that they can be closed.
    ends: Mutex<Vec<TcpStream>>,
}

/// A proxy on a port of its own. It serves until the process ends.
pub(super) struct Proxy {
    pub(super) address: SocketAddrV4,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy for connections to an address.
    pub(super) fn start(to: SocketAddrV4) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            manner: AtomicU8::new(Manner::Open as u8),
            to: Mutex::new(to),
            ends: Mutex::new(Vec::new()),
        });
        let proxy = Proxy {
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A connection that cannot be served is closed, as by a server that is away.
                thread::spawn(move || shared.serve(client));
            }
        });
        Ok(proxy)
    }

    pub(super) fn set(&self, manner: Manner) {
        self.shared.manner.store(manner as u8, Ordering::SeqCst);
        if manner == Manner::Cut {
            self.shared.close_all();
        }
    }

    /// Closes all connections. New ones lead to an address.
    pub(super) fn lead_to(&self, address: SocketAddrV4) {
        *self.shared.to() = address;
        self.shared.close_all();
    }
}

impl Shared {
    fn ends(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to(&self) -> std::sync::MutexGuard<'_, SocketAddrV4> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_all(&self) {
        for end in self.ends().drain(..) {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn manner(&self) -> Manner {
        let manner = self.manner.load(Ordering::SeqCst);
        let all = [
            Manner::Open,
            Manner::Cut,
            Manner::Delay,
            Manner::HalfOpen,
            Manner::Slow,
        ];
        let is_it = |each: &Manner| *each as u8 == manner;
        all.into_iter().find(is_it).unwrap_or(Manner::Open)
    }

    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        if !self.wait_until_bytes_go() {
            return Ok(());
        }
        let to = *self.to();
        let server = TcpStream::connect(to)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let pairs = [
            (client.try_clone()?, server.try_clone()?),
            (server.try_clone()?, client.try_clone()?),
        ];
        {
            let mut ends = self.ends();
            // Those that are over.
            ends.retain(|end| end.take_error().is_ok() && end.peer_addr().is_ok());
            ends.extend([client, server]);
        }
        // One that came while all were closed.
        if self.manner() == Manner::Cut || *self.to() != to {
            self.close(&pairs[0]);
        }
        for (from, to) in pairs {
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // However it ends, both ends learn it.
                let _ = shared.copy(&from, &to);
                shared.close(&(from, to));
            });
        }
        Ok(())
    }

    fn close(&self, (one, other): &(TcpStream, TcpStream)) {
        let _ = one.shutdown(Shutdown::Both);
        let _ = other.shutdown(Shutdown::Both);
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = from.read(&mut buffer)?;
            // The end, too, arrives only where bytes do.
            if !self.wait_until_bytes_go() || length == 0 {
                return Ok(());
            }
            match self.manner() {
                Manner::Delay => thread::sleep(DELAY),
                Manner::Slow => {
                    let time_us = length as u64 * 1_000_000 / SLOW_BYTES;
                    thread::sleep(Duration::from_micros(time_us));
                }
                Manner::Open | Manner::Cut | Manner::HalfOpen => {}
            }
            to.write_all(&buffer[..length])?;
        }
    }

    /// Waits while connections are half open; false if they are cut.
    fn wait_until_bytes_go(&self) -> bool {
        loop {
            match self.manner() {
                Manner::HalfOpen => thread::sleep(STEP),
                manner => return manner != Manner::Cut,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// A server that sends back all that it gets.
    fn echo() -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    fn ask(stream: &mut TcpStream, text: &str) -> io::Result<String> {
        stream.write_all(text.as_bytes())?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[test]
    fn bytes_go_through_late_or_not_at_all() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = connect(&proxy);
        assert_eq!(ask(&mut stream, "one").unwrap(), "one");

        proxy.set(Manner::Delay);
        let begun = Instant::now();
        assert_eq!(ask(&mut stream, "two").unwrap(), "two");
        assert!(begun.elapsed() >= 2 * DELAY);

        proxy.set(Manner::Slow);
        let begun = Instant::now();
        let text = "x".repeat(20_000);
        assert_eq!(ask(&mut stream, &text).unwrap(), text);
        assert!(begun.elapsed() >= Duration::from_micros(20_000 * 1_000_000 / SLOW_BYTES));
    }

    #[test]
    fn half_open_connection_goes_on_later() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = connect(&proxy);
        assert_eq!(ask(&mut stream, "one").unwrap(), "one");
        proxy.set(Manner::HalfOpen);
        stream.write_all(b"two").unwrap();
        let mut new = connect(&proxy);
        new.write_all(b"new").unwrap();
        // Nothing arrives, and nothing is closed.
        for stream in [&mut stream, &mut new] {
            let moment = Some(Duration::from_millis(50));
            stream.set_read_timeout(moment).unwrap();
            let kind = stream.read(&mut [0]).unwrap_err().kind();
            assert!(matches!(
                kind,
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ));
            let patience = Some(Duration::from_secs(20));
            stream.set_read_timeout(patience).unwrap();
        }
        proxy.set(Manner::Open);
        for (stream, text) in [(&mut stream, "two"), (&mut new, "new")] {
            let mut answer = [0; 3];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, text.as_bytes());
        }
    }

    #[test]
    fn cut_connections_are_closed_and_new_ones_at_once() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = connect(&proxy);
        assert_eq!(ask(&mut stream, "one").unwrap(), "one");
        proxy.set(Manner::Cut);
        assert!(ask(&mut stream, "two").is_err());
        assert!(ask(&mut connect(&proxy), "new").is_err());
        proxy.set(Manner::Open);
        assert_eq!(ask(&mut connect(&proxy), "new").unwrap(), "new");
    }
}
