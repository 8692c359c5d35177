//! Rows as an aligned table that is written batch by batch: a column may get wider on the way, and
//! the header stands once at the top.

use arrow::array::Array;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use weir_engine::error::Result;

/// Columns wider than this are not padded further: one long text must not push all others away.
const PADDED_CHARS_MAX: usize = 40;

/// The columns of a table, with the widths seen so far.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    width: usize,
    to_right: bool,
}

impl Table {
    /// Takes the columns.
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            width: field.name().chars().count(),
            to_right: field.data_type().is_numeric()
                || matches!(field.data_type(), DataType::Duration(_)),
        });
        Self {
            columns: columns.collect(),
        }
    }

    /// Gives the lines of a batch, after the header if asked.
    pub(super) fn render(&mut self, batch: &RecordBatch, with_header: bool) -> Result<Vec<u8>> {
        let options = FormatOptions::default().with_null("NULL");
        let mut cells = Vec::with_capacity(self.columns.len());
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
            let texts = (0..array.len())
                .map(|row| Ok(one_line(&formatter.value(row).try_to_string()?)))
                .collect::<Result<Vec<_>>>()?;
            let widest = texts
                .iter()
                .map(|text| text.chars().count())
                .max()
                .unwrap_or(0);
            column.width = column.width.max(widest.min(PADDED_CHARS_MAX));
            cells.push(texts);
        }
        let mut text = String::new();
        if with_header {
            self.line(
                &mut text,
                self.columns.iter().map(|column| column.name.as_str()),
            );
            let rules: Vec<_> = self
                .columns
                .iter()
                .map(|c| "-".repeat(c.width + 2))
                .collect();
            text.push_str(&rules.join("+"));
            text.push('\n');
        }
        for row in 0..batch.num_rows() {
            let values = cells
                .iter()
                .filter_map(|texts| texts.get(row))
                .map(String::as_str);
            self.line(&mut text, values);
        }
        Ok(text.into_bytes())
    }

    fn line<'a>(&self, text: &mut String, values: impl Iterator<Item = &'a str>) {
        let cells: Vec<_> = self
            .columns
            .iter()
            .zip(values)
            .map(|(column, value)| {
                let width = column.width;
                if column.to_right {
                    format!(" {value:>width$} ")
                } else {
                    format!(" {value:<width$} ")
                }
            })
            .collect();
        text.push_str(cells.join("|").trim_end());
        text.push('\n');
    }
}

/// Shows line ends and control characters as escapes, so that a row stays one line and a value
/// cannot drive the terminal.
fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.into()
            }
        })
        .collect()
}
