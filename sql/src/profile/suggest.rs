//! Rules that a profile suggests: what holds for all rows that were seen, loose enough to hold for the next.

use super::column::Shape;
use super::pattern;
use super::table::{Profiled, time};
use crate::parse::skeleton;

/// Values of a set at most.
const SET_MAX: u64 = 20;
/// Rows per value from which on the values are taken for a set.
const ROWS_PER_VALUE_MIN: u64 = 20;
/// The share of different values from which on a column may be a key.
const KEY_SHARE_MIN: f64 = 0.95;
/// Rows from which on a column without equal values is taken for a key.
const KEY_ROWS_MIN: u64 = 100;
/// The certainty of the bound below a share of rows, as standard deviations: 95 % on one side.
const CERTAINTY: f64 = 1.645;

/// A rule that is suggested.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// The column.
    pub(crate) column: String,
    /// What the rule is called.
    pub(crate) name: String,
    /// Its expectation with its clauses.
    pub(crate) rule: String,
    /// An expression that has to hold for all rows, if the profile alone doesn't prove it.
    pub(crate) unless: Option<String>,
    /// Why.
    pub(crate) reason: String,
}

/// Formats that are tried on columns of texts.
const FORMATS: [&str; 6] = [
    "is_email",
    "is_uuid",
    "is_url",
    "is_ipv4",
    "is_iban",
    "json_valid",
];

/// The rules that the profile of a column suggests.
pub(crate) fn suggestions(column: &Profiled) -> Vec<Candidate> {
    let counts = column.profile.counts;
    let filled = counts.rows - counts.nulls;
    let name = skeleton::quoted(&column.column);
    let mut all = Vec::new();
    let mut add = |what: &str, rule: String, unless: Option<String>, reason: String| {
        all.push(Candidate {
            column: column.column.clone(),
            name: format!("{}_{what}", column.column),
            rule,
            unless,
            reason,
        });
    };
    if counts.rows == 0 {
        return all;
    }
    if counts.nulls == 0 {
        let rule = format!("EXPECT ({name} IS NOT NULL) DIMENSION completeness");
        add(
            "present",
            rule,
            None,
            format!("none of {} rows is null", counts.rows),
        );
    } else if filled > 0 {
        let share = lower_bound(filled, counts.rows);
        let rule = format!("EXPECT (completeness({name}) >= {share:.2}) DIMENSION completeness");
        add(
            "filled",
            rule,
            None,
            format!("{filled} of {} rows are filled", counts.rows),
        );
    }
    let distinct = column.profile.values.distinct();
    let is_key = filled >= KEY_ROWS_MIN && distinct as f64 >= KEY_SHARE_MIN * filled as f64;
    if is_key && !column.data_type.is_floating() && column.shape() != Shape::Other {
        let unless = format!("count(DISTINCT {name}) = count({name})");
        let rule = format!("EXPECT UNIQUE ({name}) DIMENSION uniqueness");
        add(
            "unique",
            rule,
            Some(unless),
            format!("{filled} values, all different"),
        );
    }
    let is_set = column.profile.values.is_exact()
        && distinct <= SET_MAX
        && distinct > 0
        && filled >= distinct * ROWS_PER_VALUE_MIN;
    if is_set && column.shape() == Shape::Text {
        let top = column.profile.values.top(usize::MAX);
        let values: Vec<String> = top.iter().map(|(value, _)| quoted(value)).collect();
        let rule = format!("EXPECT ({name} IN ({}))", values.join(", "));
        add(
            "known",
            rule,
            None,
            format!("{distinct} values in {filled} rows"),
        );
    }
    bounds(column, &name, &mut add);
    if column.shape() == Shape::Text && !is_set {
        texts(column, &name, filled, &mut add);
    }
    all
}

type Add<'a> = &'a mut dyn FnMut(&str, String, Option<String>, String);

/// Least and greatest values.
fn bounds(column: &Profiled, name: &str, add: Add<'_>) {
    let numbers = &column.profile.numbers;
    let (Some(least), Some(greatest)) = (numbers.least(), numbers.greatest()) else {
        return;
    };
    match column.shape() {
        Shape::Number if least >= 0.0 => {
            let rule = format!("EXPECT ({name} >= 0)");
            add(
                "not_negative",
                rule,
                None,
                format!("the least is {least}, the greatest {greatest}"),
            );
        }
        Shape::Number => {
            let rule = format!("EXPECT ({name} BETWEEN {least} AND {greatest}) SEVERITY INFO");
            add("range", rule, None, "all values lie between".to_owned());
        }
        Shape::Time => {
            let rule = format!("EXPECT ({name} >= TIMESTAMP '{}')", time(least as i64));
            add("begins", rule, None, "nothing is earlier".to_owned());
        }
        Shape::Text | Shape::Other => {}
    }
}

/// Formats, patterns and lengths.
fn texts(column: &Profiled, name: &str, filled: u64, add: Add<'_>) {
    if filled == 0 {
        return;
    }
    for format in FORMATS {
        let holds = format!("{format}({name})");
        let unless = format!("count(*) FILTER (WHERE NOT {holds}) = 0");
        let short = format.trim_start_matches("is_");
        add(
            short,
            format!("EXPECT ({holds})"),
            Some(unless),
            format!("all of {filled} texts hold it"),
        );
    }
    let patterns = &column.profile.patterns;
    let only = match patterns.top(2).as_slice() {
        [(only, count)] if patterns.is_exact() && *count == filled => pattern::expression(only),
        _ => None,
    };
    if let Some(expression) = only {
        let rule = format!("EXPECT ({name} ~ {})", quoted(&expression));
        add(
            "pattern",
            rule,
            None,
            "all texts have one pattern".to_owned(),
        );
    } else if column.profile.counts.empty == 0 {
        add(
            "not_blank",
            format!("EXPECT (not_blank({name}))"),
            None,
            "no text is empty".to_owned(),
        );
    }
}

/// A share that is held with some certainty: Wilson's lower bound.
fn lower_bound(holds: u64, all: u64) -> f64 {
    let (share, all) = (holds as f64 / all as f64, all as f64);
    let square = CERTAINTY * CERTAINTY;
    let middle = share + square / (2.0 * all);
    let away = CERTAINTY * ((share * (1.0 - share) + square / (4.0 * all)) / all).sqrt();
    let bound = (middle - away) / (1.0 + square / all);
    (bound * 100.0).floor() / 100.0
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::profile::Profile;

    fn of(column: &str, values: ArrayRef) -> Vec<String> {
        let mut profile = Profile::new().unwrap();
        profile.add(&values).unwrap();
        let all = suggestions(&Profiled {
            column: column.to_owned(),
            data_type: values.data_type().clone(),
            profile,
            drift: None,
            correlation: None,
        });
        all.into_iter().map(|candidate| candidate.rule).collect()
    }

    #[test]
    fn a_key_a_set_and_a_code() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..500));
        assert_eq!(
            of("id", ids),
            [
                "EXPECT (\"id\" IS NOT NULL) DIMENSION completeness",
                "EXPECT UNIQUE (\"id\") DIMENSION uniqueness",
                "EXPECT (\"id\" >= 0)",
            ]
        );
        let states = (0..100).map(|n| (n % 4 > 0).then(|| ["it's", "paid"][n % 2]));
        let states: ArrayRef = Arc::new(states.collect::<StringArray>());
        assert_eq!(
            of("state", states),
            [
                "EXPECT (completeness(\"state\") >= 0.67) DIMENSION completeness",
                "EXPECT (\"state\" IN ('paid', 'it''s'))",
            ]
        );
        let codes = (0..300).map(|n| Some(format!("AB-{n:03}")));
        let codes: ArrayRef = Arc::new(codes.collect::<StringArray>());
        let rules = of("code", codes);
        assert!(
            rules.contains(&"EXPECT (\"code\" ~ '^[A-Z]{2}\\-[0-9]{3}$')".to_owned()),
            "{rules:?}"
        );
        assert!(of("none", Arc::new(Int64Array::from(Vec::<i64>::new()))).is_empty());
    }
}
