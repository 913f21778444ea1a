//! Ways in which the same bytes may arrive.

/// Where the pieces of `bytes` end, in several ways: all at once, one by one, and cut in places
/// that the bytes themselves decide.
pub(crate) fn ways(bytes: &[u8]) -> Vec<Vec<usize>> {
    let length = bytes.len();
    let mut ways = vec![vec![length], (1..=length).collect()];
    // Steps of a few bytes to a few hundred, from a generator that the bytes seed.
    let mut state = bytes.iter().fold(0x9e37_79b9_u32, |state, &byte| {
        (state ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    for most in [4, 40, 400] {
        let mut ends = Vec::new();
        let mut end = 0;
        while end < length {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            end = (end + 1 + state as usize % most).min(length);
            ends.push(end);
        }
        ways.push(ends);
    }
    ways
}
