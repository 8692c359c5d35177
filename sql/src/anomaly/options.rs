//! The options of a detector, by name: each is checked as it is set, so that an error has its place.

use arrow::compute::kernels::cast_utils::string_to_datetime;
use weir_anomaly::{Config, Direction, Exclusions, Learn, Method, Season};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::{parse_duration, unknown};

/// What an option does to a configuration; says what it may be when the value is none.
type Apply = fn(&mut Config, &str) -> Result<(), &'static str>;

/// Every option, with what it may be.
const OPTIONS: [(&str, Apply); 18] = [
    ("method", |_, _| Ok(())),
    (MODEL, |_, value| {
        named(value).ok_or("the name of an anomaly model")
    }),
    (VERSION, |_, value| {
        named(value).ok_or("the version of the model")
    }),
    ("sensitivity", |config, value| {
        config.sensitivity = number(value).ok_or("a number such as 0.99")?;
        Ok(())
    }),
    ("direction", |config, value| {
        const DIRECTIONS: &[(&str, Direction)] = &[
            ("both", Direction::Both),
            ("up", Direction::Up),
            ("down", Direction::Down),
        ];
        config.direction = word(value, DIRECTIONS).ok_or("up, down or both")?;
        Ok(())
    }),
    ("learn", |config, value| {
        const LEARNS: &[(&str, Learn)] = &[
            ("always", Learn::Always),
            ("except anomalies", Learn::ExceptAnomalies),
            ("frozen", Learn::Frozen),
        ];
        let words = value.replace('_', " ");
        config.learn = word(&words, LEARNS).ok_or("always, except anomalies or frozen")?;
        Ok(())
    }),
    ("warmup", |config, value| {
        (config.warmup_rows, config.warmup_time) = span(value)?;
        Ok(())
    }),
    ("debounce", |config, value| {
        (config.debounce_rows, config.debounce_time) = span(value)?;
        Ok(())
    }),
    ("seasonality", |config, value| {
        config.season = season(value)?;
        Ok(())
    }),
    ("memory", |config, value| {
        config.memory_rows = rows(value).ok_or(ROWS)?;
        Ok(())
    }),
    ("rebaseline", |config, value| {
        config.rebaseline_rows = rows(value).ok_or(ROWS)?;
        Ok(())
    }),
    ("shingle", |config, value| {
        config.shingle = count(value)?;
        Ok(())
    }),
    ("trees", |config, value| {
        config.trees = count(value)?;
        Ok(())
    }),
    ("samples", |config, value| {
        config.samples = count(value)?;
        Ok(())
    }),
    ("range", |config, value| {
        config.range = Some(pair(value).ok_or(PAIR)?);
        Ok(())
    }),
    ("allowed", |config, value| {
        config.allowed = pair(value).ok_or(PAIR)?;
        Ok(())
    }),
    (EXCLUDE, |config, value| {
        if !is_query(value) {
            config.exclude = exclusions(value).ok_or(RANGES)?;
        }
        Ok(())
    }),
    ("seed", |config, value| {
        config.seed = value.trim().parse().map_err(|_| "a whole number")?;
        Ok(())
    }),
];

const ROWS: &str = "a number of rows such as 100 ROWS";
const PAIR: &str = "two numbers such as (0, 100)";
const RANGES: &str =
    "a query, or pairs of times such as ('2026-12-24 00:00:00', '2026-12-27 00:00:00')";
const SPAN: &str = "a number of rows or a time, such as 100 ROWS, 30 MINUTES or INTERVAL '2' DAY";
const SEASON: &str = "auto, none, hourly, daily, weekly, a number of rows or a time";

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// The option that takes the others of a model of this name, and the one that says which version is meant.
const MODEL: &str = "model";
const VERSION: &str = "version";
/// The option with times in which nothing is judged, or the query that gives them.
pub(crate) const EXCLUDE: &str = "exclude";

/// What separates options in [`Options::to_text`]: no value has it.
const SEPARATOR: &str = "; ";

/// The options that were given, and what they come to.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    config: Config,
    given: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config: Config::new(Method::Auto),
            given: Vec::new(),
        }
    }
}

impl Options {
    /// The names of all options.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        OPTIONS.iter().map(|(name, _)| *name)
    }

    /// Whether a word is the name of an option.
    pub(crate) fn is_name(word: &str) -> bool {
        OPTIONS
            .iter()
            .any(|(name, _)| word.eq_ignore_ascii_case(name))
    }

    /// Sets an option.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let found = OPTIONS
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        let Some((name, apply)) = found else {
            let known = OPTIONS.iter().map(|(name, _)| *name);
            return Err(unknown(
                codes::ANOMALY,
                "option",
                &name.to_lowercase(),
                known,
            ));
        };
        if self.given.iter().any(|(given, _)| given == name) {
            return Err(wrong(format!("option \"{name}\" is given twice")));
        }
        if value.contains(SEPARATOR) {
            return Err(wrong(format!(
                "{name} must not have a semicolon and a space in it"
            )));
        }
        if *name == "method" {
            self.config.method = method(value)?;
        }
        let may_be = |what: &str| wrong(format!("{name} must be {what}, not \"{value}\""));
        apply(&mut self.config, value).map_err(may_be)?;
        // A table's columns are counted later.
        self.config
            .check()
            .map_err(|error| wrong(error.to_string()))?;
        self.given.push((name, value.to_owned()));
        Ok(())
    }

    /// What the options come to, for one column.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The model that the options refer to, and its version if it is told.
    pub(crate) fn model(&self) -> Option<(&str, Option<&str>)> {
        let model = self.value(MODEL)?;
        Some((model, self.value(VERSION)))
    }

    /// The query that gives the excluded times, if one does.
    pub(crate) fn excluded_by(&self) -> Option<&str> {
        self.value(EXCLUDE).filter(|value| is_query(value))
    }

    /// Whether the options say all but for what only a session knows.
    pub(crate) fn refers(&self) -> bool {
        self.model().is_some() || self.excluded_by().is_some()
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut given = self.given.iter();
        let found = given.find(|(given, _)| *given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// These options, and of others those that are not among them.
    pub(crate) fn over(&self, others: &Self) -> Result<Self> {
        let mut all = self.clone();
        for (name, value) in &others.given {
            if self.value(name).is_none() {
                all.set(name, value)?;
            }
        }
        Ok(all)
    }

    /// One text that [`Options::from_text`] reads.
    pub(crate) fn to_text(&self) -> String {
        let given = self.given.iter();
        let given: Vec<String> = given
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        given.join(SEPARATOR)
    }

    /// Reads what [`Options::to_text`] made.
    pub(crate) fn from_text(text: &str) -> Result<Self> {
        let mut options = Self::default();
        for option in text.split(SEPARATOR).filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once(' ').unwrap_or((option, ""));
            options.set(name, value)?;
        }
        Ok(options)
    }
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Invalid, codes::ANOMALY, message)
        .hint("the options and what they may be are in docs/anomalies.md")
}

fn method(name: &str) -> Result<Method> {
    Method::from_name(name).map_err(|_| {
        let known: Vec<&str> = Method::all().map(Method::name).collect();
        unknown(codes::ANOMALY, "method", name, known.into_iter())
    })
}

fn word<T: Copy>(value: &str, known: &[(&str, T)]) -> Option<T> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let value = words.join(" ");
    let found = known
        .iter()
        .find(|(name, _)| value.eq_ignore_ascii_case(name));
    found.map(|(_, meaning)| *meaning)
}

fn named(value: &str) -> Option<()> {
    (!value.trim().is_empty()).then_some(())
}

fn number(value: &str) -> Option<f64> {
    let number: f64 = value.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

fn count(value: &str) -> Result<usize, &'static str> {
    value.trim().parse().map_err(|_| "a whole number")
}

/// `100` or `100 ROWS`.
fn rows(value: &str) -> Option<u32> {
    let mut words = value.split_whitespace();
    let rows = words.next()?.parse().ok()?;
    let unit = words.next().unwrap_or("rows");
    let is_rows = unit.eq_ignore_ascii_case("rows") || unit.eq_ignore_ascii_case("row");
    (is_rows && words.next().is_none()).then_some(rows)
}

/// A time in microseconds, also one of several parts: `1 day 12 hours`.
fn micros(value: &str) -> Option<i64> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let mut sum = 0_i64;
    for part in words.chunks(2) {
        let (number, unit) = match part {
            [number, unit] => (*number, unit.to_lowercase()),
            [one] => (*one, String::new()),
            _ => return None,
        };
        let time = match unit.as_str() {
            "w" | "week" | "weeks" => {
                parse_duration(&format!("{}d", number.parse::<f64>().ok()? * 7.0))
            }
            unit => parse_duration(&format!("{number}{unit}")),
        };
        sum = sum.checked_add(i64::try_from(time?.as_micros()).ok()?)?;
    }
    (!words.is_empty()).then_some(sum)
}

/// Rows, or a time: the other one is none then.
fn span(value: &str) -> Result<(u32, i64), &'static str> {
    if let Some(rows) = rows(value) {
        return Ok((rows, 0));
    }
    micros(value).map(|time| (0, time)).ok_or(SPAN)
}

/// The seasons that are named.
fn season(value: &str) -> Result<Season, &'static str> {
    let value = value.trim().trim_start_matches('(').trim_end_matches(')');
    let mut lengths: Vec<i64> = Vec::new();
    for name in value.split(',') {
        let length = match name.trim().to_lowercase().as_str() {
            "auto" if !value.contains(',') => return Ok(Season::Auto),
            "none" if !value.contains(',') => return Ok(Season::None),
            "hourly" => HOUR,
            "daily" => DAY,
            "weekly" => WEEK,
            other => match (rows(other), value.contains(',')) {
                (Some(rows), false) => return Ok(Season::Rows(rows)),
                _ => micros(other).filter(|time| *time > 0).ok_or(SEASON)?,
            },
        };
        let nests = |other: &i64| length.max(*other) % length.min(*other) == 0;
        if !lengths.iter().all(nests) {
            return Err("seasons of which each is a multiple of the shorter ones");
        }
        lengths.push(length);
    }
    Season::of_times(lengths).map_err(|_| "four seasons at most")
}

fn is_query(value: &str) -> bool {
    let first = value.split_whitespace().next().unwrap_or_default();
    ["select", "with"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

/// Ranges of time, each with its first and its last moment.
fn exclusions(value: &str) -> Option<Exclusions> {
    let value = value.trim().trim_start_matches('(').trim_end_matches(')');
    let time = |text: &str| {
        let time = string_to_datetime(&chrono::Utc, text.trim()).ok()?;
        Some(time.timestamp_micros())
    };
    let times: Vec<i64> = value.split(',').map(time).collect::<Option<_>>()?;
    let pairs = times.chunks(2).map(|pair| match pair {
        [from, to] if from <= to => Some((*from, *to)),
        _ => None,
    });
    Exclusions::new(pairs.collect::<Option<Vec<_>>>()?).ok()
}

/// Two numbers.
fn pair(value: &str) -> Option<(f64, f64)> {
    let value = value.trim().trim_start_matches('(').trim_end_matches(')');
    let (low, high) = value.split_once(',')?;
    Some((number(low)?, number(high)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> Result<Config> {
        let mut all = Options::default();
        for (name, value) in options {
            all.set(name, value)?;
        }
        let again = Options::from_text(&all.to_text()).unwrap();
        assert_eq!(again.config(), all.config());
        Ok(all.config().clone())
    }

    #[test]
    fn options_are_what_they_say() {
        let config = of(&[
            ("METHOD", "RCF"),
            ("Sensitivity", "0.999"),
            ("warmup", "2 DAYS"),
            ("debounce", "30 ROWS"),
            ("learn", "EXCEPT_ANOMALIES"),
            ("direction", "Up"),
            ("seasonality", "(daily, weekly)"),
            ("shingle", "12"),
            ("range", "-1.5, 1e3"),
            (
                "exclude",
                "2026-01-01, 2026-01-02 12:00:00, 2026-02-01, 2026-02-01T01:00:00Z",
            ),
        ])
        .unwrap();
        assert_eq!(config.method, Method::Forest);
        assert_eq!((config.warmup_rows, config.warmup_time), (0, 2 * DAY));
        assert_eq!((config.debounce_rows, config.debounce_time), (30, 0));
        assert_eq!(config.learn, Learn::ExceptAnomalies);
        assert_eq!(config.direction, Direction::Up);
        assert_eq!(config.season, Season::Times([DAY, WEEK, 0, 0]));
        assert_eq!(config.range, Some((-1.5, 1000.0)));
        assert_eq!(
            of(&[("seasonality", "48 rows")]).unwrap().season,
            Season::Rows(48)
        );
        assert_eq!(
            of(&[("warmup", "1 day 12 h")]).unwrap().warmup_time,
            DAY * 3 / 2
        );
        assert_eq!(of(&[("warmup", "1 w")]).unwrap().warmup_time, WEEK);
        let day = 1_767_225_600_000_000;
        let excluded = |time| config.exclude.contains(time);
        assert!(!excluded(day - 1) && excluded(day) && excluded(day + DAY * 3 / 2));
        assert!(!excluded(day + 2 * DAY) && excluded(day + 31 * DAY));
        assert_eq!(of(&[]).unwrap(), Config::new(Method::Auto));
        let mut own = Options::from_text("model m; sensitivity 0.9").unwrap();
        let others = Options::from_text("method ewma; sensitivity 0.8; version 7").unwrap();
        assert_eq!(own.model(), Some(("m", None)));
        own = own.over(&others).unwrap();
        assert_eq!(
            own.to_text(),
            "model m; sensitivity 0.9; method ewma; version 7"
        );
        assert_eq!(own.model(), Some(("m", Some("7"))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases = [
            ("method", "rcff"),
            ("metod", "rcf"),
            ("sensitivity", "1"),
            ("sensitivity", "high"),
            ("warmup", "2 moons"),
            ("warmup", ""),
            ("seasonality", "daily, 48 rows"),
            ("seasonality", "daily, 5 hours"),
            ("seasonality", "1 row"),
            ("shingle", "100"),
            ("range", "5, 1"),
            ("allowed", "5"),
            ("direction", "left"),
            ("exclude", "2026-01-01"),
            ("exclude", "2026-01-02, 2026-01-01"),
            ("exclude", "new year, 2026-01-01"),
        ];
        for (name, value) in cases {
            let error = of(&[(name, value)]).unwrap_err();
            assert_eq!(error.code(), codes::ANOMALY, "{name} {value}");
            assert!(error.hint_text().is_some(), "{name} {value}");
        }
        assert!(of(&[("trees", "5"), ("trees", "6")]).is_err());
    }
}
