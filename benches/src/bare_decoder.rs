//! The hidden command `bare-decoder`: arrow's decoders with nothing around them, as the measure of
//! formats.
//!
//! It makes batches of files with a thread per core, forgets them or, to be checked, writes them as
//! Parquet, and prints its time as JSON.

use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::array::AsArray;
use arrow::csv::ReaderBuilder as CsvBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder as JsonBuilder;
use arrow::record_batch::RecordBatch;
use arrow_avro::reader::ReaderBuilder as AvroBuilder;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::clock::timed;
use crate::data::messages::Format;
use crate::data::records::Table;
use crate::failure::{During, Failure, Result};
use crate::report;
use crate::settings::Settings;

/// The command's name.
pub(crate) const NAME: &str = "bare-decoder";
/// Rows of a batch, as many as Weir's have.
const BATCH_ROWS: usize = 8_192;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Batches of a file.
type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, ArrowError>>>;

/// The command: its fields are its flags.
#[derive(Debug, Args)]
pub(crate) struct BareDecoder {
    /// What the rows are
    #[arg(value_enum)]
    table: Table,

    /// What the files are
    #[arg(value_enum)]
    format: Format,

    /// Where they are
    folder: PathBuf,

    /// Where rows are kept as Parquet
    #[arg(long)]
    into: Option<PathBuf>,
}

impl BareDecoder {
    /// The command, which is not for people.
    pub(crate) fn command() -> Command {
        Self::augment_args(Command::new(NAME).hide(true))
    }

    /// Decodes and prints the time.
    pub(crate) fn run(flags: &ArgMatches, settings: &Settings) -> Result<()> {
        let this = Self::from_arg_matches(flags).during("reading flags")?;
        let (rows, time) = timed(|| this.decode_all(settings.cores()));
        report::say(&json!({"rows": rows?, "seconds": time.as_secs_f64()}).to_string());
        Ok(())
    }

    fn decode_all(&self, threads: u32) -> Result<u64> {
        let files = self.files()?;
        let (next, rows) = (AtomicUsize::new(0), AtomicU64::new(0));
        let work = || -> Result<()> {
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                rows.fetch_add(self.decode(file)?, Ordering::Relaxed);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                let panicked = |_| Err(Failure::new("a decoder panicked"));
                thread.join().unwrap_or_else(panicked)
            })
        })?;
        Ok(rows.into_inner())
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let start = format!("{}-", self.table.name());
        let mut files = Vec::new();
        let listing = || format!("listing {}", self.folder.display());
        for entry in std::fs::read_dir(&self.folder).during(listing())? {
            let path = entry.during(listing())?.path();
            let has_start = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&start));
            let ending = path
                .extension()
                .is_some_and(|end| end == self.format.name());
            if has_start && ending {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Decodes a file and gives the number of its rows.
    fn decode(&self, path: &Path) -> Result<u64> {
        let reading = || format!("reading {}", path.display());
        let file = File::open(path).during(reading())?;
        let batches = self.batches(file).during(reading())?;
        let schema = self.table.schema();
        let mut writer = match (&self.into, path.file_stem()) {
            (Some(folder), Some(name)) => {
                let path = folder.join(name).with_extension("parquet");
                let file = File::create(&path).during(format!("creating {}", path.display()))?;
                Some(ArrowWriter::try_new(file, schema, None).during("starting a file")?)
            }
            _ => None,
        };
        let mut rows = 0;
        for batch in batches {
            let batch = batch.during(reading())?;
            rows += batch.num_rows() as u64;
            match &mut writer {
                Some(writer) => writer.write(&batch).during("keeping rows")?,
                None => drop(black_box(batch)),
            }
        }
        if let Some(writer) = writer {
            drop(writer.close().during("keeping rows")?);
        }
        Ok(rows)
    }

    fn batches(&self, file: File) -> std::result::Result<Batches, ArrowError> {
        let schema = self.table.schema();
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(match self.format {
            Format::Json => Box::new(
                JsonBuilder::new(schema)
                    .with_batch_size(BATCH_ROWS)
                    .build(file)?,
            ),
            Format::Debezium => {
                let events = JsonBuilder::new(change(&schema))
                    .with_batch_size(BATCH_ROWS)
                    .build(file)?;
                Box::new(events.map(|batch| Ok(batch?.column(0).as_struct().into())))
            }
            Format::Csv => Box::new(
                CsvBuilder::new(schema)
                    .with_header(true)
                    .with_batch_size(BATCH_ROWS)
                    .build_buffered(file)?,
            ),
            Format::Avro => Box::new(AvroBuilder::new().with_batch_size(BATCH_ROWS).build(file)?),
            Format::Protobuf => {
                let text = "no decoder alone makes batches of Protobuf".to_owned();
                return Err(ArrowError::NotYetImplemented(text));
            }
        })
    }
}

/// The part of Debezium's events that insertions need.
fn change(row: &Schema) -> Arc<Schema> {
    let after = DataType::Struct(row.fields().clone());
    Arc::new(Schema::new(vec![
        Field::new("after", after, false),
        Field::new("op", DataType::Utf8, false),
    ]))
}
