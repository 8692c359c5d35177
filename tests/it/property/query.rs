//! Random queries, each written twice: in Weir's SQL and as plain batch SQL for the oracle.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::input::Input;

/// A query and its twin.
#[derive(Debug)]
pub(super) struct Query {
    /// In Weir's SQL.
    pub(super) weir: String,
    /// The same for plain DataFusion.
    pub(super) oracle: String,
    /// More options of the sink, with a leading comma.
    pub(super) sink_options: String,
}

/// Most windows that a row is in: keeps the oracle's cross join small.
const WINDOWS_PER_ROW: i64 = 12;

const PREDICATES: [&str; 8] = [
    "v > 0",
    "x < 10.5 AND b",
    "k1 IS NOT NULL",
    "k2 IN (0, 1, 2)",
    "k1 LIKE 'key 1%' OR v IS NULL",
    "d BETWEEN -100 AND 250.5",
    "CASE WHEN b THEN v ELSE k2 END >= 0",
    "v % 3 = 1",
];

const SCALARS: [&str; 10] = [
    "v + 1",
    "x * 2 - v",
    "upper(k1)",
    "coalesce(k2, -1)",
    "d + 1.5",
    "CASE WHEN b THEN k1 ELSE 'no' END",
    "date_trunc('minute', ts)",
    "CAST(v AS DOUBLE) / 4",
    "length(k1) + k2",
    "NOT b",
];

const AGGREGATES: [&str; 14] = [
    "count(*)",
    "count(v)",
    "sum(v)",
    "sum(x)",
    "sum(d)",
    "min(k1)",
    "max(ts)",
    "avg(x)",
    "avg(v)",
    "count(DISTINCT k1)",
    "count(DISTINCT v)",
    "sum(v) FILTER (WHERE b)",
    "count(*) FILTER (WHERE v > 100)",
    "bool_or(b)",
];

impl Query {
    /// Draws a query.
    pub(super) fn random(random: &mut StdRng, input: &Input) -> Self {
        let mut query = match random.random_range(0..14) {
            0 => Self::stateless(random),
            1 => Self::union(random),
            2 => Self::expanded(random, input),
            3 => Self::nested(random, input),
            4 | 5 => Self::interval_join(random, input),
            6 => Self::window_join(random, input),
            7 => Self::session(random, input),
            8 => Self::distinct(random),
            _ => Self::windowed(random, input),
        };
        if random.random_bool(0.2) {
            query.sink_options.push_str(", roll_rows = '50'");
        }
        if random.random_bool(0.2) {
            // An expression, so that all columns of the query stay in the files.
            let time = if query.weir.contains("window_start") {
                "window_start"
            } else {
                "ts"
            };
            query
                .sink_options
                .push_str(&format!(", partition_by = 'date({time})'"));
        }
        query
    }

    fn stateless(random: &mut StdRng) -> Self {
        let mut columns = vec!["id".to_owned(), "ts".to_owned()];
        let count = random.random_range(0..4);
        for (number, scalar) in SCALARS.choose_multiple(random, count).enumerate() {
            columns.push(format!("{scalar} AS c{number}"));
        }
        let text = format!("SELECT {} FROM t{}", columns.join(", "), condition(random));
        Self {
            weir: text.clone(),
            oracle: text,
            sink_options: String::new(),
        }
    }

    fn union(random: &mut StdRng) -> Self {
        let halves = [condition(random), condition(random)];
        let scalar = SCALARS.choose(random).unwrap();
        let text = halves.map(|half| format!("SELECT id, ts, {scalar} AS c FROM t{half}"));
        let text = text.join(" UNION ALL ");
        Self {
            weir: text.clone(),
            oracle: text,
            sink_options: String::new(),
        }
    }

    /// Rows with their windows, not aggregated.
    fn expanded(random: &mut StdRng, input: &Input) -> Self {
        let window = Window::random(random, input.span);
        let columns = "SELECT id, window_start, window_end, v FROM";
        let condition = condition(random);
        Self {
            weir: format!("{columns} {}{condition}", window.weir("t")),
            oracle: format!("{columns} {}{condition}", window.oracle()),
            sink_options: String::new(),
        }
    }

    /// Windows over the results of windows: per step, then per some steps.
    fn nested(random: &mut StdRng, input: &Input) -> Self {
        let step = (input.span / 40).max(1);
        let times = random.random_range(1..=6);
        let key = *["", ", k1"].choose(random).unwrap();
        let inner = Window {
            kind: Kind::Tumble { size: step },
            offset: 0,
        };
        let outer = Window {
            kind: Kind::Tumble { size: step * times },
            offset: 0,
        };
        let inside = |from: &str| {
            format!(
                "(SELECT window_start AS ts{key}, count(*) AS n, sum(v) AS v FROM {from} \
                 GROUP BY window_start, window_end{key})"
            )
        };
        let outside = |from: &str| {
            format!(
                "SELECT window_start, window_end{key}, sum(n) AS n, max(v) AS v, count(*) AS parts \
                 FROM {from} GROUP BY window_start, window_end{key}"
            )
        };
        let oracle = outer.oracle_of(&inside(&inner.oracle()));
        Self {
            weir: outside(&outer.weir(&inside(&inner.weir("t")))),
            oracle: outside(&oracle),
            sink_options: String::new(),
        }
    }

    fn windowed(random: &mut StdRng, input: &Input) -> Self {
        let window = Window::random(random, input.span);
        let mut keys = vec!["window_start", "window_end"];
        if random.random_bool(0.2) {
            keys.reverse();
        }
        let count = random.random_range(0..=2);
        keys.extend(["k1", "k2"].choose_multiple(random, count));
        let mut columns: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let count = random.random_range(1..=5);
        for (number, aggregate) in AGGREGATES.choose_multiple(random, count).enumerate() {
            columns.push(format!("{aggregate} AS a{number}"));
        }
        let having = if random.random_bool(0.2) {
            " HAVING count(*) > 2"
        } else {
            ""
        };
        let condition = condition(random);
        let shape = |from: &str| {
            format!(
                "SELECT {} FROM {from}{condition} GROUP BY {}{having}",
                columns.join(", "),
                keys.join(", ")
            )
        };
        // The condition reads the same before and after the windows are assigned.
        let inner = if random.random_bool(0.3) {
            format!("(SELECT * FROM t{condition})")
        } else {
            "t".to_owned()
        };
        Self {
            weir: shape(&window.weir(&inner)),
            oracle: shape(&window.oracle()),
            sink_options: String::new(),
        }
    }
}

fn condition(random: &mut StdRng) -> String {
    if random.random_bool(0.5) {
        return String::new();
    }
    format!(" WHERE {}", PREDICATES.choose(random).unwrap())
}

/// A window function with its sizes in seconds.
#[derive(Debug)]
pub(super) struct Window {
    kind: Kind,
    /// Moves the start of all windows, in seconds.
    offset: i64,
}

#[derive(Debug)]
enum Kind {
    Tumble { size: i64 },
    Hop { slide: i64, size: i64 },
    Cumulate { step: i64, size: i64 },
}

impl Window {
    /// Draws windows that suit rows of so many seconds.
    pub(super) fn random(random: &mut StdRng, span: i64) -> Self {
        let unit = (span / *[50, 7, 2].choose(random).unwrap()).max(1);
        let times = random.random_range(1..=WINDOWS_PER_ROW);
        let kind = match random.random_range(0..4) {
            0 => Kind::Tumble { size: unit },
            1 => Kind::Cumulate {
                step: unit,
                size: unit * times,
            },
            2 => Kind::Hop {
                slide: unit,
                size: unit * times,
            },
            // The size need not be a multiple of the slide.
            _ => {
                let size = unit * 2 * times.min(5) + random.random_range(0..=unit);
                Kind::Hop {
                    slide: unit * 2,
                    size,
                }
            }
        };
        let offset = if random.random_bool(0.2) {
            random.random_range(1..=unit)
        } else {
            0
        };
        Self { kind, offset }
    }

    /// The window function in Weir's SQL.
    pub(super) fn weir(&self, table: &str) -> String {
        let (function, mut lengths) = match self.kind {
            Kind::Tumble { size } => ("TUMBLE", vec![size]),
            Kind::Hop { slide, size } => ("HOP", vec![slide, size]),
            Kind::Cumulate { step, size } => ("CUMULATE", vec![step, size]),
        };
        if self.offset > 0 {
            lengths.push(self.offset);
        }
        let lengths: Vec<_> = lengths
            .iter()
            .map(|l| format!("INTERVAL '{l} seconds'"))
            .collect();
        format!("{function}({table}, ts, {})", lengths.join(", "))
    }

    /// The same over a table, or over a query in parentheses.
    pub(super) fn oracle_of(&self, table: &str) -> String {
        self.oracle()
            .replace("FROM t", &format!("FROM {table} AS t"))
    }

    /// A subquery that joins each row of `t` with its windows: starts counted back from the latest, or
    /// ends counted on from the first, then tested against the row's own time.
    pub(super) fn oracle(&self) -> String {
        let epoch = format!(
            "TIMESTAMP '1970-01-01T00:00:00' + INTERVAL '{} seconds'",
            self.offset
        );
        let bin = |size: &i64| format!("date_bin(INTERVAL '{size} seconds', ts, {epoch})");
        let values = |values: Vec<i64>| {
            let rows: Vec<_> = values
                .iter()
                .map(|v| format!("(INTERVAL '{v} seconds')"))
                .collect();
            format!("(VALUES {}) AS s(i)", rows.join(", "))
        };
        match &self.kind {
            Kind::Tumble { size } => format!(
                "(SELECT t.*, {0} AS window_start, {0} + INTERVAL '{size} seconds' AS window_end FROM t)",
                bin(size)
            ),
            Kind::Hop { slide, size } => {
                let back = (0..=size / slide).map(|n| n * slide).collect();
                format!(
                    "(SELECT * FROM (SELECT t.*, {0} - s.i AS window_start, \
                     {0} - s.i + INTERVAL '{size} seconds' AS window_end FROM t CROSS JOIN {1}) \
                     WHERE ts < window_end)",
                    bin(slide),
                    values(back)
                )
            }
            Kind::Cumulate { step, size } => {
                let on = (1..=size / step).map(|n| n * step).collect();
                format!(
                    "(SELECT * FROM (SELECT t.*, {0} AS window_start, {0} + s.i AS window_end \
                     FROM t CROSS JOIN {1}) WHERE ts < window_end)",
                    bin(size),
                    values(on)
                )
            }
        }
    }
}
