use proptest::prelude::*;

use super::*;

fn frozen(values: &[(u64, String)]) -> Vec<u8> {
    let mut freezer = Freezer::new(Vec::new());
    for value in values {
        freezer.put(value).unwrap();
    }
    freezer.into_inner()
}

fn thawed(bytes: &[u8], count: usize) -> Result<Vec<(u64, String)>, ThawError> {
    let mut thawer = Thawer::new(bytes);
    let values = (0..count)
        .map(|_| thawer.take())
        .collect::<Result<_, _>>()?;
    thawer.finish()?;
    Ok(values)
}

proptest! {
    #[test]
    fn returns_what_was_written(values: Vec<(u64, String)>) {
        let bytes = frozen(&values);
        prop_assert_eq!(thawed(&bytes, values.len()).unwrap(), values);
    }

    #[test]
    fn refuses_a_state_with_a_changed_byte_or_a_cut(
        values in proptest::collection::vec(any::<(u64, String)>(), 1..5),
        place: proptest::sample::Index,
        change in 1u8..,
    ) {
        let mut bytes = frozen(&values);
        let place = place.index(bytes.len());
        prop_assert!(thawed(&bytes[..place], values.len()).is_err());
        bytes[place] ^= change;
        prop_assert!(thawed(&bytes, values.len()).is_err());
    }
}

#[test]
fn refuses_bytes_after_the_last_value() {
    let bytes = frozen(&[(1, "one".into()), (2, "two".into())]);
    assert!(thawed(&bytes, 1).is_err());
}

#[test]
fn a_length_alone_allocates_little() {
    let mut bytes = (1u32 << 30).to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0; 100]);
    let mut thawer = Thawer::new(&bytes[..]);
    assert!(thawer.take::<Vec<u8>>().is_err());
    assert!(thawer.capacity() <= 128 << 10);
}
