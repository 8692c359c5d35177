//! Opens the reader of a split: finds the file's columns, plans the asked ones, starts decoding.

use std::collections::BTreeSet;

use arrow::datatypes::Fields;
use async_trait::async_trait;
use weir_engine::Result;
use weir_engine::deviation::{Deviations, OnChange};
use weir_engine::env::Env;
use weir_engine::error::Error;
use weir_engine::source::{Position, Read, SplitReader};

use crate::store::Location;

use super::avro::{self, AvroReader, Header};
use super::columns::{
    Column, Columns, Kind as ColumnKind, Offer, Rescue, is_same, partitions, plain, position,
    widens,
};
use super::config::{Compression, FileConfig, Format};
use super::input::{Filled, Input};
use super::letters::Letters;
use super::parquet::{ParquetReader, Place};
use super::parquet_input::{Footers, Trouble, viewed};
use super::split::{Part, Payload};

mod text;

/// The mark that some programs put before UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// What it takes to open a split.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) location: &'a Location,
    pub(super) config: &'a FileConfig,
    pub(super) format: Format,
    pub(super) footers: &'a Footers,
    pub(super) env: &'a Env,
    /// All columns of the source that come from the file.
    pub(super) all: &'a [Column],
    /// Those that are asked for, in that order.
    pub(super) asked: Vec<&'a Column>,
    pub(super) declared: bool,
    pub(super) deviations: &'a Deviations,
    pub(super) payload: Payload,
    /// How far an earlier reader came: bytes of a text, rows otherwise.
    pub(super) done: Option<u64>,
    pub(super) letters: Letters,
    pub(super) batch_rows: usize,
}

/// The reader of a file that gives nothing.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl SplitReader for Nothing {
    async fn next(&mut self) -> Result<Read> {
        Ok(Read::End)
    }

    fn position(&self) -> Position {
        Position::default()
    }
}

/// A reader, or why the file as a whole gives none.
type Opened = std::result::Result<Box<dyn SplitReader>, Rejected>;

/// Why a file gives no reader.
enum Rejected {
    /// It has no records.
    Empty,
    /// Its columns do not fit.
    Schema(String),
    /// Its columns are not those of the source, and have to be.
    Changed(String),
    /// It is damaged from its start.
    Corrupt(String),
}

/// Reads a position.
pub(super) fn done(position: Option<&Position>) -> Result<Option<u64>> {
    let Some(Position(text)) = position.filter(|position| !position.0.is_empty()) else {
        return Ok(None);
    };
    let number = text.parse().map(Some);
    number.map_err(|_| Error::internal(format!("'{text}' is not a position in a file")))
}

impl Opening<'_> {
    /// Opens the split.
    pub(super) async fn open(self) -> Result<Box<dyn SplitReader>> {
        let letters = self.letters.clone();
        let is_empty = self.payload.file.size == 0;
        let opened = match self.format {
            Format::Parquet => self.parquet().await?,
            _ if is_empty => Err(Rejected::Empty),
            Format::Csv => self.csv().await?,
            Format::Json => self.json().await?,
            Format::Avro => self.avro().await?,
        };
        match opened {
            Ok(reader) => return Ok(reader),
            Err(Rejected::Empty) => {}
            Err(Rejected::Schema(detail)) => letters.schema(&detail)?,
            Err(Rejected::Changed(detail)) => return Err(letters.changed(&detail)),
            Err(Rejected::Corrupt(detail)) => letters.corrupt(0, &detail, &[])?,
        }
        Ok(Box::new(Nothing))
    }

    async fn parquet(self) -> Result<Opened> {
        let file = &self.payload.file;
        let footer = match self.footers.get(self.location, file, self.env).await {
            Ok(footer) => viewed(footer, &self.asked),
            Err(Trouble::Corrupt(detail)) => return Ok(Err(Rejected::Corrupt(detail))),
            Err(Trouble::Store(error)) => return Err(error),
        };
        let (columns, read) = match self.plan(footer.schema().fields(), false) {
            Ok(plan) => plan,
            Err(rejected) => return Ok(Err(rejected)),
        };
        let count = footer.metadata().num_row_groups();
        let groups = match self.payload.part {
            Part::Groups(start, end) => start.min(count)..end.min(count),
            _ => 0..count,
        };
        let place = Place {
            location: self.location.clone(),
            file: self.payload.file,
            footer,
            read,
            env: self.env.clone(),
        };
        let done = self.done.unwrap_or(0);
        let reader =
            ParquetReader::open(place, groups, done, columns, self.letters, self.batch_rows);
        Ok(Ok(Box::new(reader)))
    }

    async fn avro(self) -> Result<Opened> {
        let mut input = self.input(0)?;
        let mut buffer = Vec::new();
        let header = loop {
            match Header::parse(&buffer) {
                Ok(Some(header)) => break header,
                Ok(None) => {}
                Err(detail) => return Ok(Err(Rejected::Corrupt(detail))),
            }
            match input.fill(&mut buffer).await? {
                Filled::Bytes => {}
                Filled::End => {
                    return Ok(Err(Rejected::Corrupt("the header is cut short".to_owned())));
                }
                Filled::Damaged(detail) => return Ok(Err(Rejected::Corrupt(detail))),
            }
        };
        let schema = match header.schema() {
            Ok(schema) => schema,
            Err(error) => return Ok(Err(Rejected::Corrupt(error.to_string()))),
        };
        let (columns, read) = match self.plan(schema.fields(), false) {
            Ok(plan) => plan,
            Err(rejected) => return Ok(Err(rejected)),
        };
        buffer.drain(..header.len());
        Ok(Ok(Box::new(AvroReader {
            input,
            buffer,
            read: avro::at_least_one(&read, schema.fields()),
            header,
            columns,
            letters: self.letters,
            batch_rows: self.batch_rows,
            skip: self.done.unwrap_or(0),
            given: None,
            done: 0,
            reader: None,
            state: avro::State::Open,
        })))
    }

    fn plan(
        &self,
        fields: &Fields,
        open: bool,
    ) -> std::result::Result<(Columns, Vec<usize>), Rejected> {
        let file = &self.payload.file;
        let is_text = matches!(self.format, Format::Csv | Format::Json);
        if !open && !self.has_any(fields) {
            let names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).take(40).collect();
            return Err(Rejected::Schema(format!(
                "the file has none of the columns; it has: {}",
                names.join(", ")
            )));
        }
        let extras = if open {
            Vec::new()
        } else {
            self.deviate(fields, is_text)?
        };
        let on_change = self.deviations.on_change;
        let rescue = Rescue {
            values: self.deviations.rescues_records || on_change == OnChange::Rescue,
            extras,
        };
        let offer = Offer {
            fields,
            open,
            what: "file",
            declared: self.declared || is_text,
            timestamps: self.config.timestamps.as_ref().filter(|_| is_text),
        };
        Columns::plan(&self.asked, offer, (file, rescue), self.letters.clone())
            .map_err(Rejected::Schema)
    }

    /// Compares the columns of the file with those of the source, as far as the script cares; gives those
    /// that are to be rescued.
    fn deviate(&self, fields: &Fields, is_text: bool) -> std::result::Result<Vec<usize>, Rejected> {
        let from_path = partitions(&self.payload.file.key);
        let (mut found, mut missing, mut others) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut narrows = Vec::new();
        for column in self
            .all
            .iter()
            .filter(|column| column.kind == ColumnKind::Data)
        {
            let name = column.field.name();
            let Some(at) = position(fields, name) else {
                if !from_path.iter().any(|(key, _)| key == name) {
                    missing.push(name.as_str());
                }
                continue;
            };
            found.insert(at);
            let (have, want) = (fields[at].data_type(), column.field.data_type());
            if !is_text && !is_same(have, want) {
                let words = format!("\"{name}\" is {}, not {}", plain(have), plain(want));
                if !widens(have, want) {
                    narrows.push(words.clone());
                }
                others.push(words);
            }
        }
        let extras: Vec<usize> = (0..fields.len()).filter(|at| !found.contains(at)).collect();
        match self.deviations.on_change {
            OnChange::Ignore => Ok(Vec::new()),
            OnChange::Rescue => Ok(extras),
            OnChange::Widen if narrows.is_empty() => Ok(Vec::new()),
            OnChange::Widen => Err(Rejected::Schema(format!(
                "values could be lost: {}",
                narrows.join(", ")
            ))),
            OnChange::Fail => {
                let names = extras
                    .iter()
                    .map(|at| format!("\"{}\" is new", fields[*at].name()));
                let missing = missing.iter().map(|name| format!("\"{name}\" is missing"));
                let all: Vec<String> = names.chain(missing).chain(others).collect();
                match all.is_empty() {
                    true => Ok(Vec::new()),
                    false => Err(Rejected::Changed(all.join(", "))),
                }
            }
        }
    }

    /// Whether a file has at least one of the source's columns: else it is another kind of file.
    fn has_any(&self, fields: &Fields) -> bool {
        let from_path = partitions(&self.payload.file.key);
        let mut data = self.all.iter().filter(|column| {
            column.kind == ColumnKind::Data
                && !from_path.iter().any(|(key, _)| key == column.field.name())
        });
        let mut any = false;
        let found = data.any(|column| {
            any = true;
            position(fields, column.field.name()).is_some()
        });
        found || !any
    }

    fn compression(&self) -> Compression {
        self.config.compression_of(&self.payload.file.key)
    }

    fn input(&self, start: u64) -> Result<Input> {
        Input::open(
            self.location,
            &self.payload.file,
            self.compression(),
            start,
            self.env,
        )
    }
}
