//! The reader beside the bare decoder: what finding records costs. The figures are printed; the
//! test fails only when the reader is several times slower, which a busy machine is not.

use std::time::Instant;

use super::*;

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn text_readers_keep_up_with_bare_decoders() {
    let rows = 200_000;
    let csv = format!("id,name\n{}", csv_lines(rows));
    let json: String = (0..rows)
        .map(|id| format!("{{\"id\":{id},\"name\":\"name {id}\"}}\n"))
        .collect();
    for (name, text) in [("a.csv", &csv), ("a.json", &json)] {
        let case = Case::new(name).file(name, text);
        let source = case.open().await.unwrap();
        let schema = source.schema();
        let start = now();
        let outcome = case.read_all(&source).await.unwrap();
        let own = start.elapsed();
        assert_eq!(outcome.batch.num_rows(), rows);
        let start = now();
        let file = std::io::BufReader::new(std::fs::File::open(case.path(name)).unwrap());
        let count: usize = if name == "a.csv" {
            let reader = arrow::csv::ReaderBuilder::new(schema).with_header(true);
            let reader = reader.with_batch_size(8192).build_buffered(file).unwrap();
            reader.map(|batch| batch.unwrap().num_rows()).sum()
        } else {
            let reader = arrow::json::ReaderBuilder::new(schema).with_batch_size(8192);
            reader
                .build(file)
                .unwrap()
                .map(|batch| batch.unwrap().num_rows())
                .sum()
        };
        let bare = start.elapsed();
        assert_eq!(count, rows);
        println!(
            "{name}: reader {own:?}, bare decoder {bare:?}, {} bytes",
            text.len()
        );
        assert!(
            own < bare * 5 + std::time::Duration::from_millis(500),
            "{own:?} {bare:?}"
        );
    }
}
