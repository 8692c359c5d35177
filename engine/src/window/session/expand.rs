//! Rows with the bounds of their session: for joins over sessions, and queries that do not
//! aggregate by them.
//!
//! A row waits until its session is over. It comes out behind the watermark of its own time, but
//! never behind that of its `window_end`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use super::by_key::ByKey;
use super::payload::{Payload, key_fields};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::window::length::Length;
use crate::window::program::check_time;

/// Makes the operators of `SESSION(t, time, gap, keys)` on its own. All rows of equal keys must
/// come to one subtask: behind an exchange by the hash of the keys.
#[derive(Debug)]
pub struct SessionExpandFactory {
    time_column: usize,
    gap: i64,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    input: SchemaRef,
    schema: SchemaRef,
    sources: Arc<str>,
}

impl SessionExpandFactory {
    /// `out_schema` is `input`, then `window_start` and `window_end` of any timestamp type; `gap`
    /// is in microseconds; `sources` names the sources that feed the node, for late rows.
    pub fn try_new(
        time_column: usize,
        gap: i64,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        input: SchemaRef,
        out_schema: SchemaRef,
        sources: Arc<str>,
    ) -> Result<Self> {
        super::check_gap(gap)?;
        check_time(&input, time_column)?;
        if out_schema.fields().len() != input.fields().len() + 2 {
            return Err(Error::internal("a session's schema does not fit its input"));
        }
        key_fields(&keys, &input)?;
        Ok(Self {
            time_column,
            gap,
            keys,
            input,
            schema: out_schema,
            sources,
        })
    }
}

impl OperatorFactory for SessionExpandFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let payload = Payload::Expand {
            keys: self.keys.clone(),
            key_fields: key_fields(&self.keys, &self.input)?,
            input: Arc::clone(&self.input),
            schema: Arc::clone(&self.schema),
        };
        let sessions = ByKey {
            payload,
            time_column: self.time_column,
            gap: self.gap,
            sources: Arc::clone(&self.sources),
            keys: self.keys.clone(),
        };
        sessions.create(context)
    }

    fn describe(&self) -> String {
        let time = self.input.fields().get(self.time_column);
        let time = time.map_or("?", |f| f.name());
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        format!(
            "Window SESSION({}) on {time} keys [{}]",
            Length(self.gap),
            keys.join(", ")
        )
    }

    fn fingerprint(&self) -> Option<String> {
        let field = |f: &arrow::datatypes::FieldRef| format!("{} {}", f.name(), f.data_type());
        let fields: Vec<String> = self.input.fields().iter().map(field).collect();
        Some(format!(
            "{}; rows of {}",
            self.describe(),
            fields.join(", ")
        ))
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}
