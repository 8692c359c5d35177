//! What a model says of a row, one by one or as columns.

/// What a model says of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The row is an anomaly, and none was told so shortly before that this one is part of it.
    pub is_anomaly: bool,
    /// The row is as unlikely, but belongs to an anomaly that was told already.
    pub is_suppressed: bool,
    /// The model still learns what is normal and says of nothing that it is an anomaly.
    pub is_warmup: bool,
    /// The anomaly's number among those of its key, the same in each run: [feedback](crate::Model::feedback) names it
    /// so. 0 if the row is none.
    pub mark: u64,
    /// From 0 to 1; 0.5 is where anomalies begin, for every method.
    pub score: f64,
    /// The probability of a row at least so far from normal.
    pub p_value: f64,
    /// What was expected of the first column; NaN when nothing in particular was.
    pub expected: f64,
    /// Values below are anomalies; NaN when the method has no bounds.
    pub lower: f64,
    /// Values above are anomalies; NaN when the method has no bounds.
    pub upper: f64,
    /// 1 when the value is too high, -1 when it is too low, 0 when neither can be said.
    pub direction: i8,
    /// Each column's share of the score; empty for a model of one column.
    pub contribution: Vec<f64>,
}

impl Verdict {
    /// Nothing can be said, of a row without values or by a model that knows too little.
    pub(crate) fn nothing(is_warmup: bool) -> Self {
        Self {
            is_anomaly: false,
            is_suppressed: false,
            is_warmup,
            mark: 0,
            score: 0.0,
            p_value: 1.0,
            expected: f64::NAN,
            lower: f64::NAN,
            upper: f64::NAN,
            direction: 0,
            contribution: Vec::new(),
        }
    }
}

/// Verdicts as columns; each has a value per row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdicts {
    /// See [`Verdict::is_anomaly`].
    pub is_anomaly: Vec<bool>,
    /// See [`Verdict::is_suppressed`].
    pub is_suppressed: Vec<bool>,
    /// See [`Verdict::is_warmup`].
    pub is_warmup: Vec<bool>,
    /// See [`Verdict::score`].
    pub score: Vec<f64>,
    /// See [`Verdict::p_value`].
    pub p_value: Vec<f64>,
    /// See [`Verdict::expected`].
    pub expected: Vec<f64>,
    /// See [`Verdict::lower`].
    pub lower: Vec<f64>,
    /// See [`Verdict::upper`].
    pub upper: Vec<f64>,
    /// See [`Verdict::direction`].
    pub direction: Vec<i8>,
    /// See [`Verdict::contribution`]: as many values per row as there are columns, none for one column.
    pub contribution: Vec<f64>,
}

impl Verdicts {
    /// Rows.
    pub fn len(&self) -> usize {
        self.score.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.score.is_empty()
    }

    /// Makes room for rows.
    pub fn reserve(&mut self, rows: usize) {
        for flags in [
            &mut self.is_anomaly,
            &mut self.is_suppressed,
            &mut self.is_warmup,
        ] {
            flags.reserve(rows);
        }
        for numbers in [
            &mut self.score,
            &mut self.p_value,
            &mut self.expected,
            &mut self.lower,
            &mut self.upper,
        ] {
            numbers.reserve(rows);
        }
        self.direction.reserve(rows);
    }

    /// Forgets the rows and keeps the room.
    pub fn clear(&mut self) {
        for flags in [
            &mut self.is_anomaly,
            &mut self.is_suppressed,
            &mut self.is_warmup,
        ] {
            flags.clear();
        }
        for numbers in [
            &mut self.score,
            &mut self.p_value,
            &mut self.expected,
            &mut self.lower,
            &mut self.upper,
            &mut self.contribution,
        ] {
            numbers.clear();
        }
        self.direction.clear();
    }

    /// Adds a row.
    pub fn push(&mut self, verdict: &Verdict) {
        self.is_anomaly.push(verdict.is_anomaly);
        self.is_suppressed.push(verdict.is_suppressed);
        self.is_warmup.push(verdict.is_warmup);
        self.score.push(verdict.score);
        self.p_value.push(verdict.p_value);
        self.expected.push(verdict.expected);
        self.lower.push(verdict.lower);
        self.upper.push(verdict.upper);
        self.direction.push(verdict.direction);
        self.contribution.extend(&verdict.contribution);
    }
}
