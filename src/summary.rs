//! What a job did, in numbers that add up: per source, every row that came in is dropped by a
//! filter, kept back by a rule, a dead letter, late, or went on.

use std::time::Duration;

use serde::Serialize;
use weir_engine::rules::{Pause, TableTally, Unit};

use crate::units;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Every source was read to its end.
    Finished,
    /// It was asked to stop, and committed what it had read.
    Drained,
    /// It was asked to stop, took a checkpoint, and goes on from it when it is started again.
    Stopped,
}

/// The rows of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// Rows and undecodable records that were read.
    pub rows_in: u64,
    /// Rows that went on: into a sink, or into what folds rows (an aggregate, a join).
    pub rows_out: u64,
    /// Rows dropped by filters.
    pub filtered: u64,
    /// Rows that a rule dropped or quarantined.
    pub ruled: u64,
    /// Rows kept aside.
    pub dead_letters: u64,
    /// Rows that could not be processed and were skipped, as the source says.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Rows that came after their window was closed.
    pub late: u64,
    /// Bytes read.
    pub bytes: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl SourceSummary {
    /// Whether every row is accounted for exactly once.
    pub fn adds_up(&self) -> bool {
        let parts = [
            self.rows_out,
            self.filtered,
            self.ruled,
            self.dead_letters,
            self.skipped,
            self.late,
        ];
        parts
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_add(*part))
            == Some(self.rows_in)
    }
}

/// The rows of one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkSummary {
    /// Its name.
    pub name: String,
    /// Rows written and committed.
    pub rows: u64,
    /// Bytes committed.
    pub bytes: u64,
}

/// Dead letters of one source and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterCount {
    /// The source.
    pub source: String,
    /// The reason.
    pub reason: String,
    /// How many.
    pub rows: u64,
}

/// Rows that the run has taken out of quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenCount {
    /// The quarantine table.
    pub table: String,
    /// `released` or `replayed`.
    pub status: String,
    /// How many.
    pub rows: u64,
}

/// The checkpoints of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckpointSummary {
    /// Where they are.
    pub path: String,
    /// The epoch that the run went on from; absent for a new pipeline.
    pub resumed_from: Option<u64>,
    /// Milliseconds from the start to the first row read: reading the state back.
    pub restore_ms: u64,
    /// The last epoch that is durable and visible.
    pub last_epoch: Option<u64>,
    /// Epochs of this run.
    pub count: u64,
    /// The longest time from a barrier to visible rows.
    pub longest_ms: u64,
    /// Bytes of state written.
    pub bytes: u64,
    /// What was dropped or could not be read at the start.
    pub notes: Vec<String>,
}

impl CheckpointSummary {
    fn text(&self) -> String {
        let mut text = match self.last_epoch {
            Some(epoch) => format!("epoch {epoch} in {}", self.path),
            None => format!("none taken, {}", self.path),
        };
        if let Some(epoch) = self.resumed_from {
            let time = units::span(Duration::from_millis(self.restore_ms));
            text.push_str(&format!(", went on from epoch {epoch} in {time}"));
        }
        if self.count > 0 {
            let longest = units::span(Duration::from_millis(self.longest_ms));
            text.push_str(&format!(
                "; {} in this run, {}, longest {longest}",
                self.count,
                units::bytes(self.bytes)
            ));
        }
        text
    }
}

/// The memory that was allowed and taken, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemorySummary {
    /// The budget of the job.
    pub budget: u64,
    /// The most that was resident at once in the process; absent where the system doesn't tell.
    pub peak: Option<u64>,
}

/// What a job did. Its JSON form is documented in `docs/summary.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The pipeline's name.
    pub pipeline: String,
    /// `batch` or `streaming`.
    pub mode: String,
    /// How it ended.
    pub ending: Ending,
    /// How long it ran.
    pub seconds: f64,
    /// Rows read from all sources.
    pub rows_in: u64,
    /// Rows read per second.
    pub rows_per_second: f64,
    /// Per source, in the order of their names.
    pub sources: Vec<SourceSummary>,
    /// Per sink, in the script's order.
    pub sinks: Vec<SinkSummary>,
    /// Counts per source and reason.
    pub dead_letters: Vec<DeadLetterCount>,
    /// Where the dead letters are stored, when there are any.
    pub dead_letters_path: Option<String>,
    /// What the rules of each table decided since the pipeline began, by table.
    pub rules: Vec<TableTally>,
    /// Where quarantined rows are stored, when there are any.
    pub quarantine_path: Option<String>,
    /// Rows taken out of quarantine, by table and by what became of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<TakenCount>,
    /// Sources that rules have paused, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<Pause>,
    /// Checkpoints; absent when the run takes none.
    pub checkpoints: Option<CheckpointSummary>,
    /// Memory.
    pub memory: MemorySummary,
    /// Whether all sums add up; if not, it is a bug in Weir.
    pub adds_up: bool,
}

impl Summary {
    /// Renders it for people.
    pub fn text(&self) -> String {
        let ending = match self.ending {
            Ending::Finished => "finished",
            Ending::Drained => "drained",
            Ending::Stopped => "stopped",
        };
        let time = units::span(Duration::try_from_secs_f64(self.seconds).unwrap_or_default());
        let mut text = format!(
            "pipeline {} ({}) {ending} in {time}\n",
            self.pipeline, self.mode
        );
        let names = self
            .sources
            .iter()
            .map(|s| &s.name)
            .chain(self.sinks.iter().map(|s| &s.name))
            .chain(self.rules.iter().map(|table| &table.table));
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
        for source in &self.sources {
            line(
                &mut text,
                "source",
                &format!("{:width$}  {}", source.name, source_text(source)),
            );
        }
        for sink in &self.sinks {
            let rows = units::count(sink.rows);
            let bytes = units::bytes(sink.bytes);
            line(
                &mut text,
                "sink",
                &format!("{:width$}  {rows} rows, {bytes}", sink.name),
            );
        }
        for letters in &self.dead_letters {
            let rows = units::count(letters.rows);
            let words = format!("{:width$}  {rows} rows: {}", letters.source, letters.reason);
            line(&mut text, "dead letters", &words);
        }
        if let Some(path) = &self.dead_letters_path {
            line(&mut text, "stored in", path);
        }
        for table in &self.rules {
            rules_text(&mut text, table, width);
        }
        if let Some(path) = &self.quarantine_path {
            line(&mut text, "stored in", path);
        }
        for taken in &self.taken {
            let rows = units::count(taken.rows);
            let words = format!("{:width$}  {rows} rows {}", taken.table, taken.status);
            line(&mut text, "quarantine", &words);
        }
        for pause in &self.paused {
            let (source, rule, detail) = (&pause.source, &pause.rule, &pause.detail);
            let words = format!(
                "{source:width$}  by rule {rule}: {detail}; RESUME SOURCE {source} lets it read on"
            );
            line(&mut text, "paused", &words);
        }
        if let Some(checkpoints) = &self.checkpoints {
            line(&mut text, "checkpoint", &checkpoints.text());
            for note in &checkpoints.notes {
                line(&mut text, "note", note);
            }
        }
        let rate = units::count(self.rows_per_second.round() as u64);
        line(&mut text, "speed", &format!("{rate} rows/s"));
        line(&mut text, "memory", &self.memory_text());
        text
    }

    fn memory_text(&self) -> String {
        let budget = units::bytes(self.memory.budget);
        match self.memory.peak {
            Some(peak) => format!("peak {} resident, budget {budget}", units::bytes(peak)),
            None => format!("budget {budget}"),
        }
    }

    /// Renders it for programs: one line of JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn line(text: &mut String, label: &str, words: &str) {
    text.push_str(&format!("  {label:<13} {words}\n"));
}

/// The rows of a table under rules, and one line for each rule.
fn rules_text(text: &mut String, table: &TableTally, width: usize) {
    let parts = [
        (table.dropped, "dropped"),
        (table.quarantined, "quarantined"),
    ];
    // Rules over many rows measure the table by queries of their own: nobody counts its rows for them.
    let measured = table.rules.iter().all(|rule| rule.unit == Unit::Verdicts);
    let mut words = match table.rows_in == 0 && measured {
        true => format!("{:width$}  measured as a whole", table.table),
        false => format!(
            "{:width$}  {} rows in = {} published",
            table.table,
            units::count(table.rows_in),
            units::count(table.published)
        ),
    };
    for (rows, what) in parts.into_iter().filter(|(rows, _)| *rows > 0) {
        words.push_str(&format!(" + {} {what}", units::count(rows)));
    }
    if table.repaired > 0 {
        words.push_str(&format!(" ({} repaired)", units::count(table.repaired)));
    }
    line(text, "rules", &words);
    for rule in &table.rules {
        let unit = match rule.unit {
            Unit::Rows => "rows break it",
            Unit::Verdicts => "verdicts are against it",
        };
        let mut words = format!(
            "{:width$}    {}: {} of {} {unit}",
            "",
            rule.name,
            units::count(rule.violated),
            units::count(rule.evaluated)
        );
        if rule.unknown > 0 {
            words.push_str(&format!(", {} unknown", units::count(rule.unknown)));
        }
        words.push_str(&format!(" ({})", rule.action));
        line(text, "", &words);
    }
}

fn source_text(source: &SourceSummary) -> String {
    let parts = [
        (source.filtered, "dropped by filter"),
        (source.ruled, "kept back by rules"),
        (source.dead_letters, "dead letters"),
        (source.skipped, "skipped"),
        (source.late, "late"),
    ];
    let mut text = format!(
        "{} rows in = {} out",
        units::count(source.rows_in),
        units::count(source.rows_out)
    );
    for (rows, what) in parts.into_iter().filter(|(rows, _)| *rows > 0) {
        text.push_str(&format!(" + {} {what}", units::count(rows)));
    }
    text.push_str(&format!(", {} read", units::bytes(source.bytes)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn summary() -> Summary {
        Summary {
            pipeline: "taxi".to_owned(),
            mode: "batch".to_owned(),
            ending: Ending::Finished,
            seconds: 1.5,
            rows_in: 10_320,
            rows_per_second: 6880.0,
            sources: vec![SourceSummary {
                name: "trips".to_owned(),
                rows_in: 10_320,
                rows_out: 10_000,
                filtered: 300,
                ruled: 0,
                dead_letters: 20,
                skipped: 0,
                late: 0,
                bytes: 265_000,
            }],
            sinks: vec![SinkSummary {
                name: "per_hour".to_owned(),
                rows: 240,
                bytes: 12_345,
            }],
            dead_letters: vec![DeadLetterCount {
                source: "trips".to_owned(),
                reason: "decode".to_owned(),
                rows: 20,
            }],
            checkpoints: None,
            dead_letters_path: Some(".weir/taxi/dead_letters".to_owned()),
            rules: Vec::new(),
            quarantine_path: None,
            taken: Vec::new(),
            paused: Vec::new(),
            memory: MemorySummary {
                budget: 512_000_000,
                peak: Some(143_000_000),
            },
            adds_up: true,
        }
    }

    #[test]
    fn the_text_adds_up_for_people() {
        expect![[r#"
            pipeline taxi (batch) finished in 1.500 s
              source        trips     10,320 rows in = 10,000 out + 300 dropped by filter + 20 dead letters, 265.0 kB read
              sink          per_hour  240 rows, 12.3 kB
              dead letters  trips     20 rows: decode
              stored in     .weir/taxi/dead_letters
              speed         6,880 rows/s
              memory        peak 143.0 MB resident, budget 512.0 MB
        "#]]
        .assert_eq(&summary().text());
    }

    #[test]
    fn the_json_is_one_line_with_stable_fields() {
        expect![[r#"{"pipeline":"taxi","mode":"batch","ending":"finished","seconds":1.5,"rows_in":10320,"rows_per_second":6880.0,"sources":[{"name":"trips","rows_in":10320,"rows_out":10000,"filtered":300,"ruled":0,"dead_letters":20,"late":0,"bytes":265000}],"sinks":[{"name":"per_hour","rows":240,"bytes":12345}],"dead_letters":[{"source":"trips","reason":"decode","rows":20}],"dead_letters_path":".weir/taxi/dead_letters","rules":[],"quarantine_path":null,"checkpoints":null,"memory":{"budget":512000000,"peak":143000000},"adds_up":true}"#]]
        .assert_eq(&summary().json().unwrap());
    }

    #[test]
    fn a_lost_row_does_not_add_up() {
        let mut source = summary().sources.remove(0);
        assert!(source.adds_up());
        source.filtered -= 1;
        assert!(!source.adds_up());
        source.filtered = u64::MAX;
        assert!(!source.adds_up());
    }
}
