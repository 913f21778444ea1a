//! The fields of a WebSocket handshake (RFC 6455, section 4.2.1).
//!
//! Owns how they are read where they are repeated. What is wrong with them is no error of the
//! request: endpoints that are no WebSocket ignore them.

use bitflags::bitflags;

/// The bytes of a `Sec-WebSocket-Key`: 16 in base64.
const KEY_BYTES: usize = 24;

/// The subprotocol that encke knows.
const SUBPROTOCOL: &[u8] = b"encke";

bitflags! {
    /// The content of the fields.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Says: u8 {
        /// `Upgrade` names `websocket`.
        const WEBSOCKET = 1;
        /// `Connection` has the option `upgrade`.
        const UPGRADE = 1 << 1;
        /// There is a `Sec-WebSocket-Key`.
        const KEY = 1 << 2;
        /// A `Sec-WebSocket-Version` is 13.
        const VERSION_13 = 1 << 3;
        /// A `Sec-WebSocket-Version` is not 13.
        const OTHER_VERSION = 1 << 4;
        /// `Sec-WebSocket-Protocol` offers `encke`.
        const ENCKE = 1 << 5;
    }
}

/// The fields of a WebSocket handshake, as far as a request has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgrade<'b> {
    /// `Sec-WebSocket-Key`; `None` if it is missing, repeated, or of another length than a key has.
    pub key: Option<&'b [u8; KEY_BYTES]>,
    says: Says,
}

impl<'b> Upgrade<'b> {
    /// Whether the client asks to go on with the WebSocket protocol.
    pub fn is_to_websocket(&self) -> bool {
        self.says.contains(Says::WEBSOCKET | Says::UPGRADE)
    }

    /// Whether it asks for the version of RFC 6455, and for no other.
    pub fn is_version_13(&self) -> bool {
        let versions = Says::VERSION_13 | Says::OTHER_VERSION;
        self.says & versions == Says::VERSION_13
    }

    /// Whether it offers the subprotocol `encke`.
    pub fn offers_encke(&self) -> bool {
        self.says.contains(Says::ENCKE)
    }

    pub(super) fn record_upgrade(&mut self, value: &[u8]) {
        if has_element(value, b"websocket") {
            self.says |= Says::WEBSOCKET;
        }
    }

    pub(super) fn record_connection(&mut self) {
        self.says |= Says::UPGRADE;
    }

    pub(super) fn record_key(&mut self, value: &'b [u8]) {
        let is_repeated = self.says.contains(Says::KEY);
        self.says |= Says::KEY;
        self.key = value.try_into().ok().filter(|_| !is_repeated);
    }

    pub(super) fn record_version(&mut self, value: &[u8]) {
        self.says |= match value {
            b"13" => Says::VERSION_13,
            _ => Says::OTHER_VERSION,
        };
    }

    pub(super) fn record_protocols(&mut self, value: &[u8]) {
        // Names of subprotocols have a case (RFC 6455, section 4.1), and one is echoed as it was offered.
        if elements(value).any(|element| element == SUBPROTOCOL) {
            self.says |= Says::ENCKE;
        }
    }
}

/// Whether a list has an element, whatever its case.
fn has_element(list: &[u8], wanted: &[u8]) -> bool {
    elements(list).any(|element| element.eq_ignore_ascii_case(wanted))
}

/// The elements of a list (RFC 9110, section 5.6.1).
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}
