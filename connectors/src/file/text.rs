//! Reads CSV and JSON lines: cuts blocks of whole records, decodes each at once, and looks at
//! single records only in a block that fails, so that exactly the bad ones become dead letters.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::OnceLock;

use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use memchr::memchr;
use weir_engine::deviation::OnChange;
use weir_engine::source::{Position, Read, SplitReader};
use weir_engine::{Result, limits};

use super::columns::{Columns, Offsets};
use super::input::{Filled, Input};
use super::letters::Letters;
use super::records::{Scan, Splitter};
use crate::rescue::{self, Rest, Rests};

/// Bytes behind the last whole record at which the records before it are decoded first.
const TAIL_BYTES_MAX: usize = 4 << 20;

/// Decodes whole records.
pub(crate) trait DecodeText: Debug + Send {
    /// Decodes a block of `records` records into the columns that are read.
    fn decode(&mut self, block: &[u8], records: usize) -> Result<RecordBatch, ArrowError>;

    /// Takes a record apart that cannot be decoded: a row of the columns that can, and the rest.
    fn salvage(&mut self, record: &[u8]) -> Result<(RecordBatch, Rest), ArrowError>;

    /// Says what is wrong with one record: the reason, and words for people.
    fn explain(&self, record: &[u8], error: &ArrowError) -> (&'static str, String);
}

/// Reads one text file, or a range of one.
#[derive(Debug)]
pub(super) struct TextReader {
    /// Where the bytes come from.
    pub(super) input: Input,
    /// Bytes that are read and not yet decoded.
    pub(super) buffer: Vec<u8>,
    /// The offset of the buffer's first byte in the file.
    pub(super) offset: u64,
    /// Records that start here or later belong to the next split.
    pub(super) end: Option<u64>,
    /// How records are told apart.
    pub(super) splitter: Splitter,
    /// How they are decoded.
    pub(super) decoder: Box<dyn DecodeText>,
    /// How the decoded columns become the asked ones.
    pub(super) columns: Columns,
    /// Where bad records go.
    pub(super) letters: Letters,
    /// Rows of a batch.
    pub(super) batch_rows: usize,
    /// What was found of the next block.
    pub(super) scan: Scan,
    /// Records that cannot be decoded are rows of what can be.
    pub(super) rescues: bool,
    /// What becomes of the keys of objects that are no columns, and those that are.
    pub(super) unknown: Option<(OnChange, Vec<String>)>,
    /// How far the input is.
    pub(super) state: State,
    /// What was given last: it stays at the front of the buffer until more is asked for.
    pub(super) given: Given,
}

/// The records of the last batch.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// How many bytes of the buffer they take.
    bytes: usize,
    /// The rows of the batch.
    rows: usize,
    /// Where in the buffer that of each row is, once somebody asks.
    records: OnceLock<Vec<Range<usize>>>,
}

/// How far a reader is with its input.
#[derive(Debug, Default)]
pub(super) enum State {
    /// There is more to read.
    #[default]
    Open,
    /// All is in the buffer.
    Closed,
    /// What follows the buffer cannot be decompressed.
    Damaged(String),
    /// A record that is too long is thrown away up to its newline.
    Skipping,
    /// All is given.
    Done,
}

#[async_trait]
impl SplitReader for TextReader {
    async fn next(&mut self) -> Result<Read> {
        loop {
            let given = std::mem::take(&mut self.given);
            self.buffer.drain(..given.bytes);
            if matches!(self.state, State::Done) {
                return Ok(Read::End);
            }
            if !self.is_block_full() {
                match self.state {
                    State::Open | State::Skipping => {
                        self.fill().await?;
                        continue;
                    }
                    _ if self.scan.end == 0 => {
                        self.finish()?;
                        continue;
                    }
                    _ => {}
                }
            }
            let batch = self.block()?;
            let bytes = self.input.take_count();
            if batch.num_rows() > 0 {
                return Ok(Read::Rows { batch, bytes });
            }
            if self.letters.is_look() {
                // The first rows are bad: who looks for the first good one would read on and on.
                return Ok(Read::Pending);
            }
        }
    }

    fn position(&self) -> Position {
        Position(self.offset.to_string())
    }

    fn offset(&self, row: usize) -> Option<u64> {
        let start = self.record(row)?.start as u64;
        Some(self.offset - self.given.bytes as u64 + start)
    }

    fn raw(&self, row: usize) -> Option<&[u8]> {
        self.buffer.get(self.record(row)?.clone()).map(trim_end)
    }
}

impl TextReader {
    /// Where the record of a row of the last batch is in the buffer. A batch that lost rows which fit no
    /// column has none: they can't be told apart from the others.
    fn record(&self, row: usize) -> Option<&Range<usize>> {
        let block = self.buffer.get(..self.given.bytes)?;
        let records = self
            .given
            .records
            .get_or_init(|| self.splitter.ranges(block));
        (records.len() == self.given.rows).then(|| records.get(row))?
    }

    /// Whether what was scanned should be decoded before more is read.
    fn is_block_full(&mut self) -> bool {
        if matches!(self.state, State::Skipping) {
            return false;
        }
        let limit = self.end.map_or(usize::MAX, |end| {
            usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX)
        });
        if self.scan.end < limits::BATCH_BYTES_MAX {
            self.splitter
                .scan(&self.buffer, &mut self.scan, self.batch_rows, limit);
        }
        if self.scan.end >= limit && !matches!(self.state, State::Damaged(_)) {
            // The rest belongs to the next split.
            self.state = State::Closed;
            self.buffer.truncate(self.scan.end);
        }
        self.scan.end > 0
            && (self.scan.records >= self.batch_rows
                || self.scan.end >= limits::BATCH_BYTES_MAX
                || self.buffer.len() - self.scan.end >= TAIL_BYTES_MAX)
    }

    /// Reads more into the buffer.
    async fn fill(&mut self) -> Result<()> {
        match self.input.fill(&mut self.buffer).await? {
            Filled::Bytes => {}
            Filled::End => {
                if matches!(self.state, State::Skipping) {
                    self.buffer.clear();
                }
                self.state = State::Closed;
                if self.buffer.last().is_some_and(|last| *last != b'\n') {
                    self.buffer.push(b'\n');
                }
                return Ok(());
            }
            Filled::Damaged(detail) => {
                self.state = State::Damaged(detail);
                return Ok(());
            }
        }
        if matches!(self.state, State::Skipping) {
            match memchr(b'\n', &self.buffer) {
                Some(at) => {
                    self.state = State::Open;
                    self.consume(at + 1);
                }
                None => self.consume(self.buffer.len()),
            }
        } else if self.scan.end == 0 && self.buffer.len() >= limits::RECORD_BYTES_MAX {
            self.reject_long()?;
        }
        Ok(())
    }

    /// A record longer than the bound: a line of that length, or a quote that is never closed. In
    /// the latter case only the line with the quote is bad.
    fn reject_long(&mut self) -> Result<()> {
        let detail = format!(
            "the record is longer than {} bytes",
            limits::RECORD_BYTES_MAX
        );
        match memchr(b'\n', &self.buffer) {
            Some(at) => self.reject_line(at + 1, "a quote is not closed"),
            None => {
                self.letters.record(
                    "decode",
                    Some(self.offset),
                    detail,
                    self.raw(self.buffer.len()),
                )?;
                self.consume(self.buffer.len());
                self.state = State::Skipping;
                Ok(())
            }
        }
    }

    fn reject_line(&mut self, end: usize, detail: &str) -> Result<()> {
        self.letters.record(
            "decode",
            Some(self.offset),
            detail.to_owned(),
            self.raw(end),
        )?;
        self.consume(end);
        Ok(())
    }

    fn raw(&self, end: usize) -> &[u8] {
        let end = end
            .min(limits::DEAD_LETTER_RAW_BYTES_MAX)
            .min(self.buffer.len());
        trim_end(&self.buffer[..end])
    }

    /// Deals with what is left when no whole record is in the buffer and none will come.
    fn finish(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Damaged(detail) => {
                self.letters
                    .corrupt(self.offset, &detail, self.raw(self.buffer.len()))?;
                self.consume(self.buffer.len());
            }
            _ if self.buffer.is_empty() => {}
            state => {
                // A quote that is not closed before the end of the file.
                let end = memchr(b'\n', &self.buffer).map_or(self.buffer.len(), |at| at + 1);
                self.state = state;
                self.reject_line(end, "a quote is not closed")?;
            }
        }
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.offset += count as u64;
        self.scan = Scan::default();
    }

    /// Decodes the scanned records and takes them out of the buffer.
    fn block(&mut self) -> Result<RecordBatch> {
        let scan = self.scan;
        let block = &self.buffer[..scan.end];
        let mut records = None;
        let batch = if scan.records == 0 {
            self.columns.empty()
        } else {
            match self.decoder.decode(block, scan.records) {
                Ok(batch) if self.columns.needs_offsets() || self.unknown.is_some() => {
                    let ranges = self.splitter.ranges(block);
                    let offsets = offsets(self.offset, ranges.iter());
                    let rests = self.unknown(block, &ranges)?;
                    self.columns.shape(&batch, &Offsets::Each(offsets), rests)?
                }
                Ok(batch) => {
                    let rests = Rests::default();
                    self.columns.shape(&batch, &Offsets::Unknown, rests)?
                }
                Err(_) => {
                    let (batch, good) = self.rescue(scan.end)?;
                    records = Some(good);
                    batch
                }
            }
        };
        self.offset += scan.end as u64;
        self.scan = Scan::default();
        self.given = Given {
            bytes: scan.end,
            rows: batch.num_rows(),
            records: records.map_or_else(OnceLock::new, OnceLock::from),
        };
        Ok(batch)
    }

    /// What records leave that have keys without a column.
    fn unknown(&self, block: &[u8], records: &[Range<usize>]) -> Result<Rests> {
        let mut rests = Rests::default();
        let Some((on_change, known)) = &self.unknown else {
            return Ok(rests);
        };
        for (row, record) in records.iter().enumerate() {
            let text = block.get(record.clone()).unwrap_or_default();
            let unknown = rescue::unknown(rescue::object(text).unwrap_or_default(), known);
            match (on_change, unknown.keys().next()) {
                (OnChange::Fail, Some(key)) => {
                    let at = self.offset + record.start as u64;
                    return Err(self.letters.changed(&format!(
                        "the record at byte {at} has the key \"{key}\", which is no column"
                    )));
                }
                _ => rests.add(row, unknown),
            }
        }
        Ok(rests)
    }

    /// Decodes a block with bad records by halves; gives the records of the rows too.
    fn rescue(&mut self, end: usize) -> Result<(RecordBatch, Vec<Range<usize>>)> {
        let block = &self.buffer[..end];
        let ranges = self.splitter.ranges(block);
        let mut good: Vec<RecordBatch> = Vec::new();
        let mut kept: Vec<Range<usize>> = Vec::new();
        let mut left: Vec<(usize, Rest)> = Vec::new();
        let mut parts: Vec<Range<usize>> = std::iter::once(0..ranges.len()).collect();
        while let Some(part) = parts.pop() {
            let records = &ranges[part.clone()];
            let (Some(first), Some(last)) = (records.first(), records.last()) else {
                continue;
            };
            let bytes = &block[first.start..last.end];
            match self.decoder.decode(bytes, records.len()) {
                Ok(batch) => {
                    let mut found = records.to_vec();
                    found.resize(batch.num_rows(), first.clone());
                    kept.extend(found);
                    good.push(batch);
                }
                Err(_) if records.len() == 1 && self.rescues => {
                    let (row, rest) = self.decoder.salvage(bytes)?;
                    left.push((kept.len(), rest));
                    kept.push(first.clone());
                    good.push(row);
                }
                Err(error) if records.len() == 1 => {
                    let (reason, detail) = self.decoder.explain(bytes, &error);
                    let offset = self.offset + first.start as u64;
                    self.letters
                        .record(reason, Some(offset), detail, trim_end(bytes))?;
                }
                Err(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
            }
        }
        let Some(first) = good.first() else {
            return Ok((self.columns.empty(), kept));
        };
        let batch = concat_batches(&first.schema(), &good)?;
        let starts = offsets(self.offset, kept.iter());
        let mut rests = self.unknown(block, &kept)?;
        left.into_iter()
            .for_each(|(row, rest)| rests.add(row, rest));
        let batch = self.columns.shape(&batch, &Offsets::Each(starts), rests)?;
        Ok((batch, kept))
    }
}

fn offsets<'a>(base: u64, ranges: impl Iterator<Item = &'a Range<usize>>) -> Vec<u64> {
    ranges.map(|range| base + range.start as u64).collect()
}

/// Takes the line end off a record.
pub(super) fn trim_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}
