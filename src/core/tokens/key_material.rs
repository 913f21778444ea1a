//! The checks of the key material in a file: sizes and encodings.
//!
//! Owns the limits on them. Each error is a few words that follow "the key" or the like.
//!
//! A point is not tested for being on its curve, because `ring` does so for each signature: a point
//! that is not on its curve is accepted here, but verifies no token.

use super::key::KeyMaterial;

/// The fewest bytes of a secret (RFC 7518, section 3.2: as long as the hash).
pub(super) const MIN_SECRET_BYTES: usize = 32;

/// The sizes of RSA keys, in bits: the least of RFC 7518, section 3.3, the most that `ring` takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The exponents that `ring` takes.
const RSA_EXPONENTS: std::ops::Range<u64> = 3..1 << 33;

/// A secret.
pub(super) fn secret(secret: &[u8]) -> Result<KeyMaterial<'_>, String> {
    match secret.len() {
        MIN_SECRET_BYTES.. => Ok(KeyMaterial::Secret(secret)),
        len => Err(format!(
            "is a secret of {len} bytes; at least {MIN_SECRET_BYTES} are needed, such as those of \
             openssl rand -base64 48"
        )),
    }
}

/// A point of Ed25519 (RFC 8032, section 5.1.5).
pub(super) fn ed25519(point: &[u8]) -> Result<KeyMaterial<'static>, String> {
    match point.try_into() {
        Ok(point) => Ok(KeyMaterial::Ed25519(point)),
        Err(_) => Err("is not an Ed25519 key: those have 32 bytes".into()),
    }
}

/// A point of P-256 (SEC 1, section 2.3.3).
pub(super) fn p256(point: &[u8]) -> Result<KeyMaterial<'static>, String> {
    match (point.first(), point.try_into()) {
        (Some(4), Ok(point)) => Ok(KeyMaterial::P256(point)),
        (Some(2 | 3), _) => Err(
            "is a compressed point; write it in full: openssl ec -pubin -in FILE -conv_form \
             uncompressed"
                .into(),
        ),
        _ => Err("is not a P-256 key: those have 32 bytes for x and for y".into()),
    }
}

/// A modulus and an exponent of RSA, big-endian.
pub(super) fn rsa<'a>(n: &'a [u8], e: &'a [u8]) -> Result<KeyMaterial<'a>, String> {
    let (n, e) = (without_zeros(n), without_zeros(e));
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
        return Err(format!(
            "is an RSA key of {bits} bits; {least} to {most} are allowed"
        ));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    let exponent = e
        .iter()
        .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    let is_exponent = is_odd(e) && e.len() <= 8 && RSA_EXPONENTS.contains(&exponent);
    if !is_odd(n) || !is_exponent {
        return Err("is not an RSA key: its modulus or its exponent cannot be one".into());
    }
    Ok(KeyMaterial::Rsa { n, e })
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}
