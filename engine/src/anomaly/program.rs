//! What is judged, checked once, and the columns that it needs of a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use weir_anomaly::{Config, Model};

use super::feedback::{self, Said};
use super::{AnomalySpec, verdict};
use crate::error::{Error, Kind, Result, codes};
use crate::updating::RowCodec;
use crate::updating::codec::evaluate;
use crate::window::times;

/// What all judges of a node share.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) spec: AnomalySpec,
    /// The one that all models share.
    pub(super) config: Arc<Config>,
    /// The names of the values.
    pub(super) names: Vec<String>,
    /// The input's columns and the verdict.
    pub(super) schema: SchemaRef,
    /// The keys as bytes; `None` when all rows are of one series.
    pub(super) keys: Option<RowCodec>,
    /// The order of rows of one time, if there is one.
    pub(super) ties: Option<RowCodec>,
}

/// What is judged of the rows of a batch.
#[derive(Debug)]
pub(super) enum Values {
    Numbers(Vec<Float64Array>),
    Texts(StringArray),
}

impl Program {
    pub(super) fn try_new(mut spec: AnomalySpec) -> Result<Self> {
        spec.config.columns = spec.values.len();
        spec.config.remembers = spec.model.is_some();
        // What makes no sense is told before the first row.
        Model::new(Arc::new(spec.config.clone())).map_err(misused)?;
        let type_of = |expr: &Arc<dyn datafusion_physical_expr::PhysicalExpr>| {
            expr.data_type(&spec.input).map_err(Error::from)
        };
        let time = type_of(&spec.time)?;
        if !matches!(time, DataType::Timestamp(..)) {
            return Err(wrong(format!(
                "rows are judged in the order of a timestamp, not of {time}"
            )));
        }
        let takes_text = spec.config.method.is_of_texts();
        for (name, value) in &spec.values {
            let found = type_of(value)?;
            let fits = found.is_numeric()
                || found == DataType::Null
                || takes_text && found.is_string() && spec.values.len() == 1;
            if !fits {
                return Err(wrong(format!("\"{name}\" is {found}, not a number")));
            }
        }
        let keys: Vec<_> = spec.partition.iter().map(type_of).collect::<Result<_>>()?;
        let ties = spec.ties.iter();
        let ties: Vec<(DataType, SortOptions)> = ties
            .map(|(expr, options)| Ok((type_of(expr)?, *options)))
            .collect::<Result<_>>()?;
        let mut fields = spec.input.fields().to_vec();
        fields.push(Arc::new(Field::new(
            &spec.column,
            verdict::data_type(),
            true,
        )));
        Ok(Self {
            config: Arc::new(spec.config.clone()),
            names: spec.values.iter().map(|(name, _)| name.clone()).collect(),
            schema: Arc::new(Schema::new(fields)),
            keys: (!keys.is_empty()).then(|| RowCodec::of(keys)).transpose()?,
            ties: (!ties.is_empty())
                .then(|| RowCodec::try_new(ties))
                .transpose()?,
            spec,
        })
    }

    /// What names a key in the ids of its anomalies.
    pub(super) fn key_of(&self, key: &[u8]) -> u64 {
        let model = self.spec.model.as_ref().map_or("", |(name, _)| name);
        feedback::key_of(model, key)
    }

    /// What was said of anomalies beyond so many that are known.
    pub(super) fn said_after(&self, known: usize) -> Result<Vec<Said>> {
        match &self.spec.model {
            Some((_, log)) => log.after(known),
            None => Ok(Vec::new()),
        }
    }

    /// The keys of rows.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        evaluate(&self.spec.partition, rows)
    }

    /// The times of rows in microseconds.
    pub(super) fn times(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let times = self.spec.time.evaluate(rows)?.into_array(rows.num_rows())?;
        times::micros(&times)
    }

    /// What decides between rows of one time.
    pub(super) fn ties(&self, rows: &RecordBatch) -> Result<Option<arrow::row::Rows>> {
        let Some(codec) = &self.ties else {
            return Ok(None);
        };
        let ties = self.spec.ties.iter().map(|(expr, _)| {
            let column = expr.evaluate(rows)?;
            Ok(column.into_array(rows.num_rows())?)
        });
        codec.encode(&ties.collect::<Result<Vec<_>>>()?).map(Some)
    }

    /// The values of rows.
    pub(super) fn values(&self, rows: &RecordBatch) -> Result<Values> {
        let evaluated = self.spec.values.iter().map(|(_, expr)| {
            let column = expr.evaluate(rows)?;
            Ok(column.into_array(rows.num_rows())?)
        });
        let columns: Vec<ArrayRef> = evaluated.collect::<Result<_>>()?;
        if let [column] = columns.as_slice()
            && column.data_type().is_string()
        {
            let texts = cast(column, &DataType::Utf8)?;
            return Ok(Values::Texts(texts.as_string::<i32>().clone()));
        }
        let numbers = columns.iter().map(|column| {
            let numbers = cast(column, &DataType::Float64)?;
            Ok(numbers.as_primitive::<Float64Type>().clone())
        });
        numbers.collect::<Result<_>>().map(Values::Numbers)
    }

    /// A model of a key that has no rows yet.
    pub(super) fn model(&self) -> Result<Model> {
        Model::new(Arc::clone(&self.config)).map_err(misused)
    }

    /// One line for EXPLAIN.
    pub(super) fn describe(&self) -> String {
        let spec = &self.spec;
        let keys: Vec<_> = spec.partition.iter().map(ToString::to_string).collect();
        let by = match keys.is_empty() {
            true => String::new(),
            false => format!(" by [{}]", keys.join(", ")),
        };
        let method = self.config.method.name();
        let mut text = format!(
            "Anomaly {method} of {}{by} in order of {}",
            self.names.join(", "),
            spec.time
        );
        for (tie, options) in &spec.ties {
            text.push_str(", ");
            text.push_str(&tie.to_string());
            text.push_str(if options.descending { " DESC" } else { "" });
        }
        text.push_str(&format!(", sensitivity {}", self.config.sensitivity));
        text
    }

    /// What the state is of: how anomalies are told may change over it, what is judged may not.
    pub(super) fn fingerprint(&self) -> String {
        let spec = &self.spec;
        let list = |parts: Vec<String>| parts.join(", ");
        let fields = spec.input.fields().iter();
        format!(
            "anomaly {:016x}; values {}; keys {}; time {}; rows of {}",
            self.config.fingerprint(),
            list(spec.values.iter().map(|(_, e)| e.to_string()).collect()),
            list(spec.partition.iter().map(ToString::to_string).collect()),
            spec.time,
            list(
                fields
                    .map(|f| format!("{} {}", f.name(), f.data_type()))
                    .collect()
            ),
        )
    }
}

impl Values {
    /// Judges a row by a model, which learns from it.
    pub(super) fn observe(
        &self,
        model: &mut Model,
        time: i64,
        row: usize,
        buffer: &mut Vec<f64>,
    ) -> weir_anomaly::Verdict {
        match self {
            Self::Texts(texts) => {
                let text = texts.is_valid(row).then(|| texts.value(row));
                model.observe_text(time, text)
            }
            Self::Numbers(columns) => {
                buffer.clear();
                buffer.extend(columns.iter().map(|column| match column.is_valid(row) {
                    true => column.value(row),
                    false => f64::NAN,
                }));
                model.observe(time, buffer)
            }
        }
    }
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Invalid, codes::ANOMALY, message)
}

/// A configuration that makes no sense, or a state that is none of it.
pub(super) fn misused(error: weir_anomaly::Error) -> Error {
    match error {
        weir_anomaly::Error::Setting(..) => wrong(error.to_string()),
        _ => crate::updating::state::unreadable(error.to_string()),
    }
}
