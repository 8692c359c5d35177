//! Random expressions over columns of known types: predicates, scalars and aggregates.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::relation::{Column, Type, Writer};

impl Writer<'_> {
    /// Draws a condition over one of some columns.
    pub(super) fn predicate(&mut self, columns: &[Column]) -> String {
        let (name, kind) = columns.choose(self.random).unwrap();
        let forms: &[&str] = match kind {
            Type::Whole => &[
                "# > 0",
                "# % 3 = 1",
                "# IS NULL",
                "coalesce(#, 0) <> 2",
                "# BETWEEN -5 AND 40",
                "# NOT IN (1, 2, 3)",
            ],
            Type::Real | Type::Ratio => &["# < 10.5", "# IS NOT NULL", "abs(#) > 3"],
            Type::Money => &["# > -100", "# IS NOT NULL", "# * 2 < 500.25"],
            Type::Text => &[
                "# LIKE 'key 1%'",
                "# IS NOT NULL",
                "# < 'key 2'",
                "upper(#) = 'KEY 0'",
                "CASE WHEN # IS NULL THEN true ELSE length(#) > 5 END",
            ],
            Type::Flag => &["#", "NOT #", "# IS NOT TRUE"],
            Type::Time => &[
                "extract(second FROM #) < 30",
                "# > TIMESTAMP '2026-01-01T00:01:00'",
                "# IS NOT NULL",
            ],
            Type::Day => &["# = DATE '2026-01-01'", "# IS NULL"],
        };
        forms.choose(self.random).unwrap().replace('#', name)
    }

    /// Draws an expression over one column.
    pub(super) fn scalar(&mut self, (name, kind): &Column) -> Column {
        let forms: &[(&str, Type)] = match kind {
            Type::Whole => &[
                ("#", Type::Whole),
                ("# + 1", Type::Whole),
                ("# % 5", Type::Whole),
                ("CAST(# AS DOUBLE) / 4", Type::Real),
                ("CASE WHEN # > 0 THEN 'plus' ELSE 'other' END", Type::Text),
                ("CAST(# AS VARCHAR)", Type::Text),
                ("# > 3", Type::Flag),
            ],
            Type::Real => &[
                ("#", Type::Real),
                ("# * 2", Type::Real),
                ("floor(#)", Type::Real),
            ],
            Type::Ratio => &[("#", Type::Ratio), ("# + 1", Type::Ratio)],
            Type::Money => &[("#", Type::Money), ("-#", Type::Money)],
            Type::Text => &[
                ("#", Type::Text),
                ("upper(#)", Type::Text),
                ("length(#)", Type::Whole),
                ("coalesce(#, 'none')", Type::Text),
                ("# || '!'", Type::Text),
                ("nullif(#, 'key 1')", Type::Text),
            ],
            Type::Flag => &[("#", Type::Flag), ("NOT #", Type::Flag)],
            Type::Time => &[
                ("#", Type::Time),
                ("date_trunc('minute', #)", Type::Time),
                ("CAST(# AS DATE)", Type::Day),
                ("# + INTERVAL '1 hour'", Type::Time),
            ],
            Type::Day => &[("#", Type::Day)],
        };
        let (form, kind) = forms.choose(self.random).unwrap();
        (form.replace('#', name), *kind)
    }

    /// Draws an aggregate of some columns, or an expression over aggregates.
    pub(super) fn aggregate_of(&mut self, columns: &[Column]) -> Column {
        let (name, kind) = columns.choose(self.random).unwrap();
        let any = [
            ("count(*)", Type::Whole),
            ("count(#)", Type::Whole),
            ("count(DISTINCT #)", Type::Whole),
        ];
        let least = [("min(#)", *kind), ("max(#)", *kind)];
        let own: &[(&str, Type)] = match kind {
            Type::Whole => &[
                ("sum(#)", Type::Whole),
                ("avg(#)", Type::Ratio),
                ("sum(DISTINCT #)", Type::Whole),
                ("sum(#) + count(*)", Type::Whole),
                ("bit_or(#)", Type::Whole),
                ("bit_xor(#)", Type::Whole),
                ("median(#)", Type::Whole),
                (
                    "CASE WHEN max(#) > 10 THEN 'much' ELSE 'little' END",
                    Type::Text,
                ),
                ("coalesce(max(#), 0) - coalesce(min(#), 0)", Type::Whole),
            ],
            Type::Real => &[("sum(#)", Type::Real), ("avg(#)", Type::Ratio)],
            Type::Money => &[("sum(#)", Type::Money), ("sum(DISTINCT #)", Type::Money)],
            Type::Text => &[
                ("string_agg(#, '+' ORDER BY #)", Type::Text),
                ("max(upper(#))", Type::Text),
            ],
            Type::Flag => &[("bool_and(#)", Type::Flag), ("bool_or(#)", Type::Flag)],
            Type::Ratio | Type::Time | Type::Day => &[],
        };
        let mut forms: Vec<(&str, Type)> = any.into_iter().chain(own.iter().copied()).collect();
        if *kind != Type::Flag {
            forms.extend(least);
        }
        let (form, kind) = *forms.choose(self.random).unwrap();
        let mut text = form.replace('#', name);
        let is_call = text.matches('(').count() == 1 && text.ends_with(')');
        if is_call && self.random.random_bool(0.2) {
            text = format!("{text} FILTER (WHERE {})", self.predicate(columns));
        }
        (text, kind)
    }
}
