//! Files end by rows, size, age and inactivity.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use weir_engine::sink::SinkWriter;

use super::{Rig, noise, rows};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn by_rows_exactly() {
    let rig = Rig::new();
    let batches = [rows(0..25, |_| None), rows(25..30, |_| None)];
    rig.run(&[("roll_rows", "10")], &batches).await;
    let counts: Vec<_> = rig
        .files()
        .iter()
        .map(|f| rig.read_parquet(f).num_rows())
        .collect();
    assert_eq!(counts, [10, 10, 10]);
}

#[tokio::test]
async fn by_size() {
    let rig = Rig::new();
    let batches: Vec<_> = (0..40).map(|b| noise(b * 1000..(b + 1) * 1000)).collect();
    rig.run(&[("roll_size", "1MB")], &batches).await;
    let files = rig.files();
    assert!((2..=8).contains(&files.len()), "{files:?}");
    for file in files.iter().rev().skip(1) {
        let size = std::fs::metadata(rig.root().join(file)).unwrap().len();
        assert!((400_000..=1_600_000).contains(&size), "{file}: {size}");
    }
}

#[tokio::test]
async fn by_age_and_inactivity() {
    // Written at 0 and 4 seconds and ticked at the end.
    for (option, end, files) in [
        ("roll_interval", 6, 2),
        ("roll_inactivity", 6, 1),
        ("roll_inactivity", 8, 1),
        ("roll_inactivity", 9, 2),
    ] {
        let rig = Rig::new();
        let batch = rows(0..10, |_| None);
        let sink = rig
            .sink(&batch.schema(), &[(option, "5 seconds")])
            .await
            .unwrap();
        let mut writer = rig.writer(&sink, &batch.schema()).await;
        writer.write(batch.clone()).await.unwrap();
        rig.clock.pass(SECOND * 4);
        writer.tick().await.unwrap();
        writer.write(batch.clone()).await.unwrap();
        rig.clock.pass(SECOND * (end - 4));
        assert_eq!(
            files_after_tick(&mut *writer, batch).await,
            files,
            "{option} at {end}"
        );
    }
}

#[tokio::test]
async fn streaming_rolls_by_age_unless_said() {
    let batch = rows(0..10, |_| None);
    for (streaming, files) in [(true, 2), (false, 1)] {
        let mut rig = Rig::new();
        rig.streaming = streaming;
        let sink = rig.sink(&batch.schema(), &[]).await.unwrap();
        let mut writer = rig.writer(&sink, &batch.schema()).await;
        writer.write(batch.clone()).await.unwrap();
        rig.clock.pass(SECOND * 11);
        assert_eq!(files_after_tick(&mut *writer, batch.clone()).await, files);
        writer.discard().await.unwrap();
    }
}

/// Ticks and writes on: 2 when the tick ended the file, 1 when the rows went into the same.
async fn files_after_tick(writer: &mut dyn SinkWriter, batch: RecordBatch) -> usize {
    writer.tick().await.unwrap();
    writer.write(batch).await.unwrap();
    writer.prepare().await.unwrap().len()
}
