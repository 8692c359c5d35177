//! Each rule of the language over rows that hold it, rows that break it, rows that say nothing, and none: the
//! verdicts and counts are the same in batch and streaming, at random batch sizes and parallelism, and after a stop
//! in the middle. What clocks decide (`SLA`) and what learns for long (`NORMAL`) is tested where clocks are given.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use weir::embed::run_script;

use super::number;
use super::run::{Runs, Way};
use crate::program::Place;

/// Each rule, with what it says of rows that say nothing and of no row: `+` it holds, `!` it is broken, `?` it
/// has no answer, `-` nothing is told. Rows that hold all of them and rows that break all of them are below.
const RULES: &[(&str, &str)] = &[
    // One column.
    ("(a IS NOT NULL)", "!-"),
    ("(not_blank(mail))", "?-"),
    ("(mail NOT IN ('', ' '))", "?-"),
    ("(st IN ('new', 'paid', 'sent'))", "?-"),
    ("(a BETWEEN 0 AND 10)", "?-"),
    ("(approx_eq(a, b, abs => 0.5))", "?-"),
    ("(char_length(mail) BETWEEN 6 AND 8)", "?-"),
    ("(mail ~ '^u[0-9]+@')", "?-"),
    ("(like_any(mail, '%@x.co', '%@y.co'))", "?-"),
    ("(try_cast(day AS DATE) IS NOT NULL)", "!-"),
    ("(is_date(day, '%Y-%m-%d'))", "?-"),
    ("(json_valid(doc) AND json_has_keys(doc, 'k'))", "?-"),
    (
        "(json_matches_schema(doc, '{\"required\": [\"k\"]}'))",
        "?-",
    ),
    ("(is_email(mail))", "?-"),
    ("(st = lower(st))", "?-"),
    ("(te <= PROCTIME() + INTERVAL '1' MINUTE)", "?-"),
    ("(te - ts < INTERVAL '2' MINUTE)", "?-"),
    ("(cardinality(string_to_array(day, '-')) = 3)", "?-"),
    ("(NOT contains_pii(doc))", "?-"),
    // Several columns, and rows that follow.
    ("(a <= b)", "?-"),
    (
        "((grp, st) IN (('g0', 'new'), ('g0', 'paid'), ('g0', 'sent'), ('g1', 'new'), ('g1', 'paid'), ('g1', 'sent')))",
        "!-",
    ),
    ("(all_distinct(a, b))", "?-"),
    ("(approx_eq(a + b, 2 * a, 0.5))", "?-"),
    ("(mail IS NOT NULL) WHEN (a IS NOT NULL)", "?-"),
    ("NO ROWS (SELECT * FROM {this} WHERE a < 0)", "++"),
    ("INCREASING (id) PER (grp) ORDER BY ts", "?-"),
    ("SEQUENTIAL (id) ORDER BY ts", "?-"),
    ("NO OVERLAP (ts, te) ORDER BY ts", "!-"),
    ("(mail) DETERMINES (id) ORDER BY ts", "?-"),
    ("(abs(a - lag(a)) < 10) PER (grp) ORDER BY ts", "?-"),
    (
        "TRANSITION (st) IN (('new', 'paid'), ('paid', 'sent'), ('sent', 'new')) PER (grp) ORDER BY ts",
        "?-",
    ),
    // Keys and other tables.
    ("UNIQUE (id, grp)", "?-"),
    ("UNIQUE (id) WITHIN INTERVAL '1' HOUR", "?-"),
    ("UNIQUE (id) WITHIN INTERVAL '1' HOUR KEEP LAST", "?-"),
    ("UNIQUE (*)", "+-"),
    ("(id) REFERENCES known(id)", "?-"),
    ("(id) REFERENCES known(id) GRACE INTERVAL '1' MINUTE", "?-"),
    ("DISTINCT (st) IN ('new', 'paid', 'sent')", "++"),
    ("DISTINCT (st) CONTAINS ('new', 'paid')", "!!"),
    ("DISTINCT (st) = ('new', 'paid', 'sent')", "!!"),
    ("(unique_ratio(id) >= .99)", "??"),
    // Aggregates.
    (
        "(count(*) = 6) SCOPE WINDOW (TUMBLE (ts, INTERVAL '12' MINUTE)) PER (grp) WHEN (grp <> 'g9')",
        "+-",
    ),
    ("(completeness(mail) >= .95)", "!?"),
    ("(a > 0) MOSTLY .99", "??"),
    ("(a > 0) MOSTLY .9 PER (grp) ON UNKNOWN VIOLATE", "!-"),
    ("(max(a) <= 10)", "??"),
    ("(avg(a) BETWEEN 1 AND 4 AND stddev(a) < 5)", "??"),
    ("(abs(skewness(a)) < 1 AND kurtosis(a) < 0)", "??"),
    ("(sum_ratio(a, b) > .5)", "??"),
    ("(quantile(a, .99) BETWEEN 1 AND 500)", "??"),
    ("(approx_distinct(id) BETWEEN 23 AND 25)", "!!"),
    ("(mode(st) IN ('new'))", "??"),
    ("(entropy(st) > 1.5)", "??"),
    ("(value_ratio(st, 'new') < .4)", "??"),
    ("(corr(a, b) > .9)", "??"),
    ("(cramers_v(st, grp) < 0.1)", "??"),
    ("(psi(a, REFERENCE known) < .2)", "??"),
    ("(welch_p(b, REFERENCE known) > .05)", "??"),
    ("NO OUTLIERS (a, k => 5) LAST (10 ROWS) ORDER BY ts", "?-"),
    ("(sum(a)) = (SELECT sum(a) FROM known) TOLERANCE 1%", "??"),
    ("SAME ROWS AS known KEY (id, a)", "!!"),
    (
        "(count(*) = prev) WITH prev => HISTORY(1) SCOPE WINDOW (TUMBLE (ts, INTERVAL '12' MINUTE)) WHEN (id IS NULL OR id <> 1000)",
        "+-",
    ),
    (
        "(max(id) < 1000) SCOPE WINDOW (SESSION (ts, INTERVAL '5' MINUTE)) PER (grp)",
        "?-",
    ),
    (
        "(max(a) < 10) SCOPE WINDOW (HOP (ts, INTERVAL '3' MINUTE, INTERVAL '6' MINUTE))",
        "?-",
    ),
    // Schema, freshness, volume.
    ("FRESH (ts, INTERVAL '20000' DAY)", "+!"),
    ("(count(mail) = 4) EVERY INTERVAL '4' MINUTE", "!-"),
];

/// Rules that keep rows back, or change them, over the same rows.
const GATES: &[(&str, &str)] = &[
    (
        "dropped",
        "(a BETWEEN 0 AND 300) ON VIOLATION DROP ROW ON UNKNOWN VIOLATE",
    ),
    ("kept", "(a BETWEEN 0 AND 300) ON VIOLATION QUARANTINE"),
    (
        "set_to",
        "(a BETWEEN 0 AND 300) ON VIOLATION SET (a = 0, mail = coalesce(mail, '?'))",
    ),
    ("twice", "UNIQUE (id) ON VIOLATION QUARANTINE"),
    (
        "last",
        "UNIQUE (id) WITHIN INTERVAL '1' HOUR KEEP LAST ON VIOLATION QUARANTINE",
    ),
    (
        "windows",
        "(avg(a) > 0) SCOPE WINDOW (TUMBLE (ts, INTERVAL '3' MINUTE)) ON VIOLATION QUARANTINE WINDOW",
    ),
    (
        "segments",
        "(a > 0) MOSTLY .5 EVERY INTERVAL '4' MINUTE PER (grp) ON UNKNOWN VIOLATE ON VIOLATION QUARANTINE WINDOW",
    ),
    (
        "foreign",
        "(id) REFERENCES known(id) GRACE INTERVAL '1' HOUR ON UNKNOWN VIOLATE ON VIOLATION QUARANTINE",
    ),
];
const KINDS: [&str; 4] = ["holds", "breaks", "unknown", "nothing"];
const ROWS: usize = 24;
const COLUMNS: &str = "id BIGINT, a DOUBLE, b DOUBLE, mail VARCHAR, doc VARCHAR, day VARCHAR, st VARCHAR, \
    grp VARCHAR, ts TIMESTAMP, te TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute'";

fn csv(kind: &str) -> String {
    let rows = if kind == "nothing" { 0 } else { ROWS };
    let rows = (0..rows).map(|row| match kind {
        "holds" => holding(row),
        "breaks" => breaking(row),
        _ => format!(",,,,,,,g{},{},\n", row % 2, at(2026, row)),
    });
    let head = "id,a,b,mail,doc,day,st,grp,ts,te\n".to_owned();
    head + &rows.collect::<String>()
}

fn at(year: u32, minute: usize) -> String {
    format!("{year}-01-01T00:{minute:02}:00")
}

fn holding(row: usize) -> String {
    let (a, st) = (1 + row % 4, ["new", "paid", "sent"][row / 2 % 3]);
    let (grp, ts, te) = (row % 2, at(2026, row), at(2026, row + 1));
    format!("{row},{a},{a}.25,u{row}@x.co,\"{{\"\"k\"\":1}}\",2026-01-01,{st},g{grp},{ts},{te}\n")
}

/// One row comes twice, one has no `a`, one the same `a` and `b`, one is far off, and one ends when no interval of nanoseconds does.
fn breaking(row: usize) -> String {
    let row = if row == 13 { 12 } else { row };
    let sign = if row % 2 == 0 { -1.0 } else { 1.0 };
    let a = match row {
        9 => String::new(),
        15 => "-7".to_owned(),
        20 => "1e7".to_owned(),
        _ => (100.0 * row as f64 * sign).to_string(),
    };
    let mail = if row % 3 == 0 { "" } else { "\" \"" };
    let (id, b) = (1_000 + row / 2 % 5, -500 * (row as i64 % 3) - 7);
    let (st, grp) = (["ODD", "new"][row % 2], row % 2);
    let te = if row == 7 {
        at(9999, 0)
    } else {
        at(1970, row + 5)
    };
    format!(
        "{id},{a},{b},{mail},a@b.co,x,{st},g{grp},{},{te}\n",
        at(1970, row)
    )
}

/// The tables of a kind of rows, each with a sink that shows what it publishes.
fn script() -> String {
    let source = |name: &str, file: &str, rules: &str| {
        format!(
            "CREATE SOURCE {name} ({COLUMNS}{rules})
                WITH (connector = 'file', path = '${{WEIR_TEST_DIR}}/{file}.csv', format = 'csv');\n"
        )
    };
    let sink = |name: &str| {
        format!(
            "CREATE SINK out_{name} WITH (connector = 'file', path = '${{WEIR_TEST_DIR}}/out_{name}', format = 'parquet')
                AS SELECT * FROM {name};\n"
        )
    };
    let mut text = source("known", "holds", "");
    for kind in KINDS {
        let all = RULES.iter().enumerate();
        let all: String = all
            .map(|(at, (rule, _))| format!(",\nCONSTRAINT r{at} EXPECT {rule}"))
            .collect();
        text.push_str(&source(kind, kind, &all));
        text.push_str(&sink(kind));
        for (name, rule) in GATES {
            let table = format!("{name}_{kind}");
            let rule = format!(",\nCONSTRAINT {name} EXPECT {rule}");
            text.push_str(&source(&table, kind, &rule));
            text.push_str(&sink(&table));
        }
    }
    text
}

/// The verdicts of all rules in the end: those of rows and windows added up, of tables the last one.
const VERDICTS: &str = "
    WITH told AS (
        SELECT *, CASE WHEN scope IN ('window', 'every') THEN pane_start END AS pane,
            row_number() OVER (PARTITION BY table_name, rule, segment ORDER BY recorded_at DESC, epoch DESC) AS newest
        FROM weir.quality_results)
    SELECT table_name, rule, segment, CAST(pane AS VARCHAR), sum(evaluated), sum(violated), sum(unknown)
    FROM told WHERE scope IN ('row', 'window', 'every') GROUP BY table_name, rule, segment, pane
    UNION ALL
    SELECT table_name, rule, segment, NULL, evaluated, violated, unknown
    FROM told WHERE scope NOT IN ('row', 'window', 'every') AND newest = 1";

/// One run, or what several add up to: verdicts, what was published, what is in quarantine.
fn found(runs: &Runs<'_>) -> Vec<String> {
    let mut all = runs.read(VERDICTS);
    for kind in KINDS {
        let gates = GATES.iter().map(|(name, _)| format!("{name}_{kind}"));
        for table in gates.chain([kind.to_owned()]) {
            let rows = runs.written(&format!("out_{table}")).into_iter();
            all.extend(rows.map(|row| format!("{table} published {row}")));
        }
    }
    for (name, _) in GATES.iter().filter(|(_, rule)| rule.contains("QUARANTINE")) {
        for kind in KINDS {
            let table = format!("{name}_{kind}");
            // A table of quarantine is there once a row is in it.
            let folder = runs.folder(&format!("state/quarantine/{table}"));
            if !std::fs::exists(folder).unwrap() {
                continue;
            }
            let query = format!("SELECT id, a, ts, _rules, _status FROM quarantine.{table}");
            let rows = runs.read(&query).into_iter();
            all.extend(rows.map(|row| format!("{table} quarantined {row}")));
        }
    }
    all
}

/// What a rule says of the rows of a kind: its worst verdict.
fn verdict(found: &[String], kind: &str, rule: usize) -> char {
    let start = format!("{kind} | r{rule} | ");
    let counts = found.iter().filter_map(|line| line.strip_prefix(&start));
    let counts: Vec<Vec<i64>> = counts
        .map(|rest| {
            let parts = rest.split(" | ").skip(2).take(3);
            parts.map(|part| part.parse().unwrap()).collect()
        })
        .collect();
    let any = |at: usize| counts.iter().any(|counts| counts[at] > 0);
    match (counts.is_empty(), any(1), any(0)) {
        (true, _, _) => '-',
        (_, true, _) => '!',
        (_, _, true) => '+',
        _ => '?',
    }
}

fn random_way(random: &mut StdRng) -> Way {
    Way {
        parallelism: random.random_range(1..=4),
        batch_rows: [1, 2, 5, 8192][random.random_range(0..4)],
    }
}

#[test]
fn each_rule_says_the_same_in_every_way() {
    let seed = number("SEED").unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let script = script();
    let place = || {
        let place = Place::new();
        KINDS.iter().for_each(|kind| {
            place.write(&format!("{kind}.csv"), csv(kind));
        });
        place
    };
    let text = |more: &str| format!("{more}\n{script}");
    // Batch.
    let batch = place();
    let runs = Runs {
        place: &batch,
        way: random_way(&mut random),
    };
    let options = runs.options().with("pipeline.mode", "batch");
    let ended = run_script(&text(""), &options, &mut Vec::new());
    let summary =
        ended.unwrap_or_else(|failure| panic!("{}", failure.error().unwrap().report(None)));
    assert!(summary.unwrap().adds_up);
    let expected = found(&runs);
    for (at, (rule, says)) in RULES.iter().enumerate() {
        let said: String = KINDS
            .iter()
            .map(|kind| verdict(&expected, kind, at))
            .collect();
        assert_eq!(said, format!("+!{says}"), "r{at} {rule}");
    }
    // Streaming, in one run.
    let streaming = place();
    let way = random_way(&mut random);
    let runs = Runs {
        place: &streaming,
        way,
    };
    runs.run(&text("SET pipeline.checkpoint_interval = '1h';"))
        .unwrap();
    same(
        &found(&runs),
        &expected,
        &format!("SEED={seed} {way:?} streaming"),
    );
    // Streaming, with stops in the middle.
    let stopped = place();
    let script = text("SET pipeline.checkpoint_interval = '50ms';");
    let mut ways = Vec::new();
    for stop in 0..2 {
        let way = Way {
            parallelism: random.random_range(1..=3),
            batch_rows: 1,
        };
        ways.push(way);
        let rows = [random.random_range(1..200), u64::MAX][stop];
        Runs {
            place: &stopped,
            way,
        }
        .run_until(&script, rows);
    }
    let runs = Runs {
        place: &stopped,
        way: ways[0],
    };
    same(
        &found(&runs),
        &expected,
        &format!("SEED={seed} {ways:?} stopped"),
    );
}

fn same(found: &[String], expected: &[String], what: &str) {
    let mut sorted = [found.to_vec(), expected.to_vec()];
    sorted.iter_mut().for_each(|lines| lines.sort());
    let [found, expected] = sorted;
    assert!(
        found == expected,
        "{what}:\n{}",
        super::difference(&found, &expected)
    );
}
