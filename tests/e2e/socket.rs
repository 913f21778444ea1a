//! The client's side of a WebSocket.
//!
//! Owns the frames that it sends and those that have arrived in part.

use encke_test_client::websocket::{self, Frame, Frames, TEXT};
use serde_json::Value;

use crate::client::{Answer, Client, Head};
use crate::server::Server;

/// The mask of all frames that are sent.
pub(crate) const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// The client's side of one WebSocket.
pub(crate) struct Socket {
    pub(crate) client: Client,
    pub(crate) head: Head,
    frames: Frames,
}

impl Socket {
    pub(crate) fn open(server: &Server, target: &str) -> Socket {
        Socket::open_with(server, target, "")
    }

    pub(crate) fn open_with(server: &Server, target: &str, fields: &str) -> Socket {
        let mut client = server.client();
        client.ask("GET", target, &format!("{}{fields}", websocket::HANDSHAKE));
        let head = client.head();
        assert_eq!(head.status, 101, "{head:?}");
        Socket::after(client, head)
    }

    /// The socket of a client whose handshake was answered.
    pub(crate) fn after(client: Client, head: Head) -> Socket {
        Socket {
            client,
            head,
            frames: Frames::default(),
        }
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: impl AsRef<[u8]>) {
        let frame = websocket::frame(opcode, payload.as_ref(), MASK);
        self.client.send(frame);
    }

    pub(crate) fn ask(&mut self, command: Value) {
        self.send(TEXT, command.to_string());
    }

    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let byte = self.client.take(1)?;
            let frame = self.frames.next(&mut &byte[..]).expect("a right frame");
            if frame.is_some() {
                return frame;
            }
        }
    }

    pub(crate) fn frame(&mut self, opcode: u8) -> Vec<u8> {
        let frame = self.next().expect("the connection is open");
        assert_eq!(
            frame.opcode,
            opcode,
            "{:?}",
            frame.payload.escape_ascii().to_string()
        );
        frame.payload
    }

    pub(crate) fn object(&mut self) -> Value {
        serde_json::from_slice(&self.frame(TEXT)).expect("JSON")
    }

    /// Reads the close frame and the end that follows it.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let frame = self.next().expect("a close frame");
        let (code, reason) = frame.close_code().unwrap_or_else(|| panic!("{frame:?}"));
        let reason = String::from_utf8(reason.to_vec()).expect("UTF-8");
        self.client.expect_end();
        (code, reason)
    }

    pub(crate) fn opening(&mut self) -> String {
        cursor(&self.object())
    }

    pub(crate) fn data(&mut self) -> Value {
        self.object()["data"].take()
    }
}

/// The cursor of an object.
pub(crate) fn cursor(object: &Value) -> String {
    object["cursor"]
        .as_str()
        .unwrap_or_else(|| panic!("{object}"))
        .to_owned()
}

/// The answer to a handshake that is refused.
pub(crate) fn shaken(server: &Server, target: &str, fields: &str) -> Answer {
    server.client().get_with(target, fields)
}
