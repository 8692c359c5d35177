//! Divided state in checkpoints.
//!
//! A snapshot begins with a table of the parts: their keys, whether what follows of a part is all
//! of it, and from which number on its rows still wait. Then come the batches of the parts as their
//! operators gave them, and the rows that wait, each with the number of its part. A subtask that
//! takes this back puts it on its own disk and goes on from there: nothing is in memory as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;

use super::file::Frame;
use super::operator::Spilling;
use super::partition::{Chain, Partition, read};
use super::pending::{arrivals, with_metadata};
use crate::error::{Error, Kind, Result, codes};
use crate::key_group::KeyGroups;
use crate::operator::{Extent, Output, StateBatches};

/// The version of the layout, in the metadata of the table.
const VERSION: (&str, &str) = ("weir.spill.state", "1");
/// The part of a batch, in its metadata.
const PART: &str = "weir.spill.part";
/// The number of rows that wait, among all of their part.
const NUMBER: &str = "weir.spill.number";

/// Whether state begins with a table of parts.
pub(super) fn is_divided(first: &RecordBatch) -> bool {
    first.schema_ref().metadata().contains_key(VERSION.0)
}

/// The table of the parts.
#[derive(Debug, Default)]
struct Heads {
    ids: Vec<u64>,
    from: Vec<u64>,
    to: Vec<u64>,
    all: Vec<bool>,
    rows_from: Vec<u64>,
    low: Vec<i64>,
}

/// Gives what is new, or all.
pub(super) fn snapshot(
    of: &mut Spilling,
    extent: Extent,
    out: &mut Output,
) -> Result<StateBatches> {
    let mut heads = Heads::default();
    let mut states: Vec<StateBatches> = Vec::new();
    for part in &mut of.parts {
        part.pending.flush(&mut of.waiting)?;
        let all = extent == Extent::All || std::mem::take(&mut part.anew);
        let (from, to) = part.range.bounds();
        heads.ids.push(part.id);
        heads.from.push(from);
        heads.to.push(to);
        heads.all.push(all);
        heads.rows_from.push(part.pending.first());
        heads.low.push(match part.behind {
            Some(_) => part.low,
            None => of.watermark,
        });
        let unsaved = std::mem::take(&mut part.unsaved);
        let on_disk = match (&part.live, all) {
            (None, true) => part.frames(),
            (Some(_), true) => Vec::new(),
            (_, false) => unsaved,
        };
        states.push(tagged(read(on_disk), part.id));
        let news = part.save(all, &mut of.disk, out)?;
        states.push(tagged(read(news), part.id));
        let (first, frames) = part.pending.save(all);
        states.push(numbered(read(frames), part.id, first));
    }
    let header = std::iter::once(heads.batch());
    Ok(Box::new(header.chain(states.into_iter().flatten())))
}

fn tagged(
    batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    part: u64,
) -> StateBatches {
    let tag =
        move |batch: Result<RecordBatch>| with_metadata(&batch?, &[(PART, Some(part.to_string()))]);
    Box::new(batches.map(tag))
}

fn numbered(
    batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    part: u64,
    first: u64,
) -> StateBatches {
    let tag = move |(number, batch): (u64, Result<RecordBatch>)| {
        let number = Some(number.to_string());
        with_metadata(&batch?, &[(PART, Some(part.to_string())), (NUMBER, number)])
    };
    Box::new((first..).zip(batches).map(tag))
}

impl Heads {
    fn batch(self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(self.ids)),
            Arc::new(UInt64Array::from(self.from)),
            Arc::new(UInt64Array::from(self.to)),
            Arc::new(BooleanArray::from(self.all)),
            Arc::new(UInt64Array::from(self.rows_from)),
            Arc::new(Int64Array::from(self.low)),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }

    fn of(batch: &RecordBatch) -> Result<Self> {
        let version = batch.schema_ref().metadata().get(VERSION.0);
        if version.map(String::as_str) != Some(VERSION.1) {
            let version = version.map_or("missing", String::as_str);
            return Err(unreadable(format!("its version is {version}")));
        }
        let expected = schema();
        let types = |schema: &Schema| -> Vec<DataType> {
            schema
                .fields()
                .iter()
                .map(|f| f.data_type().clone())
                .collect()
        };
        if types(batch.schema_ref()) != types(&expected) {
            return Err(unreadable("its table of parts is another".to_owned()));
        }
        let numbers = |column: usize| {
            let column = batch.column(column).as_primitive::<UInt64Type>();
            column.values().to_vec()
        };
        Ok(Self {
            ids: numbers(0),
            from: numbers(1),
            to: numbers(2),
            all: batch.column(3).as_boolean().values().iter().collect(),
            rows_from: numbers(4),
            low: batch
                .column(5)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec(),
        })
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    let fields = vec![
        field("part", DataType::UInt64),
        field("from", DataType::UInt64),
        field("to", DataType::UInt64),
        field("all", DataType::Boolean),
        field("rows_from", DataType::UInt64),
        field("low", DataType::Int64),
    ];
    let metadata = [(VERSION.0.to_owned(), VERSION.1.to_owned())];
    Arc::new(Schema::new_with_metadata(fields, metadata.into()))
}

/// A part as an earlier subtask had it.
struct Found {
    /// What this subtask has of its keys.
    range: Option<KeyGroups>,
    /// Some of its keys are another subtask's now.
    is_cut: bool,
    chain: Chain,
    rows: Vec<(u64, Frame)>,
    low: i64,
}

/// Takes back what the snapshots of one earlier subtask gave, in their order.
pub(super) fn restore(
    into: &mut Spilling,
    state: &mut dyn Iterator<Item = Result<RecordBatch>>,
) -> Result<()> {
    let mut found: BTreeMap<u64, Found> = BTreeMap::new();
    for batch in state {
        let batch = batch?;
        if is_divided(&batch) {
            header(&mut found, &into.groups, &Heads::of(&batch)?)?;
            continue;
        }
        let number = |key: &str| -> Option<u64> {
            let text = batch.schema_ref().metadata().get(key)?;
            text.parse().ok()
        };
        let part = number(PART).and_then(|part| found.get_mut(&part));
        let part = part.ok_or_else(|| unreadable("a batch is of no part".to_owned()))?;
        let Some(range) = &part.range else {
            continue;
        };
        let plain = with_metadata(&batch, &[(PART, None), (NUMBER, None)])?;
        match number(NUMBER) {
            None => part.chain.push(into.disk.write(&plain)?),
            Some(number) => {
                let rows = if part.is_cut {
                    own_rows(into, &plain, range)?
                } else {
                    Some(plain)
                };
                if let Some(rows) = rows {
                    part.rows.push((number, into.waiting.write(&rows)?));
                }
            }
        }
    }
    let since = into.monotonic();
    for part in found.into_values() {
        let Some(range) = part.range else {
            continue;
        };
        let id = into.number();
        let mut restored = Partition::new(id, range, part.chain, part.low);
        for (_, frame) in part.rows {
            restored.pending.add(frame);
        }
        let waits = Some(since).filter(|_| !restored.pending.is_empty());
        restored.behind = waits.or(into.waits_for_clock());
        into.parts.push(restored);
    }
    into.parts.sort_by_key(|part| part.range.bounds());
    Ok(())
}

fn header(found: &mut BTreeMap<u64, Found>, own: &KeyGroups, heads: &Heads) -> Result<()> {
    found.retain(|id, _| heads.ids.contains(id));
    let bounds = heads.from.iter().zip(&heads.to);
    let rest = heads.all.iter().zip(&heads.rows_from).zip(&heads.low);
    for ((id, (from, to)), ((all, rows_from), low)) in heads.ids.iter().zip(bounds).zip(rest) {
        if from >= to {
            return Err(unreadable("a part of it has no keys".to_owned()));
        }
        let whole = KeyGroups::between(*from, *to);
        let range = whole.intersection(own);
        let part = found.entry(*id).or_insert_with(|| Found {
            is_cut: range.as_ref() != Some(&whole),
            range,
            chain: Chain::default(),
            rows: Vec::new(),
            low: *low,
        });
        part.low = *low;
        if *all {
            part.chain = Chain::default();
            part.rows.clear();
        }
        part.rows.retain(|(number, _)| number >= rows_from);
    }
    Ok(())
}

/// The rows of this subtask among rows that wait; where some are left out, the time at which the
/// first came is that of all.
fn own_rows(
    into: &Spilling,
    piece: &RecordBatch,
    range: &KeyGroups,
) -> Result<Option<RecordBatch>> {
    let (input, arrived) = arrivals(piece)?;
    let (mut kept, mut marks) = (Vec::new(), Vec::new());
    for (moment, rows) in arrived {
        let hashes = into.of.hashes(input, &rows)?;
        let mask: BooleanArray = hashes.iter().map(|h| Some(range.holds(*h))).collect();
        let rows = filter_record_batch(&rows, &mask)?;
        marks.push((rows.num_rows(), moment));
        kept.push(rows);
    }
    super::pending::piece(&kept, input, &marks)
}

pub(super) fn unreadable(detail: String) -> Error {
    Error::new(
        Kind::Data,
        codes::CORRUPT,
        "state that was divided does not fit its operator",
    )
    .detail(detail)
    .hint("the query has changed: start the pipeline with a new state, or change it back")
}
