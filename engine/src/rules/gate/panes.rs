//! Which rows are judged together, and what was found of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};

use super::{Gate, Over};
use crate::error::Result;
use crate::message::EventTime;
use crate::rules::check::{Finding, findings, measured};
use crate::updating::codec::{RowMap, evaluate};
use crate::window::WindowSpec;

/// The pane of rows that are no window's.
pub(super) const BATCH: i64 = 0;

impl Over {
    pub(super) fn is_window(&self) -> bool {
        matches!(self, Self::Window { .. })
    }

    /// The start of the pane of each row; null for a row without a time, which is in no window.
    pub(super) fn starts(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let Self::Window { time, spec, .. } = self else {
            return Ok(Int64Array::from(vec![BATCH; rows.num_rows()]));
        };
        let times = time.evaluate(rows)?.into_array(rows.num_rows())?;
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times = cast(&cast(&times, &micros)?, &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>();
        let start = |time: Option<i64>| {
            let time = time.filter(|time| WindowSpec::accepts(*time))?;
            Some(spec.slice(time).start)
        };
        Ok(times.iter().map(start).collect())
    }

    /// Whether a pane is over at a watermark. A batch is whole when its end is said, not by a time.
    pub(super) fn is_over(&self, start: i64, watermark: i64) -> bool {
        match self {
            Self::Batch | Self::Table => watermark == i64::MAX,
            Self::Window { .. } => self.end(start) <= watermark,
        }
    }

    /// The end of the window that starts at a time.
    pub(super) fn end(&self, start: i64) -> i64 {
        match self {
            Self::Batch | Self::Table => i64::MAX,
            Self::Window { spec, .. } => start.saturating_add(spec.size()),
        }
    }

    /// The earliest time that a row on hold may have when windows up to a watermark are over.
    pub(super) fn held_from(&self, watermark: EventTime) -> EventTime {
        match self {
            Self::Window { spec, .. } if WindowSpec::accepts(watermark.0) => {
                EventTime(spec.slice(watermark.0).start)
            }
            _ => watermark,
        }
    }
}

/// Where in a batch the rows of each pane are.
pub(super) fn places(starts: &Int64Array) -> BTreeMap<i64, UInt32Array> {
    let mut places: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (row, start) in (0..).zip(starts) {
        if let Some(start) = start {
            places.entry(start).or_default().push(row);
        }
    }
    let array = |(start, rows)| (start, UInt32Array::from(rows));
    places.into_iter().map(array).collect()
}

/// The rows of each pane.
pub(super) fn divided(rows: &RecordBatch, starts: &Int64Array) -> Result<Vec<(i64, RecordBatch)>> {
    let of_pane = |(start, places): (i64, UInt32Array)| {
        let rows = match places.len() == rows.num_rows() {
            true => rows.clone(),
            false => take_record_batch(rows, &places)?,
        };
        Ok((start, rows))
    };
    places(starts).into_iter().map(of_pane).collect()
}

impl Gate {
    /// Measures of a pane as they are judged: with the window behind the segments.
    pub(super) fn judged(&self, measures: &RecordBatch, start: i64) -> Result<RecordBatch> {
        let mut columns = measures.columns().to_vec();
        if let Over::Window { .. } = self.over {
            let rows = measures.num_rows();
            let bounds = [start, self.over.end(start)];
            for (at, bound) in bounds.into_iter().enumerate() {
                let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![bound; rows]));
                columns.insert(self.segments().len() + at, times);
            }
        }
        Ok(RecordBatch::try_new(self.judged_schema(), columns)?)
    }
}

/// Why the rows of a segment are kept back.
#[derive(Debug)]
pub(super) struct Reason {
    /// The rules that don't hold, by their numbers among those of the table.
    rules: BTreeSet<usize>,
    /// What they have measured.
    pub(super) measured: Map<String, Value>,
}

/// The segments of a pane whose rows are kept back.
#[derive(Debug, Default)]
pub(super) struct Broken {
    of: RowMap<usize>,
    reasons: Vec<Reason>,
}

impl Broken {
    /// Notes the segments for which a rule does not hold.
    pub(super) fn note(
        &mut self,
        (number, gate): (usize, &Gate),
        judged: &RecordBatch,
        now: i64,
    ) -> Result<()> {
        let segments = judged.columns().iter().take(gate.segments().len());
        let segments: Vec<ArrayRef> = segments.cloned().collect();
        let keys = match segments.is_empty() {
            true => None,
            false => Some(gate.measures.codec().encode(&segments)?),
        };
        let breaks = |finding: &Finding| finding.passed == Some(false);
        for (row, finding) in findings(&gate.check, judged, now)?.into_iter().enumerate() {
            if !breaks(&finding) {
                continue;
            }
            let key: &[u8] = match &keys {
                Some(keys) => keys.row(row).data(),
                None => &[],
            };
            let at = match self.of.get(key) {
                Some(at) => *at,
                None => {
                    self.of.insert(key.into(), self.reasons.len());
                    self.reasons.push(Reason {
                        rules: BTreeSet::new(),
                        measured: Map::new(),
                    });
                    self.reasons.len() - 1
                }
            };
            if let Some(reason) = self.reasons.get_mut(at) {
                reason.rules.insert(number);
                reason.measured.extend(measured(&gate.check, judged, row));
            }
        }
        Ok(())
    }

    /// The reason of each row, by its segment.
    pub(super) fn reasons_of(
        &self,
        gate: &Gate,
        rows: &RecordBatch,
    ) -> Result<Vec<Option<&Reason>>> {
        let of = |key: &[u8]| self.reasons.get(*self.of.get(key)?);
        if self.reasons.is_empty() || gate.segments().is_empty() {
            return Ok(vec![of(&[]); rows.num_rows()]);
        }
        let keys = gate
            .measures
            .codec()
            .encode(&evaluate(gate.segments(), rows)?)?;
        Ok(keys.iter().map(|key| of(key.data())).collect())
    }
}

/// The rows that break a rule.
pub(super) fn breaking(reasons: &[Option<&Reason>], rule: usize) -> Option<BooleanBuffer> {
    let breaks =
        |reason: &Option<&Reason>| reason.is_some_and(|reason| reason.rules.contains(&rule));
    let rows: BooleanBuffer = reasons.iter().map(breaks).collect();
    (rows.count_set_bits() > 0).then_some(rows)
}
