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
fn false_length_causes_no_large_allocation() {
    let mut bytes = (1u32 << 30).to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0; 100]);
    let mut thawer = Thawer::new(&bytes[..]);
    assert!(thawer.take::<Vec<u8>>().is_err());
    assert!(thawer.capacity() <= 128 << 10);
}

fn sequences() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let value = proptest::collection::vec(any::<u8>(), 0..9);
    proptest::collection::vec(proptest::collection::vec(value, 0..9), 1..5)
}

/// The values of sequences, between two other values.
fn frozen_sequences(sequences: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut freezer = Freezer::new(Vec::new());
    freezer.put(&1u8).unwrap();
    for sequence in sequences {
        freezer
            .put_all(sequence.iter().map(|bytes| Bytes(bytes)))
            .unwrap();
    }
    freezer.put(&2u8).unwrap();
    freezer.into_inner()
}

fn thawed_sequences(bytes: &[u8], count: usize) -> Result<Vec<Vec<Vec<u8>>>, ThawError> {
    let mut thawer = Thawer::new(bytes);
    let mut sequences = vec![Vec::new(); count];
    thawer.take::<u8>()?;
    for sequence in &mut sequences {
        let mut values = thawer.take_all();
        while let Some(Bytes(bytes)) = values.take()? {
            sequence.push(bytes.to_vec());
        }
        assert!(values.take::<u8>()?.is_none());
    }
    thawer.take::<u8>()?;
    thawer.finish()?;
    Ok(sequences)
}

proptest! {
    #[test]
    fn sequences_are_returned_as_they_were_written(
        sequences in sequences(),
        long in proptest::collection::vec(1usize..100_000, 0..8),
        place: proptest::sample::Index,
        change in 1u8..,
    ) {
        let long = long.into_iter().map(|bytes| vec![7; bytes]).collect();
        let sequences: Vec<_> = [long].into_iter().chain(sequences).collect();
        let mut bytes = frozen_sequences(&sequences);
        prop_assert_eq!(&thawed_sequences(&bytes, sequences.len()).unwrap(), &sequences);
        prop_assert!(thawed_sequences(&bytes, sequences.len() - 1).is_err());
        prop_assert!(thawed_sequences(&bytes, sequences.len() + 1).is_err());
        let place = place.index(bytes.len());
        prop_assert!(thawed_sequences(&bytes[..place], sequences.len()).is_err());
        bytes[place] ^= change;
        prop_assert!(thawed_sequences(&bytes, sequences.len()).is_err());
    }

    #[test]
    fn damaged_sequences_never_panic(
        sequences in sequences(),
        damages in proptest::collection::vec(damage::damage(), 1..4),
    ) {
        let bytes = damage::damaged(&frozen_sequences(&sequences), 0, damages);
        let _ = thawed_sequences(&bytes, sequences.len());
    }
}

#[test]
fn long_sequence_is_written_as_several_records() {
    let mut freezer = Freezer::new(Vec::new());
    freezer
        .put_all((0..200_000u32).map(|number| number | 1 << 31))
        .unwrap();
    let bytes = freezer.into_inner();
    let mut thawer = Thawer::new(&bytes[..]);
    let mut values = thawer.take_all();
    let mut count = 0;
    while let Some(number) = values.take::<u32>().unwrap() {
        assert_eq!(number, count | 1 << 31);
        count += 1;
    }
    assert_eq!(count, 200_000);
    assert!(thawer.capacity() <= 256 << 10);
}

#[test]
fn values_without_bytes_are_refused() {
    let bytes = frozen_sequences(&[vec![vec![1]]]);
    let mut thawer = Thawer::new(&bytes[..]);
    thawer.take::<u8>().unwrap();
    assert!(thawer.take_all().take::<()>().is_err());
}

#[test]
fn counts_near_overflow_are_refused() {
    for (value, is_taken) in [(0, true), (MAX_COUNT, true), (MAX_COUNT + 1, false)] {
        let mut freezer = Freezer::new(Vec::new());
        freezer.put(&Count(value)).unwrap();
        let bytes = freezer.into_inner();
        let counter = Thawer::new(&bytes[..]).take::<Count>();
        assert_eq!(counter.is_ok_and(|count| count == Count(value)), is_taken);
    }
}
