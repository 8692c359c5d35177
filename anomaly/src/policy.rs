//! What follows from a probability: an alarm, silence, learning. Pure but for its own few counters.

use crate::codec::{Reader, State, Writer};
use crate::config::{Config, Learn};
use crate::error::Result;

/// What someone says of an anomaly that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// It was to be expected: rows like it are no anomaly, and are learned from.
    Expected,
    /// It was none: alarms become rarer for a while.
    FalsePositive,
    /// It was one: rows like it are not learned from; alarms become a little more frequent, up to what was asked for
    /// at first.
    TruePositive,
}

impl Feedback {
    const ALL: [(Self, &str); 3] = [
        (Self::Expected, "expected"),
        (Self::FalsePositive, "false_positive"),
        (Self::TruePositive, "true_positive"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(known, _)| *known == self);
        found.map_or("", |(_, word)| word)
    }

    /// Finds one by its word, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        let found = Self::ALL
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(word));
        found.map(|(known, _)| *known)
    }

    /// The number by which states know it, from 1.
    pub(crate) fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|(known, _)| *known == self);
        // One of three.
        place.map_or(0, |place| place as u8 + 1)
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        let place = usize::from(number).checked_sub(1)?;
        Self::ALL.get(place).map(|(known, _)| *known)
    }
}

/// The factor of the risk after a false alarm, and after a right one: three right ones make up for a wrong one.
const AFTER_FALSE: f64 = 0.5;
const AFTER_RIGHT: f64 = 1.26;
/// However many false alarms are told, an anomaly a hundred times less likely than asked is still told.
const FACTOR_MIN: f64 = 0.01;

/// What is to be done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) is_warmup: bool,
    pub(crate) is_anomaly: bool,
    pub(crate) is_suppressed: bool,
    pub(crate) learns: bool,
}

/// The counters that decisions depend on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    rows: u32,
    first: Option<i64>,
    /// Rows and time up to which an anomaly is part of the last one.
    quiet_rows: u32,
    quiet_until: Option<i64>,
    /// Anomalous rows in a row.
    lasting: u32,
    /// What feedback made of the risk.
    factor: f64,
}

impl Policy {
    /// No row has been seen.
    pub(crate) fn new() -> Self {
        Self {
            rows: 0,
            first: None,
            quiet_rows: 0,
            quiet_until: None,
            lasting: 0,
            factor: 1.0,
        }
    }

    /// The probability below which a row is an anomaly.
    pub(crate) fn risk(&self, config: &Config) -> f64 {
        config.risk() * self.factor
    }

    /// Counts a row, and says whether the model is still warming up.
    pub(crate) fn see(&mut self, config: &Config, time: i64) -> bool {
        let first = *self.first.get_or_insert(time);
        let is_warmup = self.rows < config.warmup_rows
            || (config.warmup_time > 0 && time.saturating_sub(first) < config.warmup_time);
        self.rows = self.rows.saturating_add(1);
        if self.factor < 1.0 {
            self.factor += (1.0 - self.factor) / f64::from(config.memory_rows);
        }
        is_warmup
    }

    /// Decides about a row that was seen; `like` is what was said of anomalies like it.
    pub(crate) fn decide(
        &mut self,
        config: &Config,
        time: i64,
        (p, like): (f64, Option<Feedback>),
        is_warmup: bool,
    ) -> Decision {
        let quiet = self.quiet_rows > 0 || self.quiet_until.is_some_and(|until| time < until);
        self.quiet_rows = self.quiet_rows.saturating_sub(1);
        let is_expected = like == Some(Feedback::Expected);
        let exceeds = !is_warmup && !is_expected && p <= self.risk(config);
        self.lasting = if exceeds {
            self.lasting.saturating_add(1)
        } else {
            0
        };
        if exceeds && !quiet {
            self.quiet_rows = config.debounce_rows;
            self.quiet_until =
                (config.debounce_time > 0).then(|| time.saturating_add(config.debounce_time));
        }
        let learns = match config.learn {
            Learn::Always if exceeds && like == Some(Feedback::TruePositive) => {
                self.lasting > config.rebaseline_rows
            }
            Learn::Always => true,
            Learn::ExceptAnomalies => !exceeds || self.lasting > config.rebaseline_rows,
            Learn::Frozen => is_warmup,
        };
        Decision {
            is_warmup,
            is_anomaly: exceeds && !quiet,
            is_suppressed: exceeds && quiet,
            learns,
        }
    }

    /// Follows what someone said.
    pub(crate) fn follow(&mut self, feedback: Feedback) {
        let factor = match feedback {
            Feedback::Expected => self.factor,
            Feedback::FalsePositive => self.factor * AFTER_FALSE,
            Feedback::TruePositive => self.factor * AFTER_RIGHT,
        };
        self.factor = factor.clamp(FACTOR_MIN, 1.0);
    }
}

impl State for Policy {
    fn save(&self, to: &mut Writer) {
        to.u32(self.rows);
        for time in [self.first, self.quiet_until] {
            to.flag(time.is_some());
            to.i64(time.unwrap_or_default());
        }
        to.u32(self.quiet_rows);
        to.u32(self.lasting);
        to.f64(self.factor);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.rows = from.u32()?;
        for time in [&mut self.first, &mut self.quiet_until] {
            let is_some = from.flag()?;
            let value = from.i64()?;
            *time = is_some.then_some(value);
        }
        self.quiet_rows = from.u32()?;
        self.lasting = from.u32()?;
        self.factor = from.f64()?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
