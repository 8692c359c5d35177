//! A stream joined with a table that is asked for each row's keys: what was asked for lately comes
//! from a cache, the rest in few calls. Results keep the order of the stream.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, take_arrays, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use futures::{StreamExt, TryStreamExt};

use super::account::Account;
use super::program::{Keyed, Program};
use super::results::Collector;
use super::spec::{JoinSpec, Side};
use super::table::Table;
use super::table_join::{check_table, look_up};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::limits;
use crate::lookup::{Cache, CacheLimits, Found, Lookup};
use crate::operator::Output;

/// Makes joins of a stream, the left side, with a table that finds rows by key, the right side.
#[derive(Debug)]
pub struct LookupJoinFactory {
    program: Arc<Program>,
    lookup: Arc<dyn Lookup>,
    cache: CacheLimits,
}

impl LookupJoinFactory {
    /// Checks a join. The right keys are what the table is asked for, in their order; the right
    /// input has the schema of the lookup. Rows of the table that find no match cannot come out.
    pub fn try_new(spec: JoinSpec, lookup: Arc<dyn Lookup>, cache: CacheLimits) -> Result<Self> {
        let program = Program::try_new(spec, None)?;
        check_table(&program, Side::Right)?;
        let [_, right] = &program.rows;
        if right.fields() != lookup.schema().fields() {
            return Err(Error::internal("a lookup's rows are not those of its join"));
        }
        Ok(Self {
            program: Arc::new(program),
            lookup,
            cache,
        })
    }

    /// The rows that come out.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.program.schema)
    }

    /// One line for EXPLAIN.
    pub fn describe(&self) -> String {
        format!("Lookup join {}", self.program.text())
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
            converter: RowConverter::new(types.collect())?,
            cache: Cache::new(self.cache),
            rows_max: context.job.batch_rows,
            env: context.job.env.clone(),
            account: Account::new(context),
        })
    }
}

/// The running lookup join of one subtask. Its cache is in no checkpoint.
#[derive(Debug)]
pub struct LookupJoin {
    program: Arc<Program>,
    lookup: Arc<dyn Lookup>,
    converter: RowConverter,
    cache: Cache,
    rows_max: usize,
    env: Env,
    account: Account,
}

/// Keys of a batch whose rows are not known.
#[derive(Debug, Default)]
struct Missing {
    /// The first row of the batch with each key.
    rows: Vec<u32>,
}

impl LookupJoin {
    /// Joins rows of the stream.
    pub async fn process(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        let keyed = self.program.keyed(Side::Left, &batch)?;
        let arrays = self.program.key_arrays(Side::Left, &keyed.batch);
        let keys = self.converter.convert_columns(&arrays)?;
        let (mut rows, missing) = self.cached(&keyed, &keys);
        for (numbers, found) in self.ask(&arrays, &missing).await? {
            self.keep(&keys, &numbers, &found)?;
            rows.push(found.rows);
        }
        self.settle();
        let mut table = Table::default();
        if !rows.is_empty() {
            let rows = concat_batches(&self.lookup.schema(), &rows)?;
            table.push(self.program.keyed(Side::Right, &rows)?, &[])?;
        }
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
        Ok(out.take())
    }

    /// What the cache has for a batch, each key once, and what it has not.
    fn cached(&mut self, keyed: &Keyed, keys: &Rows) -> (Vec<RecordBatch>, Missing) {
        let now = self.env.clock().monotonic();
        // A key with a NULL finds nothing, even where NULLs are equal: a table has no such key.
        let valid = self.program.valid_keys(Side::Left, &keyed.batch);
        let mut seen = HashMap::new();
        let (mut rows, mut missing) = (Vec::new(), Missing::default());
        for (row, key) in (0_u32..).zip(keys) {
            let valid = valid.as_ref().is_none_or(|v| v.is_valid(row as usize));
            if !valid || seen.insert(key, ()).is_some() {
                continue;
            }
            match self.cache.get(key.as_ref(), now) {
                Some(found) if found.num_rows() > 0 => rows.push(found),
                Some(_) => {}
                None => missing.rows.push(row),
            }
        }
        (rows, missing)
    }

    /// Asks the table for what is missing, in a bounded number of calls of bounded size at once.
    async fn ask(&self, keys: &[ArrayRef], missing: &Missing) -> Result<Vec<(Vec<u32>, Found)>> {
        let calls = missing.rows.chunks(limits::LOOKUP_KEYS_MAX).map(|rows| {
            let keys = take_arrays(keys, &UInt32Array::from(rows.to_vec()), None);
            let lookup = Arc::clone(&self.lookup);
            async move {
                let found = lookup.get(&keys?).await?;
                let known = found.keys.iter().all(|key| (*key as usize) < rows.len());
                if found.keys.len() != found.rows.num_rows() || !known {
                    return Err(Error::internal(
                        "a lookup gave rows of keys it was not asked for",
                    ));
                }
                Ok((rows.to_vec(), found))
            }
        });
        // Collected first: a stream over borrowed closures is not `Send` in all callers.
        let calls: Vec<_> = calls.collect();
        futures::stream::iter(calls)
            .buffered(limits::LOOKUP_CALLS_MAX)
            .try_collect()
            .await
    }

    /// Puts what was found into the cache, by key.
    fn keep(&mut self, keys: &Rows, asked: &[u32], found: &Found) -> Result<()> {
        let now = self.env.clock().monotonic();
        let mut of: Vec<Vec<u32>> = vec![Vec::new(); asked.len()];
        for (row, key) in (0_u32..).zip(&found.keys) {
            if let Some(rows) = of.get_mut(*key as usize) {
                rows.push(row);
            }
        }
        for (row, of) in asked.iter().zip(of) {
            let rows = take_record_batch(&found.rows, &UInt32Array::from(of))?;
            if (*row as usize) < keys.num_rows() {
                self.cache.put(keys.row(*row as usize).as_ref(), rows, now);
            }
        }
        Ok(())
    }

    /// Takes the cache's memory from the job's; a cache that has no room gets smaller.
    fn settle(&mut self) {
        while self.account.settle(self.cache.bytes()).is_err() && !self.cache.is_empty() {
            let half = self.cache.bytes() / 2;
            self.cache.shrink(self.cache.len() / 2, half);
        }
    }
}
