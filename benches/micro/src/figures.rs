//! The committed figures, `instructions.json`: what each micro-benchmark took, and why it changed
//! last.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::work::Result;

/// The share by which a count may grow.
const GROWTH_MAX: f64 = 0.05;
/// The share by which counts differ from run to run at most: below it a figure is not renewed.
const NOISE: f64 = 0.005;

/// All figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// What they were counted with: with another compiler or CPU they say little.
    pub(crate) counted_with: Tools,
    /// By the names of the micro-benchmarks.
    pub(crate) micros: BTreeMap<String, Figure>,
}

/// What decides the instructions besides the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tools {
    /// As `rustc --version` says it.
    rustc: String,
    /// The architecture, with what libraries ask for when they run.
    cpu: String,
}

/// The figure of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Instructions per row.
    pub(crate) per_row: f64,
    /// Why it is another than before.
    pub(crate) reason: String,
}

/// What a count means beside its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the bound.
    Holds,
    /// Less by more than the bound: the figure should be renewed, so that it stays so.
    Better,
    /// More by more than the bound.
    Worse,
    /// There is no figure.
    New,
}

impl Tools {
    /// Those of this machine.
    pub(crate) fn here() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc).arg("--version").output()?;
        Ok(Self {
            rustc: String::from_utf8(output.stdout)?.trim().to_owned(),
            cpu: cpu(),
        })
    }
}

impl std::fmt::Display for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.rustc, self.cpu)
    }
}

/// valgrind knows AVX2 and nothing newer, so that all newer CPUs are the same to it.
fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64 with AVX2".to_owned();
    }
    std::env::consts::ARCH.to_owned()
}

impl Figures {
    /// Where they are.
    fn path() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
    }

    /// Reads them; there are none before the first renewal.
    pub(crate) fn load(tools: &Tools) -> Result<Self> {
        let path = Self::path();
        if !path.exists() {
            return Ok(Self {
                counted_with: tools.clone(),
                micros: BTreeMap::new(),
            });
        }
        let figures: Self = serde_json::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        figures.check()?;
        Ok(figures)
    }

    /// A figure must be a number above nothing and have its reason.
    fn check(&self) -> Result<()> {
        for (name, figure) in &self.micros {
            let sound = figure.per_row.is_finite() && figure.per_row > 0.0;
            if !sound || figure.reason.trim().is_empty() {
                return Err(format!("the figure of {name} has no number or no reason").into());
            }
        }
        Ok(())
    }

    /// Writes them.
    pub(crate) fn save(&self) -> Result<()> {
        self.check()?;
        let text = serde_json::to_string_pretty(self)?;
        Ok(fs::write(Self::path(), text + "\n")?)
    }

    /// The share by which a count is above its figure.
    pub(crate) fn change(&self, name: &str, per_row: f64) -> Option<f64> {
        let figure = self.micros.get(name)?;
        Some(per_row / figure.per_row - 1.0)
    }

    /// Compares a count with its figure.
    pub(crate) fn judge(&self, name: &str, per_row: f64) -> Verdict {
        match self.change(name, per_row) {
            None => Verdict::New,
            Some(change) if change > GROWTH_MAX => Verdict::Worse,
            Some(change) if change < -GROWTH_MAX => Verdict::Better,
            Some(_) => Verdict::Holds,
        }
    }

    /// Takes a count as the figure, unless it is the same but for noise; says whether it did.
    pub(crate) fn renew(&mut self, name: &str, per_row: f64, reason: &str) -> bool {
        let change = self.change(name, per_row);
        if change.is_some_and(|change| change.abs() <= NOISE) {
            return false;
        }
        let figure = Figure {
            per_row: (per_row * 100.0).round() / 100.0,
            reason: reason.trim().to_owned(),
        };
        self.micros.insert(name.to_owned(), figure);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let figure = Figure {
            per_row: 200.0,
            reason: "first figure".to_owned(),
        };
        Figures {
            counted_with: Tools {
                rustc: "rustc 1.0.0".to_owned(),
                cpu: "x86_64".to_owned(),
            },
            micros: BTreeMap::from([("rank".to_owned(), figure)]),
        }
    }

    #[test]
    fn growth_beyond_the_bound_is_worse() {
        let figures = figures();
        let cases = [
            (200.0, Verdict::Holds),
            (209.9, Verdict::Holds),
            (210.1, Verdict::Worse),
            (190.1, Verdict::Holds),
            (189.9, Verdict::Better),
        ];
        for (per_row, verdict) in cases {
            assert_eq!(figures.judge("rank", per_row), verdict, "{per_row}");
        }
        assert_eq!(figures.judge("other", 1.0), Verdict::New);
    }

    #[test]
    fn noise_keeps_the_figure_and_its_reason() {
        let mut figures = figures();
        assert!(!figures.renew("rank", 200.9, "nothing"));
        assert_eq!(figures.micros["rank"].reason, "first figure");
        assert!(figures.renew("rank", 220.123, " rows are compared twice "));
        assert_eq!(figures.micros["rank"].per_row, 220.12);
        assert_eq!(figures.micros["rank"].reason, "rows are compared twice");
        assert!(figures.renew("other", 1.0, "new"));
    }

    #[test]
    fn a_figure_without_a_reason_is_refused() {
        let mut figures = figures();
        assert!(figures.check().is_ok());
        figures.renew("rank", 300.0, " ");
        assert!(figures.check().is_err());
    }

    #[test]
    fn the_committed_figures_are_those_of_the_micro_benchmarks() {
        let figures = Figures::load(&figures().counted_with).unwrap();
        let committed: Vec<&str> = figures.micros.keys().map(String::as_str).collect();
        let mut known: Vec<&str> = crate::micros::all().iter().map(|m| m.name).collect();
        known.sort_unstable();
        assert_eq!(committed, known);
    }
}
