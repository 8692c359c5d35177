//! Messages of a topic into batches: JSON and CSV, as the Kafka source hands them on.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use weir_connectors::format::{
    DecoderFactory, FormatOptions, Messages, Record, SOURCE_OPTIONS, decoder_factory,
};
use weir_engine::options::{OptionValue, Options};

use crate::input;
use crate::subtask::{env, wait};
use crate::work::{Micro, Prepared, Result};

const ROWS: usize = 1 << 15;
/// Messages that are decoded at once.
const BLOCK: usize = 4_096;

pub(super) const JSON: Micro = Micro {
    name: "decode_json",
    prepare: || prepare("json", json(&input::bids(ROWS)?)?),
};

pub(super) const CSV: Micro = Micro {
    name: "decode_csv",
    prepare: || prepare("csv", csv(&input::bids(ROWS)?)?),
};

fn prepare(format: &str, text: Vec<u8>) -> Result<Prepared> {
    let format = OptionValue {
        text: format.to_owned(),
        place: None,
    };
    let given = [("format".to_owned(), format)].into();
    let options = Options::check("the format", &[SOURCE_OPTIONS], given)?;
    let options = FormatOptions::new(&options, "micro")?;
    let factory = wait(decoder_factory(&options, Some(&input::bid()), &env()))??;
    let lines: Vec<Vec<u8>> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let lines = Arc::new(lines);
    Ok(Prepared::new(ROWS, ROWS, move || {
        let (lines, factory) = (Arc::clone(&lines), Arc::clone(&factory));
        Ok(Box::new(move || decode(&*factory, &lines)))
    }))
}

fn decode(factory: &dyn DecoderFactory, lines: &[Vec<u8>]) -> Result<usize> {
    let all: Vec<usize> = (0..factory.schema().fields().len()).collect();
    let mut decoder = factory.create(&all)?;
    let mut rows = 0;
    for block in lines.chunks(BLOCK) {
        let mut messages = Messages::with_room(block.len(), block.iter().map(Vec::len).sum());
        for (number, line) in (0..).zip(block) {
            messages.push(line, number);
        }
        // Formats that do not take a block as a whole take its messages one by one.
        if !decoder.take(&mut messages, block.len()) {
            for (number, line) in (0..).zip(block) {
                let value = Some(line.as_slice());
                decoder.push(Record { key: None, value }, number)?;
            }
        }
        rows += decoder.flush()?.batch.num_rows();
    }
    Ok(rows)
}

fn json(batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner())
}

fn csv(batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new()
        .with_header(false)
        .build(&mut text);
    for batch in batches {
        writer.write(batch)?;
    }
    drop(writer);
    Ok(text)
}
