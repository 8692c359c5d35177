//! Random relations: tables under filters, joins, aggregates, first rows and unions, nested, with
//! columns of known types. The same text is Weir's SQL and the oracle's, but for the rule by which
//! Weir orders rows that are equal in an ORDER BY: the oracle is told it.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::oracle::Oracle;

/// Most rows of a relation: keeps the states, and the runs in a debug build, small.
const ROWS_MAX: i64 = 600;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Whole numbers of any width.
    Whole,
    /// Floating point numbers whose sums are exact in any order.
    Real,
    /// Floating point numbers whose sums are not.
    Ratio,
    Money,
    Text,
    Flag,
    Time,
    Day,
}

/// A query whose columns are called `c0`, `c1` and so on.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) weir: String,
    pub(super) oracle: String,
    pub(super) columns: Vec<Type>,
    /// Its rows are never taken back.
    pub(super) appends: bool,
}

/// Draws relations over tables.
pub(super) struct Writer<'a> {
    pub(super) random: &'a mut StdRng,
    pub(super) oracle: &'a Oracle,
    /// The tables.
    pub(super) tables: &'a [&'static str],
    aliases: usize,
}

/// A column with its type.
pub(super) type Column = (String, Type);

impl<'a> Writer<'a> {
    pub(super) fn new(
        random: &'a mut StdRng,
        oracle: &'a Oracle,
        tables: &'a [&'static str],
    ) -> Self {
        Self {
            random,
            oracle,
            tables,
            aliases: 0,
        }
    }

    /// Draws a relation of so many operators, one above the other.
    pub(super) fn relation(&mut self, depth: usize) -> Relation {
        let inner = match depth {
            0 => return self.scan(),
            _ => self.relation(depth - 1),
        };
        loop {
            let drawn = match self.random.random_range(0..15) {
                0 => self.filter(&inner),
                1 => self.project(&inner),
                2..=5 => self.aggregate(&inner),
                6 => self.distinct(&inner),
                7 => self.set_operation(&inner),
                8 | 9 => self.first_rows(&inner),
                10..=12 => self.join(&inner),
                13 => self.semi_join(&inner),
                _ => self.compare_with_all(&inner),
            };
            if let Some(drawn) = drawn.filter(|drawn| self.count(drawn) <= ROWS_MAX) {
                return drawn;
            }
        }
    }

    fn count(&self, relation: &Relation) -> i64 {
        let rows = self
            .oracle
            .run(&format!("SELECT 1 FROM ({})", relation.oracle));
        rows.iter().map(|batch| batch.num_rows() as i64).sum()
    }

    /// A name that no other part of the query has.
    pub(super) fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("r{}", self.aliases)
    }

    /// The columns of a relation behind a name, in a random order.
    pub(super) fn columns(&mut self, relation: &Relation, alias: &str) -> Vec<Column> {
        let columns = relation.columns.iter().enumerate();
        let mut columns: Vec<Column> = columns
            .map(|(at, kind)| (format!("{alias}.c{at}"), *kind))
            .collect();
        for at in (1..columns.len()).rev() {
            columns.swap(at, self.random.random_range(0..=at));
        }
        columns
    }

    fn scan(&mut self) -> Relation {
        const COLUMNS: [(&str, Type); 8] = [
            ("id", Type::Whole),
            ("k1", Type::Text),
            ("k2", Type::Whole),
            ("v", Type::Whole),
            ("x", Type::Real),
            ("d", Type::Money),
            ("b", Type::Flag),
            ("ts", Type::Time),
        ];
        let count = self.random.random_range(3..=COLUMNS.len());
        let columns: Vec<_> = COLUMNS
            .choose_multiple(self.random, count)
            .copied()
            .collect();
        let table = *self.tables.choose(self.random).unwrap();
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let text = format!("SELECT {} FROM {table}", listed(&names));
        Relation {
            weir: text.clone(),
            oracle: text,
            columns: columns.iter().map(|(_, kind)| *kind).collect(),
            appends: true,
        }
    }

    /// `SELECT ... FROM (inner) rest`, of expressions with their types.
    pub(super) fn select(
        &self,
        inner: &Relation,
        alias: &str,
        columns: &[Column],
        rest: &str,
    ) -> Relation {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let around =
            |text: &str| format!("SELECT {} FROM ({text}) AS {alias}{rest}", listed(&names));
        Relation {
            weir: around(&inner.weir),
            oracle: around(&inner.oracle),
            columns: columns.iter().map(|(_, kind)| *kind).collect(),
            appends: inner.appends,
        }
    }

    fn filter(&mut self, inner: &Relation) -> Option<Relation> {
        let alias = self.alias();
        let columns = self.columns(inner, &alias);
        let mut text = self.predicate(&columns);
        if self.random.random_bool(0.3) {
            let word = *["AND", "OR"].choose(self.random).unwrap();
            text = format!("{text} {word} {}", self.predicate(&columns));
        }
        Some(self.select(inner, &alias, &columns, &format!(" WHERE {text}")))
    }

    fn project(&mut self, inner: &Relation) -> Option<Relation> {
        let alias = self.alias();
        let columns = self.columns(inner, &alias);
        let computed: Vec<Column> = columns.iter().map(|column| self.scalar(column)).collect();
        Some(self.select(inner, &alias, &computed, ""))
    }

    fn distinct(&mut self, inner: &Relation) -> Option<Relation> {
        let alias = self.alias();
        let mut columns = self.columns(inner, &alias);
        columns.truncate(self.random.random_range(1..=3));
        let mut drawn = self.select(inner, &alias, &columns, "");
        for text in [&mut drawn.weir, &mut drawn.oracle] {
            *text = text.replacen("SELECT", "SELECT DISTINCT", 1);
        }
        Some(drawn)
    }

    /// Unions and the like: of columns that have the same types in both.
    fn set_operation(&mut self, inner: &Relation) -> Option<Relation> {
        let depth = self.random.random_range(0..=1);
        let other = self.relation(depth);
        let aliases = [self.alias(), self.alias()];
        let mut right = self.columns(&other, &aliases[1]);
        let left = self.columns(inner, &aliases[0]);
        let mut pairs = (Vec::new(), Vec::new());
        for (name, kind) in left {
            if let Some(at) = right.iter().position(|(_, other)| *other == kind) {
                pairs.0.push((name, kind));
                pairs.1.push(right.swap_remove(at));
            }
        }
        let words = ["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"];
        let word = *words.choose(self.random).unwrap();
        if pairs.0.is_empty() {
            return None;
        }
        let left = self.select(inner, &aliases[0], &pairs.0, "");
        let right = self.select(&other, &aliases[1], &pairs.1, "");
        Some(Relation {
            weir: format!("{} {word} {}", left.weir, right.weir),
            oracle: format!("{} {word} {}", left.oracle, right.oracle),
            columns: left.columns,
            appends: left.appends && right.appends && word != "EXCEPT",
        })
    }

    fn aggregate(&mut self, inner: &Relation) -> Option<Relation> {
        let alias = self.alias();
        let columns = self.columns(inner, &alias);
        let keys = self.random.random_range(0..=2.min(columns.len()));
        let keys: Vec<Column> = columns
            .iter()
            .take(keys)
            .map(|column| match self.random.random_bool(0.3) {
                true => self.scalar(column),
                false => column.clone(),
            })
            .collect();
        let mut selected = keys.clone();
        for _ in 0..self.random.random_range(1..=4) {
            let aggregate = self.aggregate_of(&columns);
            selected.push(aggregate);
        }
        let mut rest = String::new();
        if !keys.is_empty() {
            let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
            rest = format!(" GROUP BY {}", keys.join(", "));
        }
        if self.random.random_bool(0.25) {
            let count = self.random.random_range(0..4);
            rest.push_str(&format!(" HAVING count(*) > {count}"));
        }
        Some(Relation {
            appends: false,
            ..self.select(inner, &alias, &selected, &rest)
        })
    }

    /// The first rows of partitions. Within a larger query the order is told in full, since the
    /// optimiser may take columns away that nothing above needs.
    fn first_rows(&mut self, inner: &Relation) -> Option<Relation> {
        let (inside, alias) = (self.alias(), self.alias());
        let columns = self.columns(inner, &inside);
        let parts = self.random.random_range(0..=1.min(columns.len() - 1));
        let orders = self.random.random_range(1..=2.min(columns.len() - parts));
        let partition = match columns.first() {
            Some((key, _)) if parts > 0 => format!("PARTITION BY {key} "),
            _ => String::new(),
        };
        let ways = [
            "",
            " DESC",
            " NULLS FIRST",
            " DESC NULLS LAST",
            " ASC NULLS LAST",
        ];
        let order: Vec<String> = columns
            .iter()
            .skip(parts)
            .take(orders)
            .map(|(name, _)| format!("{name}{}", ways.choose(self.random).unwrap()))
            .chain(
                columns
                    .iter()
                    .map(|(name, _)| format!("{name} NULLS FIRST")),
            )
            .collect();
        let number = format!(
            "CAST(row_number() OVER ({partition}ORDER BY {}) AS BIGINT)",
            order.join(", ")
        );
        let width = columns.len();
        let mut all = columns;
        all.push((number, Type::Whole));
        let numbered = self.select(inner, &inside, &all, "");
        let most = *[1, 1, 2, 5].choose(self.random).unwrap();
        let sign = *["<=", "<=", "=", "<"].choose(self.random).unwrap();
        let mut shown: Vec<Column> = (0..=width)
            .map(|at| (format!("{alias}.c{at}"), numbered.columns[at]))
            .collect();
        if self.random.random_bool(0.5) {
            shown.truncate(width);
        }
        let rest = format!(" WHERE {alias}.c{width} {sign} {most}");
        Some(Relation {
            appends: false,
            ..self.select(&numbered, &alias, &shown, &rest)
        })
    }
}

/// Expressions under the names `c0`, `c1` and so on.
pub(super) fn listed(exprs: &[String]) -> String {
    let named = exprs.iter().enumerate();
    let named: Vec<String> = named.map(|(at, e)| format!("{e} AS c{at}")).collect();
    named.join(", ")
}
