//! The columns of people, auctions and bids, and the building of those that are asked for.

use std::sync::Arc;

use ::nexmark::event::{Auction, Bid, Event, Person};
use arrow::array::{ArrayRef, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use weir_engine::connector::SourceRequest;
use weir_engine::error::{Error, Kind as ErrorKind, Result, codes};
use weir_engine::options::nearest;

use super::Kind;

/// How a column's value is taken out of an event.
#[derive(Debug, Clone, Copy)]
enum Get {
    Count(fn(&Event) -> usize),
    Millis(fn(&Event) -> u64),
    Text(fn(&Event) -> &str),
}

impl Get {
    fn data_type(self) -> DataType {
        match self {
            Self::Count(_) => DataType::Int64,
            Self::Millis(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Text(_) => DataType::Utf8,
        }
    }

    fn fits(self, declared: &DataType) -> bool {
        match self {
            Self::Count(_) => matches!(declared, DataType::Int64 | DataType::UInt64),
            Self::Millis(_) => matches!(declared, DataType::Timestamp(..)),
            Self::Text(_) => {
                matches!(
                    declared,
                    DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
                )
            }
        }
    }

    fn sql_type(self) -> &'static str {
        match self {
            Self::Count(_) => "BIGINT",
            Self::Millis(_) => "TIMESTAMP",
            Self::Text(_) => "VARCHAR",
        }
    }
}

/// A column as declared.
#[derive(Debug, Clone)]
pub(super) struct Column {
    field: FieldRef,
    get: Get,
}

impl Column {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.field.name()
    }
}

/// Makes a getter for one kind of event. The generator's filter gives no other kind, whose value
/// would be the default.
macro_rules! of {
    ($kind:ident, count $field:ident) => {
        Get::Count(|event| match event {
            Event::$kind($kind { $field, .. }) => *$field,
            _ => 0,
        })
    };
    ($kind:ident, millis $field:ident) => {
        Get::Millis(|event| match event {
            Event::$kind($kind { $field, .. }) => *$field,
            _ => 0,
        })
    };
    ($kind:ident, text $field:ident) => {
        Get::Text(|event| match event {
            Event::$kind($kind { $field, .. }) => $field,
            _ => "",
        })
    };
}

fn offered(kind: Kind) -> Vec<(&'static str, Get)> {
    match kind {
        Kind::Person => vec![
            ("id", of!(Person, count id)),
            ("name", of!(Person, text name)),
            ("email_address", of!(Person, text email_address)),
            ("credit_card", of!(Person, text credit_card)),
            ("city", of!(Person, text city)),
            ("state", of!(Person, text state)),
            ("date_time", of!(Person, millis date_time)),
            ("extra", of!(Person, text extra)),
        ],
        Kind::Auction => vec![
            ("id", of!(Auction, count id)),
            ("item_name", of!(Auction, text item_name)),
            ("description", of!(Auction, text description)),
            ("initial_bid", of!(Auction, count initial_bid)),
            ("reserve", of!(Auction, count reserve)),
            ("date_time", of!(Auction, millis date_time)),
            ("expires", of!(Auction, millis expires)),
            ("seller", of!(Auction, count seller)),
            ("category", of!(Auction, count category)),
            ("extra", of!(Auction, text extra)),
        ],
        Kind::Bid => vec![
            ("auction", of!(Bid, count auction)),
            ("bidder", of!(Bid, count bidder)),
            ("price", of!(Bid, count price)),
            ("channel", of!(Bid, text channel)),
            ("url", of!(Bid, text url)),
            ("date_time", of!(Bid, millis date_time)),
            ("extra", of!(Bid, text extra)),
        ],
    }
}

/// Finds the declared columns; all of them, in the benchmark's order, when none is declared.
pub(super) fn declared(kind: Kind, request: &SourceRequest) -> Result<Vec<Column>> {
    if let Some((field, key)) = request.metadata.first() {
        return Err(Error::new(
            ErrorKind::Invalid,
            codes::SCHEMA,
            format!(
                "connector 'nexmark' has no metadata \"{key}\" for \"{}\"",
                field.name()
            ),
        ));
    }
    let offered = offered(kind);
    let Some(fields) = &request.columns else {
        let all = offered.into_iter().map(|(name, get)| Column {
            field: Arc::new(Field::new(name, get.data_type(), false)),
            get,
        });
        return Ok(all.collect());
    };
    fields
        .iter()
        .map(|field| {
            let found = offered
                .iter()
                .find(|(name, _)| *name == field.name().as_str());
            let Some((_, get)) = found else {
                let names = offered.iter().map(|(name, _)| *name);
                let error = Error::new(
                    ErrorKind::Invalid,
                    codes::SCHEMA,
                    format!("connector 'nexmark' has no column \"{}\"", field.name()),
                );
                return Err(nearest(error, field.name(), names));
            };
            if !get.fits(field.data_type()) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    codes::SCHEMA,
                    format!(
                        "column \"{}\" of connector 'nexmark' is {}, not {}",
                        field.name(),
                        get.sql_type(),
                        field.data_type()
                    ),
                ));
            }
            Ok(Column {
                field: Arc::clone(field),
                get: *get,
            })
        })
        .collect()
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

/// Grows one column.
enum Builder {
    Count(Int64Builder, fn(&Event) -> usize),
    Millis(TimestampMicrosecondBuilder, fn(&Event) -> u64),
    Text(StringBuilder, fn(&Event) -> &str),
}

impl Builder {
    fn new(get: Get, rows: usize) -> Self {
        match get {
            Get::Count(get) => Self::Count(Int64Builder::with_capacity(rows), get),
            Get::Millis(get) => Self::Millis(TimestampMicrosecondBuilder::with_capacity(rows), get),
            Get::Text(get) => Self::Text(StringBuilder::with_capacity(rows, rows * 32), get),
        }
    }

    fn append(&mut self, event: &Event) {
        match self {
            Self::Count(values, get) => values.append_value(get(event) as i64),
            Self::Millis(values, get) => values.append_value(get(event) as i64 * 1_000),
            Self::Text(values, get) => values.append_value(get(event)),
        }
    }

    fn finish(mut self) -> ArrayRef {
        match &mut self {
            Self::Count(values, _) => Arc::new(values.finish()),
            Self::Millis(values, _) => Arc::new(values.finish()),
            Self::Text(values, _) => Arc::new(values.finish()),
        }
    }
}

/// Builds the columns of so many events.
pub(super) fn build(
    columns: &[Column],
    events: impl Iterator<Item = Event>,
    rows: usize,
) -> Result<RecordBatch> {
    let mut builders: Vec<_> = columns.iter().map(|c| Builder::new(c.get, rows)).collect();
    for event in events {
        for builder in &mut builders {
            builder.append(&event);
        }
    }
    let arrays = builders
        .into_iter()
        .zip(columns)
        .map(|(builder, column)| {
            let array = builder.finish();
            let same = array.data_type() == column.field.data_type();
            if same {
                Ok(array)
            } else {
                Ok(cast(&array, column.field.data_type())?)
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        schema(columns),
        arrays,
        &options,
    )?)
}
