//! The account of rows under rules, epoch by epoch. Pure: who calls it knows the epochs.
//!
//! - **QU-1** In each epoch the rows of a table that came in are those that were published, dropped
//!   and quarantined, and those that were quarantined are those that were given to the quarantine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::excess::{Excess, Halts};
use super::judge::Table;
use super::results::RuleResult;
use super::rule::{Most, Overflow};
use super::tally::TableTally;
use crate::error::{Error, Kind, Result, codes};
use crate::limits;

/// What came of a batch, per rule in the order of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) rows_in: u64,
    pub(crate) published: u64,
    pub(crate) dropped: u64,
    pub(crate) quarantined: u64,
    pub(crate) repaired: u64,
    /// Evaluated, violated and unknown.
    pub(crate) rules: Vec<[u64; 3]>,
    /// Rows that break each rule, a few of them, as texts.
    pub(crate) samples: Vec<Vec<String>>,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.rows_in += other.rows_in;
        self.published += other.published;
        self.dropped += other.dropped;
        self.quarantined += other.quarantined;
        self.repaired += other.repaired;
        self.rules.resize(other.rules.len(), [0; 3]);
        for (sum, rule) in self.rules.iter_mut().zip(&other.rules) {
            sum.iter_mut().zip(rule).for_each(|(sum, n)| *sum += n);
        }
        self.samples.resize(self.rules.len(), Vec::new());
        for (all, more) in self.samples.iter_mut().zip(&other.samples) {
            let room = limits::RULE_SAMPLES_MAX.saturating_sub(all.len());
            all.extend(more.iter().take(room).cloned());
        }
    }
}

/// One table in one epoch.
#[derive(Debug)]
struct Page {
    table: Arc<Table>,
    counts: Counts,
    /// Rows that the quarantine took.
    kept: u64,
    /// When it was judged first and last.
    seen: (i64, i64),
    /// The run, where its rows are of a source that can pause.
    pausing: Option<Arc<str>>,
}

impl Page {
    fn excess(&self, (at, limit): (usize, Overflow), counts: [u64; 3], epoch: u64) -> Excess<'_> {
        Excess {
            table: &self.table,
            at,
            limit,
            counts,
            samples: &self.counts.samples,
            epoch,
            seen: self.seen.1,
            pausing: self.pausing.as_ref(),
        }
    }
}

/// The account of a job.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What runs before this one counted.
    restored: Vec<TableTally>,
    /// What is settled, with what is restored.
    settled: BTreeMap<String, TableTally>,
    open: BTreeMap<u64, BTreeMap<Arc<str>, Page>>,
    /// All epochs become visible at once.
    whole: bool,
    /// What becomes of too many rows.
    pub(crate) halts: Halts,
}

impl Ledger {
    /// Goes on from what a checkpoint says; `whole` when nothing is visible before the end.
    pub(crate) fn begin(&mut self, restored: &[TableTally], whole: bool) {
        self.restored = restored.to_vec();
        let named = restored.iter().map(|t| (t.table.clone(), t.clone()));
        self.settled = named.collect();
        self.whole = whole;
    }

    /// Adds what came of a batch, of which the quarantine took `kept` rows. If a rule is broken more
    /// often now than its table can bear, it is an error, unless the rule lets its source pause and
    /// `pausing` names the run in which that can be.
    pub(crate) fn add(
        &mut self,
        epoch: u64,
        table: &Arc<Table>,
        counts: &Counts,
        kept: u64,
        now_micros: i64,
        pausing: Option<&Arc<str>>,
    ) -> Result<()> {
        let pages = self.open.entry(epoch).or_default();
        let page = pages
            .entry(Arc::clone(&table.page))
            .or_insert_with(|| Page {
                table: Arc::clone(table),
                counts: Counts::default(),
                kept: 0,
                seen: (now_micros, now_micros),
                pausing: pausing.filter(|_| !self.whole).cloned(),
            });
        page.seen.1 = page.seen.1.max(now_micros);
        page.counts.add(counts);
        page.kept += kept;
        for (at, limit) in table.overflows() {
            let broken = counts
                .rules
                .get(at)
                .is_some_and(|[_, violated, _]| *violated > 0);
            let Most::Rows(most) = limit.most else {
                continue;
            };
            let unit = self.unit(epoch, table, at);
            let pages = self.open.get(&epoch);
            let page = pages.and_then(|pages| pages.get(&table.page));
            if let Some(page) = page.filter(|_| broken && unit[1] > most) {
                self.halts
                    .exceeded(&page.excess((at, limit), unit, epoch))?;
            }
        }
        Ok(())
    }

    /// How many more samples each rule of a table wants in an epoch; `None` if none that is broken
    /// now wants any.
    pub(crate) fn samples_wanted(
        &self,
        epoch: u64,
        table: &Table,
        counts: &Counts,
    ) -> Option<Vec<usize>> {
        let pages = self.open.get(&epoch);
        let page = pages.and_then(|pages| pages.get(&table.page));
        let wanted = counts
            .rules
            .iter()
            .enumerate()
            .map(|(at, [_, violated, _])| {
                let known = page.and_then(|page| page.counts.samples.get(at));
                match violated {
                    0 => 0,
                    _ => limits::RULE_SAMPLES_MAX.saturating_sub(known.map_or(0, Vec::len)),
                }
            });
        let wanted: Vec<usize> = wanted.collect();
        wanted.iter().any(|wanted| *wanted > 0).then_some(wanted)
    }

    /// Settles an epoch that all tasks have passed: checks that no row is lost, and the rules whose
    /// bound is a share of the rows, once all that becomes visible at once is there. Gives what each
    /// rule over rows has counted in it.
    pub(crate) fn settle(&mut self, epoch: u64, last: bool) -> Result<Vec<RuleResult>> {
        let pages = self.open.remove(&epoch).unwrap_or_default();
        let mut results = Vec::new();
        for page in pages.values() {
            let tally = page.table.tally(&page.counts);
            if !tally.adds_up() || tally.quarantined != page.kept {
                return Err(lost(&tally, page.kept, epoch));
            }
            let settled = self.settled.entry(tally.table.clone()).or_default();
            settled.table = tally.table.clone();
            settled.add(&tally);
            results.extend(RuleResult::of_rows(&tally, &page.counts, page.seen));
        }
        if self.whole && !last {
            return Ok(results);
        }
        for page in pages.values() {
            for (at, limit) in page.table.overflows() {
                let counts = match self.whole {
                    true => self.unit(epoch, &page.table, at),
                    false => page.counts.rules.get(at).copied().unwrap_or_default(),
                };
                let [evaluated, violated, _] = counts;
                if let Most::Share(most) = limit.most
                    && violated as f64 > most * evaluated as f64
                {
                    self.halts
                        .exceeded(&page.excess((at, limit), counts, epoch))?;
                }
            }
        }
        self.halts.tell(&mut results);
        Ok(results)
    }

    /// The counts of a rule in what becomes visible together with an epoch.
    fn unit(&self, epoch: u64, table: &Table, at: usize) -> [u64; 3] {
        let mut sum = [0; 3];
        let mut add = |counts: [u64; 3]| sum.iter_mut().zip(counts).for_each(|(s, n)| *s += n);
        for (number, pages) in &self.open {
            let page = pages
                .get(&table.page)
                .filter(|_| self.whole || *number == epoch);
            if let Some(counts) = page.and_then(|page| page.counts.rules.get(at)) {
                add(*counts);
            }
        }
        let settled = self.settled.get(&*table.name).filter(|_| self.whole);
        let info = table.rules.get(at);
        let known = settled.zip(info).and_then(|(tally, info)| {
            let mut rules = tally.rules.iter();
            rules.find(|rule| rule.name == info.name && rule.version == info.version)
        });
        if let Some(rule) = known {
            add([rule.evaluated, rule.violated, rule.unknown]);
        }
        sum
    }

    /// Whether nothing is visible before the end.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// What is settled: what a checkpoint keeps.
    pub(crate) fn settled(&self) -> Vec<TableTally> {
        self.settled.values().cloned().collect()
    }

    /// What is known now, settled or not, with what runs before this one counted.
    pub(crate) fn now(&self) -> Vec<TableTally> {
        let mut all = self.settled.clone();
        for page in self.open.values().flat_map(BTreeMap::values) {
            let name = &page.table.name;
            let tally = all.entry(name.to_string()).or_default();
            tally.table = name.to_string();
            tally.add(&page.table.tally(&page.counts));
        }
        all.into_values().collect()
    }

    /// Rows of a table that this run has kept back.
    pub(crate) fn kept_back(&self, table: &str) -> u64 {
        let of = |tallies: &[TableTally]| {
            let found = tallies.iter().find(|tally| tally.table == table);
            found.map_or(0, |tally| tally.dropped + tally.quarantined)
        };
        of(&self.now()).saturating_sub(of(&self.restored))
    }

    /// Forgets what no durable epoch has.
    pub(crate) fn discard(&mut self) {
        self.open.clear();
    }
}

fn lost(tally: &TableTally, kept: u64, epoch: u64) -> Error {
    Error::new(
        Kind::Internal,
        codes::INTERNAL,
        format!("QU-1: the rows of \"{}\" do not add up", tally.table),
    )
    .detail(format!(
        "in epoch {epoch}: {} in, but {} published + {} dropped + {} quarantined, of which {kept} \
         are kept",
        tally.rows_in, tally.published, tally.dropped, tally.quarantined
    ))
    .hint("this is a bug in Weir: please report it with the script")
}

#[cfg(test)]
#[path = "tests/ledger.rs"]
mod tests;
