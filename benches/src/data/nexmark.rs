//! People, auctions and bids of the Nexmark benchmark. Bids, 46 of 50 events, are in two files
//! that each span the whole time.

use std::path::Path;
use std::sync::Arc;

use ::nexmark::EventGenerator;
use ::nexmark::config::NexmarkConfig;
use ::nexmark::event::{Event, EventType};
use arrow::array::{
    ArrayRef, Int64Array, Int64Builder, StringArray, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::{Input, cached, side_by_side, write};
use crate::failure::{During, Result};

/// 2026-01-01T00:00:00Z; the generator would start at the time of the call.
const START_MS: u64 = 1_767_225_600_000;
/// Files that the bids are in.
const BID_FILES: u64 = 2;
/// Rows of the table that q13 joins bids with.
const SIDE_ROWS: u64 = 10_000;

/// Gives the first `events` events, in files per kind.
pub(crate) fn input(events: u64) -> Result<Input> {
    cached(&format!("nexmark-v2-{events}"), |folder| {
        let file = |name: String, kind: Kind, index: u64, of: u64| {
            let path = folder.join(name);
            let make = move || {
                let mut generator = EventGenerator::new(config())
                    .with_type_filter(kind.event_type())
                    .with_offset(index)
                    .with_step(of);
                let rows = kind.among(events).saturating_sub(index).div_ceil(of);
                write(&path, &kind.schema(), rows, |_, count| {
                    kind.batch(&mut generator, count)
                })
            };
            Box::new(make) as Box<dyn FnOnce() -> Result<()> + Send>
        };
        let mut files: Vec<_> = (0..BID_FILES)
            .map(|index| file(format!("bid-{index}.parquet"), Kind::Bid, index, BID_FILES))
            .collect();
        files.push(Box::new({
            let path = folder.join("side_input.parquet");
            move || side_input(&path)
        }));
        files.push(file("auction.parquet".to_owned(), Kind::Auction, 0, 1));
        files.push(file("person.parquet".to_owned(), Kind::Person, 0, 1));
        side_by_side(files)
    })
}

/// The events as all suites have them.
pub(super) fn config() -> NexmarkConfig {
    NexmarkConfig {
        base_time: START_MS,
        ..NexmarkConfig::default()
    }
}

/// The table that q13 joins bids with: a value for each of [`SIDE_ROWS`] keys.
fn side_input(path: &Path) -> Result<()> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("value", DataType::Utf8, false),
    ]));
    write(path, &schema, SIDE_ROWS, |first, count| {
        let keys = first as i64..(first + count) as i64;
        let values = StringArray::from_iter_values(keys.clone().map(|key| format!("side {key}")));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
        RecordBatch::try_new(Arc::clone(&schema), vec![keys, Arc::new(values)])
            .during("making a batch")
    })
}

/// A kind of event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// People.
    Person,
    /// Auctions.
    Auction,
    /// Bids.
    Bid,
}

/// A column's name and form.
type Column = (&'static str, Form);

#[derive(Debug, Clone, Copy)]
enum Form {
    Count,
    Time,
    Text,
}

use Form::{Count, Text, Time};

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 3] = [Self::Person, Self::Auction, Self::Bid];

    /// The name of its source and the start of its files' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Auction => "auction",
            Self::Bid => "bid",
        }
    }

    /// Whether a query reads it: its name stands after FROM, JOIN or as a window's table.
    pub(crate) fn is_read_by(self, query: &str) -> bool {
        let name = self.name();
        ["FROM ", "JOIN ", "TUMBLE(", "HOP(", "SESSION("]
            .iter()
            .any(|before| {
                query
                    .match_indices(&format!("{before}{name}"))
                    .any(|(at, found)| {
                        let after = query
                            .get(at + found.len()..)
                            .and_then(|rest| rest.chars().next());
                        !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
                    })
            })
    }

    fn event_type(self) -> EventType {
        match self {
            Self::Person => EventType::Person,
            Self::Auction => EventType::Auction,
            Self::Bid => EventType::Bid,
        }
    }

    /// How many of the first `events` events are of this kind: of 50, one, three and 46.
    pub(crate) fn among(self, events: u64) -> u64 {
        let (before, share) = match self {
            Self::Person => (0, 1),
            Self::Auction => (1, 3),
            Self::Bid => (4, 46),
        };
        events / 50 * share + (events % 50).saturating_sub(before).min(share)
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Person => &[
                ("id", Count),
                ("name", Text),
                ("email_address", Text),
                ("credit_card", Text),
                ("city", Text),
                ("state", Text),
                ("date_time", Time),
                ("extra", Text),
            ],
            Self::Auction => &[
                ("id", Count),
                ("item_name", Text),
                ("description", Text),
                ("initial_bid", Count),
                ("reserve", Count),
                ("date_time", Time),
                ("expires", Time),
                ("seller", Count),
                ("category", Count),
                ("extra", Text),
            ],
            Self::Bid => &[
                ("auction", Count),
                ("bidder", Count),
                ("price", Count),
                ("channel", Text),
                ("url", Text),
                ("date_time", Time),
                ("extra", Text),
            ],
        }
    }

    /// The columns of its rows.
    pub(super) fn schema(self) -> Arc<Schema> {
        let fields = self.columns().iter().map(|(name, form)| {
            let data_type = match form {
                Count => DataType::Int64,
                Time => DataType::Timestamp(TimeUnit::Microsecond, None),
                Text => DataType::Utf8,
            };
            Field::new(*name, data_type, false)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The next rows of a generator of this kind.
    pub(super) fn batch(self, generator: &mut EventGenerator, rows: u64) -> Result<RecordBatch> {
        let mut builders: Vec<_> = self
            .columns()
            .iter()
            .map(|(_, form)| Builder::new(*form))
            .collect();
        for event in generator.take(rows as usize) {
            append(&mut builders, event);
        }
        let arrays = builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(self.schema(), arrays).during("making a batch")
    }
}

/// Grows one column.
enum Builder {
    Count(Int64Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

/// One value of an event.
enum Value {
    Count(usize),
    Millis(u64),
    Text(String),
}

impl Builder {
    fn new(form: Form) -> Self {
        match form {
            Count => Self::Count(Int64Builder::new()),
            Time => Self::Time(TimestampMicrosecondBuilder::new()),
            Text => Self::Text(StringBuilder::new()),
        }
    }

    fn append(&mut self, value: Value) {
        match (self, value) {
            (Self::Count(values), Value::Count(value)) => values.append_value(value as i64),
            (Self::Time(values), Value::Millis(value)) => values.append_value(value as i64 * 1_000),
            (Self::Text(values), Value::Text(value)) => values.append_value(value),
            // A mismatch leaves the column short, which making the batch reports.
            _ => {}
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Count(values) => Arc::new(values.finish()),
            Self::Time(values) => Arc::new(values.finish()),
            Self::Text(values) => Arc::new(values.finish()),
        }
    }
}

/// Appends an event's values, in the order of [`Kind::columns`].
fn append(builders: &mut [Builder], event: Event) {
    let values = match event {
        Event::Person(p) => vec![
            Value::Count(p.id),
            Value::Text(p.name),
            Value::Text(p.email_address),
            Value::Text(p.credit_card),
            Value::Text(p.city),
            Value::Text(p.state),
            Value::Millis(p.date_time),
            Value::Text(p.extra),
        ],
        Event::Auction(a) => vec![
            Value::Count(a.id),
            Value::Text(a.item_name),
            Value::Text(a.description),
            Value::Count(a.initial_bid),
            Value::Count(a.reserve),
            Value::Millis(a.date_time),
            Value::Millis(a.expires),
            Value::Count(a.seller),
            Value::Count(a.category),
            Value::Text(a.extra),
        ],
        Event::Bid(b) => vec![
            Value::Count(b.auction),
            Value::Count(b.bidder),
            Value::Count(b.price),
            Value::Text(b.channel),
            Value::Text(b.url),
            Value::Millis(b.date_time),
            Value::Text(b.extra),
        ],
    };
    for (builder, value) in builders.iter_mut().zip(values) {
        builder.append(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_fills_its_columns() {
        for kind in [Kind::Person, Kind::Auction, Kind::Bid] {
            let mut generator = EventGenerator::new(config()).with_type_filter(kind.event_type());
            let batch = kind.batch(&mut generator, 100).unwrap();
            assert_eq!(batch.num_rows(), 100);
        }
        assert_eq!(Kind::Bid.among(100), 92);
        assert!(Kind::Bid.is_read_by("FROM bid b") && !Kind::Bid.is_read_by("FROM bidder"));
    }
}
