//! Decodes plain objects straight into columns: what is usual, several times as fast as arrow's
//! decoder, which makes a list of all parts of all texts first.
//!
//! Each text is looked at by itself, so one that is not plain disturbs no other. It is not judged
//! here: arrow's decoder alone says what is a row and what is wrong.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::column::{Column, Kind};
use super::cursor::Cursor;

/// Keys of an object whose places are remembered: objects with more are searched by name.
const PLACES_MAX: usize = 1_024;
/// Columns up to which looking through them is faster than a map.
const LOOKED_THROUGH_MAX: usize = 16;

/// Decodes objects of some columns.
#[derive(Debug)]
pub(super) struct Table {
    schema: SchemaRef,
    kinds: Vec<Kind>,
    /// Bytes of the texts of each column when the last were decoded: the next will be like them.
    text_bytes: Vec<usize>,
    keys: Keys,
}

impl Table {
    /// Plans the columns; `None` when one of them is only read by arrow's decoder.
    pub(super) fn plan(schema: &SchemaRef) -> Option<Self> {
        let fields = schema.fields();
        if fields.iter().any(|field| !field.is_nullable()) {
            return None;
        }
        let kinds = fields.iter().map(|field| Kind::of(field.data_type()));
        Some(Self {
            kinds: kinds.collect::<Option<_>>()?,
            text_bytes: vec![0; fields.len()],
            keys: Keys::new(schema),
            schema: Arc::clone(schema),
        })
    }

    /// Decodes texts: the rows of those that are plain, and the numbers of those that are not.
    pub(super) fn decode(
        &mut self,
        texts: &[&[u8]],
        are_utf8: bool,
    ) -> Result<(RecordBatch, Vec<usize>), ArrowError> {
        let most: usize = texts.iter().map(|text| text.len()).sum();
        let kinds = self.kinds.iter().zip(&self.text_bytes);
        let columns = kinds.map(|(kind, bytes)| Column::new(kind, texts.len(), most.min(*bytes)));
        let mut columns: Vec<_> = columns.collect();
        let (mut row, mut odd) = (0, Vec::new());
        for (number, text) in texts.iter().enumerate() {
            let is_utf8 = are_utf8 || std::str::from_utf8(text).is_ok();
            if is_utf8 && object(text, &mut self.keys, &mut columns, row).is_some() {
                row += 1;
            } else {
                columns.iter_mut().for_each(|column| column.clear(row));
                odd.push(number);
            }
        }
        self.text_bytes = columns.iter().map(Column::text_bytes).collect();
        let fields = self.schema.fields().iter();
        let arrays = columns
            .into_iter()
            .zip(fields)
            .map(|(column, field)| column.finish(row, field.data_type()));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(row));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        Ok((batch, odd))
    }
}

/// Reads one object, in UTF-8, into a row; `None` when it is not plain, with a part of the row filled.
fn object(text: &[u8], keys: &mut Keys, columns: &mut [Column<'_>], row: usize) -> Option<()> {
    let mut cursor = Cursor::new(text);
    cursor.blanks();
    cursor.must(b'{')?;
    cursor.blanks();
    let mut place = 0;
    if !cursor.eat(b'}') {
        loop {
            let column = keys.column(&mut cursor, place)?;
            cursor.must_after_blanks(b':')?;
            cursor.blanks();
            match column.and_then(|at| columns.get_mut(at)) {
                Some(column) => column.take(&mut cursor, row)?,
                None => cursor.skip()?,
            }
            if cursor.must_after_blanks(b',').is_none() {
                cursor.must(b'}')?;
                break;
            }
            cursor.blanks();
            place += 1;
        }
    }
    cursor.blanks();
    cursor.is_at_end().then_some(())
}

/// Which key is which column.
#[derive(Debug)]
struct Keys {
    schema: SchemaRef,
    /// The key that was at each place of the last objects, in its quotes, and its column. Most
    /// producers write all objects in one order, so that a look at the place is enough.
    places: Vec<(Vec<u8>, Option<usize>)>,
    /// The columns by name, if they are many.
    names: HashMap<Vec<u8>, usize>,
}

impl Keys {
    fn new(schema: &SchemaRef) -> Self {
        let mut names = HashMap::new();
        if schema.fields().len() > LOOKED_THROUGH_MAX {
            for (at, field) in schema.fields().iter().enumerate() {
                names.entry(field.name().as_bytes().to_vec()).or_insert(at);
            }
        }
        Self {
            schema: Arc::clone(schema),
            places: Vec::new(),
            names,
        }
    }

    /// Goes over the key at a place of an object, and gives its column if it is one.
    #[inline]
    fn column(&mut self, cursor: &mut Cursor<'_>, place: usize) -> Option<Option<usize>> {
        match self.places.get(place) {
            Some((known, column)) if cursor.word(known).is_some() => Some(*column),
            _ => self.look_up(cursor, place),
        }
    }

    fn look_up(&mut self, cursor: &mut Cursor<'_>, place: usize) -> Option<Option<usize>> {
        let (key, is_escaped) = cursor.quoted()?;
        if is_escaped {
            return None;
        }
        let column = if self.names.is_empty() {
            let mut fields = self.schema.fields().iter();
            fields.position(|field| field.name().as_bytes() == key)
        } else {
            self.names.get(key).copied()
        };
        if place == self.places.len() && place < PLACES_MAX {
            self.places.push((Vec::new(), None));
        }
        if let Some((known, at)) = self.places.get_mut(place) {
            known.clear();
            known.push(b'"');
            known.extend_from_slice(key);
            known.push(b'"');
            *at = column;
        }
        Some(column)
    }
}
