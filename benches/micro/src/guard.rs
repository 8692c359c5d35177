//! The guard: counts all micro-benchmarks and compares them with their figures, or renews these.

use crate::figures::{Figures, Tools, Verdict};
use crate::work::{Micro, Result};
use crate::{callgrind, micros, say};

/// What renews a figure.
const RENEW: &str = "bash benches/micro/run renew \"reason\"";

/// Prints a table of all; says whether all hold. With another compiler or CPU than that of the
/// figures nothing is held against the source.
pub(crate) fn compare() -> Result<bool> {
    let here = Tools::here()?;
    let figures = Figures::load(&here)?;
    let mut failures = Vec::new();
    let mut better = Vec::new();
    head();
    for micro in micros::all() {
        let per_row = callgrind::per_row(micro.name)?;
        let verdict = figures.judge(micro.name, per_row);
        row(&figures, micro.name, per_row, verdict);
        match verdict {
            Verdict::Worse => failures.push(format!("{} takes over 5 % more", micro.name)),
            Verdict::New => failures.push(format!("{} has no figure", micro.name)),
            Verdict::Better => better.push(micro.name),
            Verdict::Holds => {}
        }
    }
    for name in figures.micros.keys().filter(|name| !micros::knows(name)) {
        failures.push(format!("{name} has a figure and is no micro-benchmark"));
    }
    if !better.is_empty() {
        let names = better.join(", ");
        say(&format!(
            "{names}: less by over 5 %. To hold it: {RENEW} {}",
            better.join(" ")
        ));
    }
    if failures.is_empty() {
        say("instruction counts hold");
        return Ok(true);
    }
    for failure in &failures {
        say(failure);
    }
    if here != figures.counted_with {
        say(&format!(
            "not held against the source: the figures are of {}, this is {here}. {RENEW} renews all",
            figures.counted_with
        ));
        return Ok(true);
    }
    say(&format!(
        "make it as fast as it was; or, where that is the price of something, {RENEW} [NAME...] and commit \
         benches/micro/instructions.json"
    ));
    Ok(false)
}

/// Writes new figures of those named, or of all, where they have changed.
pub(crate) fn renew(reason: &str, names: &[String]) -> Result<()> {
    if reason.trim().is_empty() || micros::knows(reason) {
        return Err(format!("a new figure needs its reason: {RENEW} [NAME...]").into());
    }
    let here = Tools::here()?;
    let mut figures = Figures::load(&here)?;
    if here != figures.counted_with && !names.is_empty() {
        let of = &figures.counted_with;
        return Err(format!("the figures are of {of}, this is {here}: renew all of them").into());
    }
    let mut named: Vec<&Micro> = Vec::new();
    for name in names {
        named.push(micros::find(name)?);
    }
    if names.is_empty() {
        named.extend(micros::all());
    }
    head();
    for micro in named {
        let per_row = callgrind::per_row(micro.name)?;
        row(
            &figures,
            micro.name,
            per_row,
            figures.judge(micro.name, per_row),
        );
        figures.renew(micro.name, per_row, reason);
    }
    figures.micros.retain(|name, _| micros::knows(name));
    figures.counted_with = here;
    figures.save()
}

fn head() {
    say(&format!(
        "{:24}{:>18}{:>12}{:>9}",
        "", "instructions/row", "committed", "change"
    ));
}

fn row(figures: &Figures, name: &str, per_row: f64, verdict: Verdict) {
    let figure = figures.micros.get(name);
    let committed = figure.map_or("-".to_owned(), |figure| format!("{:.1}", figure.per_row));
    let change = figures.change(name, per_row);
    let change = change.map_or("-".to_owned(), |change| format!("{:+.1} %", 100.0 * change));
    let mark = match verdict {
        Verdict::Holds => "",
        Verdict::Better => "  less",
        Verdict::Worse => "  MORE",
        Verdict::New => "  new",
    };
    say(&format!(
        "{name:24}{per_row:>18.1}{committed:>12}{change:>9}{mark}"
    ));
}
