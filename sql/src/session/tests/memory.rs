//! A connector over rows that stand in its options.

use std::io::Cursor;

use arrow::datatypes::SchemaRef;
use arrow::json::ReaderBuilder;
use async_trait::async_trait;
use weir_engine::connector::{MetadataColumn, SinkRequest, SourceRequest};
use weir_engine::estimate::{ColumnEstimate, Estimate};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::{OptionKind, OptionSpec, Options};
use weir_engine::sink::{CommitToken, Sink, SinkWriter, Start};
use weir_engine::source::{Boundedness, Position, Read, Source, Split, SplitReader};

use super::*;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};

const SOURCE: &[OptionSpec] = &[
    OptionSpec::default("rows", OptionKind::Text, "", "rows as JSON lines"),
    OptionSpec::default(
        "watch",
        OptionKind::Bool,
        "false",
        "go on in streaming mode",
    ),
    OptionSpec::default(
        "lows",
        OptionKind::Bool,
        "false",
        "say that splits know their earliest rows",
    ),
    OptionSpec::optional(
        "estimate",
        OptionKind::Count,
        "so many rows seem to be there",
    ),
    OptionSpec::default("endless", OptionKind::Bool, "false", "go on in any mode"),
];
const SINK: &[OptionSpec] = &[
    OptionSpec::optional("partition_by", OptionKind::Text, "expressions"),
    OptionSpec::default("single", OptionKind::Bool, "false", "one subtask only"),
    OptionSpec::default("appends", OptionKind::Bool, "false", "take no changes"),
];

/// Holds rows, and keeps what is written.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) written: Written,
}

/// What all sinks of a connector were given.
pub(super) type Written = Arc<parking_lot::Mutex<Vec<RecordBatch>>>;

#[async_trait]
impl Connector for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn summary(&self) -> &'static str {
        "rows in memory"
    }

    fn source_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![SOURCE])
    }

    fn sink_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![SINK])
    }

    fn metadata_columns(&self) -> Vec<MetadataColumn> {
        vec![MetadataColumn {
            key: "offset",
            data_type: DataType::Int64,
            help: "the row's number",
        }]
    }

    async fn source(&self, request: SourceRequest) -> Result<Arc<dyn Source>> {
        let options = Options::check("connector 'memory'", &[SOURCE], request.options)?;
        let found = || vec![Arc::new(Field::new("found", DataType::Int64, true))];
        let mut fields: Vec<FieldRef> = request.columns.unwrap_or_else(found);
        fields.extend(request.metadata.into_iter().map(|(field, _)| field));
        let endless = options.bool("endless") || (options.bool("watch") && request.streaming);
        Ok(Arc::new(Rows {
            schema: Arc::new(Schema::new(fields)),
            rows: options.need("rows")?.to_owned(),
            endless,
            lows: options.bool("lows"),
            estimate: options.count("estimate"),
        }))
    }

    async fn sink(&self, request: SinkRequest) -> Result<Arc<dyn Sink>> {
        let options = Options::check("connector 'memory'", &[SINK], request.options)?;
        let columns: Vec<String> = request
            .schema
            .fields()
            .iter()
            .map(|f| {
                format!(
                    "{} {}{}",
                    f.name(),
                    f.data_type(),
                    if f.is_nullable() { "" } else { "!" }
                )
            })
            .collect();
        let mut text = format!("memory ({})", columns.join(", "));
        if !request.partition_columns.is_empty() {
            text.push_str(&format!(" by [{}]", request.partition_columns.join(", ")));
        }
        Ok(Arc::new(Kept {
            text,
            single: options.bool("single"),
            appends: options.bool("appends"),
            written: Arc::clone(&self.written),
        }))
    }
}

/// Has no sink.
#[derive(Debug)]
pub(super) struct Fixed;

#[async_trait]
impl Connector for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn summary(&self) -> &'static str {
        "nothing"
    }
}

#[derive(Debug)]
struct Rows {
    schema: SchemaRef,
    rows: String,
    endless: bool,
    lows: bool,
    estimate: Option<u64>,
}

#[async_trait]
impl Source for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        match self.endless {
            true => Boundedness::Unbounded(std::time::Duration::from_secs(1)),
            false => Boundedness::Bounded,
        }
    }

    fn has_exact_lows(&self) -> bool {
        self.lows
    }

    async fn estimate(&self, columns: &[usize]) -> Option<Estimate> {
        let rows = usize::try_from(self.estimate?).unwrap();
        let column = |_: &usize| ColumnEstimate {
            range: Some((0i64.into(), 0i64.into())),
            ..ColumnEstimate::default()
        };
        Some(Estimate {
            rows,
            columns: columns.iter().map(column).collect(),
        })
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        Ok(vec![Split {
            id: "rows".to_owned(),
            order: String::new(),
            payload: String::new(),
            bytes: None,
            position: None,
        }])
    }

    async fn open(
        &self,
        _split: &Split,
        projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        let decoder = ReaderBuilder::new(Arc::clone(&self.schema));
        let decoder = decoder.with_batch_size(context.job.batch_rows.max(1024));
        let batches = decoder
            .build(Cursor::new(self.rows.clone()))?
            .map(|batch| Ok(batch?.project(projection)?))
            .collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Batches(batches)))
    }

    fn describe(&self) -> String {
        format!("memory{}", if self.endless { " endless" } else { "" })
    }
}

#[derive(Debug)]
struct Batches(Vec<RecordBatch>);

#[async_trait]
impl SplitReader for Batches {
    async fn next(&mut self) -> Result<Read> {
        Ok(self
            .0
            .pop()
            .map_or(Read::End, |batch| Read::Rows { batch, bytes: 0 }))
    }

    fn position(&self) -> Position {
        Position::default()
    }
}

#[derive(Debug)]
struct Kept {
    text: String,
    single: bool,
    appends: bool,
    written: Written,
}

#[async_trait]
impl Sink for Kept {
    async fn check(&self, _schema: &SchemaRef, _start: Start) -> Result<()> {
        Ok(())
    }

    async fn writer(
        &self,
        _schema: &SchemaRef,
        _context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer(Arc::clone(&self.written))))
    }

    async fn commit(&self, _epoch: Epoch, _tokens: &[CommitToken]) -> Result<()> {
        Ok(())
    }

    async fn abort(&self, _token: &CommitToken) -> Result<()> {
        Ok(())
    }

    fn takes_changelog(&self) -> bool {
        !self.appends
    }

    fn is_single(&self) -> bool {
        self.single
    }

    fn describe(&self) -> String {
        self.text.clone()
    }
}

#[derive(Debug)]
struct Writer(Written);

#[async_trait]
impl SinkWriter for Writer {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.0.lock().push(batch);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        Ok(Vec::new())
    }

    async fn discard(&mut self) -> Result<()> {
        Ok(())
    }
}
