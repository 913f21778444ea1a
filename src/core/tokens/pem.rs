//! Public keys in PEM (RFC 7468): `SubjectPublicKeyInfo` (RFC 5280, section 4.1), and the
//! `RSAPublicKey` of PKCS #1 (RFC 8017, appendix A.1.1).
//!
//! Owns the blocks of such a file, and what to do with those that are something else. The DER in
//! them is parsed by the crates `der` and `spki`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Reader, SliceReader};
use memchr::memmem;
use spki::SubjectPublicKeyInfoRef;

use super::key::{Key, KeyMaterial, Label};
use super::key_error::KeyError;
use super::key_material;

pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The fault of a file whose line ends were lost, or that has more in the lines of PEM.
const NO_LINE: KeyError = KeyError::Pem("a BEGIN line is not a line of its own");

/// A block of a PEM file: its label and its text, which is base64.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    text: String,
}

/// The beginning of a block.
const BEGIN: &str = "-----BEGIN ";

/// Whether a file is meant as PEM: something in it begins a block, be it in quotes or behind a
/// name.
pub(super) fn is_pem(file: &[u8]) -> bool {
    memmem::find(file, BEGIN.as_bytes()).is_some()
}

/// The blocks of a file that [`is_pem`], at least one. Text around them is ignored.
pub(super) fn blocks(file: &[u8]) -> Result<Vec<Block<'_>>, KeyError> {
    let text = std::str::from_utf8(file).map_err(|_| KeyError::Pem("it is not text"))?;
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = line.trim_start().strip_prefix(BEGIN) else {
            continue;
        };
        let label = label.trim_end().strip_suffix("-----");
        let label = label.ok_or(NO_LINE)?;
        let end = format!("-----END {label}-----");
        let mut text = String::new();
        loop {
            match lines.next() {
                None => return Err(KeyError::Pem("a block has no END line, or another's")),
                Some(line) if line.trim() == end => break,
                Some(line) => text.extend(line.split_ascii_whitespace()),
            }
        }
        blocks.push(Block { label, text });
    }
    match blocks.is_empty() {
        true => Err(NO_LINE),
        false => Ok(blocks),
    }
}

impl Block<'_> {
    /// The bytes of it.
    pub(super) fn decode(&self) -> Result<Vec<u8>, KeyError> {
        let decoded = STANDARD.decode(&self.text);
        decoded.map_err(|_| KeyError::Pem("a block is not base64"))
    }

    /// Whether it is encrypted, by PKCS #8 or by the fields of RFC 1421.
    pub(super) fn is_encrypted(&self) -> bool {
        self.label.starts_with("ENCRYPTED ") || self.text.starts_with("Proc-Type:")
    }
}

/// Reads the public keys of a file.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Key>, KeyError> {
    // Whatever else is in the file, or wrong with it: a private key must not stay there.
    if memmem::find(file, b"PRIVATE KEY-----").is_some() {
        return Err(KeyError::Private);
    }
    blocks(file)?.iter().map(key).collect()
}

fn key(block: &Block<'_>) -> Result<Key, KeyError> {
    let bytes = match block.label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => block.decode()?,
        label if label.ends_with("CERTIFICATE") => return Err(KeyError::Certificate),
        _ => {
            return Err(KeyError::Pem(
                "a block is neither PUBLIC KEY nor RSA PUBLIC KEY",
            ));
        }
    };
    let material = match block.label {
        "PUBLIC KEY" => public_key(&bytes)?,
        _ => rsa_public_key(&bytes)?,
    };
    Ok(Key::new(material, Label::default()))
}

fn public_key(der: &[u8]) -> Result<KeyMaterial<'_>, KeyError> {
    let broken = KeyError::Pem("its DER is broken");
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| broken.clone())?;
    let key = info.subject_public_key.as_bytes().ok_or(broken)?;
    let material = match info.algorithm.oid {
        ED25519 => key_material::ed25519(key),
        EC if info.algorithm.parameters_oid() == Ok(P256) => key_material::p256(key),
        RSA => return rsa_public_key(key),
        EC => Err("is of another curve than P-256".into()),
        _ => Err("is of a kind that is not used here: Ed25519, P-256 or RSA".into()),
    };
    material.map_err(KeyError::Unfit)
}

fn rsa_public_key(der: &[u8]) -> Result<KeyMaterial<'_>, KeyError> {
    let numbers = || -> der::Result<(UintRef<'_>, UintRef<'_>)> {
        let mut reader = SliceReader::new(der)?;
        let (n, e) =
            reader.sequence(|inner| der::Result::Ok((inner.decode()?, inner.decode()?)))?;
        reader.finish()?;
        Ok((n, e))
    };
    let (n, e) = numbers().map_err(|_| KeyError::Pem("its DER is broken"))?;
    key_material::rsa(n.as_bytes(), e.as_bytes()).map_err(KeyError::Unfit)
}

/// Whether a file is one whole DER sequence that begins with a number or a sequence, as all forms
/// of keys do, and as one in millions of random secrets does.
pub(super) fn is_der(file: &[u8]) -> bool {
    let whole = der::asn1::AnyRef::from_der(file);
    let is_key = |value: &[u8]| matches!(value.first(), Some(0x02 | 0x30));
    file.first() == Some(&0x30) && whole.is_ok_and(|whole| is_key(whole.value()))
}
