//! Rules over an Avro file, written here byte by byte: all of its columns are read where a row may be kept back.

use crate::program::Place;

/// A whole number as Avro writes it.
fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(value: &str, out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value.as_bytes());
}

const SCHEMA: &str = r#"{"type": "record", "name": "order", "fields": [
    {"name": "id", "type": "long"}, {"name": "amount", "type": ["null", "double"]},
    {"name": "mail", "type": "string"}]}"#;

/// A file of one block; of every seventh row the amount is null, of every fifth negative.
fn file(rows: i64) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    long(1, &mut out);
    text("avro.schema", &mut out);
    text(SCHEMA, &mut out);
    long(0, &mut out);
    let sync = [7_u8; 16];
    out.extend(sync);
    if rows > 0 {
        let mut block = Vec::new();
        for id in 0..rows {
            long(id, &mut block);
            match id % 7 {
                0 => long(0, &mut block),
                _ => {
                    long(1, &mut block);
                    let amount = if id % 5 == 0 { -1.0 } else { id as f64 };
                    block.extend(f64::to_le_bytes(amount));
                }
            }
            text(&format!("u{id}@x.co"), &mut block);
        }
        long(rows, &mut out);
        long(block.len() as i64, &mut out);
        out.extend(block);
        out.extend(sync);
    }
    out
}

const SCRIPT: &str = "CREATE SOURCE orders (
        CONSTRAINT positive EXPECT (amount > 0) ON VIOLATION QUARANTINE,
        CONSTRAINT mail EXPECT (is_email(mail)),
        CONSTRAINT once EXPECT UNIQUE (id) ON VIOLATION DROP ROW,
        CONSTRAINT whole EXPECT (completeness(amount) >= 0.9)
    ) WITH (connector = 'file', path = '*.avro', format = 'avro');
    CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', header = 'false')
        AS SELECT id FROM orders;";

fn lines(place: &Place, query: &str) -> Vec<String> {
    let ended = place.weir(&["sql", "--state", "state", "--format", "csv", "-c", query]);
    ended.ok().out.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn rules_over_avro() {
    for mode in ["batch", "streaming"] {
        let place = Place::new();
        place.write("a.avro", file(70));
        place.write("none.avro", file(0));
        let flags = ["--mode", mode, "--state", "state", "--batch-rows", "9"];
        let ended = place.run(SCRIPT, &flags).ok();
        // Ten rows have no amount; of the sixty others twelve are negative.
        assert!(
            ended
                .out
                .contains("70 rows in = 58 published + 12 quarantined"),
            "{}",
            ended.out
        );
        let told =
            "SELECT rule, sum(evaluated), sum(violated), sum(unknown) FROM weir.quality_results
                    GROUP BY rule ORDER BY rule";
        let expected = [
            "mail,70,0,0",
            "once,58,0,0",
            "positive,60,12,10",
            "whole,1,1,0",
        ];
        assert_eq!(lines(&place, told), expected, "{mode}");
        let kept = "SELECT id, amount, mail, _offset, _raw IS NULL FROM quarantine.orders ORDER BY id LIMIT 2";
        assert_eq!(
            lines(&place, kept),
            ["5,-1.0,u5@x.co,5,true", "10,-1.0,u10@x.co,10,true"],
            "{mode}"
        );
    }
}
