//! The splitter finds records where arrow's decoder does.

use proptest::prelude::*;

use super::super::config::CsvOptions;
use super::super::records::{Scan, Splitter};

fn options() -> CsvOptions {
    CsvOptions {
        header: false,
        delimiter: b',',
        quote: b'"',
        escape: None,
        comment: None,
        null: None,
    }
}

proptest! {
    #[test]
    fn agrees_with_the_csv_decoder(text in "[a\",\n]{0,60}") {
        let text = format!("{text}\n");
        let splitter = Splitter::csv(&options());
        let ranges = splitter.ranges(text.as_bytes());
        // An open quote at the end is dealt with by the reader.
        let end = ranges.last().map_or(0, |range| range.end);
        let whole = text.get(..end).unwrap_or_default();
        let reader = arrow::csv::reader::Format::default().with_truncated_rows(true);
        let count = reader.infer_schema(whole.as_bytes(), None).map_or(0, |(_, count)| count);
        prop_assert_eq!(ranges.len(), count, "{:?}", ranges);
    }

    #[test]
    fn does_not_depend_on_how_the_bytes_come(text in "[a\",\n]{0,60}", cut in 0_usize..60) {
        let splitter = Splitter::csv(&options());
        let mut whole = Scan::default();
        splitter.scan(text.as_bytes(), &mut whole, 1_000, usize::MAX);
        let mut parts = Scan::default();
        splitter.scan(&text.as_bytes()[..cut.min(text.len())], &mut parts, 1_000, usize::MAX);
        splitter.scan(text.as_bytes(), &mut parts, 1_000, usize::MAX);
        prop_assert_eq!(whole, parts);
    }
}
