//! Keeps the last rows, and measures them before each checkpoint and at the end.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema};
use arrow::record_batch::RecordBatch;

use super::kept::Kept;
use super::{Codecs, LastSpec, Reach};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::rules::gate::Measuring;
use crate::updating::codec::{RowMap, evaluate};
use crate::updating::state::unreadable;
use crate::updating::{Account, Format, RowBytes};
use crate::window::times::micros;

const FORMAT: Format = Format {
    name: "weir.rules.last",
    version: "1",
};
const ROWS: &str = "rows";
const TOLD: &str = "told";
/// Rows that are taken out of their form at once.
const CHUNK_ROWS: usize = 8_192;
/// Parts of the time after which rows are looked for that are out of it.
const LOOKS_PER_TIME: i64 = 16;

/// The last rows of each segment.
#[derive(Debug)]
pub(super) struct LastRows {
    spec: Arc<LastSpec>,
    codecs: Arc<Codecs>,
    segments: RowMap<Kept>,
    /// The number of the next row, where no time orders them.
    next: i64,
    /// The greatest time.
    newest: i64,
    watermark: i64,
    /// Up to where rows were forgotten.
    forgotten: i64,
    /// What was measured last.
    told: HashSet<RowBytes>,
    /// No row follows.
    ended: bool,
    account: Account,
}

impl LastRows {
    pub(super) fn new(spec: Arc<LastSpec>, codecs: Arc<Codecs>, context: &TaskContext) -> Self {
        Self {
            spec,
            codecs,
            segments: RowMap::default(),
            next: 0,
            newest: i64::MIN,
            watermark: i64::MIN,
            forgotten: i64::MIN,
            told: HashSet::new(),
            ended: false,
            account: Account::new("last rows", context),
        }
    }

    /// The place of each row in their order; null for one without a time, which is in none.
    fn places(&mut self, batch: &RecordBatch) -> Result<Int64Array> {
        let Some(time) = self.spec.time else {
            let from = self.next;
            self.next += batch.num_rows() as i64;
            return Ok((from..self.next).map(Some).collect());
        };
        let column = batch.columns().get(time);
        micros(column.ok_or_else(|| Error::internal("the time of a row is not there"))?)
    }

    fn add(&mut self, batch: &RecordBatch, places: &Int64Array) -> Result<()> {
        let spec = Arc::clone(&self.spec);
        let rows = self.codecs.rows.encode(batch.columns())?;
        let keys = evaluate(spec.measures.keys(), batch)?;
        let keys = match keys.is_empty() {
            true => None,
            false => Some(spec.measures.codec().encode(&keys)?),
        };
        let column = spec.when.map(|at| batch.columns().get(at));
        let meant = column.flatten().and_then(|column| column.as_boolean_opt());
        let all: RowBytes = Arc::new([]);
        for (at, (row, place)) in rows.iter().zip(places).enumerate() {
            let Some(place) = place else {
                continue;
            };
            self.newest = self.newest.max(place);
            if meant.is_some_and(|meant| meant.is_null(at) || !meant.value(at)) {
                continue;
            }
            let key = keys.as_ref().map(|keys| keys.row(at));
            let key = key.map_or_else(|| Arc::clone(&all), |key| key.data().into());
            let kept = self.segments.entry(key).or_default();
            kept.add(place, row.data().into(), 1);
            if let Reach::Rows(count) = spec.reach {
                kept.keep(count);
            }
        }
        Ok(())
    }

    /// Forgets what no later verdict is about.
    fn forget(&mut self, until: i64) {
        self.forgotten = until;
        self.segments.retain(|_, kept| {
            kept.forget(until);
            kept.count() > 0
        });
    }

    /// The moment up to which rows are meant; `None` while there is none.
    fn moment(&self) -> Option<i64> {
        match self.spec.reach {
            Reach::Time(_) if !self.ended => (self.watermark > i64::MIN).then_some(self.watermark),
            _ => Some(self.newest),
        }
    }

    /// Measures the last rows, and gives what differs from what was measured before.
    fn measure(&mut self, out: &mut Output) -> Result<()> {
        let Some(until) = self.moment() else {
            return Ok(());
        };
        if let Reach::Time(reach) = self.spec.reach {
            self.forget(until.saturating_sub(reach));
        }
        let mut measuring = Measuring::new(&self.spec.measures)?;
        for kept in self.segments.values() {
            let rows = kept.until(until);
            let rows = rows.flat_map(|(_, row, times)| std::iter::repeat_n(row, times));
            let rows: Vec<&RowBytes> = rows.collect();
            for chunk in rows.chunks(CHUNK_ROWS) {
                let columns = chunk.iter().map(|row| row.as_ref());
                let columns = self.codecs.rows.decode(columns)?;
                let schema = nullable(self.spec.input.fields().iter().map(Arc::clone));
                measuring.add(&RecordBatch::try_new(schema, columns)?)?;
            }
        }
        let measured = measuring.finish()?;
        if measured.num_rows() == 0 {
            return Ok(());
        }
        let encoded = self.codecs.measured.encode(measured.columns())?;
        let encoded: Vec<RowBytes> = encoded.iter().map(|row| row.data().into()).collect();
        let is_new = encoded.iter().map(|row| Some(!self.told.contains(row)));
        let is_new: BooleanArray = is_new.collect();
        self.told = encoded.into_iter().collect();
        out.send(filter_record_batch(&measured, &is_new)?);
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let kept = self.segments.values().map(Kept::bytes).sum::<usize>();
        let told = self.told.iter().map(|row| row.len()).sum::<usize>();
        self.account.set(kept + told)
    }
}

/// Columns as they come out of a form in which each may be null.
fn nullable(fields: impl Iterator<Item = FieldRef>) -> Arc<Schema> {
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Where a row stands, in a checkpoint.
fn place_field() -> FieldRef {
    Arc::new(Field::new("_place", DataType::Int64, false))
}

impl Operator for LastRows {
    fn process(&mut self, _input: usize, batch: RecordBatch, _out: &mut Output) -> Result<()> {
        let places = self.places(&batch)?;
        self.add(&batch, &places)?;
        self.settle()
    }

    fn watermark(&mut self, watermark: EventTime, _out: &mut Output) -> Result<()> {
        if watermark == EventTime::MAX {
            return Ok(());
        }
        self.watermark = self.watermark.max(watermark.0);
        if let Reach::Time(reach) = self.spec.reach {
            let until = self.watermark.saturating_sub(reach);
            let step = (reach / LOOKS_PER_TIME).max(1);
            if until.saturating_sub(self.forgotten) >= step && !self.spec.bounded {
                self.forget(until);
                self.settle()?;
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, _extent: Extent, out: &mut Output) -> Result<StateBatches> {
        if !self.spec.bounded {
            self.measure(out)?;
            self.settle()?;
        }
        let mut rows: Vec<(i64, RowBytes)> = Vec::new();
        for kept in self.segments.values() {
            for (place, row, times) in kept.until(i64::MAX) {
                rows.extend(std::iter::repeat_n((place, Arc::clone(row)), times));
            }
        }
        let (codecs, spec) = (Arc::clone(&self.codecs), Arc::clone(&self.spec));
        let chunks: Vec<Vec<_>> = rows.chunks(CHUNK_ROWS).map(<[_]>::to_vec).collect();
        let told = self
            .codecs
            .measured
            .decode(self.told.iter().map(AsRef::as_ref))?;
        let fields = nullable(self.spec.measures.schema().fields().iter().map(Arc::clone));
        let fields = fields.fields().iter().map(Arc::clone).collect();
        let told = RecordBatch::try_new(FORMAT.schema(TOLD, fields), told)?;
        let chunks = chunks.into_iter().map(move |chunk| {
            let places = chunk.iter().map(|(place, _)| *place);
            let places: ArrayRef = Arc::new(Int64Array::from_iter_values(places));
            let mut columns = vec![places];
            columns.extend(
                codecs
                    .rows
                    .decode(chunk.iter().map(|(_, row)| row.as_ref()))?,
            );
            let fields = nullable(spec.input.fields().iter().map(Arc::clone));
            let fields =
                std::iter::once(place_field()).chain(fields.fields().iter().map(Arc::clone));
            let schema = FORMAT.schema(ROWS, fields.collect());
            Ok(RecordBatch::try_new(schema, columns)?)
        });
        Ok(Box::new(std::iter::once(Ok(told)).chain(chunks)))
    }

    fn renews(&self) -> bool {
        true
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        _groups: &KeyGroups,
    ) -> Result<()> {
        for batch in state {
            let batch = batch?;
            if FORMAT.part(&batch)? == TOLD {
                let told = self.codecs.measured.encode(batch.columns())?;
                self.told
                    .extend(told.iter().map(|row| RowBytes::from(row.data())));
                continue;
            }
            let Some((places, columns)) = batch.columns().split_first() else {
                return Err(unreadable("the last rows are none".to_owned()));
            };
            let places = places.as_primitive_opt::<Int64Type>();
            let places = places.ok_or_else(|| unreadable("the last rows are none".to_owned()))?;
            let schema = nullable(self.spec.input.fields().iter().map(Arc::clone));
            let rows = RecordBatch::try_new(schema, columns.to_vec())?;
            self.add(&rows, places)?;
            // Rows that come are behind those that were there.
            self.next = self.next.max(self.newest.saturating_add(1));
        }
        self.settle()
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.ended = true;
        self.measure(out)?;
        self.settle()
    }
}
