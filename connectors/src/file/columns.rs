//! How the columns of one file become those that are asked for: casts, missing columns, values
//! from the path, metadata.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::ScalarValue;
use weir_engine::Result;

use super::config::TimestampFormat;
use super::letters::Letters;
use super::listing::Entry;
use crate::rescue::Rests;

mod partition;
pub(crate) mod timestamps;
mod widening;

pub(super) use partition::partitions;
pub(crate) use widening::{change, plain_field};
pub(super) use widening::{is_same, plain, widens};

/// Values that do not fit are looked for after the cast.
const SAFE: CastOptions<'static> = CastOptions {
    safe: true,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// What a column of the source is filled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file's column of this name, or a `name=value` of its path.
    Data,
    /// The path of the file.
    File,
    /// Where the record stands in the file.
    Offset,
    /// When the file was changed.
    Modified,
    /// What has no other place in the row.
    Rescued,
}

/// A column of the source.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Name and type; nullable, since a file promises nothing.
    pub(super) field: FieldRef,
    /// Whether the script says NOT NULL: then every file must have the column.
    pub(super) required: bool,
    /// What fills it.
    pub(super) kind: Kind,
}

/// Where the rows of a batch stand in the file.
#[derive(Debug)]
pub(super) enum Offsets {
    /// Not known: nothing asks for it.
    Unknown,
    /// Rows in sequence from this number on.
    From(u64),
    /// One each.
    Each(Vec<u64>),
}

/// How the columns of a file become the asked ones.
#[derive(Debug)]
pub(super) struct Columns {
    schema: SchemaRef,
    slots: Vec<Slot>,
    letters: Letters,
    /// Values that don't fit are left to the rescue column; else their rows are dead letters.
    rescues: bool,
    /// The columns of the decoded batch that nobody declared.
    extras: Vec<usize>,
}

/// What is rescued of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Rescue {
    /// Values that don't fit their column.
    pub(super) values: bool,
    /// Columns of the file that nobody declared.
    pub(super) extras: Vec<usize>,
}

#[derive(Debug)]
enum Slot {
    /// A column of the decoded batch.
    Read(usize, Change),
    /// The same for all rows of the file.
    Constant(ScalarValue),
    /// Where the row stands.
    Offset,
    /// A column of the decoded batch that can't become the asked one: all of it is left.
    Unfit(usize),
    /// What is left.
    Rescued,
}

/// How a decoded column becomes the asked one.
#[derive(Debug)]
pub(crate) enum Change {
    /// It is that.
    None,
    /// By a cast.
    Cast,
    /// From texts in a form that the script names.
    Timestamp(TimestampFormat),
}

impl Change {
    /// Makes the asked column; a value that does not fit becomes null.
    pub(crate) fn apply(&self, from: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        match self {
            Self::None => Ok(Arc::clone(from)),
            Self::Cast => Ok(cast_with_options(from, to, &SAFE)?),
            Self::Timestamp(format) => timestamps::parse(from, format, to),
        }
    }
}

/// What a file offers, and how strict the match is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'a> {
    /// The file's columns, with the types that the decoder gives.
    pub(crate) fields: &'a Fields,
    /// Whether any key may be in a record (JSON): then no column is missing.
    pub(crate) open: bool,
    /// What offers the columns, for people: the file, the messages.
    pub(crate) what: &'static str,
    /// Whether the script declared the columns: then a cast from another kind of type is wanted.
    pub(crate) declared: bool,
    /// The form of timestamps in texts.
    pub(crate) timestamps: Option<&'a TimestampFormat>,
}

impl Columns {
    /// Plans the asked columns of a file. Gives the indices of the file's columns to read, in
    /// ascending order; an error text says why the whole file does not fit.
    pub(super) fn plan(
        asked: &[&Column],
        offer: Offer<'_>,
        (entry, rescue): (&Entry, Rescue),
        letters: Letters,
    ) -> std::result::Result<(Self, Vec<usize>), String> {
        let from_path = partitions(&entry.key);
        let mut found: Vec<Option<usize>> = Vec::new();
        for column in asked {
            let in_path = offer.open && from_path.iter().any(|(k, _)| k == column.field.name());
            let is_data = column.kind == Kind::Data && !in_path;
            found.push(
                is_data
                    .then(|| position(offer.fields, column.field.name()))
                    .flatten(),
            );
        }
        let mut read: Vec<usize> = found.iter().flatten().copied().collect();
        let has_rescue = asked.iter().any(|column| column.kind == Kind::Rescued);
        read.extend(rescue.extras.iter().filter(|_| has_rescue));
        read.sort_unstable();
        read.dedup();
        let mut slots = Vec::new();
        for (column, found) in asked.iter().zip(found) {
            slots.push(match found {
                Some(index) => {
                    let at = read.partition_point(|other| *other < index);
                    let field = &offer.fields[index];
                    match change(field, &column.field, offer) {
                        Ok(change) => Slot::Read(at, change),
                        Err(_) if rescue.values => Slot::Unfit(at),
                        Err(detail) => return Err(detail),
                    }
                }
                None => unread(column, &from_path, entry)?,
            });
        }
        let fields: Vec<FieldRef> = asked.iter().map(|c| Arc::clone(&c.field)).collect();
        let extras = rescue.extras.iter().filter(|_| has_rescue);
        let extras = extras.map(|index| read.partition_point(|other| other < index));
        let extras = extras.collect();
        Ok((
            Self {
                schema: Arc::new(Schema::new(fields)),
                slots,
                letters,
                rescues: rescue.values,
                extras,
            },
            read,
        ))
    }

    /// Whether [`Columns::shape`] wants to know where rows stand.
    pub(super) fn needs_offsets(&self) -> bool {
        self.slots.iter().any(|slot| match slot {
            Slot::Offset => true,
            Slot::Read(_, change) => !matches!(change, Change::None),
            Slot::Constant(_) | Slot::Unfit(_) | Slot::Rescued => false,
        })
    }

    /// A batch without rows.
    pub(super) fn empty(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(&self.schema))
    }

    /// Makes the asked columns of decoded ones; rows with a value that does not fit become dead
    /// letters, or leave it to what is rescued of them.
    pub(super) fn shape(
        &self,
        batch: &RecordBatch,
        offsets: &Offsets,
        mut rests: Rests,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.slots.len());
        let mut keep: Option<BooleanBuffer> = None;
        for (slot, field) in self.slots.iter().zip(self.schema.fields()) {
            let array = match slot {
                Slot::Constant(value) => value.to_array_of_size(rows)?,
                Slot::Offset => offset_array(offsets, rows),
                // What all columns leave is known behind them.
                Slot::Rescued => new_null_array(field.data_type(), rows),
                Slot::Unfit(index) => {
                    let from = batch.column(*index);
                    let lost = (0..rows).filter(|row| from.is_valid(*row));
                    rests.add_values((field.name(), from), lost)?;
                    new_null_array(field.data_type(), rows)
                }
                Slot::Read(index, change) => {
                    let from = batch.column(*index);
                    let to = change.apply(from, field.data_type())?;
                    if to.null_count() > from.null_count() && self.rescues {
                        let lost = (0..rows).filter(|row| to.is_null(*row) && from.is_valid(*row));
                        rests.add_values((field.name(), from), lost)?;
                    } else if to.null_count() > from.null_count() {
                        keep = Some(self.reject(batch, offsets, from, &to, field, keep)?);
                    }
                    to
                }
            };
            arrays.push(array);
        }
        if !self.extras.is_empty() {
            let extras = crate::rescue::of_rows(&batch.project(&self.extras)?)?;
            let extras = extras.into_iter().enumerate();
            extras.for_each(|(row, rest)| rests.add(row, rest));
        }
        for (slot, array) in self.slots.iter().zip(&mut arrays) {
            if matches!(slot, Slot::Rescued) {
                *array = rests.column(rows, array.data_type())?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let shaped = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        match keep {
            None => Ok(shaped),
            Some(keep) => Ok(filter_record_batch(
                &shaped,
                &BooleanArray::new(keep, None),
            )?),
        }
    }

    /// Puts the rows whose value was lost among the dead letters; gives the rows to keep.
    fn reject(
        &self,
        batch: &RecordBatch,
        offsets: &Offsets,
        from: &ArrayRef,
        to: &ArrayRef,
        field: &Field,
        keep: Option<BooleanBuffer>,
    ) -> Result<BooleanBuffer> {
        let mut kept: Vec<bool> = keep.map_or_else(
            || vec![true; batch.num_rows()],
            |keep| keep.iter().collect(),
        );
        for (row, kept) in kept.iter_mut().enumerate() {
            if !*kept || to.is_valid(row) || from.is_null(row) {
                continue;
            }
            *kept = false;
            let offset = match offsets {
                Offsets::Unknown => None,
                Offsets::From(first) => Some(first + row as u64),
                Offsets::Each(each) => each.get(row).copied(),
            };
            let detail = format!(
                "column \"{}\": the value does not fit {}",
                field.name(),
                field.data_type()
            );
            self.letters
                .record("value", offset, detail, &as_json(&batch.slice(row, 1)))?;
        }
        Ok(BooleanBuffer::from(kept))
    }
}

/// A decoded row has no raw bytes of its own: it is kept as JSON.
fn as_json(row: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    let written = writer.write(row).and_then(|()| writer.finish());
    let mut text = writer.into_inner();
    if written.is_err() {
        // A type that JSON cannot show: the debug form still tells what it was.
        text = format!("{row:?}").into_bytes();
    }
    text.truncate(text.trim_ascii_end().len());
    text
}

fn offset_array(offsets: &Offsets, rows: usize) -> ArrayRef {
    let number = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    match offsets {
        Offsets::Unknown => new_null_array(&DataType::Int64, rows),
        Offsets::From(first) => Arc::new(Int64Array::from_iter_values(
            (*first..).take(rows).map(number),
        )),
        Offsets::Each(each) => {
            let known = each.iter().map(|offset| Some(number(*offset)));
            let all = known.chain(std::iter::repeat(None)).take(rows);
            Arc::new(all.collect::<Int64Array>())
        }
    }
}

/// Finds a column by its name, or by its name in other case when only one has it.
pub(crate) fn position(fields: &Fields, name: &str) -> Option<usize> {
    if let Some((index, _)) = fields.find(name) {
        return Some(index);
    }
    let mut near = fields
        .iter()
        .enumerate()
        .filter(|(_, f)| f.name().eq_ignore_ascii_case(name));
    let first = near.next()?;
    near.next().is_none().then_some(first.0)
}

fn unread(
    column: &Column,
    from_path: &[(String, Option<String>)],
    entry: &Entry,
) -> std::result::Result<Slot, String> {
    let data_type = column.field.data_type();
    let value = match column.kind {
        Kind::Offset => return Ok(Slot::Offset),
        Kind::Rescued => return Ok(Slot::Rescued),
        Kind::File => ScalarValue::Utf8(Some(entry.shown.clone())),
        Kind::Modified => ScalarValue::TimestampMicrosecond(Some(entry.modified), None),
        Kind::Data => match from_path.iter().find(|(key, _)| key == column.field.name()) {
            Some((_, value)) => ScalarValue::Utf8(value.clone()),
            None if column.required => {
                return Err(format!(
                    "the file has no column \"{}\"",
                    column.field.name()
                ));
            }
            None => ScalarValue::Utf8(None),
        },
    };
    let cast = value.cast_to(data_type).or_else(|error| {
        if value.is_null() {
            ScalarValue::try_from(data_type)
        } else {
            Err(error)
        }
    });
    let cast = cast.map_err(|_| {
        format!(
            "\"{}\" in the path does not fit {data_type}: {value}",
            column.field.name()
        )
    })?;
    Ok(Slot::Constant(cast))
}
