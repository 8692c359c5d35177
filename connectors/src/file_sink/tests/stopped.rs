//! A job that is stopped at once: whatever its writers wait for is cut off, and nothing is left.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use weir_engine::error::Result;
use weir_engine::sink::{CommitToken, SinkWriter};

use super::objects::{keys, location};
use super::{Rig, noise};

/// Moments at which the writer is stopped: more than a writer waits in one of these runs.
const MOMENTS: usize = 24;

async fn write_all(writer: &mut Box<dyn SinkWriter>) -> Result<Vec<CommitToken>> {
    for b in 0..10 {
        writer.write(noise(b * 1000..(b + 1) * 1000)).await?;
    }
    writer.prepare().await
}

/// Writes until `moment` turns of the runtime have passed, then stops as a task does.
async fn stop_at(moment: usize, writer: &mut Box<dyn SinkWriter>) -> Option<Vec<CommitToken>> {
    let turns = async {
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::select! {
        biased;
        tokens = write_all(writer) => Some(tokens.unwrap()),
        () = turns => None,
    };
    writer.discard().await.unwrap();
    done
}

#[tokio::test]
async fn a_stop_at_any_moment_leaves_no_file() {
    let mut stopped = 0;
    for given in [
        [
            ("format", "csv"),
            ("compression", "gzip"),
            ("roll_rows", "2500"),
        ],
        [
            ("format", "csv"),
            ("compression", "none"),
            ("roll_size", "300KB"),
        ],
        [
            ("format", "parquet"),
            ("row_group_rows", "500"),
            ("roll_rows", "5000"),
        ],
    ] {
        for moment in 0..MOMENTS {
            let rig = Rig::new();
            let schema = noise(0..0).schema();
            let sink = rig.sink(&schema, &given).await.unwrap();
            let mut writer = rig.writer(&sink, &schema).await;
            match stop_at(moment, &mut writer).await {
                None => stopped += 1,
                Some(tokens) => {
                    for token in &tokens {
                        sink.abort(token).await.unwrap();
                    }
                }
            }
            assert!(rig.files().is_empty(), "moment {moment}: {:?}", rig.files());
            assert!(!rig.root().join("_temporary").exists(), "moment {moment}");
        }
    }
    assert!(stopped > 3, "stopped {stopped} times");
}

#[tokio::test]
async fn a_stop_at_any_moment_leaves_no_upload() {
    for moment in 0..MOMENTS {
        let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
        let schema = noise(0..0).schema();
        let sink = rig
            .sink_at(location(&store, "p"), &schema, &[("roll_rows", "2500")])
            .await
            .unwrap();
        let mut writer = rig.writer(&sink, &schema).await;
        let tokens = stop_at(moment, &mut writer).await.unwrap_or_default();
        for token in &tokens {
            sink.abort(token).await.unwrap();
        }
        drop((writer, sink, rig));
        assert!(keys(&store).await.is_empty(), "moment {moment}");
        // The store names its uploads by number and shows none of them: the next number's upload
        // is the only one that can be aborted.
        let multipart: Arc<dyn object_store::multipart::MultipartStore> =
            Arc::<InMemory>::clone(&store);
        let path = Path::from("p/next");
        let next = multipart.create_multipart(&path).await.unwrap();
        let next: usize = next.parse().unwrap();
        for upload in 0..next {
            let left = multipart.abort_multipart(&path, &upload.to_string()).await;
            assert!(left.is_err(), "moment {moment}: upload {upload} is left");
        }
    }
}

#[tokio::test]
async fn a_writer_that_is_dropped_with_finished_files_leaves_none() {
    let rig = Rig::new();
    let schema = noise(0..0).schema();
    let sink = rig.sink(&schema, &[("roll_rows", "500")]).await.unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    for b in 0..4 {
        writer.write(noise(b * 1000..(b + 1) * 1000)).await.unwrap();
    }
    drop(writer);
    while rig.root().join("_temporary").exists() || !rig.files().is_empty() {
        tokio::task::yield_now().await;
    }
}
