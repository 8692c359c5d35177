//! Queries in event time over several tables: joins within windows and intervals, of two to four
//! tables, windows with rows that have none, first rows per window, windows whose results change.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::query::Window;
use super::streams::sessions;
use super::updating::{Case, for_seeds};

/// Cases of an ordinary run: each takes about a second in a debug build.
const CASES: u64 = 8;
const STREAMS: [&str; 3] = ["t", "u", "w"];
const KINDS: [&str; 4] = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];

#[test]
fn joins_and_windows_are_those_of_batch() {
    for_seeds(0x71ed, CASES, |random, _, tables| {
        let span = tables.inputs()[0].span;
        random_case(&mut Draw { random, span })
    });
}

/// Draws a query over the tables.
pub(super) fn random_case(draw: &mut Draw<'_>) -> Case {
    match draw.random.random_range(0..13) {
        0 | 1 => draw.window_join(),
        2 => draw.window_chain(),
        3 => draw.session_join(),
        4 => draw.window_exists(),
        5 | 6 => draw.interval_chain(),
        7 => draw.windows_of_pairs(),
        8 => draw.windows_with_rows(),
        9 => draw.windows_of_other_lengths(),
        10 => draw.first_per_window(),
        11 => draw.early_results(),
        _ => draw.windows_of_unions(),
    }
}

/// A part of a query in Weir's SQL and in the oracle's.
#[derive(Clone)]
struct Twin {
    weir: String,
    oracle: String,
}

impl Twin {
    fn same(text: String) -> Self {
        Self {
            weir: text.clone(),
            oracle: text,
        }
    }

    /// A text with `#1`, `#2` and so on for its parts.
    fn of(text: &str, parts: &[&Self]) -> Self {
        let fill = |pick: fn(&Self) -> &String| {
            let numbered = parts.iter().enumerate();
            numbered.fold(text.to_owned(), |text, (at, part)| {
                text.replace(&format!("#{}", at + 1), pick(part))
            })
        };
        Self {
            weir: fill(|twin| &twin.weir),
            oracle: fill(|twin| &twin.oracle),
        }
    }

    fn case(self, appends: bool) -> Case {
        Case {
            weir: self.weir,
            oracle: self.oracle,
            appends,
        }
    }
}

/// What draws queries.
pub(super) struct Draw<'a> {
    pub(super) random: &'a mut StdRng,
    /// The time that all rows span, in seconds.
    pub(super) span: i64,
}

impl Draw<'_> {
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(self.random).unwrap()
    }

    fn seconds(&mut self, parts: i64) -> String {
        let most = (self.span / parts).max(1);
        format!("INTERVAL '{} seconds'", self.random.random_range(1..=most))
    }

    fn key(&mut self) -> &'static str {
        self.one(&["k1", "k2", "v", "id"])
    }

    /// Rows of a table with their windows, or a query that aggregates by them.
    fn windowed(&mut self, window: &Window, table: &str, key: &str) -> Twin {
        let from = Twin {
            weir: window.weir(table),
            oracle: window.oracle_of(table),
        };
        let text = match self.random.random_range(0..4) {
            0 => format!("(SELECT window_start, window_end, {key} AS key, id AS num FROM #1)"),
            1 => format!(
                "(SELECT {key} AS key, id + 1 AS num, window_start, window_end FROM #1 WHERE id % 2 = 0)"
            ),
            2 => format!(
                "(SELECT window_start, window_end, {key} AS key, count(*) AS n, max(v) AS num FROM #1
                  GROUP BY window_start, window_end, {key})"
            ),
            _ => format!(
                "(SELECT window_end, window_start, {key} AS key, min(x) AS n, count(DISTINCT v) AS num FROM #1
                  GROUP BY {key}, window_end, window_start HAVING count(*) > 1)"
            ),
        };
        Twin::of(&text, &[&from])
    }

    fn window_join(&mut self) -> Case {
        let window = Window::random(self.random, self.span);
        let key = self.key();
        let tables = [self.one(&STREAMS), self.one(&STREAMS)];
        let a = self.windowed(&window, tables[0], key);
        let b = self.windowed(&window, tables[1], key);
        let kind = self.one(&KINDS);
        let rest = self.one(&["", "", " AND a.num <= b.num"]);
        let text = format!(
            "SELECT a.key AS one, b.key AS two, a.num AS i, b.num AS j, a.window_start, b.window_end
             FROM #1 a {kind} #2 b ON a.key = b.key AND a.window_start = b.window_start
             AND a.window_end = b.window_end{rest}"
        );
        Twin::of(&text, &[&a, &b]).case(true)
    }

    /// Three tables in the same windows, and a fourth without: a table that ends.
    fn window_chain(&mut self) -> Case {
        let window = Window::random(self.random, self.span);
        let key = self.one(&["k2", "v"]);
        let [a, b, c] = STREAMS.map(|table| self.windowed(&window, table, key));
        let (first, second) = (
            self.one(&["JOIN", "LEFT JOIN"]),
            self.one(&["JOIN", "LEFT JOIN"]),
        );
        let more = match self.random.random_bool(0.5) {
            true => format!(
                " LEFT JOIN (SELECT {key} AS key, max(id) AS num FROM dim GROUP BY {key}) e ON e.key = a.key"
            ),
            false => " LEFT JOIN (SELECT 1 AS num) e ON e.num = a.num".to_owned(),
        };
        let text = format!(
            "SELECT a.num AS i, b.num AS j, c.num AS k, e.num AS l, a.window_start, a.window_end FROM #1 a
             {first} #2 b ON a.key = b.key AND a.window_start = b.window_start AND a.window_end = b.window_end
             {second} #3 c ON a.key = c.key AND a.window_start = c.window_start AND a.window_end = c.window_end{more}"
        );
        Twin::of(&text, &[&a, &b, &c]).case(true)
    }

    fn session(&mut self, table: &str, key: &str, gap: &str) -> Twin {
        let from = Twin {
            weir: format!("SESSION({table}, ts, {gap}, {key})"),
            oracle: sessions(table, key, gap),
        };
        let text = match self.random.random_bool(0.5) {
            true => format!("(SELECT window_start, window_end, {key} AS key, id AS num FROM #1)"),
            false => format!(
                "(SELECT window_start, window_end, {key} AS key, count(*) AS num FROM #1
                  GROUP BY window_start, window_end, {key})"
            ),
        };
        Twin::of(&text, &[&from])
    }

    /// Sessions of a table with those of the same rows, or of others.
    fn session_join(&mut self) -> Case {
        let key = self.one(&["k1", "k2"]);
        let gap = self.seconds(10);
        let tables = self.one(&[["t", "t"], ["t", "u"], ["w", "w"]]);
        let [a, b] = tables.map(|table| self.session(table, key, &gap));
        let kind = self.one(&KINDS);
        let text = format!(
            "SELECT a.key AS one, b.key AS two, a.num AS i, b.num AS j, a.window_start, b.window_end
             FROM #1 a {kind} #2 b ON a.key = b.key AND a.window_start = b.window_start
             AND a.window_end = b.window_end"
        );
        Twin::of(&text, &[&a, &b]).case(true)
    }

    fn window_exists(&mut self) -> Case {
        let window = Window::random(self.random, self.span);
        let key = self.key();
        let [a, b] = ["t", "u"].map(|table| self.windowed(&window, table, key));
        let word = self.one(&["EXISTS", "NOT EXISTS"]);
        let text = format!(
            "SELECT a.key, a.num, a.window_start FROM #1 a WHERE {word} (SELECT 1 FROM #2 b
             WHERE a.key = b.key AND a.window_end = b.window_end AND a.window_start = b.window_start)"
        );
        Twin::of(&text, &[&a, &b]).case(true)
    }

    /// Rows of two tables near each other, a third near the first, and a fourth that is a table.
    fn interval_chain(&mut self) -> Case {
        let keys = [self.key(), self.key()];
        let kind = self.one(&KINDS);
        let near = |draw: &mut Self, side: &str| {
            let (before, after) = (draw.seconds(10), draw.seconds(10));
            match draw.random.random_range(0..3) {
                0 => format!("{side}.ts BETWEEN a.ts - {before} AND a.ts + {after}"),
                1 => format!("a.ts >= {side}.ts - {before} AND a.ts < {side}.ts"),
                _ => format!("{side}.ts = a.ts"),
            }
        };
        let on = format!("a.{0} = b.{0} AND {1}", keys[0], near(self, "b"));
        let mut text =
            format!("SELECT a.id AS i, b.id AS j, a.ts, b.ts AS other FROM t a {kind} u b ON {on}");
        let chain = self.random.random_range(0..3);
        if chain > 0 {
            // Rows of the first table are always there, with their times.
            let kinds =
                ["JOIN", "LEFT JOIN"].map(|kind| if chain == 1 { kind } else { "LEFT JOIN" });
            let third = format!("a.{0} = c.{0} AND {1}", keys[1], near(self, "c"));
            text = format!(
                "SELECT a.id AS i, b.id AS j, c.id AS k, d.id AS l, a.ts FROM t a
                 {} u b ON {on} {} w c ON {third} LEFT JOIN dim d ON d.id = a.id + 1",
                kinds[0], kinds[1]
            );
        }
        Twin::same(text).case(true)
    }

    /// Windows over the pairs of an interval join or of a join with a table.
    fn windows_of_pairs(&mut self) -> Case {
        let window = Window::random(self.random, self.span);
        let (before, kind) = (self.seconds(10), self.one(&["JOIN", "LEFT JOIN"]));
        let pairs = match self.random.random_bool(0.5) {
            true => format!(
                "(SELECT a.ts, a.k1, b.v FROM t a {kind} u b
                  ON a.k2 = b.k2 AND b.ts BETWEEN a.ts - {before} AND a.ts)"
            ),
            false => format!("(SELECT a.ts, a.k1, b.v FROM t a {kind} dim b ON a.v = b.v)"),
        };
        let from = Twin {
            weir: window.weir(&pairs),
            oracle: window.oracle_of(&pairs),
        };
        let text = "SELECT window_start, window_end, k1, count(*) AS n, count(v) AS m, sum(v) AS s
                    FROM #1 GROUP BY window_start, window_end, k1";
        Twin::of(text, &[&from]).case(true)
    }

    /// Closed windows with rows that are in none: by their time, or of all times.
    fn windows_with_rows(&mut self) -> Case {
        let window = Window::random(self.random, self.span);
        let key = self.one(&["k1", "k2"]);
        let from = Twin {
            weir: window.weir("t"),
            oracle: window.oracle_of("t"),
        };
        let kind = self.one(&KINDS);
        let (time, appends) = match self.random.random_bool(0.5) {
            true => (" AND b.ts >= a.window_start AND b.ts < a.window_end", false),
            false => ("", false),
        };
        let text = format!(
            "SELECT a.{key} AS one, a.n, a.window_start, b.id FROM
             (SELECT window_start, window_end, {key}, count(*) AS n FROM #1 GROUP BY window_start, window_end, {key}) a
             {kind} (SELECT * FROM u WHERE id % 3 = 0) b ON a.{key} = b.{key}{time}"
        );
        Twin::of(&text, &[&from]).case(appends)
    }

    /// Windows of two lengths in one query.
    fn windows_of_other_lengths(&mut self) -> Case {
        let windows = [0, 1].map(|_| Window::random(self.random, self.span));
        let [a, b] = windows.map(|window| Twin {
            weir: window.weir("t"),
            oracle: window.oracle_of("t"),
        });
        let text = "SELECT a.window_start AS one, b.window_start AS two, a.k2, a.n, b.m FROM
             (SELECT window_start, window_end, k2, count(*) AS n FROM #1 WHERE b GROUP BY window_start, window_end, k2) a
             JOIN (SELECT window_start, window_end, k2, max(x) AS m FROM #2 WHERE v > 0
                   GROUP BY window_start, window_end, k2) b
             ON a.k2 = b.k2 AND a.n < b.m";
        Twin::of(text, &[&a, &b]).case(false)
    }

    fn first_per_window(&mut self) -> Case {
        let window = Window::random(self.random, self.span);
        let from = Twin {
            weir: window.weir("t"),
            oracle: window.oracle_of("t"),
        };
        let most = self.one(&[1, 2, 3]);
        let order = self.one(&["n DESC, k1", "s NULLS FIRST, k1 DESC", "k1"]);
        let text = format!(
            "SELECT window_start, k1, n, s, rn FROM (SELECT *, row_number() OVER
                (PARTITION BY window_start, window_end ORDER BY {order}) AS rn
              FROM (SELECT window_start, window_end, k1, count(*) AS n, sum(v) AS s FROM #1
                    GROUP BY window_start, window_end, k1)) WHERE rn <= {most}"
        );
        Twin::of(&text, &[&from]).case(false)
    }

    /// Results before their windows close, and what is aggregated of results.
    fn early_results(&mut self) -> Case {
        let from = match self.random.random_bool(0.4) {
            true => {
                let gap = self.seconds(10);
                Twin {
                    weir: format!("SESSION(t, ts, {gap}, k1)"),
                    oracle: sessions("t", "k1", &gap),
                }
            }
            false => {
                let window = Window::random(self.random, self.span);
                Twin {
                    weir: window.weir("t"),
                    oracle: window.oracle_of("t"),
                }
            }
        };
        let text = self.one(&[
            "SELECT window_start, window_end, k1, count(*) AS n, avg(v) AS m FROM #1 GROUP BY window_start, window_end, k1",
            "SELECT window_end, sum(x) AS s, count(DISTINCT k1) AS n FROM #1 WHERE v > 0 GROUP BY window_start, window_end",
            "SELECT k1, count(*) AS n, max(s) AS most FROM
               (SELECT window_start, window_end, k1, sum(v) AS s FROM #1 GROUP BY window_start, window_end, k1) GROUP BY k1",
        ]);
        let emit = self.one(&[
            "ON UPDATE",
            "EVERY INTERVAL '5 milliseconds'",
            "EVERY INTERVAL '1 hour'",
        ]);
        let mut twin = Twin::of(text, &[&from]);
        twin.weir.push_str(&format!(" EMIT {emit}"));
        twin.case(false)
    }

    fn windows_of_unions(&mut self) -> Case {
        let window = Window::random(self.random, self.span);
        let rows = "(SELECT ts, k1, v FROM t WHERE v > 0 UNION ALL SELECT ts, k1, k2 AS v FROM u
                     UNION ALL SELECT ts, 'w' AS k1, id AS v FROM w)";
        let from = Twin {
            weir: window.weir(rows),
            oracle: window.oracle_of(rows),
        };
        let text = "SELECT window_start, k1, count(*) AS n, sum(v) AS s, min(ts) AS first FROM #1
                    GROUP BY window_start, window_end, k1";
        Twin::of(text, &[&from]).case(true)
    }
}
