//! Parsers of whole decimal numbers, for cursors, ports and parameters.
//!
//! Owns three parsers: a canonical one, for numbers that encke wrote itself, an exact one, for
//! numbers of a protocol, and a saturating one, for numbers that a person typed. None accepts a
//! sign, white space or an empty text.

/// Parses a number in its canonical form: digits without a leading zero. Returns `None`
/// for anything else, and for a number above `u64::MAX`.
pub fn canonical(text: &[u8]) -> Option<u64> {
    let has_leading_zero = text.len() > 1 && text[0] == b'0';
    if has_leading_zero {
        return None;
    }
    exact(text)
}

/// Parses digits, leading zeros included. Returns `None` for anything else, and for a number above
/// `u64::MAX`.
pub fn exact(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Parses digits, leading zeros included. A number above `u64::MAX` becomes `u64::MAX`; callers
/// check a range that ends below it. Returns `None` for anything else.
pub fn saturating(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(exact(text).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parsers_agree_with_the_reference_model(text in "[0-9]{0,24}|[-+ 0-9x]{0,3}|\u{663}") {
            let is_digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            let number = is_digits.then(|| text.parse::<u128>().unwrap());
            let exact = number.and_then(|number| u64::try_from(number).ok());
            let is_canonical = exact.is_some_and(|number| number.to_string() == text);
            prop_assert_eq!(canonical(text.as_bytes()), exact.filter(|_| is_canonical));
            prop_assert_eq!(super::exact(text.as_bytes()), exact);
            let capped = number.map(|number| u64::try_from(number).unwrap_or(u64::MAX));
            prop_assert_eq!(saturating(text.as_bytes()), capped);
        }
    }
}
