//! A big input in a small budget. The figure is 5 GB in 256 MB (`docs/guide.md` has the
//! command); a debug build takes a tenth of it, so that the test ends in reasonable time, in a budget
//! that leaves room for its own code, which alone is resident with more than 100 MB.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::checker;
use crate::program::Place;

const ROWS: i64 = 4_000_000;
const ROWS_PER_BATCH: i64 = 50_000;
/// 2026-01-01T00:00:00Z in microseconds.
const START: i64 = 1_767_225_600_000_000;

/// Writes about 450 MB of Parquet: plain, so that its bytes are the bytes of the rows.
fn write_input(place: &Place) -> u64 {
    std::fs::create_dir_all(place.path().join("in")).unwrap();
    let path = place.path().join("in/big.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(500_000))
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for first in (0..ROWS).step_by(ROWS_PER_BATCH as usize) {
        let ids = first..first + ROWS_PER_BATCH;
        let text = ids
            .clone()
            .map(|id| format!("{:0>88}", (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
            (
                "ts",
                Arc::new(TimestampMicrosecondArray::from_iter_values(
                    ids.clone().map(|id| START + id * 10_000),
                )),
            ),
            ("payload", Arc::new(StringArray::from_iter_values(text))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(&path).unwrap();
            ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn big_input_in_a_small_budget() {
    let place = Place::new();
    let size = write_input(&place);
    assert!(size > 400_000_000, "{size}");
    let script = "CREATE SOURCE big (id BIGINT, ts TIMESTAMP, payload VARCHAR,
            WATERMARK FOR ts AS ts - INTERVAL '1 second')
            WITH (connector = 'file', path = 'in/big.parquet', format = 'parquet');
        CREATE SINK copy WITH (connector = 'file', path = 'copy', format = 'parquet') AS
            SELECT id, ts, payload FROM big WHERE id % 4 <> 0;
        CREATE SINK minutes WITH (connector = 'file', path = 'minutes', format = 'parquet') AS
            SELECT window_start, id % 10 AS key, count(*) AS n, max(payload) AS last
            FROM TUMBLE(big, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, id % 10;";
    for mode in ["batch", "streaming"] {
        let flags = ["--mode", mode, "--memory", "192MB", "--summary", "json"];
        let summary = place.run(script, &flags).ok().summary();
        let peak = summary["memory"]["peak"]
            .as_u64()
            .expect("Linux tells the peak");
        println!("{mode}: {size} bytes in, peak {peak} bytes resident");
        assert!(
            peak < 384_000_000,
            "{mode}: peak {peak} bytes with a budget of 192 MB"
        );
        for found in checker::read(&place.path().join("copy")) {
            assert_eq!(found.rows(), 3 * ROWS as u64 / 4, "{}", found.reader);
        }
        for found in checker::read(&place.path().join("minutes")) {
            assert_eq!(found.sum("n"), ROWS as f64, "{}", found.reader);
        }
        for folder in ["copy", "minutes"] {
            std::fs::remove_dir_all(place.path().join(folder)).unwrap();
        }
    }
}
