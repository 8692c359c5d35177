//! Input made to break the parser: it answers with an error, soon, and never panics.

use std::fmt::Write as _;

use super::{parse, run, variables};
use weir_engine::limits;

/// A small generator (xorshift), so that a failure is told by its seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Returns the first line of the error, or the number of statements.
fn outcome(script: &str) -> String {
    match parse(script, &variables()) {
        Ok(statements) => {
            // What was parsed must be safe to clone, print and drop.
            let clone = statements.clone();
            for statement in &clone {
                assert!(!format!("{statement:?}").is_empty());
            }
            format!("{} statements", statements.len())
        }
        Err(error) => format!("{}: {}", error.code(), error.message()),
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let n = 10_000;
    for script in [
        format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("SELECT {}", "(".repeat(n)),
        format!("SELECT * FROM {}", "(".repeat(n)),
        format!("{}SELECT 1", "(".repeat(n)),
        format!("SELECT {}1", "- ".repeat(n)),
        format!("SELECT {}1", "NOT ".repeat(n)),
        format!("SELECT {}1", "INTERVAL ".repeat(n)),
        format!("SELECT {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("SELECT {}1{}", "f(".repeat(n), ")".repeat(n)),
        format!("SELECT {}1{}", "CASE WHEN ".repeat(n), " END".repeat(n)),
        format!(
            "SELECT CAST(a AS {}INT{})",
            "ARRAY<".repeat(n),
            ">".repeat(n)
        ),
        format!("SELECT a::INT{}", "[]".repeat(n)),
        format!(
            "CREATE SOURCE s (a {}INT{}) WITH (x = 1)",
            "ARRAY<".repeat(n),
            ">".repeat(n)
        ),
        format!("CREATE SOURCE s (a INT{}) WITH (x = 1)", "[]".repeat(n)),
        format!("CREATE SOURCE s (a {}) WITH (x = 1)", "STRUCT<a ".repeat(n)),
        format!("SELECT 1{}", " + 1".repeat(n)),
        format!("SELECT 1{}", "::int".repeat(n)),
        format!("SELECT 1{}", " IS NULL".repeat(n)),
        format!("SELECT a{}", "[1]".repeat(n)),
        format!("SELECT a{}", "[1]".repeat(300)),
        format!("SELECT * FROM a{}", ", a".repeat(n)),
        format!("SELECT a{}", ".b".repeat(n)),
        format!("SELECT a WHERE b{}", " OR a = 1".repeat(n)),
        format!("SELECT 1{}", " UNION SELECT 1, 2".repeat(n)),
        format!("SELECT * FROM a{}", " JOIN b".repeat(n)),
        format!("SELECT select{}", " + select".repeat(n)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(n)),
        format!("{}SELECT 1", "WITH a AS (".repeat(n)),
        format!("SELECT {}1", "(1 + (SELECT ".repeat(n)),
    ] {
        let got = outcome(&script);
        let head: String = script.chars().take(40).collect();
        assert!(
            got.starts_with("E0503") || got.starts_with("E01"),
            "{head}: {got}"
        );
    }
}

#[test]
fn chains_within_chains_are_bounded_in_sum() {
    let chain = " + 1".repeat(1_000);
    let script = (0..50).fold("1".to_owned(), |inner, _| format!("({inner}){chain}"));
    assert_eq!(
        outcome(&format!("SELECT {script}")),
        "E0503: the expression is too long"
    );
}

#[test]
fn large_statements_are_accepted() {
    let values = vec!["(1, 'two', 3.0, -4, NULL)"; 20_000].join(", ");
    let terms = vec!["id = 1"; 2_900].join(" OR ");
    let columns = (0..2_000).fold(String::new(), |mut out, n| {
        write!(out, "c{n} ARRAY<BIGINT>, ").unwrap();
        out
    });
    for script in [
        format!("INSERT INTO s VALUES {values}"),
        format!("SELECT * FROM t WHERE {terms}"),
        format!("SELECT * FROM t WHERE a IN ({}1)", "1, ".repeat(50_000)),
        format!(
            "SELECT 1 AS a, 2 AS b{}",
            " UNION ALL SELECT a + 1, b FROM t WHERE a > 0".repeat(100)
        ),
        format!("CREATE SOURCE s ({columns} ts TIMESTAMP) WITH (connector = 'x')"),
        format!("SELECT 1{}", " + 1".repeat(190)),
        format!("SELECT {}1{}", "(".repeat(90), ")".repeat(90)),
        format!("SELECT {}1{}", "abs(".repeat(90), ")".repeat(90)),
        format!(
            "SELECT * FROM {}t{}",
            "(SELECT * FROM ".repeat(30),
            ") AS x".repeat(30)
        ),
    ] {
        assert_eq!(outcome(&script), "1 statements");
    }
}

#[test]
fn malformed_nesting_takes_no_exponential_time() {
    for depth in [20, 40, 90] {
        for open in [
            "NOT(", "f(", "CASE (", "EXTRACT(", "CAST(", "(SELECT ", "trim(", "STRUCT(", "(",
        ] {
            let nested = open.repeat(depth);
            for script in [
                format!("SELECT {nested} FROM"),
                format!("SELECT {nested}1 FROM %"),
                format!("SELECT * FROM {nested}%"),
                format!("SELECT * FROM {nested}t{} %", ")".repeat(depth)),
            ] {
                let got = outcome(&script);
                assert!(got.starts_with('E'), "{script}: {got}");
            }
        }
    }
}

#[test]
fn long_scripts_are_refused() {
    let script = " ".repeat(limits::SCRIPT_BYTES_MAX + 1);
    assert_eq!(
        outcome(&script),
        "E0503: the script has 1048577 bytes, 1048576 are allowed"
    );
    assert_eq!(
        outcome(&" ".repeat(limits::SCRIPT_BYTES_MAX)),
        "0 statements"
    );
}

/// Random bytes, random tokens, and real statements with random damage.
#[test]
fn random_input_never_panics() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0x5EED_u64);
    println!("SEED={seed}");
    let mut random = Random(seed.max(1));
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
        run(&String::from_utf8_lossy(&bytes));
    }
    for _ in 0..4_000 {
        let words = random.below(25);
        let script: Vec<&str> = (0..words)
            .map(|_| WORDS[random.below(WORDS.len())])
            .collect();
        run(&script.join(if random.below(3) == 0 { "" } else { " " }));
    }
    for _ in 0..4_000 {
        let mut chars: Vec<char> = SCRIPTS[random.below(SCRIPTS.len())].chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(chars.len());
            match random.below(4) {
                0 => drop(chars.remove(at)),
                1 => chars.insert(
                    at,
                    ['\'', '"', '(', ')', ';', '$', '\\', '\u{a0}', 'é'][random.below(9)],
                ),
                2 => chars.truncate(at.max(1)),
                _ => {
                    let other = random.below(chars.len());
                    chars.swap(at, other);
                }
            }
            if chars.is_empty() {
                break;
            }
        }
        run(&chars.into_iter().collect::<String>());
    }
}

const WORDS: &[&str] = &[
    "CREATE",
    "SOURCE",
    "VIEW",
    "SINK",
    "INSERT",
    "INTO",
    "SELECT",
    "FROM",
    "WHERE",
    "(",
    ")",
    ",",
    ";",
    "WITH",
    "AS",
    "=",
    "'x'",
    "\"q\"",
    "1",
    "1.5",
    "-",
    "+",
    "*",
    ".",
    "::",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "INT",
    "ARRAY",
    "STRUCT",
    "INTERVAL",
    "CASE",
    "WHEN",
    "END",
    "NOT",
    "NULL",
    "PRIMARY",
    "KEY",
    "WATERMARK",
    "FOR",
    "METADATA",
    "GENERATED",
    "SHOW",
    "SET",
    "DROP",
    "IF",
    "EXISTS",
    "EXPLAIN",
    "ANALYZE",
    "TABLE",
    "TUMBLE",
    "DESCRIPTOR",
    "VALUES",
    "UNION",
    "JOIN",
    "ON",
    "GROUP",
    "BY",
    "a",
    "b",
    "${N}",
    "'${N}'",
    "'${'",
    "$$",
    "$1",
    "?",
    ":",
    "@",
    "#",
    "!",
    "~",
    "%",
    "^",
    "&",
    "|",
    "\\",
    "`",
    "--",
    "/*",
    "*/",
    "E'",
    "U&'",
    "X'",
    "'",
    "\"",
    "EMIT",
    "LIKE",
    "IN",
    "BETWEEN",
    "AND",
    "OVER",
    "DISTINCT",
    "EXTRACT",
    "CAST",
    "TRIM",
    "SUBSTRING",
    "POSITION",
    "UNNEST",
    "LATERAL",
    "FILTER",
    "COLLATE",
    "AT",
    "TIME",
    "ZONE",
    "LIMIT",
    "FETCH",
    "TOP",
    "PIVOT",
    "MATCH_RECOGNIZE",
    "JSON_TABLE",
];

const SCRIPTS: &[&str] = &[
    "CREATE SOURCE orders (id BIGINT NOT NULL, d DECIMAL(12,2), e DOUBLE AS (CAST(d AS DOUBLE) * 0.92), \
     p INT METADATA FROM 'partition', PRIMARY KEY (id), WATERMARK FOR ts AS ts - INTERVAL '5 seconds') \
     WITH (connector = 'kafka', topic = '${BUCKET}', rows = 10);",
    "CREATE SINK lake WITH (connector = 's3', path = 's3://${BUCKET}/x') AS SELECT window_start, count(*) \
     FROM TUMBLE(orders, ts, INTERVAL '1 minute') WHERE a[1] = 'b' AND c->>'d' LIKE '%' GROUP BY 1;",
    "SET pipeline.mode = 'streaming'; SHOW SOURCES; DESCRIBE a.b; EXPLAIN ANALYZE INSERT INTO a (b) SELECT 1",
    "WITH x AS (SELECT E'\\n', $$a$$ /* c */ FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '1' DAY))) -- d\n \
     SELECT CASE WHEN a THEN 1 ELSE 2 END, {'a': [1, 2]}, sum(a) FILTER (WHERE b) OVER (PARTITION BY c) FROM x",
];
