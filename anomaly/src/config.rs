//! What a model is asked to do. One configuration is shared by the models of all keys.

use crate::codec::Writer;
use crate::error::{Error, Result};
use crate::exclusion::Exclusions;
use crate::method::Method;
use crate::random::mix;

/// Columns of a model at most.
pub const COLUMNS_MAX: usize = 64;
/// Rows in a row that a detector looks at together, at most.
pub const SHINGLE_MAX: usize = 64;
/// Rows of a season at most.
pub const PERIOD_ROWS_MAX: u32 = 2016;
/// Seasons of a series at most: each but the longest keeps a layer of its own.
pub const SEASONS_MAX: usize = 4;
/// Trees of a forest at most.
pub const TREES_MAX: usize = 100;
/// Rows that a detector keeps as examples, at most.
pub const SAMPLES_MAX: usize = 1024;

/// Which side of the expected value is an anomaly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// Values that are too high.
    Up,
    /// Values that are too low.
    Down,
    /// Either.
    #[default]
    Both,
}

/// What a model learns from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Learn {
    /// Every row.
    #[default]
    Always,
    /// Rows that are no anomaly, so that an incident doesn't train the next one away. What lasts longer
    /// than [`Config::rebaseline_rows`] is the new normal and is learned.
    ExceptAnomalies,
    /// Rows of the warm-up only.
    Frozen,
}

/// The season of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Season {
    /// Found in the series: by its autocorrelation, and looked for again as it goes on.
    #[default]
    Auto,
    /// None.
    None,
    /// So many rows.
    Rows(u32),
    /// So long, in the unit of time of the rows: rows may be missing.
    Time(i64),
    /// Several, from the shortest on, each of which the next one is a multiple of; those that are 0 are none.
    Times([i64; SEASONS_MAX]),
}

impl Season {
    /// Seasons of so many lengths.
    pub fn of_times(mut lengths: Vec<i64>) -> Result<Self> {
        lengths.sort_unstable();
        lengths.dedup();
        if let [only] = lengths.as_slice() {
            return Ok(Self::Time(*only));
        }
        let mut times = [0; SEASONS_MAX];
        if lengths.is_empty() || lengths.len() > SEASONS_MAX {
            return Err(Error::Setting("season", "one to four lengths"));
        }
        times
            .iter_mut()
            .zip(lengths)
            .for_each(|(time, length)| *time = length);
        Ok(Self::Times(times))
    }
}

/// Whether times are there, and each is a multiple of the one before.
fn nest(times: &[i64; SEASONS_MAX]) -> bool {
    let count = times.iter().take_while(|time| **time > 0).count();
    let (given, none) = times.split_at(count);
    let pairs = || given.iter().zip(given.iter().skip(1));
    count > 1
        && none.iter().all(|time| *time == 0)
        && pairs().all(|(short, long)| long > short && long % short == 0)
}

/// How a model judges and learns. Start from [`Config::new`] and change what differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The detector.
    pub method: Method,
    /// Columns of a row.
    pub columns: usize,
    /// 1 - the probability with which a row of the learned kind is an anomaly: 0.99 is one row in a hundred,
    /// before debouncing. It means the same for all methods.
    pub sensitivity: f64,
    /// Which side is an anomaly.
    pub direction: Direction,
    /// What is learned from.
    pub learn: Learn,
    /// Rows before the first verdict.
    pub warmup_rows: u32,
    /// Time before the first verdict, from the first row on.
    pub warmup_time: i64,
    /// Rows after an anomaly in which no other one is told.
    pub debounce_rows: u32,
    /// Time after an anomaly in which no other one is told.
    pub debounce_time: i64,
    /// Over how many rows the model forgets.
    pub memory_rows: u32,
    /// Anomalous rows in a row after which what they show is normal, for [`Learn::ExceptAnomalies`].
    pub rebaseline_rows: u32,
    /// The season.
    pub season: Season,
    /// Least and greatest value, where they are known before the series is: detectors that divide the range
    /// of values into levels take them.
    pub range: Option<(f64, f64)>,
    /// The bounds of [`Method::Fixed`].
    pub allowed: (f64, f64),
    /// Rows in a row that the detector looks at together, where it does; 0 is the method's own choice.
    pub shingle: usize,
    /// Times whose rows are neither judged nor learned from.
    pub exclude: Exclusions,
    /// Trees of forests; 0 is the method's own choice.
    pub trees: usize,
    /// Examples that the detector keeps; 0 is the method's own choice.
    pub samples: usize,
    /// Whether anomalies are remembered, so that [feedback](crate::Model::feedback) can name them.
    pub remembers: bool,
    /// What chance follows from. Models of different keys may share it: what they see differs.
    pub seed: u64,
}

impl Config {
    /// The defaults of a method, for rows of one column.
    pub fn new(method: Method) -> Self {
        Self {
            method,
            columns: 1,
            sensitivity: 0.99,
            direction: Direction::Both,
            learn: Learn::Always,
            warmup_rows: 100,
            warmup_time: 0,
            debounce_rows: 100,
            debounce_time: 0,
            memory_rows: 20_000,
            rebaseline_rows: 100,
            season: Season::Auto,
            range: None,
            allowed: (f64::NEG_INFINITY, f64::INFINITY),
            shingle: 0,
            exclude: Exclusions::default(),
            trees: 0,
            samples: 0,
            remembers: false,
            seed: 0,
        }
    }

    /// The probability below which a row is an anomaly.
    pub fn risk(&self) -> f64 {
        1.0 - self.sensitivity
    }

    /// Says which setting is out of its bounds.
    pub fn check(&self) -> Result<()> {
        let bounds = [
            (
                "columns",
                "from 1 to 64",
                (1..=COLUMNS_MAX).contains(&self.columns),
            ),
            (
                "sensitivity",
                "at least 0.5 and below 1",
                (0.5..=1.0 - 1e-9).contains(&self.sensitivity),
            ),
            ("shingle", "at most 64", self.shingle <= SHINGLE_MAX),
            ("trees", "at most 100", self.trees <= TREES_MAX),
            (
                "samples",
                "0 or from 16 to 1024",
                self.samples == 0 || (16..=SAMPLES_MAX).contains(&self.samples),
            ),
            ("memory", "at least 100 rows", self.memory_rows >= 100),
            ("warm-up", "not negative", self.warmup_time >= 0),
            ("debounce", "not negative", self.debounce_time >= 0),
            (
                "season",
                "from 2 to 2016 rows, or positive times of which each is a multiple of the one before",
                match self.season {
                    Season::Auto | Season::None => true,
                    Season::Rows(rows) => (2..=PERIOD_ROWS_MAX).contains(&rows),
                    Season::Time(time) => time > 0,
                    Season::Times(times) => nest(&times),
                },
            ),
            (
                "the range of values",
                "finite, with a least value below the greatest",
                self.range
                    .is_none_or(|(least, most)| least < most && (most - least).is_finite()),
            ),
            (
                "the allowed values",
                "a least value not above the greatest",
                self.allowed.0 <= self.allowed.1,
            ),
        ];
        match bounds.into_iter().find(|(_, _, holds)| !holds) {
            Some((name, bound, _)) => Err(Error::Setting(name, bound)),
            None => Ok(()),
        }
    }

    /// A number that differs where the state of a model would have another layout or meaning.
    /// Sensitivity, direction, policy and debounce may change over a saved state.
    pub fn fingerprint(&self) -> u64 {
        let mut writer = Writer::default();
        writer.bytes(self.method.name().as_bytes());
        for number in [self.columns, self.shingle, self.trees, self.samples] {
            writer.length(number);
        }
        writer.u32(self.memory_rows);
        if let Season::Times(times) = self.season {
            times.into_iter().for_each(|time| writer.i64(time));
        }
        let (kind, length) = match self.season {
            Season::Times(_) => (4, 0),
            Season::Auto => (0, 0),
            Season::None => (1, 0),
            Season::Rows(rows) => (2, i64::from(rows)),
            Season::Time(time) => (3, time),
        };
        writer.u8(kind);
        writer.i64(length);
        let (least, most) = self.range.unwrap_or((f64::NAN, f64::NAN));
        writer.f64(least);
        writer.f64(most);
        let bytes = writer.into_bytes();
        bytes
            .iter()
            .fold(0, |hash, byte| mix(hash ^ u64::from(*byte)))
    }
}
