//! What a checkpoint has of a gate: rows on hold, up to which time rows were let go, and how far windows
//! without rows were judged.

use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::hold::{FORMAT, GONE, HELD, gone};
use super::operator::Gating;
use super::panes::divided;
use crate::error::Result;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, StateBatches};
use crate::updating::codec::evaluate;
use crate::updating::state::unreadable;

/// Windows of a rule that judges those without rows too: the name of the rule follows.
const EVERY: &str = "every-";

impl Gating {
    /// What is kept, or what has changed of it.
    pub(super) fn save(&mut self, extent: Extent) -> Result<StateBatches> {
        let mut state = self.hold.snapshot(extent, self.watermark)?;
        for rule in &self.rules {
            let part = format!("{EVERY}{}", rule.name);
            if let Some(windows) = rule.checks.windows(&part, FORMAT)? {
                state = Box::new(state.chain(std::iter::once(Ok(windows))));
            }
        }
        Ok(state)
    }

    /// Takes back what one subtask had.
    pub(super) fn take_over(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        self.hold.begin_restore();
        let mut watermark = i64::MIN;
        for batch in state {
            let batch = batch?;
            match FORMAT.part(&batch)? {
                GONE => {
                    watermark = gone(&batch)?;
                    let over = &self.over;
                    self.hold
                        .restore_gone(|start| over.is_over(start, watermark));
                }
                HELD => self.restore_rows(batch, groups)?,
                part => {
                    let name = part.strip_prefix(EVERY);
                    let name =
                        name.ok_or_else(|| unreadable(format!("it has a part \"{part}\"")))?;
                    let rule = self.rules.iter_mut().find(|rule| rule.name == name);
                    if let Some(rule) = rule {
                        rule.checks.restore_windows(&batch)?;
                    }
                }
            }
        }
        // A window that one subtask has judged is not opened again for its rows.
        self.watermark = self.watermark.max(watermark);
        self.hold.settle(0)
    }

    fn restore_rows(&mut self, batch: RecordBatch, groups: &KeyGroups) -> Result<()> {
        FORMAT.check(&batch, &self.stage.schema)?;
        let schema = Arc::clone(&self.stage.schema);
        let mut rows = RecordBatch::try_new(schema, batch.columns().to_vec())?;
        let segments = evaluate(self.stage.first()?.segments(), &rows)?;
        if !segments.is_empty() {
            rows = filter_record_batch(&rows, &groups.mask(&segments, rows.num_rows())?)?;
        }
        let starts = self.over.starts(&rows)?;
        for (start, rows) in divided(&rows, &starts)? {
            self.hold.restore(start, rows);
        }
        self.hold.settle(0)
    }
}
