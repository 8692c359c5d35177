//! Decodes texts of one object each: at once those that are plain, by arrow's decoder the others.

use std::sync::Arc;

use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;

use super::table::Table;

/// The rows for which a decoder is made at least.
const ROWS_MIN: usize = 64;
/// Calls for which plain texts are not looked for when few were.
const REST_CALLS: u32 = 64;

/// Decodes texts of one whole object each.
#[derive(Debug)]
pub(in super::super) struct Objects {
    schema: SchemaRef,
    /// For plain objects, if the columns are simple.
    table: Option<Table>,
    /// For how many calls it rests.
    rest: u32,
    /// The decoder for whole batches, and how many rows it takes.
    decoder: Decoder,
    rows: usize,
}

/// What became of some texts.
#[derive(Debug)]
pub(super) struct Found {
    /// The rows.
    pub(super) batch: RecordBatch,
    /// For each row the number of its text, ascending; `None` when each text is a row.
    pub(super) texts: Option<Vec<usize>>,
    /// The texts that are wrong, by their numbers.
    pub(super) failed: Vec<(usize, ArrowError)>,
}

impl Objects {
    /// Makes a decoder of columns.
    pub(in super::super) fn new(fields: Fields) -> Result<Self, ArrowError> {
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        Ok(Self {
            decoder: build(&schema, ROWS_MIN)?,
            table: Table::plan(&schema),
            rest: 0,
            schema,
            rows: ROWS_MIN,
        })
    }

    /// The columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A decoder that leaves everything to arrow's.
    #[cfg(test)]
    pub(super) fn by_arrow(fields: Fields) -> Result<Self, ArrowError> {
        let made = Self::new(fields)?;
        Ok(Self {
            table: None,
            ..made
        })
    }

    /// Looks for plain texts again.
    #[cfg(test)]
    pub(super) fn wake(&mut self) {
        self.rest = 0;
    }

    /// Decodes the texts, each by itself if the columns allow it. Fails as a whole if they do not
    /// and one text is not one whole object. `are_utf8` says that all are known to be UTF-8.
    pub(super) fn decode_each(
        &mut self,
        texts: &[&[u8]],
        are_utf8: bool,
    ) -> Result<Found, ArrowError> {
        let Some(table) = self.table.as_mut().filter(|_| self.rest == 0) else {
            self.rest = self.rest.saturating_sub(1);
            return Ok(Found {
                batch: self.decode(texts.iter().copied())?,
                texts: None,
                failed: Vec::new(),
            });
        };
        let (plain, odd) = table.decode(texts, are_utf8)?;
        let mut found = Found {
            batch: plain,
            texts: None,
            failed: Vec::new(),
        };
        if odd.is_empty() {
            return Ok(found);
        }
        let (more, kept) = self.decode_odd(texts, &odd, &mut found.failed)?;
        if kept.len() * 2 > texts.len() {
            self.rest = REST_CALLS;
        }
        let mut rows: Vec<usize> = (0..texts.len()).collect();
        rows.retain(|number| {
            found
                .failed
                .binary_search_by_key(number, |(n, _)| *n)
                .is_err()
        });
        if let Some(more) = more {
            // The rows of both in the order of their texts.
            let (mut of_plain, mut of_more) = (0, 0);
            let order = rows.iter().map(|number| {
                let is_more = kept.get(of_more) == Some(number);
                let next = if is_more { &mut of_more } else { &mut of_plain };
                *next += 1;
                (usize::from(is_more), *next - 1)
            });
            let order: Vec<_> = order.collect();
            found.batch = interleave_record_batch(&[&found.batch, &more], &order)?;
        }
        found.texts = Some(rows);
        Ok(found)
    }

    /// Decodes texts that are not plain: their rows if there are any, which texts are rows, and
    /// what is wrong with the others.
    fn decode_odd(
        &mut self,
        texts: &[&[u8]],
        odd: &[usize],
        failed: &mut Vec<(usize, ArrowError)>,
    ) -> Result<(Option<RecordBatch>, Vec<usize>), ArrowError> {
        let (mut good, mut kept) = (Vec::new(), Vec::with_capacity(odd.len()));
        let mut parts = vec![odd];
        while let Some(part) = parts.pop() {
            let chosen = part.iter().map(|at| texts.get(*at).copied());
            match (self.decode(chosen.map(Option::unwrap_or_default)), part) {
                (Ok(batch), _) => {
                    good.push(batch);
                    kept.extend_from_slice(part);
                }
                (Err(error), [only]) => failed.push((*only, error)),
                (Err(_), _) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        let more = match good.as_slice() {
            [] => None,
            [batch] => Some(batch.clone()),
            _ => Some(concat_batches(&self.schema, &good)?),
        };
        Ok((more, kept))
    }

    /// Decodes the texts, a row each; fails if one of them is not one whole object.
    pub(in super::super) fn decode<'a>(
        &mut self,
        texts: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<RecordBatch, ArrowError> {
        let count = texts.len();
        // Room for all rows is reserved at once: a few, looked at singly, need little.
        if count.max(ROWS_MIN) * 2 <= self.rows {
            return run(&mut build(&self.schema, count)?, texts);
        }
        if count > self.rows {
            self.rows = count.next_power_of_two();
            self.decoder = build(&self.schema, self.rows)?;
        }
        let result = run(&mut self.decoder, texts);
        if result.is_err() {
            // A failed decoder holds half a batch: it starts anew.
            self.decoder = build(&self.schema, self.rows)?;
        }
        result
    }
}

fn run<'a>(
    decoder: &mut Decoder,
    texts: impl Iterator<Item = &'a [u8]>,
) -> Result<RecordBatch, ArrowError> {
    for (done, text) in texts.enumerate() {
        let used = decoder.decode(text)?;
        // The decoder stops before an object for which it has no room.
        let rest = text.get(used..).unwrap_or_default();
        let whole = rest.iter().all(u8::is_ascii_whitespace);
        if !whole || decoder.has_partial_record() || decoder.len() != done + 1 {
            return Err(ArrowError::JsonError(
                "the message is not one whole object".to_owned(),
            ));
        }
    }
    let batch = decoder.flush()?;
    batch.ok_or_else(|| ArrowError::JsonError("there is no message".to_owned()))
}

/// One row more than is wanted shows a message with two objects.
fn build(schema: &SchemaRef, rows: usize) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows + 1)
        .with_coerce_primitive(true)
        .build_decoder()
}
