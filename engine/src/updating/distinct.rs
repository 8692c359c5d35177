//! The first row of each key, in the order in which rows arrive: DISTINCT of an append-only stream,
//! and deduplication that keeps the first.
//!
//! What comes out only ever grows, so that it is append-only too. DISTINCT of a changelog is an
//! [`aggregate`](super::aggregate) without aggregates; deduplication by another order than arrival
//! is a [`rank`](super::rank) of one row.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use super::codec::{RowMap, evaluate};
use super::memory::ENTRY_BYTES;
use super::state::unreadable;
use super::{Account, Format, RowBytes, RowCodec};
use crate::changelog::is_changelog;
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::operator::{Consumes, Extent, Operator, OperatorFactory, Output, StateBatches};
use crate::spill::{self, Spillable};

const FORMAT: Format = Format {
    name: "weir.updating.distinct",
    version: "1",
};
const KEYS: &str = "keys";
const GONE: &str = "gone";

/// Makes the operators that let the first row of each key pass.
#[derive(Debug)]
pub struct DistinctFactory {
    spec: Arc<Spec>,
}

#[derive(Debug, Clone)]
struct Spec {
    input: SchemaRef,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    codec: Arc<RowCodec>,
    ttl: Option<Duration>,
}

impl DistinctFactory {
    /// Makes the operators for rows of an append-only stream.
    ///
    /// `keys` tell rows apart: all columns for DISTINCT, at least one. The exchange in front hashes
    /// by them, in this order. A key that no row has had for `ttl`, by the clock, is forgotten: a
    /// later row of it passes again.
    pub fn try_new(
        input: SchemaRef,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        ttl: Option<Duration>,
    ) -> Result<Self> {
        if is_changelog(&input) || keys.is_empty() {
            return Err(Error::internal(
                "the first rows are kept by key, of an append-only stream",
            ));
        }
        let types = keys
            .iter()
            .map(|key| Ok(key.data_type(&input)?))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            spec: Arc::new(Spec {
                codec: Arc::new(RowCodec::of(types)?),
                input,
                keys,
                ttl,
            }),
        })
    }
}

impl OperatorFactory for DistinctFactory {
    fn outlives_input(&self) -> bool {
        true
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.spec.input)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        spill::create(Arc::clone(&self.spec) as _, context)
    }

    fn describe(&self) -> String {
        let keys: Vec<_> = self.spec.keys.iter().map(ToString::to_string).collect();
        let mut text = format!("Distinct [{}]", keys.join(", "));
        if let Some(ttl) = self.spec.ttl {
            text.push_str(&format!(" ttl {ttl:?}"));
        }
        text
    }

    fn fingerprint(&self) -> Option<String> {
        let keys: Vec<_> = self.spec.keys.iter().map(ToString::to_string).collect();
        let types = self.spec.codec.types();
        Some(format!("distinct by {} of {types:?}", keys.join(", ")))
    }

    fn consumes(&self) -> Consumes {
        Consumes::Filters
    }
}

impl Spillable for Spec {
    fn what(&self) -> &'static str {
        "keys"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Distinct {
            spec: Arc::new(self.clone()),
            seen: RowMap::default(),
            changed: Vec::new(),
            gone: RowMap::default(),
            tracking: false,
            now: context.job.env.clock().now_micros(),
            sweep_at: i64::MIN,
            bytes: 0,
            batch_rows: context.job.batch_rows.max(1),
            account: Account::new("keys", context),
        }))
    }

    fn hashes(&self, _input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        spill::hashes_of(&evaluate(&self.keys, rows)?, rows.num_rows())
    }

    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
        let keys = state.columns().get(..self.keys.len()).unwrap_or_default();
        spill::hashes_of(keys, state.num_rows()).map(Some)
    }

    fn visited_every(&self) -> Option<Duration> {
        spill::visited_for(self.ttl)
    }
}

/// When a key was seen last, and whether a list has it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: i64,
    listed: bool,
}

/// The keys seen so far.
#[derive(Debug)]
struct Distinct {
    spec: Arc<Spec>,
    seen: RowMap<Seen>,
    /// What the next snapshot of changes has to say; followed once there is a snapshot.
    changed: Vec<RowBytes>,
    gone: RowMap<()>,
    tracking: bool,
    now: i64,
    sweep_at: i64,
    bytes: usize,
    batch_rows: usize,
    account: Account,
}

impl Operator for Distinct {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let keys = evaluate(&self.spec.keys, &batch)?;
        let rows = self.spec.codec.encode(&keys)?;
        let first: BooleanArray = rows
            .iter()
            .map(|row| Some(self.see(row.data(), self.now)))
            .collect();
        self.account.set(self.held())?;
        match first.true_count() {
            0 => {}
            all if all == batch.num_rows() => out.send(batch),
            _ => out.send(filter_record_batch(&batch, &first)?),
        }
        Ok(())
    }

    fn tick(&mut self, now_micros: i64, _out: &mut Output) -> Result<()> {
        self.now = now_micros;
        let Some(ttl) = self.spec.ttl else {
            return Ok(());
        };
        let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        if now_micros < self.sweep_at {
            return Ok(());
        }
        self.sweep_at = now_micros.saturating_add(ttl / super::SWEEPS_PER_TTL);
        let before = now_micros.saturating_sub(ttl);
        let expired = self.seen.extract_if(|_, seen| seen.at < before);
        for (key, _) in expired {
            self.bytes -= key.len() + ENTRY_BYTES;
            if self.tracking {
                self.gone.insert(key, ());
            }
        }
        self.account.set(self.held())
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let all = extent == Extent::All || !self.tracking;
        self.tracking = true;
        let changed = std::mem::take(&mut self.changed);
        let gone: Vec<RowBytes> = std::mem::take(&mut self.gone).into_keys().collect();
        for seen in changed.iter() {
            if let Some(seen) = self.seen.get_mut(seen) {
                seen.listed = false;
            }
        }
        let time = |key: RowBytes| self.seen.get(&key).map(|seen| (Arc::clone(&key), seen.at));
        let keys: Vec<(RowBytes, i64)> = if all {
            let seen = self.seen.iter();
            seen.map(|(key, seen)| (Arc::clone(key), seen.at)).collect()
        } else {
            changed.into_iter().filter_map(time).collect()
        };
        let gone = if all { Vec::new() } else { gone };
        Ok(save(&self.spec, keys, gone, self.batch_rows))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        self.tracking = true;
        let width = self.spec.keys.len();
        for batch in state {
            let batch = batch?;
            let part = FORMAT.part(&batch)?;
            let keys = batch.columns().get(..width).unwrap_or(&[]);
            let mask = groups.mask(keys, batch.num_rows())?;
            let keys = keys
                .iter()
                .map(|key| Ok(filter(key, &mask)?))
                .collect::<Result<Vec<_>>>()?;
            let times = match part {
                KEYS => Some(filter(batch.column(width), &mask)?),
                GONE => None,
                other => return Err(unreadable(format!("it has an unknown part, \"{other}\""))),
            };
            FORMAT.check(&batch, &schema(&self.spec, part))?;
            let times = times
                .as_ref()
                .map(|times| times.as_primitive::<Int64Type>());
            for (i, row) in self.spec.codec.encode(&keys)?.iter().enumerate() {
                let key: RowBytes = row.data().into();
                let size = key.len() + ENTRY_BYTES;
                let known = match times {
                    Some(times) => {
                        let (at, listed) = (times.value(i), false);
                        self.bytes += size;
                        self.seen.insert(key, Seen { at, listed })
                    }
                    None => self.seen.remove(&key),
                };
                self.bytes -= if known.is_some() { size } else { 0 };
            }
            self.account.set(self.held())?;
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

impl Distinct {
    /// Notes a key; gives whether it is new.
    fn see(&mut self, key: &[u8], now: i64) -> bool {
        let ages = self.spec.ttl.is_some();
        if let Some(seen) = self.seen.get_mut(key) {
            if ages && seen.at != now {
                seen.at = now;
                if self.tracking && !std::mem::replace(&mut seen.listed, true) {
                    self.changed.push(key.into());
                }
            }
            return false;
        }
        let key: RowBytes = key.into();
        self.bytes += key.len() + ENTRY_BYTES;
        if self.tracking {
            self.changed.push(Arc::clone(&key));
        }
        let listed = self.tracking;
        self.seen.insert(key, Seen { at: now, listed });
        true
    }

    fn held(&self) -> usize {
        let lists = self.changed.capacity() + self.gone.capacity();
        self.bytes + lists * size_of::<RowBytes>()
    }
}

/// Makes the batches of keys; they are decoded on the thread that takes them.
fn save(
    spec: &Arc<Spec>,
    keys: Vec<(RowBytes, i64)>,
    gone: Vec<RowBytes>,
    rows_max: usize,
) -> StateBatches {
    let gone_chunks = gone.len().div_ceil(rows_max);
    let key_chunks = keys.len().div_ceil(rows_max);
    let (of_gone, of_keys) = (Arc::clone(spec), Arc::clone(spec));
    let gone = (0..gone_chunks).map(move |i| {
        let rows = gone.iter().skip(i * rows_max).take(rows_max);
        let columns = of_gone.codec.decode(rows.map(|row| &**row))?;
        Ok(RecordBatch::try_new(schema(&of_gone, GONE), columns)?)
    });
    let keys = (0..key_chunks).map(move |i| {
        let rows = || keys.iter().skip(i * rows_max).take(rows_max);
        let mut columns = of_keys.codec.decode(rows().map(|(row, _)| &**row))?;
        let times: ArrayRef = Arc::new(Int64Array::from_iter_values(rows().map(|(_, at)| *at)));
        columns.push(times);
        Ok(RecordBatch::try_new(schema(&of_keys, KEYS), columns)?)
    });
    Box::new(gone.chain(keys))
}

fn schema(spec: &Spec, part: &str) -> SchemaRef {
    let types = spec.codec.types().iter().enumerate();
    let mut fields: Vec<_> = types
        .map(|(i, t)| Arc::new(Field::new(format!("_key{i}"), t.clone(), true)))
        .collect();
    if part == KEYS {
        fields.push(Arc::new(Field::new("_seen_at", DataType::Int64, false)));
    }
    FORMAT.schema(part, fields)
}

#[cfg(test)]
mod tests;
