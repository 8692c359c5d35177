//! An encoded row that is kept in place when it is short: state by single numbers needs no memory
//! of its own for each row, and no way to it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use super::RowBytes;

/// Bytes of a row that is kept in place: two numbers with their marks for NULL.
const SHORT_BYTES: usize = 22;

/// A row as bytes, which it compares as.
#[derive(Clone)]
pub(crate) struct ShortRow(Bytes);

#[derive(Clone)]
enum Bytes {
    Short { len: u8, bytes: [u8; SHORT_BYTES] },
    Shared(RowBytes),
}

impl From<&[u8]> for ShortRow {
    fn from(row: &[u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        match (bytes.get_mut(..row.len()), u8::try_from(row.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(row);
                Self(Bytes::Short { len, bytes })
            }
            _ => Self(Bytes::Shared(row.into())),
        }
    }
}

impl Deref for ShortRow {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Bytes::Shared(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for ShortRow {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for ShortRow {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ShortRow {}

impl PartialOrd for ShortRow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortRow {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for ShortRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for ShortRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_length_are_their_bytes() {
        assert_eq!(size_of::<ShortRow>(), 24);
        for len in [0, 1, SHORT_BYTES, SHORT_BYTES + 1, 300] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            assert_eq!(*ShortRow::from(&*bytes), *bytes);
        }
        let (short, long) = (ShortRow::from(&[9][..]), ShortRow::from(&[8; 99][..]));
        assert!(short > long && short == short.clone() && long == long.clone());
    }
}
