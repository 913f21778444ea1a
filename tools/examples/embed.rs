//! A program with encke inside: two threads publish, the main thread serves.
//!
//!     cargo run -p encke-tools --example embed
//!     curl -N http://127.0.0.1:7711/sse/clock,counter

use std::thread;
use std::time::{Duration, SystemTime};

use encke::{Config, PublishError, Server};

fn main() -> Result<(), encke::Error> {
    let server = Server::bind(Config::default())?;
    let (clock, counter) = (server.publisher(), server.publisher());
    thread::spawn(move || -> Result<(), PublishError> {
        loop {
            clock.publish("clock", format!("{:?}", SystemTime::now()))?;
            thread::sleep(Duration::from_secs(1));
        }
    });
    thread::spawn(move || {
        (0_u64..).try_for_each(|count| {
            thread::sleep(Duration::from_millis(500));
            counter.publish("counter", count.to_string())
        })
    });
    println!("curl -N http://127.0.0.1:7711/sse/clock,counter");
    server.run()
}
