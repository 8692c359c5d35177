//! A stream joined with a table that is asked for each row's keys: what was asked for lately comes
//! from a cache, the rest in few calls.
//!
//! The join itself does not wait. [`LookupJoin::start`] says what has to be asked, as a future that
//! owns all it needs, and [`LookupJoin::finish`] makes rows of the answers: the runtime lets several
//! batches wait at once and finishes them in the order of the stream.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_arrays};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_common::NullEquality;
use futures::{StreamExt, TryStreamExt};

use super::account::{Account, memory_error};
use super::program::{Keyed, Program};
use super::results::Collector;
use super::spec::{JoinSpec, Side};
use super::table::Table;
use super::table_join::{check_table, look_up};
use crate::env::{BoxFuture, Env};
use crate::error::{Error, Result};
use crate::exchange::batch_bytes;
use crate::job::TaskContext;
use crate::limits;
use crate::lookup::{self, Cache, Found, Lookup, Settings};
use crate::message::EventTime;
use crate::metrics::SubtaskMetrics;
use crate::operator::Output;

/// Makes joins of a stream, the left side, with a table that finds rows by key, the right side.
#[derive(Debug)]
pub struct LookupJoinFactory {
    program: Arc<Program>,
    lookup: Arc<dyn Lookup>,
    settings: Settings,
}

impl LookupJoinFactory {
    /// Checks a join. The right keys are what the table is asked for, in their order; the right
    /// input has the schema of the lookup. Rows of the table that find no match cannot come out,
    /// and NULL finds nothing.
    pub fn try_new(spec: JoinSpec, lookup: Arc<dyn Lookup>) -> Result<Self> {
        if spec.on.is_empty() || spec.null_equality == NullEquality::NullEqualsNull {
            return Err(Error::internal(
                "a lookup join without keys, or with NULL among them",
            ));
        }
        let program = Program::try_new(spec, None)?;
        check_table(&program, Side::Right)?;
        let [_, right] = &program.rows;
        if right.fields() != lookup.schema().fields() {
            return Err(Error::internal("a lookup's rows are not those of its join"));
        }
        Ok(Self {
            program: Arc::new(program),
            settings: lookup.settings(),
            lookup,
        })
    }

    /// The rows that come out.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.program.schema)
    }

    /// One line for EXPLAIN.
    pub fn describe(&self) -> String {
        let (join, table) = (self.program.text(), self.lookup.describe());
        format!("Lookup join {join}, asks {table}, {}", self.settings)
    }

    /// Makes the join of one subtask.
    pub fn create(&self, context: &TaskContext) -> Result<LookupJoin> {
        let [left, _] = &self.program.stored;
        let [keys, _] = &self.program.key_columns;
        let types = keys.iter().filter_map(|at| left.fields().get(*at));
        let types = types.map(|field| SortField::new(field.data_type().clone()));
        Ok(LookupJoin {
            program: Arc::clone(&self.program),
            lookup: Arc::clone(&self.lookup),
            settings: self.settings,
            converter: RowConverter::new(types.collect())?,
            cache: Cache::new(self.settings.cache),
            waiting: 0,
            rows_max: context.job.batch_rows,
            env: context.job.env.clone(),
            account: Account::new(context),
            metrics: Arc::clone(&context.metrics),
        })
    }
}

/// The running lookup join of one subtask. Its cache is in no checkpoint.
#[derive(Debug)]
pub struct LookupJoin {
    program: Arc<Program>,
    lookup: Arc<dyn Lookup>,
    settings: Settings,
    converter: RowConverter,
    cache: Cache,
    /// Bytes of the batches that wait for answers.
    waiting: usize,
    rows_max: usize,
    env: Env,
    account: Account,
    metrics: Arc<SubtaskMetrics>,
}

/// Rows of the stream with all that the table has for their keys.
pub struct Answered {
    keyed: Keyed,
    keys: Rows,
    /// What the cache had.
    known: Vec<RecordBatch>,
    /// What was asked: the rows of the batch with the keys of each call, and the answer.
    found: Vec<(Vec<u32>, Found)>,
    /// Of the rows of the stream.
    bytes: usize,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("rows", &self.keyed.len())
            .field("calls", &self.found.len())
            .finish_non_exhaustive()
    }
}

impl LookupJoin {
    /// Takes rows of the stream; the future gives what the table says of them.
    pub fn start(&mut self, batch: &RecordBatch) -> Result<BoxFuture<Result<Answered>>> {
        let start = self.env.clock().monotonic();
        self.metrics.add_in(batch.num_rows());
        let keyed = self.program.keyed(Side::Left, batch)?;
        let arrays = self.program.key_arrays(Side::Left, &keyed.batch);
        let keys = self.converter.convert_columns(&arrays)?;
        let (known, missing) = self.cached(&keyed, &keys);
        let calls = missing.chunks(self.settings.keys_max.max(1)).map(|rows| {
            let keys = take_arrays(&arrays, &UInt32Array::from(rows.to_vec()), None)?;
            let (lookup, env) = (Arc::clone(&self.lookup), self.env.clone());
            let rows = rows.to_vec();
            Ok(async move {
                let found = lookup::get(lookup, keys, env).await?;
                let asked = found.keys.iter().all(|key| (*key as usize) < rows.len());
                match found.keys.len() == found.rows.num_rows() && asked {
                    true => Ok((rows, found)),
                    false => Err(Error::internal(
                        "a lookup gave rows of keys it was not asked",
                    )),
                }
            })
        });
        let calls = calls.collect::<Result<Vec<_>>>()?;
        let bytes = batch_bytes(&keyed.batch);
        self.waiting += bytes;
        self.settle(0)?;
        self.count(start);
        Ok(Box::pin(async move {
            let calls = futures::stream::iter(calls).buffered(limits::LOOKUP_CALLS_MAX);
            let found = calls.try_collect().await?;
            Ok(Answered {
                keyed,
                keys,
                known,
                found,
                bytes,
            })
        }))
    }

    /// Joins rows of the stream with what was found for them.
    pub fn finish(&mut self, answered: Answered) -> Result<Vec<RecordBatch>> {
        let start = self.env.clock().monotonic();
        let Answered {
            keyed,
            keys,
            known: mut rows,
            found,
            bytes,
        } = answered;
        self.waiting = self.waiting.saturating_sub(bytes);
        for (asked, found) in found {
            if self.settings.caches() {
                self.keep(&keys, &asked, &found)?;
            }
            rows.push(found.rows);
        }
        let mut table = Table::default();
        if !rows.is_empty() {
            let rows = concat_batches(&self.lookup.schema(), &rows)?;
            table.push(self.program.keyed(Side::Right, &rows)?, &[])?;
        }
        self.settle(bytes + table.bytes())?;
        let mut out = Output::default();
        let mut collector = Collector::new(Arc::clone(&self.program.schema), self.rows_max);
        look_up(
            &self.program,
            Side::Left,
            &keyed,
            &table,
            &mut collector,
            &mut out,
        )?;
        drop(table);
        self.settle(0)?;
        let results = out.take();
        let given = results.iter().map(RecordBatch::num_rows).sum();
        self.metrics.add_out(given);
        self.count(start);
        Ok(results)
    }

    /// Notes a watermark that has passed.
    pub fn passed(&self, watermark: EventTime) {
        self.metrics.set_watermark(watermark);
    }

    /// What the cache has for a batch, each key once, and the first rows with the keys that it
    /// has not.
    fn cached(&mut self, keyed: &Keyed, keys: &Rows) -> (Vec<RecordBatch>, Vec<u32>) {
        let now = self.env.clock().monotonic();
        let valid = self.program.valid_keys(Side::Left, &keyed.batch);
        let mut seen = HashSet::with_capacity(keys.num_rows());
        let (mut rows, mut missing, mut hits) = (Vec::new(), Vec::new(), 0);
        for (row, key) in (0_u32..).zip(keys) {
            let valid = valid.as_ref().is_none_or(|v| v.is_valid(row as usize));
            if !valid || !seen.insert(key) {
                continue;
            }
            match self.cache.get(key.as_ref(), now) {
                Some(found) => {
                    hits += 1;
                    rows.extend((found.num_rows() > 0).then_some(found));
                }
                None => missing.push(row),
            }
        }
        self.metrics.cached.fetch_add(hits, Relaxed);
        let asked = missing.len() as u64;
        self.metrics.asked.fetch_add(asked, Relaxed);
        (rows, missing)
    }

    /// Puts what was found into the cache, by key.
    fn keep(&mut self, keys: &Rows, asked: &[u32], found: &Found) -> Result<()> {
        let now = self.env.clock().monotonic();
        let of = lookup::by_key(found, asked.len());
        for (row, of) in asked.iter().zip(of) {
            if (*row as usize) < keys.num_rows() {
                let rows = lookup::copy(&found.rows, of)?;
                self.cache.put(keys.row(*row as usize).as_ref(), rows, now);
            }
        }
        Ok(())
    }

    /// Takes memory from the job's: what is at work must have room, and the cache gets smaller
    /// where there is none for it.
    fn settle(&mut self, working: usize) -> Result<()> {
        let working = self.waiting + working;
        loop {
            let bytes = working + self.cache.bytes();
            let Err(error) = self.account.settle(bytes) else {
                return Ok(());
            };
            if self.cache.is_empty() {
                let hint = "give the job more memory with --memory, or lower --parallelism";
                return Err(memory_error(error, bytes, hint));
            }
            let half = self.cache.bytes() / 2;
            self.cache.shrink(self.cache.len() / 2, half);
        }
    }

    fn count(&self, start: Duration) {
        let time = self.env.clock().monotonic().saturating_sub(start);
        self.metrics.add_busy(time);
    }
}
