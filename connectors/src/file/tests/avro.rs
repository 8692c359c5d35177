//! Avro: whole files and cut ones.

use super::*;

fn avro(batches: &[RecordBatch]) -> Vec<u8> {
    let schema = batches[0].schema().as_ref().clone();
    let mut writer = arrow_avro::writer::AvroWriter::new(Vec::new(), schema).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

#[tokio::test]
async fn reads_blocks_and_projections() {
    let parts: Vec<_> = (0..40).map(|part| sample(part * 100, 100)).collect();
    let case = Case::new("a.avro").file("a.avro", avro(&parts)).rows(64);
    let source = case.open().await.unwrap();
    let splits = source.discover().await.unwrap();
    let projection = projected(&source.schema(), &["name", "id"]);
    let outcome = case
        .read_splits(&source, &splits, &projection)
        .await
        .unwrap();
    assert_eq!(outcome.ints(1), (0..4_000).collect::<Vec<_>>());
    let none = case.read_splits(&source, &splits, &[]).await.unwrap();
    assert_eq!(none.batch.num_rows(), 4_000);
    let mut split = splits[0].clone();
    split.position = Some(weir_engine::source::Position("3950".to_owned()));
    let rest = case
        .read_splits(&source, &[split], &projection)
        .await
        .unwrap();
    assert_eq!(rest.ints(1), (3_950..4_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_before_the_cut_are_kept() {
    let bytes = avro(
        &(0..10)
            .map(|part| sample(part * 10, 10))
            .collect::<Vec<_>>(),
    );
    let case = Case::new("a.avro").file("a.avro", &bytes[..bytes.len() - 30]);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.ints(0), (0..90).collect::<Vec<_>>());
    assert_eq!(outcome.reasons(), ["corrupt"]);
    assert_eq!(outcome.letters[0].offset, Some(90));
    let mut broken = bytes.clone();
    let at = broken.len() - 4;
    broken[at] ^= 0x55;
    let outcome = Case::new("a.avro")
        .file("a.avro", broken)
        .read()
        .await
        .unwrap();
    assert_eq!(
        (outcome.batch.num_rows(), outcome.reasons()),
        (90, vec!["corrupt"])
    );
    let case = Case::new("a.avro")
        .file("a.avro", "no")
        .columns(&[("id", DataType::Int64)]);
    assert_eq!(case.read().await.unwrap().reasons(), ["corrupt"]);
}
