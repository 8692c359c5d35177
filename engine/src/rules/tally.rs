//! What was decided over the rows of a table, in numbers.

use serde::{Deserialize, Serialize};

use super::rule::{Grade, Switch};

/// What a rule counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Rows, each by itself.
    #[default]
    Rows,
    /// Verdicts over many rows: one per window, segment or moment.
    Verdicts,
}

/// What a rule is, as its counts are kept under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleTally {
    /// The rule.
    pub name: String,
    /// Its version: a rule that is changed counts anew.
    pub version: String,
    /// What happens to a row that breaks it.
    pub action: String,
    /// What it expects, as it was written.
    #[serde(default)]
    pub expectation: String,
    /// The columns that decide it.
    #[serde(default)]
    pub columns: Vec<String>,
    /// What it counts.
    #[serde(default)]
    pub unit: Unit,
    /// What it weighs.
    #[serde(flatten)]
    pub grade: Grade,
    /// Whether it is asked, and whether what it says is done.
    #[serde(default)]
    pub switch: Switch,
    /// Rows, or verdicts, that it is about and has an answer for.
    pub evaluated: u64,
    /// Those of them that break it.
    pub violated: u64,
    /// Rows that it is about and for which it is null.
    pub unknown: u64,
}

/// The rows of a table with rules. Each row that came in is published, dropped or quarantined.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TableTally {
    /// The name in the script.
    pub table: String,
    /// Rows that were judged.
    pub rows_in: u64,
    /// Rows that went on.
    pub published: u64,
    /// Rows that a rule dropped.
    pub dropped: u64,
    /// Rows in a quarantine table.
    pub quarantined: u64,
    /// Those of the published rows that a rule changed.
    pub repaired: u64,
    /// Its rules.
    pub rules: Vec<RuleTally>,
}

impl TableTally {
    /// Adds counts of the same table; rules that are not there yet follow.
    pub(super) fn add(&mut self, other: &Self) {
        self.rows_in += other.rows_in;
        self.published += other.published;
        self.dropped += other.dropped;
        self.quarantined += other.quarantined;
        self.repaired += other.repaired;
        for rule in &other.rules {
            let same =
                |known: &&mut RuleTally| known.name == rule.name && known.version == rule.version;
            match self.rules.iter_mut().find(same) {
                Some(known) => {
                    known.evaluated += rule.evaluated;
                    known.violated += rule.violated;
                    known.unknown += rule.unknown;
                }
                None => self.rules.push(rule.clone()),
            }
        }
    }

    /// Whether every row is accounted for exactly once.
    pub fn adds_up(&self) -> bool {
        self.rows_in == self.published + self.dropped + self.quarantined
    }
}
