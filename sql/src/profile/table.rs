//! Profiles of a table's columns as rows: those that are shown, and those that are kept.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::Value;
use weir_engine::error::Result;

use super::column::Shape;
use super::{Drift, Profile};

/// The name of the table, in the schema `weir`, in which profiles are kept.
pub(crate) const KEPT: &str = "profiles";

/// The profile of a column of a table.
#[derive(Debug)]
pub(crate) struct Profiled {
    /// The column.
    pub(crate) column: String,
    /// Its type.
    pub(crate) data_type: DataType,
    /// What it holds.
    pub(crate) profile: Profile,
    /// How it has moved since the last profile.
    pub(crate) drift: Option<Drift>,
    /// The correlation with each other column of numbers, as JSON.
    pub(crate) correlation: Option<String>,
}

impl Profiled {
    pub(crate) fn shape(&self) -> Shape {
        Shape::of(&self.data_type)
    }
}

/// The columns of kept profiles.
pub(crate) fn kept_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let count = |name: &str| Field::new(name, DataType::Int64, true);
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        text("profile", false),
        text("table_name", false),
        text("column", false),
        text("type", false),
        count("rows"),
        count("nulls"),
        count("distinct"),
        text("min", true),
        text("max", true),
        number("mean"),
        number("deviation"),
        number("q05"),
        number("median"),
        number("q95"),
        text("top", true),
        text("details", false),
        text("correlation", true),
        number("psi"),
        number("js"),
        number("ks"),
        text("new_values", true),
        text("lost_values", true),
        Field::new("recorded_at", moment, false),
        Field::new("sketch", DataType::Binary, false),
    ]))
}

/// The profiles of a table as rows, under a name and a time.
pub(crate) fn row_of(
    (name, table): (&str, &str),
    columns: &[Profiled],
    now: i64,
) -> Result<RecordBatch> {
    let count = columns.len();
    let text = |of: &dyn Fn(&Profiled) -> Option<String>| -> ArrayRef {
        Arc::new(columns.iter().map(of).collect::<StringArray>())
    };
    let whole = |of: &dyn Fn(&Profiled) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            columns.iter().map(|c| of(c) as i64),
        ))
    };
    let number = |of: &dyn Fn(&Profiled) -> Option<f64>| -> ArrayRef {
        Arc::new(columns.iter().map(of).collect::<Float64Array>())
    };
    let list = |values: &[String]| Value::from(values.to_vec()).to_string();
    let drift = |of: &dyn Fn(&Drift) -> Option<f64>| number(&|c| c.drift.as_ref().and_then(of));
    let details = |c: &Profiled| c.profile.describe(c.shape());
    // Texts have numbers too, their lengths, which are among the details.
    let spread = |c: &Profiled, of: &dyn Fn(&Profile) -> Option<f64>| match c.shape() {
        Shape::Number => of(&c.profile),
        _ => None,
    };
    let bound = |c: &Profiled, value: Option<f64>| match c.shape() {
        Shape::Number => value.map(|value| value.to_string()),
        Shape::Time => value.map(|micros| time(micros as i64)),
        Shape::Text | Shape::Other => None,
    };
    let sketches = columns.iter().map(|c| c.profile.to_bytes());
    let sketches: Vec<Vec<u8>> = sketches.collect::<Result<_>>()?;
    let times = TimestampMicrosecondArray::from(vec![now; count]).with_timezone("UTC");
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![name; count])),
        Arc::new(StringArray::from(vec![table; count])),
        text(&|c| Some(c.column.clone())),
        text(&|c| Some(c.data_type.to_string())),
        whole(&|c| c.profile.counts.rows),
        whole(&|c| c.profile.counts.nulls),
        whole(&|c| c.profile.values.distinct()),
        text(&|c| bound(c, c.profile.numbers.least())),
        text(&|c| bound(c, c.profile.numbers.greatest())),
        number(&|c| spread(c, &|p| p.numbers.mean())),
        number(&|c| spread(c, &|p| p.numbers.deviation())),
        number(&|c| spread(c, &|p| p.numbers.quantile(0.05))),
        number(&|c| spread(c, &|p| p.numbers.quantile(0.5))),
        number(&|c| spread(c, &|p| p.numbers.quantile(0.95))),
        text(&|c| Some(details(c).get("top")?.to_string())),
        text(&|c| Some(details(c).to_string())),
        text(&|c| c.correlation.clone()),
        drift(&|d| Some(d.psi)),
        drift(&|d| Some(d.js)),
        drift(&|d| d.ks),
        text(&|c| c.drift.as_ref().map(|d| list(&d.new_values))),
        text(&|c| c.drift.as_ref().map(|d| list(&d.lost_values))),
        Arc::new(times),
        Arc::new(BinaryArray::from_iter_values(sketches)),
    ];
    Ok(RecordBatch::try_new(kept_schema(), arrays)?)
}

/// A time as SQL writes it.
pub(super) fn time(micros: i64) -> String {
    let time = arrow::temporal_conversions::timestamp_us_to_datetime(micros);
    time.map_or_else(String::new, |time| {
        time.format("%Y-%m-%d %H:%M:%S%.f").to_string()
    })
}
