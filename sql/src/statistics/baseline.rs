//! What distributions are compared with: `REFERENCE name(column)` names a stored profile, or a source or view, and
//! stands for what it held when the job started.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use weir_engine::error::{Error, Place, Result};
use weir_engine::rules::Baseline;

use super::Distribution;
use crate::ast;
use crate::parse::skeleton::quoted;

/// The references of a script, by their texts.
#[derive(Debug, Default)]
pub(crate) struct Baselines {
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    baseline: Arc<Baseline>,
    place: Place,
    /// What gives it; `None` where a profile did.
    plan: Option<LogicalPlan>,
    /// Whether its values are numbers; unknown of a profile without values.
    numbers: Option<bool>,
}

/// One that a job has to know.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What it is given to.
    pub(crate) baseline: Arc<Baseline>,
    /// Where it was named first.
    pub(crate) place: Place,
    /// What gives it.
    pub(crate) plan: Option<LogicalPlan>,
}

/// The query of the distribution of a column.
pub(crate) fn reading(reference: &ast::Baseline) -> String {
    let (table, column) = (quoted(&reference.table), quoted(&reference.column));
    format!("SELECT distribution({column}) FROM {table}")
}

impl Baselines {
    /// Notes one that a query gives when a job starts.
    pub(crate) fn read(&self, reference: &ast::Baseline, plan: LogicalPlan, numbers: bool) {
        self.add(reference, Some(plan), Some(numbers), None);
    }

    /// Notes one that is kept.
    pub(crate) fn keep(&self, reference: &ast::Baseline, value: &Distribution) {
        let numbers = matches!(value, Distribution::Numbers(_));
        let numbers = (!value.is_empty()).then_some(numbers);
        self.add(reference, None, numbers, Some(value.to_bytes().into()));
    }

    fn add(
        &self,
        reference: &ast::Baseline,
        plan: Option<LogicalPlan>,
        numbers: Option<bool>,
        value: Option<Arc<[u8]>>,
    ) {
        let name = reference.to_string();
        let baseline = Baseline::new(name.clone());
        if let Some(value) = value {
            baseline.set(value);
        }
        let place = reference.place;
        // It may be another one of this name by now.
        let known = Known {
            baseline: Arc::new(baseline),
            place,
            plan,
            numbers,
        };
        self.known.lock().insert(name, known);
    }

    /// Whether there is one of this text.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known.lock().contains_key(name)
    }

    /// Whether the values of one are numbers, if that is known.
    pub(crate) fn numbers(&self, name: &str) -> Option<bool> {
        self.known.lock().get(name)?.numbers
    }

    /// What one is.
    pub(super) fn value(&self, name: &str) -> Result<Arc<[u8]>> {
        let known = self.known.lock();
        let baseline = known.get(name).map(|known| Arc::clone(&known.baseline));
        let baseline = baseline.ok_or_else(|| Error::internal(format!("{name} is not known")))?;
        baseline.get()
    }

    /// Those that a plan names.
    pub(crate) fn wanted(&self, plan: &str) -> Vec<Wanted> {
        let known = self.known.lock();
        let named = known
            .iter()
            .filter(|(name, _)| plan.contains(name.as_str()));
        named
            .map(|(_, known)| Wanted {
                baseline: Arc::clone(&known.baseline),
                place: known.place,
                plan: known.plan.clone(),
            })
            .collect()
    }
}
