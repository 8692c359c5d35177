//! Rows that come back from quarantine: they enter here, past the other rules that rows wait for. What is
//! replayed together is judged together, as if it were all that its window or batch has.

use std::sync::atomic::Ordering::Relaxed;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};

use super::Gate;
use super::measures::Measuring;
use super::operator::Gating;
use super::panes::{Broken, breaking, places};
use super::stage::about;
use crate::error::Result;
use crate::operator::Output;
use crate::quarantine::Action as Asked;
use crate::rules::kept::came;
use crate::rules::origin::Origin;
use crate::rules::verdict::Verdict;

/// Rows that are to be judged once more, with what they keep of their time in quarantine.
#[derive(Debug, Default)]
pub(super) struct Back {
    rows: Vec<RecordBatch>,
    came: Vec<RecordBatch>,
}

impl Gating {
    /// Takes rows out of quarantine, those of one request at a time; says whether there were any.
    pub(super) fn take_back(&mut self, out: &mut Output) -> Result<bool> {
        let Some(requests) = &mut self.requests else {
            return Ok(false);
        };
        let Some(request) = requests.next()? else {
            // All that were asked for are here.
            return self.judge_again(out);
        };
        let returned = request.rows.num_rows();
        let metrics = &self.task.metrics;
        metrics.returned.fetch_add(returned as u64, Relaxed);
        metrics.add_in(returned);
        let schema = &self.stage.schema;
        let judged = self.stage.judge.again(&request, schema, &self.task)?;
        if request.action != Asked::Replay {
            out.send(judged.rows);
            return Ok(true);
        }
        let came = came(&request.rows)?;
        self.back.came.push(match &judged.published {
            Some(published) => filter_record_batch(&came, published)?,
            None => came,
        });
        self.back.rows.push(judged.rows);
        Ok(true)
    }

    /// Judges the rows that have come back by all rules of the table that rows wait for.
    fn judge_again(&mut self, out: &mut Output) -> Result<bool> {
        let back = std::mem::take(&mut self.back);
        let Some(first) = back.came.first() else {
            return Ok(false);
        };
        let rows = concat_batches(&self.stage.schema, &back.rows)?;
        let came = concat_batches(first.schema_ref(), &back.came)?;
        let rules = self.stage.judge.rules();
        let mut verdicts = vec![Verdict::default(); rules.len()];
        let mut measured = vec![Map::new(); rows.num_rows()];
        let numbered = rules.iter().enumerate().zip(&mut verdicts);
        for ((number, rule), verdict) in numbered {
            if let Some(gate) = rule.gate.as_ref().filter(|gate| gate.holds()) {
                let about = BooleanArray::new(about(rule, &rows)?, None);
                let now = self.now();
                verdict.violated = broken((number, gate), &rows, &about, now, &mut measured)?;
            }
        }
        let seen = |row: usize| measured.get(row);
        let origin = Origin {
            again: Some(&came),
            measured: Some(&seen),
            ..Origin::default()
        };
        let how = (&origin, &self.task);
        let last = self.stage.is_last;
        let judged = self.stage.judge.settle(rows, &verdicts, how, last)?;
        out.send(judged.rows);
        Ok(true)
    }
}

/// The rows for which a rule does not hold, pane by pane; `measured` gets what it has measured of them.
fn broken(
    (number, gate): (usize, &Gate),
    rows: &RecordBatch,
    about: &BooleanArray,
    now: i64,
    measured: &mut [Map<String, Value>],
) -> Result<Option<BooleanBuffer>> {
    let starts = gate.over.starts(rows)?;
    let mut all: Option<BooleanBuffer> = None;
    for (start, places) in places(&starts) {
        let mut chosen = vec![false; rows.num_rows()];
        for row in places.values() {
            if let Some(chosen) = chosen.get_mut(*row as usize) {
                *chosen = about.value(*row as usize);
            }
        }
        let chosen = BooleanArray::from(chosen);
        let mut measuring = Measuring::new(&gate.measures)?;
        measuring.add(&filter_record_batch(rows, &chosen)?)?;
        if measuring.rows() == 0 {
            continue;
        }
        let judged = gate.judged(&measuring.finish()?, start)?;
        let mut broken = Broken::default();
        broken.note((number, gate), &judged, now)?;
        let mut reasons = broken.reasons_of(gate, rows)?;
        for (row, reason) in reasons.iter_mut().enumerate() {
            *reason = reason.filter(|_| chosen.value(row));
            if let (Some(reason), Some(measured)) = (reason, measured.get_mut(row)) {
                measured.extend(reason.measured.clone());
            }
        }
        if let Some(rows) = breaking(&reasons, number) {
            all = Some(match all {
                Some(all) => &all | &rows,
                None => rows,
            });
        }
    }
    Ok(all)
}
