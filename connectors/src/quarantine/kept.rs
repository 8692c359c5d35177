//! The rows of a quarantine table, with what has become of each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use weir_engine::error::{Error, Result};
use weir_engine::quarantine::Kept;
use weir_engine::rules::{ATTEMPT, ID, OPEN, STATUS};

use super::files;

/// The columns by which a request names a row.
pub(super) const NAMED: [&str; 2] = [ID, ATTEMPT];

/// What has become of rows that requests name; all others are open.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    of: HashMap<(String, i32), &'static str>,
}

impl Statuses {
    /// Notes the status of rows, unless an earlier request has named them.
    pub(super) fn add(&mut self, rows: &RecordBatch, status: &'static str) -> Result<()> {
        for name in names(rows)? {
            let (id, attempt) = name;
            self.of.entry((id.to_owned(), attempt)).or_insert(status);
        }
        Ok(())
    }

    fn column(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        // Its file says of a row whether it has expired; a request that names it says more.
        let own = rows
            .column_by_name(STATUS)
            .map(|column| cast(column, &DataType::Utf8));
        let own = own.transpose()?;
        let own = own.as_ref().and_then(|own| own.as_string_opt::<i32>());
        let names = names(rows)?.into_iter().enumerate();
        let of = names.map(|(row, (id, attempt))| {
            let status = self.of.get(&(id.to_owned(), attempt));
            status
                .copied()
                .or(own.map(|own| own.value(row)))
                .unwrap_or(OPEN)
        });
        Ok(Arc::new(StringArray::from_iter_values(of)))
    }
}

/// The names of rows.
fn names(rows: &RecordBatch) -> Result<Vec<(&str, i32)>> {
    let column = |name: &str| rows.column_by_name(name);
    let ids = column(ID).and_then(|ids| ids.as_string_opt::<i32>());
    let attempts = column(ATTEMPT).and_then(|n| n.as_primitive_opt::<Int32Type>());
    match (ids, attempts) {
        (Some(ids), Some(attempts)) => Ok((0..rows.num_rows())
            .map(|row| (ids.value(row), attempts.value(row)))
            .collect()),
        _ => Err(Error::internal("rows in quarantine have no names")),
    }
}

/// The rows at one time.
#[derive(Debug)]
pub(super) struct LocalKept {
    files: Vec<PathBuf>,
    schema: SchemaRef,
    statuses: Statuses,
    last: u64,
}

impl LocalKept {
    pub(super) fn try_new(files: Vec<PathBuf>, statuses: Statuses, last: u64) -> Result<Self> {
        let schemas = files.iter().map(|path| {
            let file = std::fs::File::open(path).map_err(|error| files::failed(error, path))?;
            let footer = ArrowReaderMetadata::load(&file, Default::default());
            let footer = footer.map_err(|error| {
                files::damaged(path, "it is no Parquet file of rows").caused_by(error)
            })?;
            Ok(Arc::clone(footer.schema()))
        });
        let schemas = schemas.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            files,
            schema: merged(&schemas),
            statuses,
            last,
        })
    }

    /// Brings rows of an older file into the columns of the table.
    fn fit(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| {
            if field.name() == STATUS {
                return self.statuses.column(rows);
            }
            match rows.column_by_name(field.name()) {
                Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
                Some(column) => Ok(cast(column, field.data_type())?),
                None => Ok(new_null_array(field.data_type(), rows.num_rows())),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Kept for LocalKept {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn parts(&self) -> usize {
        self.files.len()
    }

    fn read(&self, part: usize) -> Result<Vec<RecordBatch>> {
        let Some(path) = self.files.get(part) else {
            return Ok(Vec::new());
        };
        let (_, rows) = files::read(path, None)?;
        rows.iter().map(|rows| self.fit(rows)).collect()
    }

    fn last(&self) -> u64 {
        self.last
    }
}

/// The columns of the newest file, with those that only older ones have before the names of rows.
fn merged(schemas: &[SchemaRef]) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::new();
    for field in schemas.iter().rev().flat_map(|schema| schema.fields()) {
        if fields.iter().any(|known| known.name() == field.name()) {
            continue;
        }
        let data_type = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            other => other.clone(),
        };
        let metadata = field.metadata().clone();
        let field = Field::new(field.name(), data_type, true).with_metadata(metadata);
        let names = fields.iter().position(|known| known.name() == ID);
        let is_own = !weir_engine::rules::is_kept_column(field.name());
        match names.filter(|_| is_own) {
            Some(at) => fields.insert(at, field),
            None => fields.push(field),
        }
    }
    Arc::new(Schema::new(fields))
}
