//! What a reader of the terminal sees.

use std::io;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::{Expect, expect};
use futures::executor::block_on;
use parking_lot::Mutex;

use super::*;

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("city", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
    ]))
}

fn batch(rows: &[(Option<&str>, i64)]) -> RecordBatch {
    let cities: StringArray = rows.iter().map(|(city, _)| *city).collect();
    let counts: Int64Array = rows.iter().map(|(_, count)| Some(*count)).collect();
    let arrays: Vec<ArrayRef> = vec![Arc::new(cities), Arc::new(counts)];
    RecordBatch::try_new(schema(), arrays).unwrap()
}

fn check(format: Format, limit: Option<u64>, expected: Expect) {
    let screen = Screen::default();
    let mut printer = Printer::new(format, limit, &schema(), Box::new(screen.clone()));
    block_on(printer.write(batch(&[(Some("Bern"), 5), (None, 1_200)]))).unwrap();
    block_on(printer.write(batch(&[(Some("Rapperswil-Jona\n\u{1b}[2J"), -1)]))).unwrap();
    let tokens = block_on(printer.prepare()).unwrap();
    assert_eq!(tokens[0].rows, 3);
    expected.assert_eq(&String::from_utf8(screen.0.lock().clone()).unwrap());
}

#[test]
fn a_table_has_one_header_and_grows() {
    check(
        Format::Table,
        None,
        expect![[r#"
         city | count
        ------+-------
         Bern |     5
         NULL |  1200
         Rapperswil-Jona\n\u{1b}[2J |    -1
    "#]],
    );
}

#[test]
fn a_limit_hides_and_counts() {
    check(
        Format::Table,
        Some(1),
        expect![[r#"
         city | count
        ------+-------
         Bern |     5
        (2 more rows not shown)
    "#]],
    );
    check(Format::Csv, Some(0), expect![[r#""#]]);
}

#[test]
fn csv_and_json_are_for_programs() {
    check(
        Format::Csv,
        None,
        expect![[r#"
        city,count
        Bern,5
        ,1200
        "Rapperswil-Jona
        [2J",-1
    "#]],
    );
    check(
        Format::Json,
        None,
        expect![[r#"
        {"city":"Bern","count":5}
        {"city":null,"count":1200}
        {"city":"Rapperswil-Jona\n\u001b[2J","count":-1}
    "#]],
    );
}

#[test]
fn a_closed_output_is_an_error() {
    let mut printer = Printer::new(Format::Csv, None, &schema(), Box::new(Closed));
    let error = block_on(printer.write(batch(&[(None, 1)]))).unwrap_err();
    expect![[r#"
        error[E0502]: cannot write to standard output
          cause: broken pipe
          hint: the program that reads the output may have ended"#]]
    .assert_eq(&error.report(None));
}
