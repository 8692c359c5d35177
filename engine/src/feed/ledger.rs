//! What a checkpoint knows of the splits of a scan: facts in, state out; no I/O.
//!
//! Each subtask reports, at its barrier, the splits that it holds and those that it has read to
//! their end since the last one. A split that nobody reported yet is unread: what a subtask opens
//! after its barrier is opened again from where the checkpoint has it.
//!
//! Reports of one epoch come in any order, and who found a split need not be who reads it, nor
//! report in the same epoch: what a report says of a split holds without any other report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt8Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt8Type, UInt64Type};

use crate::error::{Error, Kind, Result, codes};
use crate::message::EventTime;
use crate::operator::{Extent, StateBatches};
use crate::source::{Position, Split};

/// The version of the columns below, in the metadata of every batch.
const VERSION: (&str, &str) = ("weir.splits", "1");
/// Rows of one batch of saved splits.
const SAVED_ROWS: usize = 8_192;

/// A split with how far it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The split; its position is where to go on.
    pub split: Split,
    /// The watermark that its rows have given so far.
    pub watermark: EventTime,
    /// Whether it is read to its end.
    pub finished: bool,
}

/// What one subtask says of its splits at a barrier.
#[derive(Debug, Clone, Default)]
pub struct SplitReport {
    /// Splits that the scan has found since the last report of any subtask.
    pub found: Vec<Split>,
    /// The splits that it holds, as they were found: the split, place to go on, watermark.
    pub open: Vec<(Split, Position, EventTime)>,
    /// Splits that it has read to their end since its last report, with the watermark that they have given.
    pub finished: Vec<(String, EventTime)>,
}

/// The splits of one scan, as of the last barrier.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    changed: BTreeSet<String>,
}

impl Ledger {
    /// Takes the report of one subtask.
    pub fn take(&mut self, report: SplitReport) {
        for split in report.found {
            let id = split.id.clone();
            if !self.entries.contains_key(&id) {
                self.changed.insert(id);
                self.entry(split);
            }
        }
        for (split, position, watermark) in report.open {
            let id = split.id.clone();
            let entry = self.entry(split);
            let position = Some(position);
            if entry.split.position != position || entry.watermark != watermark {
                entry.split.position = position;
                entry.watermark = watermark;
                self.changed.insert(id);
            }
        }
        for (id, watermark) in report.finished {
            let entry = self.entry(Split {
                id: id.clone(),
                order: String::new(),
                payload: String::new(),
                bytes: None,
                position: None,
            });
            entry.finished = true;
            entry.watermark = entry.watermark.max(watermark);
            // Only the name is asked for again.
            entry.split.payload.clear();
            entry.split.position = None;
            self.changed.insert(id);
        }
    }

    /// The entry of a split, which may be the first word of it.
    fn entry(&mut self, split: Split) -> &mut Entry {
        let id = split.id.clone();
        self.entries.entry(id).or_insert(Entry {
            split,
            watermark: EventTime::MIN,
            finished: false,
        })
    }

    /// Gives what has changed since the last call, or all.
    pub fn snapshot(&mut self, extent: Extent) -> StateBatches {
        let changed = std::mem::take(&mut self.changed);
        let entries: Vec<Entry> = match extent {
            Extent::All => self.entries.values().cloned().collect(),
            Extent::Changes => changed
                .iter()
                .filter_map(|id| self.entries.get(id).cloned())
                .collect(),
        };
        let chunks: Vec<Vec<Entry>> = entries.chunks(SAVED_ROWS).map(<[_]>::to_vec).collect();
        Box::new(chunks.into_iter().map(|chunk| encode(&chunk)))
    }

    /// Takes back what snapshots gave, in their order.
    pub fn restore(&mut self, state: &mut dyn Iterator<Item = Result<RecordBatch>>) -> Result<()> {
        for batch in state {
            for entry in decode(&batch?)? {
                self.entries.insert(entry.split.id.clone(), entry);
            }
        }
        Ok(())
    }

    /// All splits.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

fn schema() -> SchemaRef {
    let metadata = [(VERSION.0.to_owned(), VERSION.1.to_owned())].into();
    let fields = vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("order", DataType::Utf8, false),
        Field::new("payload", DataType::Utf8, false),
        Field::new("bytes", DataType::UInt64, true),
        Field::new("position", DataType::Utf8, true),
        Field::new("watermark", DataType::Int64, false),
        Field::new("finished", DataType::UInt8, false),
    ];
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn encode(entries: &[Entry]) -> Result<RecordBatch> {
    let text = |get: fn(&Entry) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(get)))
    };
    let position = entries
        .iter()
        .map(|entry| entry.split.position.as_ref().map(|p| p.0.as_str()));
    let columns: Vec<ArrayRef> = vec![
        text(|entry| &entry.split.id),
        text(|entry| &entry.split.order),
        text(|entry| &entry.split.payload),
        Arc::new(
            entries
                .iter()
                .map(|e| e.split.bytes)
                .collect::<UInt64Array>(),
        ),
        Arc::new(position.collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(
            entries.iter().map(|entry| entry.watermark.0),
        )),
        Arc::new(UInt8Array::from_iter_values(
            entries.iter().map(|entry| u8::from(entry.finished)),
        )),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn decode(batch: &RecordBatch) -> Result<Vec<Entry>> {
    if batch.schema_ref() != &schema() {
        return Err(Error::new(
            Kind::Data,
            codes::CORRUPT,
            "the saved splits of a source cannot be read",
        )
        .detail("their columns or their version are not those of this program"));
    }
    let [
        ids,
        orders,
        payloads,
        bytes,
        positions,
        watermarks,
        finished,
    ] = batch.columns()
    else {
        return Err(Error::internal("saved splits have other columns"));
    };
    let (ids, orders, payloads) = (
        ids.as_string::<i32>(),
        orders.as_string::<i32>(),
        payloads.as_string::<i32>(),
    );
    let (bytes, positions) = (
        bytes.as_primitive::<UInt64Type>(),
        positions.as_string::<i32>(),
    );
    let watermarks = watermarks.as_primitive::<Int64Type>();
    let finished = finished.as_primitive::<UInt8Type>();
    let entry = |row: usize| Entry {
        split: Split {
            id: ids.value(row).to_owned(),
            order: orders.value(row).to_owned(),
            payload: payloads.value(row).to_owned(),
            bytes: bytes.is_valid(row).then(|| bytes.value(row)),
            position: positions
                .is_valid(row)
                .then(|| Position(positions.value(row).to_owned())),
        },
        watermark: EventTime(watermarks.value(row)),
        finished: finished.value(row) == 1,
    };
    Ok((0..batch.num_rows()).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(id: &str) -> Split {
        Split {
            id: id.to_owned(),
            order: id.to_owned(),
            payload: format!("payload of {id}"),
            bytes: Some(7),
            position: None,
        }
    }

    fn report(found: &[&str], open: &[(&str, &str)], finished: &[&str]) -> SplitReport {
        SplitReport {
            found: found.iter().map(|id| split(id)).collect(),
            open: open
                .iter()
                .map(|(id, at)| (split(id), Position((*at).to_owned()), EventTime(5)))
                .collect(),
            finished: finished
                .iter()
                .map(|id| ((*id).to_owned(), EventTime(7)))
                .collect(),
        }
    }

    fn rows(batches: StateBatches) -> Vec<RecordBatch> {
        batches.collect::<Result<_>>().unwrap()
    }

    #[test]
    fn changes_replayed_are_the_state() {
        let mut ledger = Ledger::default();
        // The second subtask opens "c" after its own barrier: it does not report it.
        ledger.take(report(&["a", "b", "c"], &[("a", "10")], &[]));
        ledger.take(report(&[], &[("b", "3")], &[]));
        let mut saved = rows(ledger.snapshot(Extent::Changes));
        ledger.take(report(&["b", "d"], &[("c", "1")], &["a"]));
        let second = rows(ledger.snapshot(Extent::Changes));
        assert_eq!(second.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
        saved.extend(second);
        let mut restored = Ledger::default();
        restored.restore(&mut saved.into_iter().map(Ok)).unwrap();
        assert_eq!(restored.entries, ledger.entries);
        let finished: Vec<_> = restored.entries().map(|e| e.finished).collect();
        assert_eq!(finished, [true, false, false, false]);
        let all = rows(ledger.snapshot(Extent::All));
        let mut again = Ledger::default();
        again.restore(&mut all.into_iter().map(Ok)).unwrap();
        assert_eq!(again.entries, ledger.entries);
    }

    /// One subtask finds the splits, the other reads them, and its report comes first.
    #[test]
    fn reports_hold_in_any_order() {
        let finder = || report(&["a", "b", "c"], &[("a", "10")], &[]);
        let reader = || report(&[], &[("b", "380")], &["c"]);
        let mut due = Ledger::default();
        due.take(finder());
        due.take(reader());
        let mut ledger = Ledger::default();
        ledger.take(reader());
        ledger.take(finder());
        let stand = |ledger: &Ledger| -> Vec<_> {
            ledger
                .entries()
                .map(|e| (e.split.id.clone(), e.split.position.clone(), e.finished))
                .collect()
        };
        assert_eq!(stand(&ledger), stand(&due));
        // What was opened before the finder's report is whole: its payload is kept.
        let open = ledger.entries().find(|e| e.split.id == "b").unwrap();
        assert_eq!(open.split.payload, "payload of b");
        assert_eq!(ledger.changed.len(), 3);
    }

    #[test]
    fn foreign_state_is_refused() {
        let mut saved = Ledger::default();
        saved.take(report(&["a"], &[], &[]));
        let batch = rows(saved.snapshot(Extent::All)).remove(0);
        let bare = RecordBatch::try_from_iter([("id", Arc::clone(batch.column(0)))]).unwrap();
        let error = Ledger::default()
            .restore(&mut std::iter::once(Ok(bare)))
            .unwrap_err();
        assert_eq!(error.code(), codes::CORRUPT);
    }
}
