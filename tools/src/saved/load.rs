//! A publisher that is as quick as it can be, or keeps a pace.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::text;
use encke_test_client::{Part, ResponseReader};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of the data of a message.
const DATA_BYTES: usize = 100;

/// A connection that publishes.
pub(super) struct Publisher {
    address: SocketAddrV4,
    stream: TcpStream,
    responses: ResponseReader,
    buffer: Vec<u8>,
}

impl Publisher {
    pub(super) fn connect(address: SocketAddrV4) -> Result<Publisher, String> {
        let stream = TcpStream::connect(address).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        Ok(Publisher {
            address,
            stream,
            responses: ResponseReader::without_extensions(),
            buffer: vec![0; 64 << 10],
        })
    }

    /// Publishes messages, so many of them unanswered at a time; how many were answered.
    pub(super) fn pipelined(&mut self, depth: u64, length: Duration) -> Result<u64, String> {
        let request = self.request("/publish/news", &"x".repeat(DATA_BYTES));
        self.rounds(&request, depth, 1, length)
    }

    /// Publishes batches of so many messages, one at a time; how many messages were answered.
    pub(super) fn batches(&mut self, count: u64, length: Duration) -> Result<u64, String> {
        let line = format!(
            "{{\"channel\":\"news\",\"data\":\"{}\"}}\n",
            "x".repeat(DATA_BYTES)
        );
        let request = self.request("/publish", &line.repeat(count as usize));
        self.rounds(&request, 1, count, length)
    }

    fn request(&self, target: &str, body: &str) -> Vec<u8> {
        let (host, length) = (self.address, body.len());
        format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: \
             {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// Keeps so many requests unanswered; each is of so many messages.
    fn rounds(
        &mut self,
        request: &[u8],
        depth: u64,
        messages: u64,
        length: Duration,
    ) -> Result<u64, String> {
        let until = Instant::now() + length;
        self.stream
            .write_all(&request.repeat(depth as usize))
            .map_err(text)?;
        let (mut open, mut answered) = (depth, 0);
        while open > 0 {
            let count = self.answers()?;
            answered += count;
            open -= count;
            if Instant::now() < until && count > 0 {
                self.stream
                    .write_all(&request.repeat(count as usize))
                    .map_err(text)?;
                open += count;
            }
        }
        Ok(answered * messages)
    }

    /// Reads, and returns how many answers that completed.
    fn answers(&mut self) -> Result<u64, String> {
        let length = self.stream.read(&mut self.buffer).map_err(text)?;
        if length == 0 {
            return Err("the server closed the connection".into());
        }
        let mut bytes = &self.buffer[..length];
        let mut count = 0;
        while let Some(part) = self.responses.next(&mut bytes).map_err(text)? {
            match part {
                Part::Head(head) if head.status != 200 => {
                    return Err(format!("an answer is {}", head.status));
                }
                Part::End => count += 1,
                _ => {}
            }
        }
        Ok(count)
    }

    /// Publishes at a rate, while a subscriber reads. Returns the times in seconds until each
    /// answer, and until each delivery.
    pub(super) fn paced(
        &mut self,
        rate: u32,
        length: Duration,
    ) -> Result<(Vec<f64>, Vec<f64>), String> {
        let count = (length.as_secs_f64() * f64::from(rate)) as usize;
        let mut reader = TcpStream::connect(self.address).map_err(text)?;
        reader.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        let head = format!(
            "GET /ndjson/paced HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.address
        );
        reader.write_all(head.as_bytes()).map_err(text)?;
        // Its head says that it is subscribed.
        let mut first = [0; 4_096];
        let _ = reader.read(&mut first).map_err(text)?;
        let (send, received) = mpsc::channel();
        let reading = thread::spawn(move || {
            let mut bytes = vec![0; 64 << 10];
            let mut seen = 0;
            while seen < count {
                let Ok(read @ 1..) = reader.read(&mut bytes) else {
                    return;
                };
                let now = Instant::now();
                let marks = bytes[..read]
                    .windows(4)
                    .filter(|four| four == b"\"zz\"")
                    .count();
                for _ in 0..marks {
                    // The other end waits for all of them.
                    let _ = send.send(now);
                }
                seen += marks;
            }
        });
        let request = self.request("/publish/paced", "zz");
        let step = Duration::from_secs(1) / rate;
        let begun = Instant::now();
        let (mut answers, mut sent) = (Vec::new(), Vec::new());
        for number in 0..count {
            let due = begun + step * number as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let at = Instant::now();
            sent.push(at);
            self.stream.write_all(&request).map_err(text)?;
            while self.answers()? == 0 {}
            answers.push(at.elapsed().as_secs_f64());
        }
        let mut deliveries = Vec::new();
        for at in sent {
            let arrived = received.recv_timeout(PATIENCE).map_err(text)?;
            deliveries.push(arrived.saturating_duration_since(at).as_secs_f64());
        }
        let _ = reading.join();
        Ok((answers, deliveries))
    }
}
