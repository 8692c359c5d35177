//! Random queries whose streaming operators are others than those of windows: joins of the input with
//! itself, sessions, DISTINCT. Their results only grow, so that a sink of files takes them.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::input::Input;
use super::query::{Query, Window};

/// Keys that few pairs of rows have in common; NULL is among their values.
const KEYS: [&str; 4] = [
    "a.k1 = b.k1 AND a.v = b.v",
    "a.id % 97 = b.id % 97",
    "a.v = b.v",
    "a.v + 1 = b.v AND a.k2 = b.k2",
];

const RESTS: [&str; 4] = ["", "", " AND a.x < b.x", " AND a.b AND b.v > 0"];

const KINDS: [&str; 4] = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];

impl Query {
    /// Rows that are near each other in time, or have nothing near.
    pub(super) fn interval_join(random: &mut StdRng, input: &Input) -> Self {
        let near = (input.span / 20).max(1);
        let (before, after) = (random.random_range(0..=near), random.random_range(1..=near));
        let times = *[
            "b.ts BETWEEN a.ts - INTERVAL '{0} seconds' AND a.ts + INTERVAL '{1} seconds'",
            "b.ts - a.ts < INTERVAL '{1} seconds' AND a.ts - INTERVAL '{0} seconds' <= b.ts",
            "a.ts > b.ts - INTERVAL '{1} seconds' AND b.ts >= a.ts",
        ]
        .choose(random)
        .unwrap();
        let times = times
            .replace("{0}", &before.to_string())
            .replace("{1}", &after.to_string());
        let (key, rest) = (KEYS.choose(random).unwrap(), RESTS.choose(random).unwrap());
        let on = format!("{key} AND {times}{rest}");
        Self::same(match random.random_range(0..6) {
            0 => format!("SELECT a.id, a.ts FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE {on})"),
            1 => format!(
                "SELECT a.id, a.ts FROM t a WHERE NOT EXISTS (SELECT 1 FROM t b WHERE {on})"
            ),
            kind => format!(
                "SELECT a.id, a.ts, b.id AS other, b.v FROM t a {} t b ON {on}",
                KINDS[kind - 2]
            ),
        })
    }

    /// Rows of the same window.
    pub(super) fn window_join(random: &mut StdRng, input: &Input) -> Self {
        let window = Window::random(random, input.span);
        let (key, rest) = (KEYS.choose(random).unwrap(), RESTS.choose(random).unwrap());
        let kind = KINDS.choose(random).unwrap();
        let text = |side: &str| {
            format!(
                "SELECT a.id, a.window_start, b.id AS other, b.window_end
                 FROM (SELECT * FROM {side} WHERE id % 4 = 0) a
                 {kind} (SELECT * FROM {side} WHERE id % 4 = 0) b
                 ON {key} AND a.window_start = b.window_start AND a.window_end = b.window_end{rest}"
            )
        };
        Self {
            weir: text(&window.weir("t")),
            oracle: text(&window.oracle()),
            sink_options: String::new(),
        }
    }

    /// Rows with pauses between them.
    pub(super) fn session(random: &mut StdRng, input: &Input) -> Self {
        let gap = (input.span / *[5, 50, 500].choose(random).unwrap()).max(1);
        let key = *["k1", "k2"].choose(random).unwrap();
        let select = "count(*) AS n, min(v) AS least, sum(x) AS total FROM";
        let columns = format!("SELECT {key}, window_start, window_end, {select}");
        let group = format!("GROUP BY {key}, window_start, window_end");
        let length = format!("INTERVAL '{gap} seconds'");
        let oracle = sessions("t", key, &length);
        Self {
            weir: format!("{columns} SESSION(t, ts, {length}, {key}) {group}"),
            oracle: format!("{columns} {oracle} {group}"),
            sink_options: String::new(),
        }
    }

    /// Rows that differ, and those of both of two queries.
    pub(super) fn distinct(random: &mut StdRng) -> Self {
        let key = *["k1", "k2", "b"].choose(random).unwrap();
        let rows = format!("{key} AS key, date_trunc('minute', ts) AS ts FROM t");
        Self::same(match random.random_bool(0.5) {
            true => format!("SELECT DISTINCT {rows} WHERE v > 0"),
            false => format!("SELECT {rows} WHERE v > 0 UNION SELECT {rows} WHERE x < 0"),
        })
    }

    fn same(text: String) -> Self {
        Self {
            weir: text.clone(),
            oracle: text,
            sink_options: String::new(),
        }
    }
}

/// A subquery that gives each row of a table its session, of rows with its key.
pub(super) fn sessions(table: &str, key: &str, length: &str) -> String {
    format!(
        "(SELECT *, min(ts) OVER (PARTITION BY {key}, s) AS window_start,
                 max(ts) OVER (PARTITION BY {key}, s) + {length} AS window_end
          FROM (SELECT *, sum(new) OVER (PARTITION BY {key} ORDER BY ts) AS s
                FROM (SELECT *, CASE WHEN ts < lag(ts, 1) OVER (PARTITION BY {key} ORDER BY ts)
                                     + {length} THEN 0 ELSE 1 END AS new FROM {table})))"
    )
}
