//! Materialized views: rows kept as a query's results change, read from checkpoints.
//!
//! A view is the state of a node at the end of a graph. Each epoch's snapshot holds the *net* change
//! of the epoch as a changelog, compacted, and now and then all rows; so the view at an epoch is
//! what [`Snapshot`] folds from the files of a checkpoint, and `SUBSCRIBE` is what [`changes`] finds
//! in those of each epoch. Nobody reads the running operator.
//!
//! Rows that do not fit in memory are divided into shares on disk, in the operator as in the reader,
//! and worked off one share at a time.

mod lines;
mod operator;
mod reader;
mod shares;
mod spread;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

pub use self::reader::{Room, Rows, Share, Snapshot, changes, difference};

use crate::changelog::{rows_schema, split};
use crate::checkpoint::ViewInfo;
use crate::checkpoint::saved_schema::SavedSchema;
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::updating::RowCodec;

/// What is on disk, for the error of a full one.
const ROWS: &str = "the rows of a materialized view";

/// The id of the node that keeps the rows of a view.
pub fn node_id(view: &str) -> String {
    format!("view/{view}")
}

/// Makes the operators that keep the rows of a view. They send nothing on.
#[derive(Debug)]
pub struct ViewFactory {
    program: Arc<Program>,
    name: String,
}

/// What all operators of a node share.
#[derive(Debug)]
struct Program {
    /// The rows, without `_op`.
    schema: SchemaRef,
    /// The columns of the unique key; none is a multiset of rows.
    key: Vec<usize>,
    key_codec: RowCodec,
    codec: RowCodec,
}

impl Program {
    /// What decides the subtask of rows or changes: their key, or all of them.
    fn hashed(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        let (columns, _) = split(batch);
        if self.key.is_empty() {
            return columns.to_vec();
        }
        let key = self.key.iter();
        key.filter_map(|column| columns.get(*column).map(Arc::clone))
            .collect()
    }
}

impl ViewFactory {
    /// Makes the view of a name.
    ///
    /// `input` is a changelog when its last column is `_op`. With the columns of a unique `key` a row
    /// replaces the one of its key; without, rows are kept as often as they come. The exchange in
    /// front hashes by the key's columns, or by all, in this order.
    pub fn try_new(name: impl Into<String>, input: &SchemaRef, key: Vec<usize>) -> Result<Self> {
        let schema = rows_schema(input);
        let types = |column: &usize| {
            let field = schema.fields().get(*column);
            field
                .map(|field| field.data_type().clone())
                .ok_or_else(|| Error::internal("a view's key is not among its columns"))
        };
        let key_types = key.iter().map(types).collect::<Result<Vec<_>>>()?;
        let codec = RowCodec::of(schema.fields().iter().map(|f| f.data_type().clone()))?;
        Ok(Self {
            program: Arc::new(Program {
                key_codec: RowCodec::of(key_types)?,
                codec,
                key,
                schema,
            }),
            name: name.into(),
        })
    }
}

impl OperatorFactory for ViewFactory {
    fn outlives_input(&self) -> bool {
        true
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.program.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(operator::create(&self.program, context))
    }

    fn describe(&self) -> String {
        let fields = self.program.schema.fields();
        let names = self.program.key.iter().filter_map(|i| fields.get(*i));
        let names: Vec<_> = names.map(|field| field.name().as_str()).collect();
        match names.as_slice() {
            [] => format!("View {}", self.name),
            names => format!("View {} key [{}]", self.name, names.join(", ")),
        }
    }

    fn fingerprint(&self) -> Option<String> {
        let fields = self.program.schema.fields().iter();
        let fields: Vec<_> = fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        Some(format!(
            "view of {} by {:?}",
            fields.join(", "),
            self.program.key
        ))
    }

    fn view(&self) -> Option<ViewInfo> {
        Some(ViewInfo {
            name: self.name.clone(),
            node: node_id(&self.name),
            schema: SavedSchema(Arc::clone(&self.program.schema)),
            key: self.program.key.clone(),
        })
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}
