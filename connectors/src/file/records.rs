//! Finds where records of a text end: lines, or CSV records with newlines inside quotes.
//!
//! The scan runs at memory speed ahead of the decoder, so that a bad record can be told apart
//! from its neighbours and has a byte offset. It agrees with the decoder on what a record is: a
//! quote opens a field only at the field's start.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::config::CsvOptions;

/// How a text is split.
#[derive(Debug, Clone)]
pub(crate) enum Splitter {
    /// One record per line.
    Lines,
    /// Lines, with newlines inside quotes.
    Csv {
        /// Between fields.
        delimiter: u8,
        /// Around fields.
        quote: u8,
        /// Before a quote inside quotes.
        escape: Option<u8>,
        /// Starts a line that is no record.
        comment: Option<u8>,
    },
}

/// Complete records found at the front of a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where the last of them ends.
    pub(crate) end: usize,
    /// How many they are, blank lines aside.
    pub(crate) records: usize,
}

impl Splitter {
    /// The splitter of a CSV dialect.
    pub(crate) fn csv(options: &CsvOptions) -> Self {
        Self::Csv {
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape.filter(|escape| *escape != options.quote),
            comment: options.comment,
        }
    }

    /// Goes on with a scan until `records` are found or one starts at `limit` or beyond.
    pub(crate) fn scan(&self, data: &[u8], scan: &mut Scan, records: usize, limit: usize) {
        while scan.records < records && scan.end < limit {
            let Some(end) = self.end(data, scan.end) else {
                return;
            };
            if !self.is_blank(&data[scan.end..end]) {
                scan.records += 1;
            }
            scan.end = end;
        }
    }

    /// The ranges of the records in a block of complete ones, without their line ends.
    pub(crate) fn ranges(&self, block: &[u8]) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut start = 0;
        while let Some(end) = self.end(block, start) {
            if !self.is_blank(&block[start..end]) {
                ranges.push(start..end);
            }
            start = end;
        }
        ranges
    }

    /// Where the record that starts at `start` ends, its newline included.
    pub(crate) fn end(&self, data: &[u8], start: usize) -> Option<usize> {
        let rest = data.get(start..)?;
        match self {
            Self::Lines => memchr(b'\n', rest).map(|at| start + at + 1),
            Self::Csv {
                comment: Some(comment),
                ..
            } if rest.first() == Some(comment) => memchr(b'\n', rest).map(|at| start + at + 1),
            Self::Csv {
                delimiter,
                quote,
                escape,
                ..
            } => csv_end(data, start, *delimiter, *quote, *escape),
        }
    }

    /// Whether a line is no record: empty, only blanks in lines of JSON, or a comment.
    fn is_blank(&self, line: &[u8]) -> bool {
        match self {
            Self::Lines => match line.first() {
                Some(first) if !first.is_ascii_whitespace() => false,
                _ => line.iter().all(u8::is_ascii_whitespace),
            },
            Self::Csv { comment, .. } => {
                matches!(line, b"\n" | b"\r\n" | b"")
                    || comment.is_some_and(|comment| line.first() == Some(&comment))
            }
        }
    }
}

fn csv_end(
    data: &[u8],
    start: usize,
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
) -> Option<usize> {
    let mut at = start;
    loop {
        let found = at + memchr2(b'\n', quote, data.get(at..)?)?;
        if data[found] == b'\n' {
            return Some(found + 1);
        }
        let opens = found == start || data[found - 1] == delimiter;
        at = if opens {
            close(data, found + 1, quote, escape)?
        } else {
            found + 1
        };
    }
}

/// Where a quoted field that was opened before `at` is closed.
fn close(data: &[u8], mut at: usize, quote: u8, escape: Option<u8>) -> Option<usize> {
    loop {
        let rest = data.get(at..)?;
        let found = at
            + match escape {
                Some(escape) => memchr2(quote, escape, rest)?,
                None => memchr(quote, rest)?,
            };
        let is_pair = data[found] != quote || data.get(found + 1) == Some(&quote);
        if !is_pair {
            return Some(found + 1);
        }
        at = found + 2;
    }
}
