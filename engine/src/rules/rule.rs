//! One rule: its expression, and what happens to a row that breaks it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::{collect_columns, reassign_expr_columns};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::gate::Gate;
use super::keyed::Keyed;
use crate::error::Result;

/// What happens to a row that breaks a rule. Where a row breaks several, the strongest counts: the
/// later in this list.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is counted, and published as it is.
    Warn,
    /// These columns get other values, computed of the row as it came.
    Set(Vec<(String, Arc<dyn PhysicalExpr>)>),
    /// It is counted and not published.
    Drop,
    /// It goes to the quarantine table of this name and is not published.
    Quarantine(Arc<str>),
    /// The job ends.
    Fail,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Warn => f.write_str("warn"),
            Self::Set(columns) => {
                let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "set {}", names.join(", "))
            }
            Self::Drop => f.write_str("drop row"),
            Self::Quarantine(into) => write!(f, "quarantine into {into}"),
            Self::Fail => f.write_str("fail update"),
        }
    }
}

/// Whether a rule is asked, and whether what it says is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// Both.
    #[default]
    On,
    /// It is asked and counted, and every row goes on as if it were not there.
    DryRun,
    /// It is not asked.
    Off,
}

impl Switch {
    /// What would be done, by what is done of it.
    pub(super) fn told(self, action: impl fmt::Display) -> String {
        match self {
            Self::On => action.to_string(),
            Self::DryRun => format!("dry run of {action}"),
            Self::Off => format!("off, else {action}"),
        }
    }
}

/// How many rows may break a rule, in what becomes visible at once: an epoch in streaming mode, the
/// whole run in batch mode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Most {
    /// So many.
    Rows(u64),
    /// This share of the rows that the rule could answer for.
    Share(f64),
}

/// What happens when more rows break a rule than may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overflow {
    /// How many may.
    pub most: Most,
    /// Whether the source of the rows pauses, where it can. Else the job ends.
    pub pauses: bool,
}

/// What a rule weighs in a score; it changes nothing about its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// What it tells of the data: `validity`, `completeness` and so on.
    pub dimension: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Its weight among the rules of its dimension.
    pub weight: f64,
}

/// A rule over the rows of a table, compiled against columns that are found by name.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name of the constraint.
    pub name: String,
    /// The whole clause as it was understood, by which its versions differ.
    pub text: String,
    /// The rows that it is about; all without it.
    pub when: Option<Arc<dyn PhysicalExpr>>,
    /// What has to be true. Of a rule over keys it is true by itself, unless it is computed over the
    /// last row too.
    pub expect: Arc<dyn PhysicalExpr>,
    /// What has to hold between rows of one key.
    pub keyed: Option<Keyed>,
    /// What has to hold of all rows of a window or batch, which they wait for.
    pub gate: Option<Arc<Gate>>,
    /// What happens to a row for which it is not.
    pub action: Action,
    /// Whether a row for which it is null breaks it.
    pub unknown_violates: bool,
    /// How many rows may break it, and what happens if more do.
    pub overflow: Option<Overflow>,
    /// What it weighs.
    pub grade: Grade,
    /// Whether it is asked, and whether what it says is done.
    pub switch: Switch,
}

/// The version of a rule: a hash of its text.
pub fn version_of(text: &str) -> String {
    format!("{:016x}", XxHash3_64::oneshot(text.as_bytes()))
}

impl Rule {
    /// The version of the rule.
    pub fn version(&self) -> String {
        version_of(&self.text)
    }

    /// Whether what it says is done.
    pub fn acts(&self) -> bool {
        self.switch == Switch::On
    }

    /// Whether it looks at one row by itself.
    pub fn is_single(&self) -> bool {
        self.keyed.is_none() && self.gate.is_none()
    }

    /// The names of the columns that it reads, those of the values that it sets included.
    pub fn columns(&self) -> BTreeSet<String> {
        let mut names = self.observed();
        if let Action::Set(columns) = &self.action {
            names.extend(columns.iter().map(|(name, _)| name.clone()));
            names.extend(columns.iter().flat_map(|(_, expr)| names_in(expr)));
        }
        names
    }

    /// The names of the columns that decide it.
    pub fn observed(&self) -> BTreeSet<String> {
        let when = self.when.iter().flat_map(names_in);
        match (&self.keyed, &self.gate) {
            (None, None) => when.chain(names_in(&self.expect)).collect(),
            (None, Some(gate)) => when.chain(gate.columns()).collect(),
            (Some(keyed), _) => {
                // The columns of the last row are none of this one.
                let row = names_in(&self.expect).into_iter();
                let row = row.filter(|name| !keyed.is_last(name));
                when.chain(row).chain(keyed.observed()).collect()
            }
        }
    }

    /// The same rule over rows that have its columns in other places.
    pub fn over(&self, schema: &Schema) -> Result<Self> {
        let place = |expr: &Arc<dyn PhysicalExpr>| {
            Ok::<_, crate::Error>(reassign_expr_columns(Arc::clone(expr), schema)?)
        };
        let action = match &self.action {
            Action::Set(columns) => Action::Set(
                columns
                    .iter()
                    .map(|(name, expr)| Ok((name.clone(), place(expr)?)))
                    .collect::<Result<_>>()?,
            ),
            other => other.clone(),
        };
        let keyed = self.keyed.as_ref().map(|keyed| keyed.over(schema));
        let keyed = keyed.transpose()?;
        let gate = self.gate.as_ref().map(|gate| gate.over(schema));
        let expect = match &keyed {
            None => place(&self.expect)?,
            Some(keyed) => {
                reassign_expr_columns(Arc::clone(&self.expect), &*keyed.extended(schema)?)?
            }
        };
        Ok(Self {
            when: self.when.as_ref().map(place).transpose()?,
            expect,
            keyed,
            gate: gate.transpose()?.map(Arc::new),
            action,
            ..self.clone()
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it would ask is left out: nothing is read for it.
        if self.switch == Switch::Off {
            return write!(f, "{}: off", self.name);
        }
        match (&self.keyed, &self.gate) {
            (Some(keyed), _) => write!(f, "{}: {keyed}", self.name)?,
            // Its text has all of it.
            (None, Some(gate)) => return write!(f, "{}: {gate}", self.name),
            (None, None) => write!(f, "{}: {}", self.name, self.expect)?,
        }
        if let Some(when) = &self.when {
            write!(f, " when {when}")?;
        }
        write!(f, " -> {}", self.switch.told(&self.action))
    }
}

pub(super) fn names_in(expr: &Arc<dyn PhysicalExpr>) -> Vec<String> {
    let columns = collect_columns(expr);
    columns.iter().map(|c| c.name().to_owned()).collect()
}
