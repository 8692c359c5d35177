//! The columns that the generator offers, and the choice of them that a script declares.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use weir_engine::connector::SourceRequest;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::nearest;

/// What fills a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// The row's number, from 0.
    Seq,
    /// The event time.
    Ts,
    /// An even spread over [0, 1): the number tells the columns apart.
    Random(u64),
    /// A word.
    Text,
}

/// Names in the order in which they are shown.
const OFFERED: &[(&str, Value)] = &[
    ("seq", Value::Seq),
    ("ts", Value::Ts),
    ("random", Value::Random(1)),
    ("random_2", Value::Random(2)),
    ("random_3", Value::Random(3)),
    ("random_4", Value::Random(4)),
    ("random_5", Value::Random(5)),
    ("random_6", Value::Random(6)),
    ("random_7", Value::Random(7)),
    ("random_8", Value::Random(8)),
    ("text", Value::Text),
];

/// How many of [`OFFERED`] come when no column is declared.
const UNDECLARED: usize = 3;

/// How a script gets what is not offered.
const OTHERS: &str = "the generator fills seq, ts, random, random_2 to random_8 and text; other \
    columns are computed from them, as in  key BIGINT AS (CAST(random * 100 AS BIGINT))";

impl Value {
    /// The type that is built before any cast to the declared one.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Seq => DataType::Int64,
            Self::Ts => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Random(_) => DataType::Float64,
            Self::Text => DataType::Utf8,
        }
    }

    /// Whether a column of this type holds every value without loss.
    fn fits(self, declared: &DataType) -> bool {
        match self {
            Self::Seq => matches!(declared, DataType::Int64 | DataType::UInt64),
            Self::Ts => matches!(declared, DataType::Timestamp(..)),
            Self::Random(_) => matches!(declared, DataType::Float64 | DataType::Float32),
            Self::Text => {
                matches!(
                    declared,
                    DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
                )
            }
        }
    }

    fn sql_type(self) -> &'static str {
        match self {
            Self::Seq => "BIGINT",
            Self::Ts => "TIMESTAMP",
            Self::Random(_) => "DOUBLE",
            Self::Text => "VARCHAR",
        }
    }

    /// Whether `null_ratio` makes values of it null.
    pub(super) fn may_fail(self) -> bool {
        matches!(self, Self::Random(_) | Self::Text)
    }
}

/// A column as declared.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) value: Value,
    pub(super) field: FieldRef,
}

/// Finds what fills the declared columns. With `nulls`, the columns that can be null are nullable
/// here even when declared NOT NULL: the scan checks that, row by row.
pub(super) fn declared(request: &SourceRequest, nulls: bool) -> Result<Vec<Column>> {
    if let Some((field, key)) = request.metadata.first() {
        return Err(Error::new(
            Kind::Invalid,
            codes::SCHEMA,
            format!(
                "connector 'generator' has no metadata \"{key}\" for \"{}\"",
                field.name()
            ),
        ));
    }
    let Some(fields) = &request.columns else {
        return Ok(OFFERED
            .iter()
            .take(UNDECLARED)
            .map(|(name, v)| undeclared(name, *v, nulls))
            .collect());
    };
    fields
        .iter()
        .map(|field| {
            let found = OFFERED
                .iter()
                .find(|(name, _)| *name == field.name().as_str());
            let Some((_, value)) = found else {
                let names = OFFERED.iter().map(|(name, _)| *name);
                let error = Error::new(
                    Kind::Invalid,
                    codes::SCHEMA,
                    format!("connector 'generator' has no column \"{}\"", field.name()),
                )
                .detail(OTHERS);
                return Err(nearest(error, field.name(), names));
            };
            if !value.fits(field.data_type()) {
                return Err(Error::new(
                    Kind::Invalid,
                    codes::SCHEMA,
                    format!(
                        "column \"{}\" of connector 'generator' is {}, not {}",
                        field.name(),
                        value.sql_type(),
                        field.data_type()
                    ),
                ));
            }
            let nullable = field.is_nullable() || (nulls && value.may_fail());
            let field = Arc::new(field.as_ref().clone().with_nullable(nullable));
            Ok(Column {
                value: *value,
                field,
            })
        })
        .collect()
}

fn undeclared(name: &str, value: Value, nulls: bool) -> Column {
    let field = Arc::new(Field::new(
        name,
        value.data_type(),
        nulls && value.may_fail(),
    ));
    Column { value, field }
}

/// The schema of columns.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(
        columns
            .iter()
            .map(|c| Arc::clone(&c.field))
            .collect::<Vec<_>>(),
    ))
}

/// Picks columns by index.
pub(super) fn project(columns: &[Column], projection: &[usize]) -> Result<Vec<Column>> {
    projection
        .iter()
        .map(|index| {
            columns
                .get(*index)
                .cloned()
                .ok_or_else(|| Error::internal(format!("the generator has no column {index}")))
        })
        .collect()
}
