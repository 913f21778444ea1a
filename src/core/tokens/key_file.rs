//! The file of a key: which of the forms it has.
//!
//! Owns the distinction, where a mistake would be grave: if a public key were taken for a secret,
//! anyone who knows it could sign tokens. So whatever looks like a key of another form is an error,
//! and not a secret.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::key::{Key, Label, MAX_KEYS};
use super::key_error::KeyError;
use super::{jwks, key_material, pem};

/// A longer file is a mistake and not a key.
pub const MAX_FILE_BYTES: usize = 1 << 20;

impl Key {
    /// Reads the file of a key: a secret of at least 32 bytes (HS256; a final LF or CRLF is not
    /// part of it), public keys in PEM (Ed25519, P-256, RSA of 2,048 to 8,192 bits), or a JWK set
    /// (RFC 7517). At most 1 MiB. The texts are warnings: keys of the set that are skipped.
    ///
    /// # Errors
    ///
    /// The error says what the file has to be. It contains nothing of a secret.
    pub fn parse(file: &[u8]) -> Result<(Vec<Key>, Vec<String>), KeyError> {
        if file.len() > MAX_FILE_BYTES {
            return Err(KeyError::Long);
        }
        let (keys, warnings) = if pem::is_pem(file) {
            (pem::parse(file)?, Vec::new())
        } else if jwks::is_json(file) {
            jwks::parse(file)?
        } else {
            check_is_secret(file)?;
            let material = key_material::secret(without_line_end(file)).map_err(KeyError::Unfit)?;
            (vec![Key::new(material, Label::default())], Vec::new())
        };
        match keys.len() {
            // Without a key there would be no tokens, and anyone might receive.
            0 => Err(KeyError::Pem("there is no key in the file")),
            1..=MAX_KEYS => Ok((keys, warnings)),
            count => Err(KeyError::TooMany(count)),
        }
    }
}

/// The content of a secret's file.
pub(super) fn without_line_end(file: &[u8]) -> &[u8] {
    match file {
        [secret @ .., b'\r', b'\n'] | [secret @ .., b'\n'] => secret,
        secret => secret,
    }
}

/// Refuses keys in forms that are not read here.
pub(super) fn check_is_secret(file: &[u8]) -> Result<(), KeyError> {
    const OPENSSH: [&[u8]; 6] = [
        b"ssh-rsa ",
        b"ssh-ed25519 ",
        b"ecdsa-sha2-",
        b"sk-ssh-",
        b"sk-ecdsa-",
        b"---- BEGIN SSH2",
    ];
    let text = file.trim_ascii();
    if OPENSSH.iter().any(|start| text.starts_with(start)) {
        let form = "in the form of OpenSSH; write it as PEM: ssh-keygen -e -m PKCS8 -f FILE";
        return Err(KeyError::Form(form));
    }
    if pem::is_der(file) {
        let form = "in DER; write it as PEM: openssl pkey -pubin -inform DER -in FILE";
        return Err(KeyError::Form(form));
    }
    if is_base64_of_der(text) {
        let form = "without the lines of PEM around it: -----BEGIN PUBLIC KEY----- before, and \
                    -----END PUBLIC KEY----- after it";
        return Err(KeyError::Form(form));
    }
    let ascii: Vec<u8> = (file.iter().copied())
        .filter(|byte| matches!(byte, 1..=127))
        .collect();
    if pem::is_pem(&ascii) || jwks::is_json(&ascii) {
        return Err(KeyError::Form("in UTF-16; save it as UTF-8"));
    }
    Ok(())
}

/// Whether a text is the base64 of a key, as some providers show it to be copied: of either
/// alphabet, with or without padding, in one line or several, in quotes or not.
fn is_base64_of_der(text: &[u8]) -> bool {
    let standard = text.iter().filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'"' | b'\'' => None,
        _ => (!byte.is_ascii_whitespace()).then_some(*byte),
    });
    let standard: Vec<u8> = standard.collect();
    let padding = DecodePaddingMode::Indifferent;
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let decoded = GeneralPurpose::new(&STANDARD, lenient).decode(standard);
    decoded.is_ok_and(|bytes| pem::is_der(&bytes))
}

#[cfg(test)]
mod tests;
