//! Opens CSV and JSON lines: headers, marks, ranges.

use arrow::datatypes::{DataType, Field, Fields};
use weir_engine::Result;
use weir_engine::deviation::OnChange;
use weir_engine::error::{Error, Kind, codes};

use super::super::columns::{Columns, Kind as ColumnKind, partitions, position};
use super::super::csv::{self, CsvDecoder};
use super::super::infer;
use super::super::input::{Filled, Input};
use super::super::json::{JsonDecoder, words};
use super::super::records::{Scan, Splitter};
use super::super::split::Part;
use super::super::text::{DecodeText, Given, State, TextReader};
use super::{BOM, Opened, Opening, Rejected};

impl Opening<'_> {
    pub(super) async fn csv(self) -> Result<Opened> {
        let splitter = Splitter::csv(&self.config.csv);
        let (mut input, mut buffer, mut offset) = self.start().await?;
        let mut state = State::Open;
        let names = if self.config.csv.header {
            let mut scan = Scan::default();
            loop {
                splitter.scan(&buffer, &mut scan, 1, usize::MAX);
                if scan.records == 1 || !matches!(state, State::Open) {
                    break;
                }
                match input.fill(&mut buffer).await? {
                    Filled::Bytes => {}
                    Filled::End => {
                        state = State::Closed;
                        buffer.push(b'\n');
                    }
                    Filled::Damaged(detail) => state = State::Damaged(detail),
                }
            }
            let Some(header) = splitter.ranges(&buffer[..scan.end]).pop() else {
                return Ok(Err(match state {
                    State::Damaged(detail) => Rejected::Corrupt(detail),
                    _ => Rejected::Empty,
                }));
            };
            let names = infer::names(&buffer[header], &self.config.csv);
            buffer.drain(..scan.end);
            offset += scan.end as u64;
            match names {
                Ok(names) => names,
                Err(detail) => return Ok(Err(Rejected::Schema(detail))),
            }
        } else {
            self.by_position()
        };
        let fields = self.csv_fields(&names);
        let (columns, read) = match self.plan(&fields, false) {
            Ok(plan) => plan,
            Err(rejected) => return Ok(Err(rejected)),
        };
        if let Some(done) = self.done.filter(|done| *done > offset) {
            (input, buffer, offset, state) = (self.input(done)?, Vec::new(), done, State::Open);
        }
        let decoder = CsvDecoder::new(fields, read, &self.config.csv, self.batch_rows);
        let reader = self.text(
            input,
            buffer,
            offset,
            splitter,
            Box::new(decoder),
            columns,
            state,
        );
        Ok(Ok(Box::new(reader)))
    }

    /// Without a header the columns come in the order in which they are declared.
    fn by_position(&self) -> Vec<String> {
        let from_path = partitions(&self.payload.file.key);
        let names = self
            .all
            .iter()
            .filter(|column| column.kind == ColumnKind::Data);
        let names = names.map(|column| column.field.name());
        names
            .filter(|name| !from_path.iter().any(|(key, _)| key == *name))
            .cloned()
            .collect()
    }

    /// The types in which the fields of a record are decoded: text where nobody asks.
    fn csv_fields(&self, names: &[String]) -> Fields {
        let mut fields: Vec<Field> = names
            .iter()
            .map(|name| Field::new(name, DataType::Utf8, true))
            .collect();
        let all: Fields = fields.iter().cloned().collect();
        for column in self
            .asked
            .iter()
            .filter(|column| column.kind == ColumnKind::Data)
        {
            let Some(index) = position(&all, column.field.name()) else {
                continue;
            };
            if let Some(field) = fields.get_mut(index) {
                let wanted = self.text_type(column.field.data_type());
                if csv::is_supported(&wanted) {
                    *field = field.clone().with_data_type(wanted);
                }
            }
        }
        fields.into_iter().collect()
    }

    /// Timestamps in a form of their own are decoded as text first.
    fn text_type(&self, data_type: &DataType) -> DataType {
        match data_type {
            DataType::Timestamp(..) if self.config.timestamps.is_some() => DataType::Utf8,
            other => other.clone(),
        }
    }

    pub(super) async fn json(self) -> Result<Opened> {
        let (range_start, end) = match self.payload.part {
            Part::Bytes(start, end) => (start, Some(end)),
            _ => (0, None),
        };
        let (input, buffer, offset, state) = match self.done {
            Some(done) if done > range_start => (self.input(done)?, Vec::new(), done, State::Open),
            // The line that runs into the range belongs to the one before.
            _ if range_start > 0 => (
                self.input(range_start - 1)?,
                Vec::new(),
                range_start - 1,
                State::Skipping,
            ),
            _ => {
                let (input, buffer, offset) = self.start().await?;
                (input, buffer, offset, State::Open)
            }
        };
        let from_path = partitions(&self.payload.file.key);
        let wanted = self.asked.iter().filter(|column| {
            column.kind == ColumnKind::Data
                && !from_path.iter().any(|(key, _)| key == column.field.name())
        });
        let fields: Fields = wanted
            .map(|column| {
                let field = column.field.as_ref().clone().with_nullable(true);
                let data_type = self.text_type(field.data_type());
                field.with_data_type(data_type)
            })
            .collect();
        let (columns, read) = match self.plan(&fields, true) {
            Ok(plan) => plan,
            Err(rejected) => return Ok(Err(rejected)),
        };
        let fields: Fields = read
            .iter()
            .filter_map(|index| fields.get(*index))
            .cloned()
            .collect();
        let decoder = JsonDecoder::new(fields, self.batch_rows).map_err(|error| {
            Error::new(
                Kind::Invalid,
                codes::TYPE,
                format!("JSON cannot give the declared columns: {}", words(&error)),
            )
        })?;
        let mut reader = self.text(
            input,
            buffer,
            offset,
            Splitter::Lines,
            Box::new(decoder),
            columns,
            state,
        );
        reader.end = end;
        reader.unknown = self.unknown_keys();
        Ok(Ok(Box::new(reader)))
    }

    /// What becomes of keys without a column, if anything, and the keys with one.
    fn unknown_keys(&self) -> Option<(OnChange, Vec<String>)> {
        let on_change = self.deviations.on_change;
        let wanted = match on_change {
            OnChange::Fail => true,
            OnChange::Rescue => self.asked.iter().any(|c| c.kind == ColumnKind::Rescued),
            OnChange::Ignore | OnChange::Widen => false,
        };
        let data = self.all.iter().filter(|c| c.kind == ColumnKind::Data);
        let names = data.map(|column| column.field.name().clone()).collect();
        wanted.then_some((on_change, names))
    }

    /// Opens a text at its start, behind its mark.
    async fn start(&self) -> Result<(Input, Vec<u8>, u64)> {
        let mut input = self.input(0)?;
        let mut buffer = Vec::new();
        // The end or damage is met again by the next fill.
        while buffer.len() < BOM.len() && input.fill(&mut buffer).await? == Filled::Bytes {}
        let mark = if buffer.starts_with(BOM) {
            BOM.len()
        } else {
            0
        };
        buffer.drain(..mark);
        Ok((input, buffer, mark as u64))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one reader, put together once"
    )]
    fn text(
        &self,
        input: Input,
        buffer: Vec<u8>,
        offset: u64,
        splitter: Splitter,
        decoder: Box<dyn DecodeText>,
        columns: Columns,
        state: State,
    ) -> TextReader {
        TextReader {
            input,
            buffer,
            offset,
            end: None,
            splitter,
            decoder,
            columns,
            letters: self.letters.clone(),
            batch_rows: self.batch_rows,
            scan: Scan::default(),
            rescues: self.deviations.rescues_records,
            unknown: None,
            state,
            given: Given::default(),
        }
    }
}
