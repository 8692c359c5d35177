//! Batches into messages of a topic as JSON, and into a Parquet file by the sink for files.

use std::env::temp_dir;
use std::fs;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use weir_connectors::file::FileConnector;
use weir_connectors::format::{EncodeRequest, FormatOptions, SINK_OPTIONS, encoder_factory};
use weir_engine::connector::{Connector as _, SinkRequest};
use weir_engine::message::Epoch;
use weir_engine::options::{GivenOptions, OptionValue, Options};
use weir_engine::sink::{Owner, Sink, SinkWriter, Start};

use crate::input;
use crate::subtask::{context, env, wait};
use crate::work::{Micro, Prepared, Result};

const ROWS: usize = 1 << 15;

pub(super) const JSON: Micro = Micro {
    name: "encode_json",
    prepare: json,
};

pub(super) const PARQUET: Micro = Micro {
    name: "encode_parquet",
    prepare: parquet,
};

fn json() -> Result<Prepared> {
    let batches = input::bids(ROWS)?;
    let options = Options::check("the format", &[SINK_OPTIONS], GivenOptions::new())?;
    let request = EncodeRequest {
        schema: input::bid(),
        key: vec![0],
        upsert: false,
    };
    let options = FormatOptions::new(&options, "micro")?;
    let factory = wait(encoder_factory(&options, request, &env()))??;
    Ok(Prepared::new(ROWS, ROWS, move || {
        let (mut encoder, batches) = (factory.create()?, batches.clone());
        Ok(Box::new(move || {
            let mut messages = 0;
            for batch in &batches {
                messages += encoder.encode(batch)?.len();
            }
            Ok(messages)
        }))
    }))
}

fn parquet() -> Result<Prepared> {
    let batches = input::bids(ROWS)?;
    let folder = temp_dir().join(format!("weir-micro-{}", std::process::id()));
    Ok(Prepared::new(ROWS, ROWS, move || {
        let sink = file_sink(&folder.to_string_lossy())?;
        wait(sink.check(&input::bid(), Start::Fresh))??;
        let writer = wait(sink.writer(&input::bid(), &context()))??;
        let (batches, folder) = (batches.clone(), folder.clone());
        Ok(Box::new(move || {
            let rows = write(&*sink, writer, batches);
            fs::remove_dir_all(&folder)?;
            rows
        }))
    }))
}

fn file_sink(path: &str) -> Result<Arc<dyn Sink>> {
    let value = |text: &str| OptionValue {
        text: text.to_owned(),
        place: None,
    };
    let given = [("path", path), ("format", "parquet")];
    let given = given.map(|(name, text)| (name.to_owned(), value(text)));
    let request = SinkRequest {
        name: "micro".to_owned(),
        options: given.into(),
        schema: input::bid(),
        partition_columns: Vec::new(),
        streaming: false,
        env: env(),
    };
    let sink = wait(FileConnector::file().sink(request))??;
    sink.own(&Owner {
        pipeline: "micro".into(),
        node: "micro".into(),
        origin: "micro".into(),
        fence: Epoch(1),
        checkpoints: false,
    });
    Ok(sink)
}

/// Gives the rows that have become visible.
fn write(
    sink: &dyn Sink,
    mut writer: Box<dyn SinkWriter>,
    batches: Vec<RecordBatch>,
) -> Result<usize> {
    for batch in batches {
        wait(writer.write(batch))??;
    }
    let mut tokens = wait(writer.prepare())??;
    tokens.extend(writer.finished());
    wait(sink.commit(Epoch(1), &tokens))??;
    Ok(usize::try_from(
        tokens.iter().map(|token| token.rows).sum::<u64>(),
    )?)
}
