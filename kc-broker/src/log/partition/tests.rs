use super::super::sample::Sample;
use super::*;

fn batch(sample: Sample) -> RecordBatch {
    RecordBatch::parse(sample.bytes()).unwrap()
}

fn memory() -> Memory {
    Memory::new(1 << 20)
}

/// A partition with three batches of three records, which have the offsets 0 to 8.
fn nine_records() -> (Partition, Memory) {
    let (mut partition, mut memory) = (Partition::default(), memory());
    for i in 0..3 {
        let sample = Sample::new(3).times(1_000 * (i + 1), 10);
        let base = partition.append(&batch(sample), &mut memory);
        assert_eq!(base, Ok(3 * i));
    }
    (partition, memory)
}

fn base_offsets(mut bytes: Bytes) -> Vec<i64> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = i32::from_be_bytes(bytes[8..12].try_into().unwrap());
        let one = bytes.split_to(12 + usize::try_from(length).unwrap());
        found.push(i64::from_be_bytes(one[..8].try_into().unwrap()));
    }
    found
}

#[test]
fn a_read_from_inside_a_batch_returns_that_batch() {
    let (partition, _) = nine_records();
    assert_eq!(
        base_offsets(partition.read(4, 1 << 20, true).unwrap()),
        [3, 6]
    );
    assert_eq!(
        base_offsets(partition.read(0, 1 << 20, true).unwrap()),
        [0, 3, 6]
    );
    assert!(partition.read(9, 1 << 20, true).unwrap().is_empty());
}

#[test]
fn a_read_stops_at_its_limit_but_can_be_made_to_return_one() {
    let (partition, _) = nine_records();
    let one = partition.read(0, 1, true).unwrap();
    assert_eq!(base_offsets(one.clone()), [0]);
    assert!(partition.read(0, 1, false).unwrap().is_empty());
    let two = partition.read(0, 2 * one.len(), false).unwrap();
    assert_eq!(base_offsets(two), [0, 3]);
    let not_quite_two = partition.read(0, 2 * one.len() - 1, true).unwrap();
    assert_eq!(base_offsets(not_quite_two), [0]);
}

#[test]
fn a_read_outside_the_log_is_out_of_range() {
    let (mut partition, mut memory) = nine_records();
    assert_eq!(partition.read(10, 1, true), Err(OutOfRange));
    assert_eq!(partition.read(-1, 1, true), Err(OutOfRange));
    partition.delete_before(Some(4), &mut memory).unwrap();
    assert_eq!(partition.read(3, 1, true), Err(OutOfRange));
    assert_eq!(base_offsets(partition.read(4, 1, true).unwrap()), [3]);
}

#[test]
fn finds_offsets_by_time() {
    let (partition, _) = nine_records();
    assert_eq!(partition.find(TimeQuery::Earliest), Some((0, -1)));
    assert_eq!(partition.find(TimeQuery::Latest), Some((9, -1)));
    assert_eq!(partition.find(TimeQuery::Since(2_010)), Some((4, 2_010)));
    assert_eq!(partition.find(TimeQuery::Since(2_021)), Some((6, 3_000)));
    assert_eq!(partition.find(TimeQuery::Since(3_021)), None);
    assert_eq!(partition.find(TimeQuery::MaxTimestamp), Some((8, 3_020)));
    assert_eq!(Partition::default().find(TimeQuery::MaxTimestamp), None);
}

#[test]
fn a_repeated_batch_of_an_idempotent_producer_is_stored_once() {
    let (mut partition, mut memory) = (Partition::default(), memory());
    let first = batch(Sample::new(2).producer(5, 0, 0));
    let second = batch(Sample::new(2).producer(5, 0, 2));
    assert_eq!(partition.append(&first, &mut memory), Ok(0));
    assert_eq!(partition.append(&second, &mut memory), Ok(2));
    assert_eq!(partition.append(&first, &mut memory), Ok(0));
    assert_eq!(partition.append(&second, &mut memory), Ok(2));
    assert_eq!(partition.end(), 4);
    let gap = batch(Sample::new(1).producer(5, 0, 9));
    let refused = partition.append(&gap, &mut memory);
    assert!(matches!(refused, Err(AppendError::Sequence(_))));
}

#[test]
fn a_full_memory_refuses_and_leaves_no_trace() {
    let sample = batch(Sample::new(1).producer(5, 0, 0));
    let mut memory = Memory::new(cost(&sample));
    let mut partition = Partition::default();
    partition.append(&sample, &mut memory).unwrap();
    let next = batch(Sample::new(1).producer(5, 0, 1));
    let refused = partition.append(&next, &mut memory);
    assert!(matches!(refused, Err(AppendError::Memory(_))));
    assert_eq!(partition.end(), 1);
    // The refused batch is accepted when there is room, because no sequence number was skipped.
    partition.delete_before(None, &mut memory).unwrap();
    assert_eq!(partition.append(&next, &mut memory), Ok(1));
}

#[test]
fn deleting_a_partition_gives_its_memory_back() {
    let sample = batch(Sample::new(1));
    let mut memory = Memory::new(cost(&sample));
    let mut partition = Partition::default();
    partition.append(&sample, &mut memory).unwrap();
    partition.free(&mut memory);
    assert_eq!(memory.charge(cost(&sample)), Ok(()));
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let (mut partition, mut memory) = nine_records();
    assert_eq!(
        partition.delete_before(Some(10), &mut memory),
        Err(OutOfRange)
    );
    assert_eq!(partition.delete_before(Some(3), &mut memory), Ok(3));
    assert_eq!(partition.delete_before(Some(1), &mut memory), Ok(3));
    assert_eq!(partition.find(TimeQuery::Earliest), Some((3, -1)));
    assert_eq!(partition.delete_before(None, &mut memory), Ok(9));
    assert_eq!((partition.start(), partition.end()), (9, 9));
}
