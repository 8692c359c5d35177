//! Random joins of relations without a bound in time, and what optimisers turn into joins.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::relation::{Column, Relation, Type, Writer, listed};

impl Writer<'_> {
    /// A join with another relation.
    pub(super) fn join(&mut self, inner: &Relation) -> Option<Relation> {
        let depth = self.random.random_range(0..=1);
        let other = self.relation(depth);
        let aliases = [self.alias(), self.alias()];
        let left = self.columns(inner, &aliases[0]);
        let right = self.columns(&other, &aliases[1]);
        let on = self.condition(&left, &right)?;
        let kinds = ["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
        let kind = *kinds.choose(self.random).unwrap();
        let mut columns: Vec<Column> = left.into_iter().chain(right).collect();
        while columns.len() > 6 {
            columns.remove(self.random.random_range(0..columns.len()));
        }
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let text = |one: &str, two: &str| {
            let (list, [a, b]) = (listed(&names), &aliases);
            format!("SELECT {list} FROM ({one}) AS {a} {kind} ({two}) AS {b} ON {on}")
        };
        Some(Relation {
            weir: text(&inner.weir, &other.weir),
            oracle: text(&inner.oracle, &other.oracle),
            columns: columns.iter().map(|(_, kind)| *kind).collect(),
            appends: inner.appends && other.appends && kind == "JOIN",
        })
    }

    /// Rows that have, or do not have, a match.
    pub(super) fn semi_join(&mut self, inner: &Relation) -> Option<Relation> {
        let depth = self.random.random_range(0..=1);
        let other = self.relation(depth);
        let aliases = [self.alias(), self.alias()];
        let left = self.columns(inner, &aliases[0]);
        let right = self.columns(&other, &aliases[1]);
        let word = *["EXISTS", "NOT EXISTS", "IN"].choose(self.random).unwrap();
        let names: Vec<String> = left.iter().map(|(name, _)| name.clone()).collect();
        let condition = match word {
            "IN" => {
                let (a, b) = same(&left, &right)?;
                format!("{a} IN (SELECT {b} FROM (#) AS {})", aliases[1])
            }
            _ => {
                let on = self.condition(&left, &right)?;
                format!("{word} (SELECT 1 FROM (#) AS {} WHERE {on})", aliases[1])
            }
        };
        let text = |one: &str, two: &str| {
            let condition = condition.replace('#', two);
            let list = listed(&names);
            format!(
                "SELECT {list} FROM ({one}) AS {} WHERE {condition}",
                aliases[0]
            )
        };
        Some(Relation {
            weir: text(&inner.weir, &other.weir),
            oracle: text(&inner.oracle, &other.oracle),
            columns: left.iter().map(|(_, kind)| *kind).collect(),
            appends: inner.appends && other.appends && word != "NOT EXISTS",
        })
    }

    /// Rows that are more than an aggregate of all of another relation.
    pub(super) fn compare_with_all(&mut self, inner: &Relation) -> Option<Relation> {
        let other = self.relation(0);
        let aliases = [self.alias(), self.alias()];
        let left = self.columns(inner, &aliases[0]);
        let mut right = self.columns(&other, &aliases[1]);
        // The oracle can't compare decimals of two precisions here.
        right.retain(|(_, kind)| *kind != Type::Money);
        let (a, b) = same(&left, &right)?;
        let function = *["min", "max"].choose(self.random).unwrap();
        let sign = *["<", ">="].choose(self.random).unwrap();
        let names: Vec<String> = left.iter().map(|(name, _)| name.clone()).collect();
        let text = |one: &str, two: &str| {
            let (list, [first, second]) = (listed(&names), &aliases);
            format!(
                "SELECT {list} FROM ({one}) AS {first}
                 WHERE {a} {sign} (SELECT {function}({b}) FROM ({two}) AS {second})"
            )
        };
        Some(Relation {
            weir: text(&inner.weir, &other.weir),
            oracle: text(&inner.oracle, &other.oracle),
            columns: left.iter().map(|(_, kind)| *kind).collect(),
            appends: false,
        })
    }

    /// What must be true of a pair of rows.
    fn condition(&mut self, left: &[Column], right: &[Column]) -> Option<String> {
        let (a, b) = same(left, right)?;
        let mut on = match self.random.random_range(0..8) {
            // The oracle's parser takes what comes after it for a part of `b`.
            0 => format!("({a} IS NOT DISTINCT FROM {b})"),
            1 => format!("{a} < {b}"),
            _ => format!("{a} = {b}"),
        };
        if self.random.random_bool(0.3) {
            let side = match self.random.random_bool(0.5) {
                true => left,
                false => right,
            };
            on = format!("{on} AND {}", self.predicate(side));
        }
        if self.random.random_bool(0.2)
            && let (Some((a, _)), Some((b, _))) = (number(left), number(right))
        {
            on = format!("{on} AND {a} <= {b}");
        }
        Some(on)
    }
}

/// Columns of two sides with one type. Flags are left out: most rows would match.
fn same<'a>(left: &'a [Column], right: &'a [Column]) -> Option<(&'a str, &'a str)> {
    left.iter()
        .filter(|(_, kind)| *kind != Type::Flag)
        .find_map(|(name, kind)| {
            let found = right.iter().find(|(_, other)| other == kind);
            found.map(|(other, _)| (name.as_str(), other.as_str()))
        })
}

fn number(columns: &[Column]) -> Option<&Column> {
    columns.iter().find(|(_, kind)| *kind == Type::Whole)
}
