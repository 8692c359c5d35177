//! The source over files: lists them, cuts them into splits, opens their readers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use async_trait::async_trait;
use parking_lot::Mutex;
use weir_engine::Result;
use weir_engine::connector::SourceRequest;
use weir_engine::dead_letter::{DeadLetters, OnError};
use weir_engine::deviation::Deviations;
use weir_engine::env::Env;
use weir_engine::estimate::Estimate;
use weir_engine::job::TaskContext;
use weir_engine::limits;
use weir_engine::options::Options;
use weir_engine::source::{Boundedness, Low, Read, Source, Split, SplitReader};

use crate::store::Location;

use super::columns::{Column, Kind};
use super::config::{FileConfig, Format};
use super::declared::{check_types, metadata, nullable, schema_of};
use super::decode::{self, Opening};
use super::estimate::Known;
use super::letters::Letters;
use super::listing::{self, Entry};
use super::parquet_input::Footers;
use super::selection::Selection;
use super::split::{self, Part, Payload};
use super::{discovery, parquet};
use crate::rescue::{First, with_rescue};

/// How long a local file must rest before a watching source takes it: programs write in pieces.
const SETTLE_TIME: Duration = Duration::from_millis(200);
/// Rows that are looked at to guess where a split begins in time.
const LOW_ROWS: usize = 256;

/// Files as a source.
#[derive(Debug)]
pub(super) struct FileSource {
    name: String,
    location: Location,
    selection: Selection,
    format: Format,
    config: FileConfig,
    columns: Vec<Column>,
    schema: SchemaRef,
    declared: bool,
    on_error: OnError,
    deviations: Deviations,
    env: Env,
    watch: Option<Duration>,
    taken: Mutex<HashSet<String>>,
    footers: Arc<Footers>,
    known: Arc<Known>,
}

impl FileSource {
    /// Looks at what the path selects, and at the columns.
    pub(super) async fn open(
        request: SourceRequest,
        location: Location,
        options: &Options,
    ) -> Result<Self> {
        let config = FileConfig::new(options)?;
        let selection = Selection::new(&location)?;
        let poll = options
            .duration("poll_interval")
            .unwrap_or(limits::DISCOVERY_INTERVAL);
        let watch = (options.bool("watch") && request.streaming).then_some(poll);
        let guessed = config
            .format
            .or_else(|| Format::of_path(location.path.as_ref()));
        let files = listing::list(&location, &selection, guessed).await?;
        if files.is_empty() && watch.is_none() {
            return Err(listing::nothing(&location, &selection).await);
        }
        let format = guessed.or_else(|| files.iter().find_map(|f| Format::of_path(&f.key)));
        let format = format.ok_or_else(|| {
            options
                .invalid(
                    "path",
                    format!("'{}' does not tell the format", location.url),
                )
                .hint("say format = 'parquet', 'csv', 'json' or 'avro'")
        })?;
        let footers = Arc::<Footers>::default();
        let known = Arc::new(Known::new(&files, &request.env));
        let declared = request.columns.is_some();
        let fields: Fields = match &request.columns {
            Some(columns) => columns.iter().cloned().collect(),
            None => {
                let env = &request.env;
                let found = discovery::columns(&location, &files, format, &config, &footers, env);
                with_rescue(found.await?, &request.deviations)
            }
        };
        let columns = columns_of(&fields, &request)?;
        let of_files = columns.iter().filter(|column| column.kind == Kind::Data);
        let of_files = of_files.map(|column| Arc::clone(&column.field));
        check_types(&of_files.collect(), format, &config)?;
        Ok(Self {
            name: request.name,
            location,
            selection,
            format,
            config,
            schema: schema_of(&columns),
            columns,
            declared,
            on_error: request.on_error,
            deviations: request.deviations,
            env: request.env,
            watch,
            taken: Mutex::default(),
            footers,
            known,
        })
    }

    /// The same with nothing taken, and columns of these types.
    fn with_columns(&self, columns: Vec<Column>) -> Self {
        Self {
            name: self.name.clone(),
            location: self.location.clone(),
            selection: self.selection.clone(),
            format: self.format,
            config: self.config.clone(),
            schema: schema_of(&columns),
            columns,
            declared: self.declared,
            on_error: self.on_error,
            deviations: self.deviations.clone(),
            env: self.env.clone(),
            watch: self.watch,
            taken: Mutex::default(),
            footers: Arc::clone(&self.footers),
            known: Arc::clone(&self.known),
        }
    }

    /// Files that were not taken before.
    async fn fresh(&self) -> Result<Vec<Entry>> {
        let files = listing::list(&self.location, &self.selection, Some(self.format)).await?;
        let taken = self.taken.lock();
        Ok(files
            .into_iter()
            .filter(|file| !taken.contains(&file.key))
            .collect())
    }

    /// New files of a watched folder, those that are still written to left for the next time.
    async fn settled(&self) -> Result<Vec<Entry>> {
        let mut files = self.fresh().await?;
        let now = self.env.clock().now_micros();
        let rests = |file: &Entry| {
            let age = now.saturating_sub(file.modified);
            // A time in the future is another clock's: it says nothing.
            age < 0 || age as u128 >= SETTLE_TIME.as_micros()
        };
        if self.location.local_root.is_none() || files.iter().all(rests) {
            return Ok(files);
        }
        self.env.clock().sleep(SETTLE_TIME).await;
        let later = self.fresh().await?;
        files.retain(|file| rests(file) || later.contains(file));
        Ok(files)
    }

    fn opening<'a>(
        &'a self,
        split: &Split,
        projection: &[usize],
        letters: Option<DeadLetters>,
        batch_rows: usize,
    ) -> Result<Opening<'a>> {
        let payload = Payload::of(split)?;
        let asked = projection
            .iter()
            .filter_map(|index| self.columns.get(*index))
            .collect();
        let shown = &payload.file.shown;
        Ok(Opening {
            location: &self.location,
            config: &self.config,
            format: self.format,
            footers: &self.footers,
            env: &self.env,
            all: &self.columns,
            asked,
            declared: self.declared,
            deviations: &self.deviations,
            letters: Letters::new(&self.name, shown, self.on_error, &self.env, letters),
            payload,
            done: decode::done(split.position.as_ref())?,
            batch_rows: batch_rows.max(1),
        })
    }

    /// The exact minimum that Parquet's statistics tell.
    async fn least(&self, split: &Split, columns: &[usize]) -> Result<Option<Low>> {
        if self.format != Format::Parquet || split.position.is_some() {
            return Ok(None);
        }
        let payload = Payload::of(split)?;
        let Ok(footer) = self
            .footers
            .get(&self.location, &payload.file, &self.env)
            .await
        else {
            return Ok(None);
        };
        let asked: Vec<&Column> = columns
            .iter()
            .filter_map(|i| self.columns.get(*i))
            .collect();
        if asked.iter().any(|column| column.kind != Kind::Data) {
            return Ok(None);
        }
        let count = footer.metadata().num_row_groups();
        let groups = match payload.part {
            Part::Groups(start, end) => start.min(count)..end.min(count),
            _ => 0..count,
        };
        let fields: Fields = asked
            .iter()
            .map(|column| Arc::clone(&column.field))
            .collect();
        Ok(parquet::least(&footer, groups, &fields).map(Low::Exact))
    }
}

/// The columns of the source: those that the files or the script name, and those around the records.
fn columns_of(fields: &Fields, request: &SourceRequest) -> Result<Vec<Column>> {
    let is_rescue = |name: &str| request.deviations.rescue.as_deref() == Some(name);
    let of_record = |field: &FieldRef| Column {
        field: nullable(field),
        required: request.columns.is_some() && !field.is_nullable(),
        kind: match is_rescue(field.name()) {
            true => Kind::Rescued,
            false => Kind::Data,
        },
    };
    let mut columns: Vec<Column> = fields.iter().map(of_record).collect();
    for (field, key) in &request.metadata {
        columns.push(Column {
            field: nullable(field),
            required: false,
            kind: metadata(key)?,
        });
    }
    Ok(columns)
}

#[async_trait]
impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        self.watch
            .map_or(Boundedness::Bounded, Boundedness::Unbounded)
    }

    fn rescan(&self) -> Option<Arc<dyn Source>> {
        Some(Arc::new(self.with_columns(self.columns.clone())))
    }

    fn with_views(&self) -> Option<Arc<dyn Source>> {
        if self.format != Format::Parquet {
            return None;
        }
        let mut columns = self.columns.clone();
        for column in &mut columns {
            if column.kind == Kind::Data && *column.field.data_type() == DataType::Utf8 {
                let field = column.field.as_ref().clone();
                column.field = Arc::new(field.with_data_type(DataType::Utf8View));
            }
        }
        Some(Arc::new(self.with_columns(columns)))
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        let files = if self.watch.is_some() {
            self.settled().await?
        } else {
            self.fresh().await?
        };
        if files.is_empty() && self.watch.is_none() && self.taken.lock().is_empty() {
            return Err(listing::nothing(&self.location, &self.selection).await);
        }
        let mut splits = Vec::new();
        let mut keys = Vec::with_capacity(files.len());
        for file in files {
            let order = match self.watch {
                Some(_) => format!("{:020} {}", file.modified, file.key),
                None => file.key.clone(),
            };
            keys.push(file.key.clone());
            let compression = self.config.compression_of(&file.key);
            let parts = split::cut(
                &self.location,
                file,
                &order,
                self.format,
                compression,
                &self.footers,
                &self.env,
            );
            splits.extend(parts.await?);
        }
        self.taken.lock().extend(keys);
        splits.sort_by(|a, b| (&a.order, &a.id).cmp(&(&b.order, &b.id)));
        Ok(splits)
    }

    fn has_exact_lows(&self) -> bool {
        self.format == Format::Parquet
    }

    async fn estimate(&self, columns: &[usize]) -> Option<Estimate> {
        let asked = columns.iter().map(|index| self.columns.get(*index));
        let asked: Vec<&Column> = asked.collect::<Option<_>>()?;
        let list = listing::list(&self.location, &self.selection, Some(self.format));
        let known = (self.format == Format::Parquet).then_some(&self.known)?;
        let files = known.files(list, &self.env).await?;
        files
            .estimate(&self.location, &self.footers, &self.env, &asked)
            .await
    }

    async fn low(&self, split: &Split, columns: &[usize]) -> Result<Low> {
        if let Some(low) = self.least(split, columns).await? {
            return Ok(low);
        }
        let mut reader = self.opening(split, columns, None, LOW_ROWS)?.open().await?;
        Ok(match reader.next().await? {
            Read::Rows { batch, .. } => Low::First(batch),
            // Without a good row it may have bad ones, which are told when it is read.
            Read::Pending | Read::End => Low::Unknown,
        })
    }

    async fn open(
        &self,
        split: &Split,
        projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        let letters = Some(context.job.dead_letters.clone());
        let rows = context.job.batch_rows;
        let kind = |column: &usize| self.columns.get(*column).map(|column| column.kind);
        if !projection
            .iter()
            .any(|column| kind(column) == Some(Kind::Rescued))
        {
            return self.opening(split, projection, letters, rows)?.open().await;
        }
        // What is rescued is of all columns, whoever asks.
        let others = (0..self.columns.len()).filter(|column| !projection.contains(column));
        let all: Vec<usize> = projection.iter().copied().chain(others).collect();
        let reader = self.opening(split, &all, letters, rows)?.open().await?;
        Ok(Box::new(First::of(reader, projection.len())))
    }

    fn describe(&self) -> String {
        let watch = if self.watch.is_some() { " watch" } else { "" };
        let scheme = self.location.scheme.name();
        format!(
            "{scheme} {} format={}{watch}",
            self.location.url,
            self.format.name()
        )
    }
}
