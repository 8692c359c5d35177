//! The writer of one subtask: an open file per partition, finished when it is due.
//!
//! Memory: what the open files hold is bounded by a share of the job's memory. When it is used up,
//! the fullest file ends its row group, and if that frees nothing, it is finished.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::sink::{CommitToken, SinkWriter};

use super::encoder::Encoder;
use super::names::{self, Names};
use super::output::Output;
use super::partition::{Key, Part, Partitioner};
use super::place::Place;
use super::sink::Layout;
use super::transfer::{Lanes, Pending, spawn};

/// Files that one subtask keeps open: each holds encoders for all its columns. With more
/// partitions at once, the file that was not written to for the longest is finished.
const OPEN_FILES_MAX: usize = 64;
/// Files that are finished behind the task's back at once: enough to hide the latency of syncing
/// and of the last part.
const CLOSING_FILES_MAX: usize = 16;
/// The share of the job's memory that all writers of a sink take for files: one part in this many.
const MEMORY_SHARE: usize = 4;
/// The least and the most that one writer takes for its open files. Below the least, row groups
/// get so small that files get large; above the most, nothing gets better.
const BUDGET_BYTES: std::ops::RangeInclusive<usize> = (4 << 20)..=(256 << 20);
/// The least that is worth ending a row group for when the memory is used up by others.
const RELIEF_BYTES_MIN: usize = 1 << 20;
/// Bytes written to a local file at once: large against the cost of a call.
const LOCAL_CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a part of an upload; stores take no less than 5 MiB, and are fastest from 8 MiB.
const PART_BYTES_MIN: usize = 8 << 20;
/// Parts of an upload that `roll_size` is cut into at most: stores take 10 000, and the last batch
/// may go beyond the size.
const PARTS_MAX: u64 = 8_000;

/// The writer of one subtask.
#[derive(Debug)]
pub(super) struct Writer {
    layout: Arc<Layout>,
    context: TaskContext,
    partitioner: Option<Arc<Partitioner>>,
    lanes: Lanes,
    open: HashMap<Key, OpenFile>,
    closing: VecDeque<Pending<CommitToken>>,
    finished: Vec<CommitToken>,
    /// Sum of what the open files hold.
    held: usize,
    budget: usize,
    memory: MemoryReservation,
    chunk_bytes: usize,
    names: Names,
    stem: String,
    files: u64,
    writes: u64,
}

#[derive(Debug)]
struct OpenFile {
    encoder: Encoder,
    output: Output,
    rows: u64,
    held: usize,
    opened: Duration,
    touched: Duration,
    /// The number of the last write, to find the file that was not written to for the longest.
    last_write: u64,
}

impl Writer {
    /// Makes a writer without files.
    pub(super) fn new(layout: Arc<Layout>, names: Names, context: &TaskContext) -> Result<Self> {
        let columns = &layout.partition_columns;
        let partitioner = (!columns.is_empty())
            .then(|| Partitioner::new(&layout.schema, columns.clone()).map(Arc::new))
            .transpose()?;
        let name = format!("files of {}[{}]", context.node, context.subtask);
        let parallelism = usize::try_from(context.parallelism).unwrap_or(1).max(1);
        let share = match context.job.memory.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / MEMORY_SHARE / parallelism,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        let parts = usize::try_from(layout.settings.roll.bytes / PARTS_MAX).unwrap_or(usize::MAX);
        let chunk_bytes = match &layout.place {
            Place::Local(_) => LOCAL_CHUNK_BYTES,
            Place::Object(_) => PART_BYTES_MIN.max(parts),
        };
        Ok(Self {
            partitioner,
            lanes: Lanes::new(context.job.env.clone()),
            open: HashMap::new(),
            closing: VecDeque::new(),
            finished: Vec::new(),
            held: 0,
            budget: share.clamp(*BUDGET_BYTES.start(), *BUDGET_BYTES.end()),
            memory: MemoryConsumer::new(name).register(&context.job.memory),
            chunk_bytes,
            names,
            stem: names::stem(context),
            files: 0,
            writes: 0,
            context: context.clone(),
            layout,
        })
    }

    fn now(&self) -> Duration {
        self.context.job.env.clock().monotonic()
    }

    /// Writes the rows of one partition, into more than one file when they are too many.
    async fn write_part(&mut self, key: &Key, folder: Folder<'_>, rows: RecordBatch) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        let columns = layout
            .file_columns
            .iter()
            .filter_map(|c| rows.columns().get(*c).cloned());
        let rows = RecordBatch::try_new(Arc::clone(&layout.file_schema), columns.collect())
            .map_err(|e| unfit(&layout, &e))?;
        let mut done = 0;
        while done < rows.num_rows() {
            if !self.open.contains_key(key) {
                self.open_file(key, &folder).await?;
            }
            let now = self.now();
            self.writes += 1;
            let Some(file) = self.open.get_mut(key) else {
                return Err(Error::internal("an open file is gone"));
            };
            let room = layout.settings.roll.rows.saturating_sub(file.rows);
            let left = rows.num_rows() - done;
            let count = usize::try_from(room).map_or(left, |room| left.min(room));
            file.encoder.write(&rows.slice(done, count))?;
            done += count;
            file.rows += count as u64;
            (file.touched, file.last_write) = (now, self.writes);
            file.output.send(file.encoder.take_full()).await?;
            let before = std::mem::replace(&mut file.held, file.encoder.held());
            self.held = self.held - before + file.held;
            let roll = &layout.settings.roll;
            if file.rows >= roll.rows
                || file.encoder.file_bytes() >= roll.bytes
                || roll.is_due(now, file.opened, file.touched)
            {
                self.close(key).await?;
            }
        }
        Ok(())
    }

    async fn open_file(&mut self, key: &Key, folder: &Folder<'_>) -> Result<()> {
        if self.open.len() >= OPEN_FILES_MAX {
            let oldest = self.open.iter().min_by_key(|(_, file)| file.last_write);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.close(&oldest).await?;
            }
        }
        let folder = match folder {
            Folder::Root => String::new(),
            Folder::Of(partitioner, batch, row) => partitioner.folder(batch, *row)?,
        };
        let settings = &self.layout.settings;
        let name = format!("{}-{:06}{}", self.stem, self.files, settings.extension);
        self.files += 1;
        let output = Output::new(&self.layout.place, &self.lanes, &folder, &name);
        let schema = &self.layout.file_schema;
        let encoder = Encoder::new(&settings.format, schema, self.chunk_bytes, self.budget)?;
        let (now, last_write) = (self.now(), self.writes);
        let file = OpenFile {
            encoder,
            output,
            rows: 0,
            held: 0,
            opened: now,
            touched: now,
            last_write,
        };
        self.open.insert(key.clone(), file);
        Ok(())
    }

    /// Finishes a file: its end is encoded here, the rest goes on behind the task's back.
    async fn close(&mut self, key: &Key) -> Result<()> {
        let Some(file) = self.open.remove(key) else {
            return Ok(());
        };
        self.held -= file.held;
        let rest = match file.encoder.finish() {
            Ok(rest) => rest,
            Err(failure) => {
                drop(file.output.abort().await);
                return Err(failure);
            }
        };
        let held = self.lanes.hold(rest.iter().map(bytes::Bytes::len).sum());
        let (output, rows) = (file.output, file.rows);
        self.closing.push_back(spawn(self.lanes.env(), async move {
            let token = output.finish(rest, rows).await;
            drop(held);
            token
        }));
        while self.closing.len() > CLOSING_FILES_MAX
            || (!self.closing.is_empty() && self.lanes.in_flight() > self.budget)
        {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<()> {
        if let Some(closing) = self.closing.front_mut() {
            // A stop may end this wait: the file stays known until its token is there.
            let token = closing.join().await;
            drop(self.closing.pop_front());
            self.finished.push(token?);
        }
        Ok(())
    }

    /// Takes the files that are finished by now.
    fn look(&mut self) -> Result<()> {
        for _ in 0..self.closing.len() {
            let Some(mut closing) = self.closing.pop_front() else {
                break;
            };
            match closing.ready() {
                Some(token) => self.finished.push(token?),
                None => self.closing.push_back(closing),
            }
        }
        Ok(())
    }

    /// Keeps what is held within the budget and the job's memory.
    async fn account(&mut self) -> Result<()> {
        while self.held > self.budget && self.relieve(1).await? {}
        let used = self.held + self.lanes.in_flight();
        if self.memory.try_resize(used).is_err() {
            self.relieve(RELIEF_BYTES_MIN).await?;
            // What is left is the least a file needs; refusing it would end the job and free no
            // more than what others then can't use.
            self.memory.resize(self.held + self.lanes.in_flight());
        }
        Ok(())
    }

    /// Frees what the fullest file holds; false when that is less than `least`.
    async fn relieve(&mut self, least: usize) -> Result<bool> {
        let fullest = self.open.iter_mut().max_by_key(|(_, file)| file.held);
        let Some((key, file)) = fullest.filter(|(_, file)| file.held >= least) else {
            return Ok(false);
        };
        let before = file.held;
        if file.encoder.flush()? {
            let any = file.output.takes_any_size();
            let chunks = if any {
                file.encoder.take_all()
            } else {
                file.encoder.take_full()
            };
            file.output.send(chunks).await?;
            file.held = file.encoder.held();
            self.held = self.held - before + file.held;
            if file.held < before {
                return Ok(true);
            }
        }
        let key = key.clone();
        self.close(&key).await?;
        Ok(true)
    }

    /// Throws all files away behind the task's back; `None` when there are none.
    fn throw_away(&mut self) -> Option<Pending<()>> {
        let open: Vec<Output> = self.open.drain().map(|(_, file)| file.output).collect();
        let (closing, mut finished) = (std::mem::take(&mut self.closing), self.finished());
        if open.is_empty() && closing.is_empty() && finished.is_empty() {
            return None;
        }
        let layout = Arc::clone(&self.layout);
        Some(spawn(self.lanes.env(), async move {
            let mut result = Ok(());
            for output in open {
                result = result.and(output.abort().await);
            }
            for closing in closing {
                // A file that could not be finished has thrown itself away.
                finished.extend(closing.wait().await.ok());
            }
            for token in finished {
                result = result.and(layout.place.abort(&token).await);
            }
            result
        }))
    }

    async fn close_where(&mut self, due: impl Fn(&OpenFile) -> bool) -> Result<()> {
        let keys: Vec<Key> = self
            .open
            .iter()
            .filter(|(_, file)| due(file))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.close(&key).await?;
        }
        Ok(())
    }
}

/// How to name the folder of a partition, which is done only when a file is opened.
enum Folder<'a> {
    Root,
    Of(&'a Partitioner, &'a RecordBatch, usize),
}

#[async_trait]
impl SinkWriter for Writer {
    fn begin(&mut self, epoch: Epoch) {
        self.stem = self.names.stem(epoch, &self.context);
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        match self.partitioner.as_ref().map(Arc::clone) {
            None => {
                self.write_part(&Key::default(), Folder::Root, batch)
                    .await?
            }
            Some(partitioner) => {
                for Part { key, first, rows } in partitioner.split(batch.clone())? {
                    let folder = Folder::Of(&partitioner, &batch, first);
                    self.write_part(&key, folder, rows).await?;
                    self.account().await?;
                }
            }
        }
        self.account().await?;
        self.look()
    }

    async fn tick(&mut self) -> Result<()> {
        let (now, roll) = (self.now(), self.layout.settings.roll);
        self.close_where(|file| roll.is_due(now, file.opened, file.touched))
            .await?;
        self.look()?;
        self.account().await
    }

    fn finished(&mut self) -> Vec<CommitToken> {
        std::mem::take(&mut self.finished)
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        self.close_where(|_| true).await?;
        while !self.closing.is_empty() {
            self.settle_one().await?;
        }
        self.memory.resize(0);
        Ok(self.finished())
    }

    async fn discard(&mut self) -> Result<()> {
        self.held = 0;
        let result = match self.throw_away() {
            Some(away) => self.layout.place.patient(away).await,
            None => Ok(()),
        };
        self.memory.resize(0);
        result
    }
}

impl Drop for Writer {
    /// A task that ends without a word, by a panic or a stop, leaves nothing either.
    fn drop(&mut self) {
        drop(self.throw_away());
    }
}

fn unfit(layout: &Layout, error: &arrow::error::ArrowError) -> Error {
    let message = format!("the rows do not fit the columns of {}", layout.place.url());
    Error::new(Kind::Data, codes::SCHEMA, message).detail(error.to_string())
}
