//! Several `split_part(text, delimiter, n)` of one text: the delimiters are found once, by
//! [`Positions`], and each [`Part`] is copied from between two of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray, UInt32Array};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, UInt32Type};
use datafusion::common::{DFSchema, Result as DfResult, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use super::{arguments, is_text, number_of, text_of};

/// A call `split_part(text, delimiter, n)` whose delimiter, of one byte, and number are constants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut<'a> {
    text: &'a Expr,
    delimiter: &'a str,
    number: usize,
}

impl<'a> Cut<'a> {
    /// The call that an expression is.
    pub(super) fn of(expr: &'a Expr, schema: &DFSchema) -> Option<Self> {
        let [text, delimiter, number] = arguments(expr, "split_part")? else {
            return None;
        };
        let delimiter = text_of(delimiter).filter(|delimiter| delimiter.len() == 1)?;
        let number = number_of(number).filter(|number| *number > 0)?;
        is_text(text, schema).then_some(Self {
            text,
            delimiter,
            number,
        })
    }

    /// What it has in common with other calls.
    pub(super) fn positions(&self) -> Expr {
        ScalarUDF::from(Positions::default()).call(vec![self.text.clone(), lit(self.delimiter)])
    }

    /// The same result by way of the positions.
    pub(super) fn call(self) -> Expr {
        let number = lit(i64::try_from(self.number).unwrap_or(i64::MAX));
        ScalarUDF::from(Part::default()).call(vec![self.text.clone(), self.positions(), number])
    }
}

/// `split_positions(text, delimiter)`: where each delimiter is in the text, in bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Positions {
    signature: Signature,
}

impl Default for Positions {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

fn position_field() -> FieldRef {
    Arc::new(Field::new("item", DataType::UInt32, false))
}

impl ScalarUDFImpl for Positions {
    fn name(&self) -> &'static str {
        "split_positions"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::List(position_field()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [text, ColumnarValue::Scalar(delimiter)] = args.args.as_slice() else {
            return exec_err!("split_positions needs a text and a constant");
        };
        let Some([delimiter]) = delimiter.try_as_str().flatten().map(str::as_bytes) else {
            return exec_err!("split_positions needs a delimiter of one byte");
        };
        let texts = text.to_array(args.number_rows)?;
        let positions = positions(texts.as_string::<i32>(), *delimiter)?;
        Ok(ColumnarValue::Array(Arc::new(positions)))
    }
}

/// Looks through the bytes of all rows at once.
fn positions(texts: &StringArray, delimiter: u8) -> DfResult<ListArray> {
    let offsets = texts.value_offsets();
    let (first, last) = (at(offsets, 0), at(offsets, texts.len()));
    let bytes = texts.value_data().get(first..last).unwrap_or_default();
    let mut found: Vec<u32> = Vec::with_capacity(texts.len());
    let mut ends: Vec<i32> = Vec::with_capacity(texts.len() + 1);
    ends.push(0);
    let (mut start, mut row) = (0, 0);
    let mut end = at(offsets, 1) - first;
    for_each_place(delimiter, bytes, |place| {
        while place >= end {
            ends.push(i32::try_from(found.len()).unwrap_or(i32::MAX));
            row += 1;
            start = end;
            end = at(offsets, row + 1) - first;
        }
        found.push(u32::try_from(place - start).unwrap_or(u32::MAX));
    });
    ends.resize(
        texts.len() + 1,
        i32::try_from(found.len()).unwrap_or(i32::MAX),
    );
    Ok(ListArray::try_new(
        position_field(),
        OffsetBuffer::new(ScalarBuffer::from(ends)),
        Arc::new(UInt32Array::from(found)),
        None,
    )?)
}

/// Calls a function with the places of a byte, eight bytes at a time: delimiters are so near each other
/// that a search for the next one, begun anew after each, takes longer.
fn for_each_place(wanted: u8, bytes: &[u8], mut visit: impl FnMut(usize)) {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let pattern = u64::from_ne_bytes([wanted; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ pattern;
        // The high bit of each byte that is zero, and of no other.
        let mut zeros = !(((differs & LOW) + LOW) | differs | LOW);
        while zeros != 0 {
            visit(number * 8 + zeros.trailing_zeros() as usize / 8);
            zeros &= zeros - 1;
        }
    }
    let from = bytes.len() - rest.len();
    let places = rest.iter().enumerate().filter(|(_, byte)| **byte == wanted);
    places.for_each(|(place, _)| visit(from + place));
}

fn at(offsets: &[i32], place: usize) -> usize {
    let offset = offsets.get(place).or(offsets.last());
    offset.map_or(0, |offset| usize::try_from(*offset).unwrap_or(0))
}

/// `split_nth(text, split_positions(text, delimiter), n)`: the n-th part, empty after the last.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    signature: Signature,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &'static str {
        "split_nth"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [text, positions, ColumnarValue::Scalar(number)] = args.args.as_slice() else {
            return exec_err!("split_nth needs a text, its positions and a constant");
        };
        let number = match number {
            datafusion::scalar::ScalarValue::Int64(Some(number)) => usize::try_from(*number),
            _ => return exec_err!("split_nth needs a whole number"),
        };
        let texts = text.to_array(args.number_rows)?;
        let positions = positions.to_array(args.number_rows)?;
        let parts = nth(
            texts.as_string(),
            positions.as_list(),
            number.unwrap_or(usize::MAX),
        )?;
        Ok(ColumnarValue::Array(parts))
    }
}

/// The n-th part of each text.
fn nth(texts: &StringArray, positions: &ListArray, number: usize) -> DfResult<ArrayRef> {
    let offsets = texts.value_offsets();
    let found = positions.values().as_primitive::<UInt32Type>().values();
    let found_offsets = positions.value_offsets();
    let data = texts.value_data();
    let mut bytes: Vec<u8> = Vec::with_capacity(texts.len() * 8);
    let mut ends: Vec<i32> = Vec::with_capacity(texts.len() + 1);
    ends.push(0);
    for (text, of) in offsets.windows(2).zip(found_offsets.windows(2)) {
        let found = found.get(at(of, 0)..at(of, 1)).unwrap_or_default();
        let (start, end) = (at(text, 0), at(text, 1));
        let place = |index: usize| found.get(index).map(|place| start + *place as usize);
        // The first part begins with the text, one after the last delimiter ends with it.
        let begin = match number {
            1 => Some(start),
            _ => place(number - 2).map(|place| place + 1),
        };
        if let Some(begin) = begin {
            append(&mut bytes, data, begin, place(number - 1).unwrap_or(end));
        }
        ends.push(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    }
    Ok(Arc::new(StringArray::try_new(
        OffsetBuffer::new(ScalarBuffer::from(ends)),
        Buffer::from_vec(bytes),
        texts.nulls().cloned(),
    )?))
}

/// Copies some bytes; a few of them by a copy of a fixed length, which takes no call.
fn append(to: &mut Vec<u8>, data: &[u8], begin: usize, end: usize) {
    const FEW: usize = 16;
    match data.get(begin..).and_then(<[u8]>::first_chunk::<FEW>) {
        Some(few) if end - begin <= FEW => {
            let length = to.len() + end - begin;
            to.extend_from_slice(few);
            to.truncate(length);
        }
        _ => to.extend_from_slice(data.get(begin..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_byte_is_found() {
        let bytes: Vec<u8> = (0..2_000_u32)
            .map(|i| ((i.wrapping_mul(2_654_435_761) >> 27) * 9) as u8)
            .collect();
        for wanted in [0, 9, 0x80, 0x7f, 0xff, 27, 153, 252] {
            for from in 0..9 {
                let bytes = &bytes[from..bytes.len() - from * 3];
                let mut found = Vec::new();
                for_each_place(wanted, bytes, |place| found.push(place));
                let expected: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] == wanted).collect();
                assert_eq!(found, expected);
            }
        }
    }
}
