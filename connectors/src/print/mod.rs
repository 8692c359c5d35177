//! The `print` sink: rows on standard output, for looking.
//!
//! Rows are shown as they come, before any checkpoint, so a job that is started again may show
//! some of them twice.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use weir_engine::changelog::{self, is_changelog, shown_schema};
use weir_engine::connector::{Connector, Guarantee, SinkRequest};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::{OptionKind, OptionSpec, Options};
use weir_engine::sink::{CommitToken, Sink, SinkWriter, Start};

mod table;
#[cfg(test)]
mod tests;

use table::Table;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::default(
        "format",
        OptionKind::OneOf(&["table", "csv", "json"]),
        "table",
        "How rows look; json is one object per line.",
    ),
    OptionSpec::optional(
        "limit",
        OptionKind::Count,
        "Show this many rows and only count the others.",
    ),
];

/// Makes the place that rows are written to, once per writer.
type Output = fn() -> Box<dyn Write + Send>;

/// The connector `print`.
#[derive(Debug, Default)]
pub struct PrintConnector;

#[async_trait]
impl Connector for PrintConnector {
    fn name(&self) -> &'static str {
        "print"
    }

    fn summary(&self) -> &'static str {
        "Rows on standard output, for looking"
    }

    fn sink_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![OPTIONS])
    }

    fn takes_changelog(&self) -> Option<&'static str> {
        Some("connector = 'print'")
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    async fn sink(&self, request: SinkRequest) -> Result<Arc<dyn Sink>> {
        let options = Options::check("connector 'print'", &[OPTIONS], request.options)?;
        let format = match options.need("format")? {
            "csv" => Format::Csv,
            "json" => Format::Json,
            _ => Format::Table,
        };
        let limit = options.count("limit");
        Ok(Arc::new(PrintSink {
            format,
            limit,
            output: || Box::new(std::io::stdout()),
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Table,
    Csv,
    Json,
}

#[derive(Debug)]
struct PrintSink {
    format: Format,
    limit: Option<u64>,
    output: Output,
}

#[async_trait]
impl Sink for PrintSink {
    async fn check(&self, _schema: &SchemaRef, _start: Start) -> Result<()> {
        Ok(())
    }

    async fn writer(
        &self,
        schema: &SchemaRef,
        _context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        let shown = match is_changelog(schema) {
            true => shown_schema(schema),
            false => Arc::clone(schema),
        };
        Ok(Box::new(Printer::new(
            self.format,
            self.limit,
            &shown,
            (self.output)(),
        )))
    }

    async fn commit(&self, _epoch: Epoch, _tokens: &[CommitToken]) -> Result<()> {
        Ok(())
    }

    async fn abort(&self, _token: &CommitToken) -> Result<()> {
        Ok(())
    }

    fn takes_changelog(&self) -> bool {
        true
    }

    fn is_single(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let format = match self.format {
            Format::Table => "table",
            Format::Csv => "csv",
            Format::Json => "json",
        };
        format!("print format={format}")
    }
}

/// Writes rows as text.
struct Printer {
    format: Format,
    table: Table,
    /// Rows that may still be shown.
    room: Option<u64>,
    hidden: u64,
    /// Rows and bytes since the last token.
    rows: u64,
    bytes: u64,
    has_header: bool,
    output: Box<dyn Write + Send>,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Printer {
    fn new(
        format: Format,
        limit: Option<u64>,
        schema: &SchemaRef,
        output: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            format,
            table: Table::new(schema),
            room: limit,
            hidden: 0,
            rows: 0,
            bytes: 0,
            has_header: false,
            output,
        }
    }

    fn render(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let with_header = !std::mem::replace(&mut self.has_header, true);
        match self.format {
            Format::Table => self.table.render(batch, with_header),
            Format::Csv => {
                let mut text = Vec::new();
                let mut writer = arrow::csv::WriterBuilder::new()
                    .with_header(with_header)
                    .build(&mut text);
                writer.write(batch)?;
                drop(writer);
                Ok(text)
            }
            Format::Json => {
                let mut writer = arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
                writer.write(batch)?;
                writer.finish()?;
                Ok(writer.into_inner())
            }
        }
    }

    /// Writes and flushes, so that a row is seen when it comes.
    fn put(&mut self, text: &[u8]) -> Result<()> {
        self.bytes += text.len() as u64;
        let done = self
            .output
            .write_all(text)
            .and_then(|()| self.output.flush());
        done.map_err(|error| {
            Error::new(
                Kind::Unavailable,
                codes::DISK,
                "cannot write to standard output",
            )
            .hint("the program that reads the output may have ended")
            .caused_by(error)
        })
    }
}

#[async_trait]
impl SinkWriter for Printer {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        self.rows += rows as u64;
        let shown = self
            .room
            .map_or(rows, |room| rows.min(usize::try_from(room).unwrap_or(rows)));
        self.room = self.room.map(|room| room - shown as u64);
        self.hidden += (rows - shown) as u64;
        if shown == 0 {
            return Ok(());
        }
        let mut batch = batch.slice(0, shown);
        if is_changelog(batch.schema_ref()) {
            batch = changelog::shown(&batch)?;
        }
        let text = self.render(&batch)?;
        self.put(&text)
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        let hidden = std::mem::take(&mut self.hidden);
        if hidden > 0 && self.format == Format::Table {
            self.put(format!("({hidden} more rows not shown)\n").as_bytes())?;
        }
        let (rows, bytes) = (
            std::mem::take(&mut self.rows),
            std::mem::take(&mut self.bytes),
        );
        Ok(vec![CommitToken::new(String::new(), rows, bytes)])
    }

    async fn discard(&mut self) -> Result<()> {
        Ok(())
    }
}
