//! Round trips, merging, and damage of every kind.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Int64Array, NullArray, StringArray, StringViewArray,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::checkpoint::manifest::tests::{mutate, seed};
use crate::operator::StateBatches;

fn numbers(version: &str, values: std::ops::Range<i64>) -> RecordBatch {
    let texts: StringArray = values.clone().map(|v| Some(format!("text {v}"))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(values)),
        Arc::new(texts),
    ];
    let plain = RecordBatch::try_from_iter(["n", "t"].into_iter().zip(columns)).unwrap();
    let metadata = [("version".to_owned(), version.to_owned())].into();
    let schema = plain.schema().as_ref().clone().with_metadata(metadata);
    plain.with_schema(Arc::new(schema)).unwrap()
}

fn odd() -> Vec<RecordBatch> {
    let keys: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b"), Some("a")]
        .into_iter()
        .collect();
    let views = StringViewArray::from_iter_values((0..100).map(|i| format!("a long text no {i}")));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("d", Arc::new(keys)),
        ("z", Arc::new(NullArray::new(4))),
        (
            "b",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                None,
                Some(false),
            ])),
        ),
        ("v", Arc::new(views.slice(50, 4))),
    ];
    let mixed = RecordBatch::try_from_iter(columns).unwrap();
    let no_columns = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &RecordBatchOptions::new().with_row_count(Some(7)),
    )
    .unwrap();
    let no_rows = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new(
        "x",
        arrow::datatypes::DataType::Utf8,
        true,
    )])));
    vec![
        mixed.slice(1, 2),
        mixed,
        no_columns.clone(),
        no_columns,
        no_rows,
    ]
}

/// What an operator gives at once may be all of its state: a file never holds it as one batch.
#[test]
fn large_batches_are_cut() {
    let large = numbers("1", 0..200_000);
    let views = StringViewArray::from_iter_values((0..120_000).map(|i| format!("a long text {i}")));
    let columns: [(&str, ArrayRef); 1] = [("v", Arc::new(views))];
    let views = RecordBatch::try_from_iter(columns).unwrap();
    for batch in [large, views] {
        let (bytes, summary) =
            drain(Encoder::new(state(std::slice::from_ref(&batch))), 1 << 16).unwrap();
        assert_eq!(summary.rows, batch.num_rows() as u64);
        let cuts = decode(Content::Memory(bytes), summary).unwrap();
        let cuts = cuts.collect::<Result<Vec<_>>>().unwrap();
        let bound = crate::limits::STATE_BATCH_BYTES_MAX;
        let parts = batch.get_array_memory_size() / bound;
        assert!(parts > 1);
        let most = cuts.iter().map(RecordBatch::num_rows).max().unwrap();
        // Buffers have some room to spare.
        assert!(most * parts < batch.num_rows() * 3 / 2, "{most} rows");
        let whole = arrow::compute::concat_batches(&batch.schema(), &cuts).unwrap();
        assert_eq!(whole, batch);
    }
}

fn state(batches: &[RecordBatch]) -> StateBatches {
    Box::new(Vec::from(batches).into_iter().map(Ok))
}

fn drain(mut pieces: impl Pieces, bytes: usize) -> Option<(Bytes, Summary)> {
    let mut all = Vec::new();
    while let Some(piece) = pieces.next(bytes).unwrap() {
        assert!(piece.len() <= bytes);
        assert!(piece.len() == bytes || pieces.summary().is_some());
        all.extend_from_slice(&piece);
    }
    let summary = pieces.summary()?;
    assert_eq!(summary.bytes, all.len() as u64);
    Some((Bytes::from(all), summary))
}

fn read(bytes: &Bytes, summary: Summary) -> Result<Vec<RecordBatch>> {
    decode(Content::Memory(bytes.clone()), summary)?.collect()
}

fn mixed() -> Vec<RecordBatch> {
    let mut batches = vec![
        numbers("1", 0..10),
        numbers("1", 10..2_000),
        numbers("2", 5..6),
    ];
    batches.extend(odd());
    batches.push(numbers("1", 7..8));
    batches
}

#[test]
fn comes_back_as_it_was_whatever_the_pieces() {
    let batches = mixed();
    let (whole, summary) = drain(Encoder::new(state(&batches)), usize::MAX).unwrap();
    for bytes in [1, 7, 100, 4_096] {
        assert_eq!(
            drain(Encoder::new(state(&batches)), bytes),
            Some((whole.clone(), summary))
        );
    }
    let back = read(&whole, summary).unwrap();
    assert_eq!(back, batches);
    for (back, batch) in back.iter().zip(&batches) {
        assert_eq!(back.schema(), batch.schema());
    }
    assert_eq!(
        summary.rows,
        batches.iter().map(|b| b.num_rows() as u64).sum::<u64>()
    );
    assert_eq!(drain(Encoder::new(state(&[])), 10), None);
}

#[test]
fn comes_back_from_a_file() {
    let batches = mixed();
    let (whole, summary) = drain(Encoder::new(state(&batches)), usize::MAX).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &whole).unwrap();
    let back: Result<Vec<_>> = decode(Content::File(file), summary).unwrap().collect();
    assert_eq!(back.unwrap(), batches);
}

#[test]
fn a_slice_of_views_does_not_write_its_whole_buffer() {
    let long = StringViewArray::from_iter_values((0..10_000).map(|i| format!("{:>64}", i * 7_919)));
    let column: ArrayRef = Arc::new(long);
    let large = RecordBatch::try_from_iter([("v", column)]).unwrap();
    let (_, summary) = drain(Encoder::new(state(&[large.slice(5_000, 3)])), usize::MAX).unwrap();
    assert!(summary.bytes < 2_000, "{} bytes for 3 rows", summary.bytes);
}

#[test]
fn merged_files_replay_in_order() {
    let parts = [mixed(), vec![numbers("2", 0..3)], odd()];
    let files = parts.iter().map(|batches| {
        let (bytes, summary) = drain(Encoder::new(state(batches)), 512).unwrap();
        (Content::Memory(bytes), summary)
    });
    let (merged, summary) = drain(Merger::new(files.collect()), 333).unwrap();
    assert_eq!(read(&merged, summary).unwrap(), parts.concat());
    assert_eq!(drain(Merger::new(Vec::new()), 10), None);
}

#[test]
fn merging_refuses_a_damaged_file() {
    let (bytes, summary) = drain(Encoder::new(state(&mixed())), usize::MAX).unwrap();
    let mut changed = bytes.to_vec();
    changed[200] ^= 4;
    let files = vec![
        (Content::Memory(bytes), summary),
        (Content::Memory(changed.into()), summary),
    ];
    let mut merger = Merger::new(files);
    let error = loop {
        match merger.next(1_024) {
            Ok(piece) => assert!(piece.is_some(), "a damaged file was merged"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), codes::CHECKPOINT_CORRUPT);
}

#[test]
fn random_damage_is_detected() {
    let (bytes, summary) = drain(Encoder::new(state(&mixed())), usize::MAX).unwrap();
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..2_000 {
        let (what, changed) = mutate(&bytes, &mut rng);
        let changed = Bytes::from(changed);
        // Both as the manifest says, and with a manifest that would fit the new length.
        let fitting = Summary {
            bytes: changed.len() as u64,
            ..summary
        };
        for summary in [summary, fitting] {
            let Err(error) = decode(Content::Memory(changed.clone()), summary) else {
                panic!("{what}: it was taken for whole");
            };
            assert_eq!(error.code(), codes::CHECKPOINT_CORRUPT, "{what}");
        }
    }
}
