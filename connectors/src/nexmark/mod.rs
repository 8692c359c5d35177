//! The `nexmark` source: the people, auctions and bids of the Nexmark benchmark, from the crate
//! of that name, which makes each event from its number alone.
//!
//! One source gives one kind of event. As in the benchmark, of 50 events one is a person, three
//! are auctions and 46 are bids; `events` and `rate` count all of them, so that three sources with
//! the same options are three views of one stream.

use std::sync::Arc;

use ::nexmark::EventGenerator;
use ::nexmark::config::NexmarkConfig;
use ::nexmark::event::EventType;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use weir_engine::connector::{Connector, SourceRequest};
use weir_engine::env::Clock;
use weir_engine::error::{Error, Result};
use weir_engine::job::TaskContext;
use weir_engine::limits;
use weir_engine::options::{OptionKind, OptionSpec, Options};
use weir_engine::source::{Boundedness, Low, Position, Read, Source, Split, SplitReader};

use crate::generator::{
    Interleaved, Pace, Part, START_DEFAULT, rate_given, splits_given, start_given,
};

mod columns;
#[cfg(test)]
mod tests;

use columns::Column;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::default(
        "event",
        OptionKind::OneOf(&["bid", "auction", "person"]),
        "bid",
        "The kind of event that the source gives.",
    ),
    OptionSpec::optional(
        "events",
        OptionKind::Count,
        "How many events of all three kinds the stream has; without it the source never ends.",
    ),
    OptionSpec::optional(
        "rate",
        OptionKind::Number,
        "Events of all three kinds per second of wall time; without it as fast as the pipeline \
         takes them.",
    ),
    OptionSpec::default(
        "event_rate",
        OptionKind::Count,
        "10000",
        "Events of all three kinds per second of event time.",
    ),
    OptionSpec::default(
        "start_time",
        OptionKind::Text,
        START_DEFAULT,
        "The event time of the first event: a timestamp in UTC, or 'now'.",
    ),
    OptionSpec::optional(
        "splits",
        OptionKind::Count,
        "Parts that subtasks read side by side; without it one per core, 8 at most.",
    ),
];

/// The connector `nexmark`.
#[derive(Debug, Default)]
pub struct NexmarkConnector;

#[async_trait]
impl Connector for NexmarkConnector {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn summary(&self) -> &'static str {
        "The people, auctions and bids of the Nexmark benchmark"
    }

    fn source_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![OPTIONS])
    }

    async fn source(&self, request: SourceRequest) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(NexmarkSource::new(&request)?))
    }
}

/// The kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Person,
    Auction,
    Bid,
}

/// Of so many events in a row ...
const CYCLE: u64 = 50;

impl Kind {
    /// ... these many are of this kind, after so many of the others.
    fn share(self) -> (u64, u64) {
        match self {
            Self::Person => (0, 1),
            Self::Auction => (1, 3),
            Self::Bid => (4, 46),
        }
    }

    /// How many of the first `events` events are of this kind.
    fn among(self, events: u64) -> u64 {
        let (before, share) = self.share();
        events / CYCLE * share + (events % CYCLE).saturating_sub(before).min(share)
    }

    fn event_type(self) -> EventType {
        match self {
            Self::Person => EventType::Person,
            Self::Auction => EventType::Auction,
            Self::Bid => EventType::Bid,
        }
    }
}

/// A source of one kind of event.
#[derive(Debug)]
struct NexmarkSource {
    kind: Kind,
    columns: Arc<[Column]>,
    schema: SchemaRef,
    interleaved: Interleaved,
    event_rate: usize,
    rate: Option<f64>,
    clock: Arc<dyn Clock>,
}

impl NexmarkSource {
    fn new(request: &SourceRequest) -> Result<Self> {
        let given = request.options.clone();
        let options = Options::check("connector 'nexmark'", &[OPTIONS], given)?;
        let kind = match options.need("event")? {
            "person" => Kind::Person,
            "auction" => Kind::Auction,
            _ => Kind::Bid,
        };
        let event_rate = options.count("event_rate").unwrap_or(10_000);
        if !(1..=1_000_000_000).contains(&event_rate) {
            return Err(options.invalid("event_rate", "must be from 1 to 1000000000"));
        }
        let start_us = start_given(&options, request.env.clock())?;
        if start_us < 0 {
            return Err(options.invalid("start_time", "must not be before 1970"));
        }
        let columns = columns::declared(kind, request)?;
        Ok(Self {
            kind,
            schema: columns::schema(&columns),
            columns: columns.into(),
            interleaved: Interleaved::new(
                splits_given(&options)?,
                start_us,
                options.count("events").map(|events| kind.among(events)),
            ),
            event_rate: event_rate as usize,
            rate: rate_given(&options)?.map(|all| all * kind.share().1 as f64 / CYCLE as f64),
            clock: request.env.clock_arc(),
        })
    }

    fn reader(
        &self,
        split: &Split,
        projection: &[usize],
        batch_rows: u64,
    ) -> Result<NexmarkReader> {
        let part = Part::of(split)?;
        let columns = projection
            .iter()
            .map(|index| self.columns.get(*index).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal("nexmark has no such column"))?;
        let wants_extra = columns.iter().any(|column| column.name() == "extra");
        let mut config = NexmarkConfig {
            // The crate counts in milliseconds and would start at the time of the call.
            base_time: (part.start_us / 1_000) as u64,
            first_rate: self.event_rate,
            next_rate: self.event_rate,
            ..NexmarkConfig::default()
        };
        if !wants_extra {
            // `extra` is drawn last and fills an event up to a size: without room it costs nothing
            // and leaves every other column as it is.
            config.avg_person_byte_size = 0;
            config.avg_auction_byte_size = 0;
            config.avg_bid_byte_size = 0;
        }
        let events = EventGenerator::new(config)
            .with_type_filter(self.kind.event_type())
            .with_offset(part.next())
            .with_step(part.of);
        let rate = self.rate.map(|rate| rate / part.of as f64);
        let pace = Pace::new(rate, Arc::clone(&self.clock));
        Ok(NexmarkReader {
            columns,
            events,
            part,
            pace,
            batch_rows,
        })
    }
}

#[async_trait]
impl Source for NexmarkSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        match self.interleaved.rows() {
            Some(_) => Boundedness::Bounded,
            None => Boundedness::Unbounded(limits::DISCOVERY_INTERVAL),
        }
    }

    fn rescan(&self) -> Option<Arc<dyn Source>> {
        Some(Arc::new(Self {
            kind: self.kind,
            columns: Arc::clone(&self.columns),
            schema: Arc::clone(&self.schema),
            interleaved: self.interleaved.rescan(),
            event_rate: self.event_rate,
            rate: self.rate,
            clock: Arc::clone(&self.clock),
        }))
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        self.interleaved.discover()
    }

    async fn low(&self, split: &Split, columns: &[usize]) -> Result<Low> {
        // Events come in order of time: the first is the earliest.
        let mut reader = self.reader(split, columns, 1)?;
        if reader.part.left() == 0 {
            return Ok(Low::Empty);
        }
        Ok(Low::First(reader.batch(1)?))
    }

    async fn open(
        &self,
        split: &Split,
        projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(self.reader(
            split,
            projection,
            context.job.batch_rows.max(1) as u64,
        )?))
    }

    fn describe(&self) -> String {
        let rows = self
            .interleaved
            .rows()
            .map_or("unbounded".to_owned(), |n| n.to_string());
        let event = match self.kind {
            Kind::Person => "person",
            Kind::Auction => "auction",
            Kind::Bid => "bid",
        };
        format!("nexmark event={event} rows={rows}")
    }
}

/// Reads one part of the events of one kind.
#[derive(Debug)]
struct NexmarkReader {
    columns: Vec<Column>,
    events: EventGenerator,
    part: Part,
    pace: Pace,
    batch_rows: u64,
}

impl NexmarkReader {
    fn batch(&mut self, rows: u64) -> Result<RecordBatch> {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        columns::build(&self.columns, self.events.by_ref().take(rows), rows)
    }
}

#[async_trait]
impl SplitReader for NexmarkReader {
    async fn next(&mut self) -> Result<Read> {
        if self.part.left() == 0 {
            return Ok(Read::End);
        }
        let rows = self.pace.due(self.batch_rows.min(self.part.left())).await;
        if rows == 0 {
            return Ok(Read::Pending);
        }
        let batch = self.batch(rows)?;
        self.part.done += rows;
        self.pace.given(rows);
        let bytes = batch.get_array_memory_size() as u64;
        Ok(Read::Rows { batch, bytes })
    }

    fn position(&self) -> Position {
        self.part.position()
    }
}
