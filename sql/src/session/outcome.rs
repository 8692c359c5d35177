//! What the statements of a script give.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use weir_engine::error::Error;

/// What a statement gave.
pub enum Outcome {
    /// It changed the catalog or a setting; says what was done, as `CREATE SOURCE`.
    Done(String),
    /// SHOW, DESCRIBE and EXPLAIN give a small table.
    Table {
        /// Its columns.
        schema: SchemaRef,
        /// Its rows.
        batches: Vec<RecordBatch>,
    },
    /// VALIDATE gives a line for each rule, and fails behind them.
    Validated {
        /// Its columns.
        schema: SchemaRef,
        /// Its rows.
        rows: RecordBatch,
        /// The rules that do not hold, if that fails the statement.
        failed: Option<Error>,
    },
    /// A bare query gives its rows as they come.
    Query(SendableRecordBatchStream),
    /// SUBSCRIBE gives changes as they happen, until the stream is dropped.
    Subscription(SendableRecordBatchStream),
    /// An insert joined the pipeline.
    Added,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(words) => f.debug_tuple("Done").field(words).finish(),
            Self::Table { batches, .. } => f.debug_tuple("Table").field(batches).finish(),
            Self::Validated { rows, .. } => f.debug_tuple("Validated").field(rows).finish(),
            Self::Query(_) => f.write_str("Query"),
            Self::Subscription(_) => f.write_str("Subscription"),
            Self::Added => f.write_str("Added"),
        }
    }
}
