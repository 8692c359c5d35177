//! Changes of a table as Debezium writes them, through aggregates that update, into a materialized
//! view and topics of the last row per key, with a crash in the middle.
//!
//! The changes are random and print their seed; `SEED=n` replays them.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::Message as _;
use serde_json::{Value, json};

use super::rig::{PATIENCE, Put, consume, produce, value};
use crate::program::Place;
use crate::servers::kafka::Kafka;

const PARTITIONS: i64 = 3;
const CATEGORIES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The table: category and amount by number.
type Table = BTreeMap<i64, (&'static str, i64)>;

/// Changes the table at random; gives the event of the change.
fn change(rng: &mut StdRng, table: &mut Table) -> Put {
    let row = |id: i64, (category, amount): (&str, i64)| json!({"id": id, "category": category, "amount": amount});
    let id = rng.random_range(0..200);
    let fresh = (
        CATEGORIES[rng.random_range(0..CATEGORIES.len())],
        rng.random_range(-50..500),
    );
    let event = match table.get(&id).copied() {
        None => {
            table.insert(id, fresh);
            json!({"before": null, "after": row(id, fresh), "op": "c"})
        }
        Some(old) if rng.random_bool(0.4) => {
            table.remove(&id);
            json!({"before": row(id, old), "after": null, "op": "d"})
        }
        Some(old) => {
            table.insert(id, fresh);
            json!({"before": row(id, old), "after": row(id, fresh), "op": "u"})
        }
    };
    Put {
        partition: i32::try_from(id % PARTITIONS).unwrap(),
        ..value(event.to_string())
    }
}

/// What a reader has who keeps the last row of each key.
fn folded(kafka: &Kafka, topic: &str) -> BTreeMap<String, Value> {
    let mut rows = BTreeMap::new();
    for message in consume(&kafka.client(), topic) {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        match message.payload() {
            Some(row) => rows.insert(key, serde_json::from_slice(row).unwrap()),
            None => rows.remove(&key),
        };
    }
    rows
}

/// The totals of a table, as the sink and the view must have them.
fn totals(table: &Table) -> BTreeMap<String, Value> {
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (category, amount) in table.values() {
        let sum = sums.entry(category).or_default();
        *sum = (sum.0 + 1, sum.1 + amount);
    }
    let rows = sums.into_iter().map(|(category, (n, total))| {
        let key = format!(r#"{{"category":"{category}"}}"#);
        (key, json!({"category": category, "n": n, "total": total}))
    });
    rows.collect()
}

fn script(at: &str, [from, totals, items]: [&str; 3]) -> String {
    format!(
        "SET pipeline.checkpoint_interval = '200ms';\n\
         SET pipeline.mode = 'streaming';\n\
         CREATE SOURCE changes (id BIGINT, category VARCHAR, amount BIGINT) WITH (\
         connector = 'kafka', bootstrap_servers = '{at}', topic = '{from}', format = 'debezium-json');\n\
         CREATE MATERIALIZED VIEW totals AS \
         SELECT category, count(*) AS n, sum(amount) AS total FROM changes GROUP BY category;\n\
         CREATE SINK totals_out WITH (connector = 'kafka', bootstrap_servers = '{at}', \
         topic = '{totals}', key = 'category') AS \
         SELECT category, count(*) AS n, sum(amount) AS total FROM changes GROUP BY category;\n\
         CREATE SINK items_out WITH (connector = 'kafka', bootstrap_servers = '{at}', \
         topic = '{items}', key = 'id') AS SELECT id, category, amount FROM changes;\n"
    )
}

#[test]
fn changes_of_a_table_end_as_its_rows_and_their_totals() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(7);
    println!("changes_of_a_table_end_as_its_rows_and_their_totals: SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let kafka = Kafka::shared();
    let from = kafka.topic("changes", i32::try_from(PARTITIONS).unwrap());
    let (sums, items) = (kafka.topic("totals", 2), kafka.topic("items", 2));
    let script = script(&kafka.bootstrap, [&from, &sums, &items]);
    let mut table = Table::new();
    let mut more = |table: &mut Table| {
        let events: Vec<Put> = (0..1_500).map(|_| change(&mut rng, table)).collect();
        produce(&kafka.client(), &from, &events);
    };
    let place = Place::new();
    more(&mut table);
    let mut running = place.start(&script, &["--state", "state"]);
    running.until(PATIENCE, "totals", || !folded(kafka, &sums).is_empty());
    more(&mut table);
    running.kill();
    more(&mut table);

    let mut running = place.start(&script, &["--state", "state"]);
    let expected = totals(&table);
    running.until(PATIENCE, "the totals of all", || {
        folded(kafka, &sums) == expected
    });
    let rows = table.iter().map(|(id, (category, amount))| {
        let row = json!({"id": id, "category": category, "amount": amount});
        (format!(r#"{{"id":{id}}}"#), row)
    });
    let rows: BTreeMap<String, Value> = rows.collect();
    running.until(PATIENCE, "all rows", || folded(kafka, &items) == rows);
    running.signal("INT");
    running.wait().ok();

    let query = "SELECT category, n, total FROM totals ORDER BY category";
    let words = ["sql", "--state", "state", "--format", "json", "-c", query];
    let view: Vec<Value> = place
        .weir(&words)
        .ok()
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(view, expected.into_values().collect::<Vec<_>>());
}
