//! Signing tokens: what an application does, `encke token`, and tests. The server never signs.
//!
//! Owns the forms of private keys, and the form of what it signs. It has no clock and no random
//! source: claims and a [`SystemRandom`] are arguments.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::{Reader, SliceReader};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use spki::AlgorithmIdentifierRef;
use thiserror::Error;

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::invalid::Invalid;
use super::jws::Jws;
use super::key::KeyId;
use super::key_error::KeyError;
use super::{jwks, key_file, key_material, pem};

/// A key that signs tokens.
pub struct Signer {
    material: Material,
    random: SystemRandom,
}

enum Material {
    Secret(hmac::Key),
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    /// Reads the file of a key: a secret of at least 32 bytes (HS256), or a private key in PEM:
    /// Ed25519, P-256 or RSA in PKCS #8 (RFC 5958), or RSA in PKCS #1. RSA keys have 2,048 to 4,096
    /// bits.
    ///
    /// # Errors
    ///
    /// The error says what the file has to be. It contains nothing of the key.
    pub fn parse(file: &[u8], random: SystemRandom) -> Result<Signer, SignerError> {
        if file.len() > key_file::MAX_FILE_BYTES {
            return Err(KeyError::Long.into());
        }
        let material = if pem::is_pem(file) {
            private_key(file, &random)?
        } else if jwks::is_json(file) {
            return Err(SignerError::Jwk);
        } else {
            key_file::check_is_secret(file)?;
            let secret = key_file::without_line_end(file);
            key_material::secret(secret).map_err(KeyError::Unfit)?;
            Material::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret))
        };
        Ok(Signer { material, random })
    }

    /// The algorithm of its tokens. A key of RSA signs RS256.
    pub fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Ed25519(_) => Algorithm::EdDsa,
            Material::P256(_) => Algorithm::Es256,
            Material::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// Signs claims, a JSON object, as a token that a server accepts, if its key, audience and
    /// issuer are right.
    ///
    /// # Errors
    ///
    /// The claims are such that a server would refuse them, or the token would be longer than 4
    /// KiB.
    pub fn sign(&self, claims: &str, kid: Option<&str>) -> Result<String, SignError> {
        Claims::parse(claims.as_bytes(), KeyId(0))?;
        let alg = self.algorithm().name();
        let header = match kid {
            None => format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#),
            Some(kid) => {
                let kid = serde_json::Value::from(kid);
                format!(r#"{{"alg":"{alg}","typ":"JWT","kid":{kid}}}"#)
            }
        };
        let token = self.sign_text(&header, claims.as_bytes())?;
        Jws::parse(token.as_bytes())?;
        Ok(token)
    }

    /// Signs any header and any payload.
    pub(super) fn sign_text(&self, header: &str, payload: &[u8]) -> Result<String, SignError> {
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, signed: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError::Failed;
        Ok(match &self.material {
            Material::Secret(key) => hmac::sign(key, signed).as_ref().to_vec(),
            Material::Ed25519(key) => key.sign(signed).as_ref().to_vec(),
            Material::P256(key) => {
                let signature = key.sign(&self.random, signed).map_err(failed)?;
                signature.as_ref().to_vec()
            }
            Material::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &self.random, signed, &mut signature)
                    .map_err(failed)?;
                signature
            }
        })
    }
}

/// The only private key of a PEM file.
fn private_key(file: &[u8], random: &SystemRandom) -> Result<Material, SignerError> {
    let blocks = pem::blocks(file)?;
    let mut private = blocks
        .iter()
        .filter(|block| block.label.ends_with("PRIVATE KEY"));
    let block = match (private.next(), private.next()) {
        (Some(block), None) => block,
        (Some(_), Some(_)) => return Err(SignerError::Several),
        (None, _) => return Err(SignerError::Public),
    };
    match block.label {
        _ if block.is_encrypted() => Err(SignerError::Encrypted),
        "PRIVATE KEY" => pkcs8(&block.decode()?, random),
        "RSA PRIVATE KEY" => rsa(RsaKeyPair::from_der(&block.decode()?)),
        "EC PRIVATE KEY" => Err(SignerError::Sec1),
        "OPENSSH PRIVATE KEY" => Err(SignerError::OpenSsh),
        _ => Err(SignerError::Kind),
    }
}

fn pkcs8(der: &[u8], random: &SystemRandom) -> Result<Material, SignerError> {
    let broken = |_| SignerError::Key(KeyError::Pem("its DER is broken"));
    let algorithm = pkcs8_algorithm(der).map_err(broken)?;
    match algorithm.oid {
        // Of OpenSSL's keys the first version has no public key, which `ring` would compare.
        pem::ED25519 => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            Ok(key) => Ok(Material::Ed25519(key)),
            Err(_) => Err(SignerError::Refused("an Ed25519 key in PKCS #8")),
        },
        pem::EC if algorithm.parameters_oid() == Ok(pem::P256) => {
            match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, random) {
                Ok(key) => Ok(Material::P256(key)),
                Err(_) => Err(SignerError::Refused(
                    "a P-256 key in PKCS #8, with its public key",
                )),
            }
        }
        pem::RSA => rsa(RsaKeyPair::from_pkcs8(der)),
        _ => Err(SignerError::Kind),
    }
}

/// The algorithm of a private key (RFC 5958, section 2): what follows the version.
fn pkcs8_algorithm(der: &[u8]) -> der::Result<AlgorithmIdentifierRef<'_>> {
    let mut reader = SliceReader::new(der)?;
    let algorithm = reader.sequence(|inner| -> der::Result<_> {
        inner.decode::<u8>()?;
        let algorithm = inner.decode()?;
        inner.drain(inner.remaining_len())?;
        Ok(algorithm)
    })?;
    reader.finish()?;
    Ok(algorithm)
}

fn rsa(key: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Material, SignerError> {
    let refused = |_| SignerError::Refused("an RSA key of 2048 to 4096 bits");
    key.map(Material::Rsa).map_err(refused)
}

/// The reason for which the file of a signing key is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignerError {
    /// It is not a key that is read here.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It has no private key.
    #[error("a public key cannot sign; give the private key that belongs to it, or a secret")]
    Public,
    /// It has more than one private key.
    #[error("there are several private keys; give a file with one")]
    Several,
    /// It is a key of an elliptic curve in the form of SEC 1.
    #[error(
        "this is an EC key in the form of SEC 1; write it as PKCS #8: \
         openssl pkcs8 -topk8 -nocrypt -in FILE -out NEW"
    )]
    Sec1,
    /// It is in the form of OpenSSH.
    #[error(
        "this is a private key in the form of OpenSSH; write a copy of it as PKCS #8: \
         ssh-keygen -p -m PKCS8 -f COPY"
    )]
    OpenSsh,
    /// It is encrypted.
    #[error("this private key is encrypted; write it in plain: openssl pkey -in FILE -out NEW")]
    Encrypted,
    /// It is a JWK or a JWK set.
    #[error("a JWK cannot sign here; give the secret alone, or a private key in PEM")]
    Jwk,
    /// It is of a kind that signs nothing here.
    #[error("this private key is of a kind that is not used here: Ed25519, P-256 or RSA")]
    Kind,
    /// It is of the right kind and broken, or of a size that is not used.
    #[error("this private key cannot be used; {0} is needed")]
    Refused(&'static str),
}

/// The reason for which a token is not signed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignError {
    /// A server would refuse it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The system has no random bytes.
    #[error("the signature could not be made")]
    Failed,
}

#[cfg(test)]
mod tests;
