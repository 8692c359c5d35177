//! The sink: what its subtasks share, and the commits.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use parking_lot::Mutex;
use weir_engine::connector::SinkRequest;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::Options;
use weir_engine::sink::{CommitToken, Owner, Sink, SinkWriter, Start};

use super::encoder::Encoder;
use super::existing::Existing;
use super::names::Names;
use super::partition;
use super::place::Place;
use super::settings::Settings;
use super::sweep::{sweep, sweep_first};
use super::writer::Writer;

/// A sink of files.
#[derive(Debug)]
pub(super) struct FileSink {
    pub(super) layout: Arc<Layout>,
    existing: Existing,
    /// Told before all else.
    names: Mutex<Option<Names>>,
}

/// What the writers of one sink share.
#[derive(Debug)]
pub(super) struct Layout {
    /// Where the files go.
    pub(super) place: Place,
    /// How they look and when they end.
    pub(super) settings: Settings,
    /// The rows that come.
    pub(super) schema: SchemaRef,
    /// The columns that stand in the path.
    pub(super) partition_columns: Vec<usize>,
    /// The other columns, which stand in the file.
    pub(super) file_columns: Vec<usize>,
    /// The rows of the file.
    pub(super) file_schema: SchemaRef,
}

impl FileSink {
    /// Checks that the format takes the rows.
    pub(super) fn new(
        request: &SinkRequest,
        place: Place,
        settings: Settings,
        options: &Options,
    ) -> Result<Self> {
        let schema = Arc::clone(&request.schema);
        let partition_columns = partition_columns(request, options)?;
        let file_columns: Vec<usize> = (0..schema.fields().len())
            .filter(|c| !partition_columns.contains(c))
            .collect();
        if file_columns.is_empty() {
            return Err(options
                .invalid("partition_by", "no column is left for the files")
                .hint("partition columns stand in the path alone: select one more column"));
        }
        let file_schema = Arc::new(
            schema
                .project(&file_columns)?
                .with_metadata(Schema::empty().metadata),
        );
        Encoder::check(&settings.format, &file_schema)?;
        let (rule, extension) = (settings.on_existing, settings.format_extension);
        let layout = Layout {
            place,
            settings,
            schema,
            partition_columns,
            file_columns,
            file_schema,
        };
        Ok(Self {
            layout: Arc::new(layout),
            existing: Existing::new(rule, extension, request.streaming),
            names: Mutex::default(),
        })
    }

    /// The names of the files.
    pub(super) fn names(&self) -> Result<Names> {
        let names = self.names.lock().clone();
        names.ok_or_else(|| Error::internal("a file sink was not told whose it is"))
    }
}

fn partition_columns(request: &SinkRequest, options: &Options) -> Result<Vec<usize>> {
    let mut columns = Vec::with_capacity(request.partition_columns.len());
    for name in &request.partition_columns {
        let column = request.schema.index_of(name).map_err(|_| {
            let error = Error::new(
                Kind::Invalid,
                codes::UNKNOWN_COLUMN,
                format!(
                    "sink \"{}\" has no column \"{name}\" to partition by",
                    request.name
                ),
            );
            let known = request
                .schema
                .fields()
                .iter()
                .map(|field| field.name().as_str());
            weir_engine::options::nearest(error, name, known)
        })?;
        let data_type = request.schema.field(column).data_type();
        if !partition::takes(data_type) {
            let why = format!("\"{name}\" is a {data_type}, which has no place in a path");
            return Err(options.invalid("partition_by", why));
        }
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    Ok(columns)
}

#[async_trait]
impl Sink for FileSink {
    fn own(&self, owner: &Owner) {
        *self.names.lock() = Some(Names::of(owner));
    }

    async fn check(&self, _schema: &SchemaRef, start: Start) -> Result<()> {
        let (place, names) = (&self.layout.place, self.names()?);
        place.check().await?;
        match start {
            Start::Resumed(last) => sweep(place, &names, last).await?,
            Start::Fresh => sweep_first(place, &names).await?,
        }
        self.existing.check(place, start, &names).await
    }

    async fn writer(
        &self,
        _schema: &SchemaRef,
        context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        let (layout, names) = (Arc::clone(&self.layout), self.names()?);
        Ok(Box::new(Writer::new(layout, names, context)?))
    }

    async fn commit(&self, _epoch: Epoch, tokens: &[CommitToken]) -> Result<()> {
        let place = &self.layout.place;
        for token in tokens {
            let path = place.commit(token).await?;
            self.existing.committed(place, &path).await?;
        }
        Ok(())
    }

    async fn complete(&self) -> Result<()> {
        self.existing.complete(&self.layout.place).await
    }

    async fn abort(&self, token: &CommitToken) -> Result<()> {
        self.layout.place.abort(token).await
    }

    fn describe(&self) -> String {
        let layout = &self.layout;
        let mut text = format!("files {} ({}", layout.place.url(), layout.settings.summary);
        if !layout.partition_columns.is_empty() {
            let names = layout
                .partition_columns
                .iter()
                .map(|c| layout.schema.field(*c).name());
            text.push_str(", partitioned by ");
            text.push_str(&names.map(String::as_str).collect::<Vec<_>>().join(", "));
        }
        text.push(')');
        text
    }
}
