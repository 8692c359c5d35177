//! The running sessions of one subtask.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, PrimitiveArray, UInt32Array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::index::{Index, Place, Session};
use super::payload::Payload;
use super::state;
use super::store::{Store, gather};
use super::updates::Updates;
use crate::account;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::late::{LateRows, Why};
use crate::message::EventTime;
use crate::metrics::SubtaskMetrics;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::window::results::Collector;
use crate::window::spec::WindowSpec;
use crate::window::times;

/// Makes the operator of one subtask.
pub(super) fn create(
    payload: Payload,
    time_column: usize,
    gap: i64,
    sources: &Arc<str>,
    context: &TaskContext,
) -> Result<Box<dyn Operator>> {
    let name = format!("sessions {} #{}", context.node, context.subtask);
    let fields = payload.key_fields();
    let fields = fields.iter().map(|f| SortField::new(f.data_type().clone()));
    let fields: Vec<SortField> = fields.collect();
    Ok(Box::new(Sessions {
        keys: (!fields.is_empty())
            .then(|| RowConverter::new(fields))
            .transpose()?,
        collector: Collector::new(payload.schema(), context.job.batch_rows),
        batch_rows: context.job.batch_rows.max(1),
        index: Index::new(gap, payload.firing()),
        updates: Updates::of(&payload)?,
        payload,
        time_column,
        store: Store::default(),
        watermark: i64::MIN,
        late: LateRows::new(context, sources),
        memory: MemoryConsumer::new(name).register(&context.job.memory),
        metrics: Arc::clone(&context.metrics),
        restored: false,
    }))
}

/// Sessions, and what closes them.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) payload: Payload,
    time_column: usize,
    /// None without keys.
    keys: Option<RowConverter>,
    pub(super) index: Index,
    pub(super) store: Store,
    pub(super) watermark: i64,
    /// Where results are updated.
    pub(super) updates: Option<Updates>,
    pub(super) batch_rows: usize,
    pub(super) collector: Collector,
    late: LateRows,
    memory: MemoryReservation,
    metrics: Arc<SubtaskMetrics>,
    /// What was restored may be over already: subtasks may have had other watermarks.
    pub(super) restored: bool,
}

/// Rows of one key that are less than the gap apart: a stretch of the rows in order.
struct Stretch {
    start: i64,
    last: i64,
    rows: Range<usize>,
}

impl Operator for Sessions {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        self.catch_up(out)?;
        let times = times::micros(batch.column(self.time_column))?;
        let read = self.payload.read(&batch)?;
        let keys = self.key_rows(&read.keys)?;
        let order = ordered(&times, keys.as_ref());
        let stretches = self.stretches(&order, &times, keys.as_ref());
        let mut live = vec![false; batch.num_rows()];
        let (mut rows, mut groups, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        for stretch in stretches {
            let members = order.get(stretch.rows).unwrap_or_default();
            let first = members.first().copied().unwrap_or(0);
            let key = key_at(keys.as_ref(), first as usize);
            let placed = self
                .index
                .place(key, stretch.start, stretch.last, self.watermark);
            let Some(id) = placed else {
                continue;
            };
            for row in members {
                if let Some(live) = live.get_mut(*row as usize) {
                    *live = true;
                }
            }
            rows.extend_from_slice(members);
            groups.resize(rows.len(), owners.len());
            owners.push(id);
        }
        if rows.len() < batch.num_rows() {
            self.late
                .keep(&batch, &live, EventTime(self.watermark), |row| {
                    why(&times, row, &self.index)
                })?;
        }
        if !rows.is_empty() {
            let count = owners.len();
            let (part, groups) =
                self.payload
                    .pack(&read, &UInt32Array::from(rows), groups, count)?;
            let number = self.store.add(part, false);
            for (row, group) in (0_u32..).zip(groups) {
                if let Some(id) = owners.get(group) {
                    let id = self.index.resolve(*id);
                    self.index.give(id, (number, row), true);
                }
            }
        }
        self.index.placed();
        self.tidy()?;
        self.account()?;
        self.fire_due(out)
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        self.catch_up(out)?;
        if watermark.0 > self.watermark {
            self.watermark = watermark.0;
            self.close(out)?;
        }
        Ok(())
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        self.catch_up(out)?;
        self.fire_at(now_micros, out)
    }

    fn snapshot(&mut self, extent: Extent, out: &mut Output) -> Result<StateBatches> {
        self.catch_up(out)?;
        state::snapshot(self, extent)
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        state::restore(self, state, groups)?;
        self.restored = true;
        self.account()
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.watermark(EventTime::MAX, out)
    }
}

impl Sessions {
    /// The keys of rows, as bytes that are equal when the keys are.
    pub(super) fn key_rows(&mut self, keys: &[arrow::array::ArrayRef]) -> Result<Option<Rows>> {
        let converter = self.keys.as_mut();
        Ok(converter.map(|c| c.convert_columns(keys)).transpose()?)
    }

    fn catch_up(&mut self, out: &mut Output) -> Result<()> {
        if std::mem::take(&mut self.restored) {
            self.close(out)?;
        }
        Ok(())
    }

    fn stretches(
        &self,
        order: &[u32],
        times: &PrimitiveArray<Int64Type>,
        keys: Option<&Rows>,
    ) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut key: Option<&[u8]> = None;
        for (place, row) in order.iter().enumerate() {
            let time = times.value(*row as usize);
            let own = key_at(keys, *row as usize);
            match stretches.last_mut() {
                Some(stretch) if key == Some(own) && time < self.index.end_of(stretch.last) => {
                    stretch.last = time;
                    stretch.rows.end = place + 1;
                }
                _ => stretches.push(Stretch {
                    start: time,
                    last: time,
                    rows: place..place + 1,
                }),
            }
            key = Some(own);
        }
        stretches
    }

    /// Gives the results of all sessions that are over, in order of their ends, and forgets those
    /// that take no more rows.
    fn close(&mut self, out: &mut Output) -> Result<()> {
        self.fire_due(out)?;
        let mut over: Vec<Session> = Vec::new();
        let mut rows = 0;
        while let Some(session) = self.index.pop(self.watermark) {
            rows += session.places.len();
            over.push(session);
            if rows >= self.batch_rows {
                self.finish(&over, out)?;
                over.clear();
                rows = 0;
            }
        }
        self.finish(&over, out)?;
        self.collector.flush(out)?;
        self.tidy()?;
        self.account()
    }

    fn finish(&mut self, over: &[Session], out: &mut Output) -> Result<()> {
        if over.is_empty() {
            return Ok(());
        }
        let (places, groups) = places_of(over.iter().map(|s| s.places.as_slice()));
        if self.updates.is_some() {
            // Their results have been given.
            self.store.forget(&places);
            return Ok(());
        }
        let columns = gather(&self.store.parts(), &places)?;
        self.store.forget(&places);
        let starts = over.iter().map(|s| s.start).collect();
        let ends = over.iter().map(|s| self.index.end_of(s.last)).collect();
        let batch = self.payload.finish(columns, &groups, starts, ends)?;
        self.collector.push(batch, out)
    }

    pub(super) fn account(&self) -> Result<()> {
        let bytes = self.index.bytes() + self.store.bytes();
        account::settle(&self.memory, &self.metrics, bytes).map_err(|error| {
            Error::new(
                Kind::Limit,
                codes::MEMORY,
                "the open sessions do not fit in memory",
            )
            .detail(format!("they take {} MiB in one subtask", bytes >> 20))
            .hint("give the job more memory with --memory, or use a shorter gap or fewer keys")
            .caused_by(error)
        })
    }
}

/// Puts payload rows one after the other, with the number of whose they are.
pub(super) fn places_of<'a>(
    of_each: impl Iterator<Item = &'a [Place]>,
) -> (Vec<Place>, Vec<usize>) {
    let (mut places, mut groups) = (Vec::new(), Vec::new());
    for (i, own) in of_each.enumerate() {
        places.extend_from_slice(own);
        groups.resize(places.len(), i);
    }
    (places, groups)
}

pub(super) fn key_at(keys: Option<&Rows>, row: usize) -> &[u8] {
    keys.map_or(&[], |keys| keys.row(row).data())
}

/// The rows with a time, by key and time.
fn ordered(times: &PrimitiveArray<Int64Type>, keys: Option<&Rows>) -> Vec<u32> {
    let usable = |row: &usize| times.is_valid(*row) && WindowSpec::accepts(times.value(*row));
    let rows = (0..times.len()).filter(usable);
    let mut order: Vec<u32> = rows.filter_map(|row| u32::try_from(row).ok()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (*a as usize, *b as usize);
        let by_key = key_at(keys, a).cmp(key_at(keys, b));
        by_key.then_with(|| times.value(a).cmp(&times.value(b)))
    });
    order
}

fn why(times: &PrimitiveArray<Int64Type>, row: usize, index: &Index) -> Why {
    let time = (row < times.len() && times.is_valid(row)).then(|| times.value(row));
    match time.filter(|time| WindowSpec::accepts(*time)) {
        Some(time) => Why::Over {
            time: Some(EventTime(time)),
            end: EventTime(index.end_of(time)),
        },
        None => Why::NoTime,
    }
}
