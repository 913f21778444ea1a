//! A server that answers what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

/// A server that accepts one connection. The system refuses further ones.
pub(in crate::cluster) struct Fake(TcpListener);

impl Fake {
    pub(in crate::cluster) fn new() -> Fake {
        Fake(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    pub(in crate::cluster) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    /// Takes these commands in turn, answers each, and closes the connection.
    pub(in crate::cluster) fn serve<const N: usize>(
        self,
        turns: [(&'static str, String); N],
    ) -> JoinHandle<()> {
        thread::spawn(move || {
            let (mut stream, _) = self.0.accept().expect("a connection");
            drop(self.0);
            for (name, answer) in turns {
                let mut command = [0; 256];
                let len = stream.read(&mut command).expect("a command");
                let command = String::from_utf8_lossy(&command[..len]);
                assert!(command.contains(name), "{command} is {name}");
                stream.write_all(answer.as_bytes()).expect("it reads");
            }
        })
    }
}
