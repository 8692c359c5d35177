//! How a running job shows itself on standard error: one refreshed line on a terminal, a plain
//! line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use weir_engine::message::EventTime;

use crate::units;

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum When {
    /// A refreshed line on a terminal; elsewhere a plain line after two seconds and then every ten.
    #[default]
    Auto,
    /// Like auto, but a plain line every second.
    Always,
    /// Not at all.
    Never,
}

/// What a job has done so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Since its start.
    pub elapsed: Duration,
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Rows kept aside.
    pub dead_letters: u64,
    /// The least watermark of its sources; `None` when no source has one.
    pub watermark: Option<EventTime>,
    /// How far the watermark is behind the clock, while the job streams.
    pub lag: Option<Duration>,
    /// Sources that rules have paused.
    pub paused: usize,
}

impl Snapshot {
    /// Renders one line; `since` is an earlier snapshot, for the current speed.
    pub fn line(&self, since: Option<&Self>) -> String {
        let (rows, time) = since.map_or((self.rows, self.elapsed), |earlier| {
            let time = self.elapsed.saturating_sub(earlier.elapsed);
            (self.rows.saturating_sub(earlier.rows), time)
        });
        let speed = units::count(units::rate(rows, time).round() as u64);
        let mut text = format!(
            "{speed} rows/s | {} rows | {} | {}",
            units::count(self.rows),
            units::bytes(self.bytes),
            units::span(self.elapsed),
        );
        if let Some(watermark) = self.watermark {
            text.push_str(&format!(" | watermark {watermark}"));
        }
        if let Some(lag) = self.lag {
            text.push_str(&format!(" | lag {}", units::span(lag)));
        }
        if self.dead_letters > 0 {
            text.push_str(&format!(
                " | {} dead letters",
                units::count(self.dead_letters)
            ));
        }
        match self.paused {
            0 => {}
            1 => text.push_str(" | 1 source paused"),
            more => text.push_str(&format!(" | {more} sources paused")),
        }
        text
    }
}

/// How often a plain line is written when always is asked for.
const PLAIN_ALWAYS: Duration = Duration::from_secs(1);
/// When the first plain line is written: a short job writes none.
const PLAIN_FIRST: Duration = Duration::from_secs(2);
/// How often a plain line follows.
const PLAIN_NEXT: Duration = Duration::from_secs(10);
/// The snapshots over which the speed on a terminal is taken: two seconds.
const SPEED_SNAPSHOTS: usize = 10;

/// Shows snapshots.
#[derive(Debug)]
pub struct Display {
    form: Form,
    earlier: std::collections::VecDeque<Snapshot>,
}

#[derive(Debug)]
enum Form {
    Silent,
    Line(ProgressBar),
    Plain { next: Duration, every: Duration },
}

impl Display {
    /// How often it takes a snapshot.
    pub const REFRESH: Duration = Duration::from_millis(200);

    /// Decides by what standard error is.
    pub fn new(when: When) -> Self {
        Self::of(when, std::io::stderr().is_terminal())
    }

    fn of(when: When, terminal: bool) -> Self {
        let form = match (when, terminal) {
            (When::Never, _) => Form::Silent,
            (_, true) => Form::Line(bar()),
            (When::Auto, false) => Form::Plain {
                next: PLAIN_FIRST,
                every: PLAIN_NEXT,
            },
            (When::Always, false) => Form::Plain {
                next: PLAIN_ALWAYS,
                every: PLAIN_ALWAYS,
            },
        };
        Self {
            form,
            earlier: std::collections::VecDeque::new(),
        }
    }

    /// Shows a snapshot, if it is time.
    pub fn show(&mut self, snapshot: Snapshot) {
        match &mut self.form {
            Form::Silent => return,
            Form::Line(bar) => {
                bar.set_message(snapshot.line(self.earlier.front()));
                bar.tick();
            }
            Form::Plain { next, every } => {
                if snapshot.elapsed < *next {
                    return;
                }
                *next = snapshot.elapsed + *every;
                // A closed standard error must not end the job.
                let line = snapshot.line(self.earlier.back());
                drop(writeln!(std::io::stderr().lock(), "{line}"));
            }
        }
        if self.earlier.len() == SPEED_SNAPSHOTS {
            self.earlier.pop_front();
        }
        self.earlier.push_back(snapshot);
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if let Form::Line(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // A wrong template would be a bug that only costs the spinner.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(seconds: u64, rows: u64) -> Snapshot {
        Snapshot {
            elapsed: Duration::from_secs(seconds),
            rows,
            bytes: 1_500_000,
            dead_letters: 0,
            watermark: None,
            lag: None,
            paused: 0,
        }
    }

    #[test]
    fn a_line_has_the_speed_since_the_earlier_one() {
        let line = snapshot(4, 5_000).line(Some(&snapshot(2, 1_000)));
        assert_eq!(line, "2,000 rows/s | 5,000 rows | 1.5 MB | 4.000 s");
        let full = Snapshot {
            dead_letters: 3,
            watermark: Some(EventTime(1_500_000)),
            lag: Some(Duration::from_secs(75)),
            paused: 1,
            ..snapshot(20, 100)
        };
        let expected = "5 rows/s | 100 rows | 1.5 MB | 20.0 s | watermark \
                        1970-01-01T00:00:01.500Z | lag 1m 15s | 3 dead letters | 1 source paused";
        assert_eq!(full.line(None), expected);
    }

    #[test]
    fn plain_lines_come_first_soon_then_seldom() {
        let mut display = Display::of(When::Auto, false);
        let mut due = Vec::new();
        for second in 0..25 {
            display.show(snapshot(second, second));
            if let Form::Plain { next, .. } = display.form {
                due.push(next.as_secs());
            }
        }
        due.dedup();
        assert_eq!(due, [2, 12, 22, 32]);
        assert!(matches!(Display::of(When::Never, true).form, Form::Silent));
    }
}
