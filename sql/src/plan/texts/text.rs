//! Texts as their bytes, a word at a time.

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringViewArray};

/// Bytes that are read at once.
pub(super) const WORD: usize = 8;
/// Behind the end of a text: no text holds such a byte.
pub(super) const PAD: u8 = 0xff;

/// A text, in bytes that may go on behind its end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) len: usize,
}

impl Text<'_> {
    /// The bytes from a place, with [`PAD`] behind the end.
    pub(super) fn word(&self, at: usize) -> u64 {
        let left = self.len.saturating_sub(at);
        if left == 0 {
            return u64::MAX;
        }
        let rest = self.bytes.get(at..).unwrap_or_default();
        let word = match rest.first_chunk::<WORD>() {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                let mut word = [PAD; WORD];
                for (to, from) in word.iter_mut().zip(rest) {
                    *to = *from;
                }
                u64::from_le_bytes(word)
            }
        };
        match left {
            1..WORD => word | u64::MAX << (8 * left),
            _ => word,
        }
    }
}

/// The texts of an array, those at nulls too.
pub(super) struct Texts<'a> {
    array: Kind<'a>,
    rows: std::ops::Range<usize>,
}

enum Kind<'a> {
    Plain(&'a StringArray),
    View(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    /// Those of a plain array or of one of views.
    pub(super) fn of(texts: &'a ArrayRef) -> Self {
        let plain = texts.as_string_opt::<i32>().map(Kind::Plain);
        Self {
            array: plain.unwrap_or_else(|| Kind::View(texts.as_string_view())),
            rows: 0..texts.len(),
        }
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        let row = self.rows.next()?;
        Some(match &self.array {
            Kind::Plain(texts) => {
                let bounds = texts.value_offsets().get(row..).unwrap_or_default();
                let (start, end) = match bounds {
                    [start, end, ..] => (*start as usize, *end as usize),
                    _ => return None,
                };
                Text {
                    bytes: texts.value_data().get(start..).unwrap_or_default(),
                    len: end - start,
                }
            }
            Kind::View(texts) => {
                let bytes: &str = texts.value(row);
                Text {
                    bytes: bytes.as_bytes(),
                    len: bytes.len(),
                }
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
}
