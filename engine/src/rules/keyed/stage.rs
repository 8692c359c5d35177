//! The rules of a table that have one key: what is asked at once, behind one exchange.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::ask::{Ask, Keyed, Refers, UniqueLast, names};
use super::fingerprint;
use super::memory::{Asked, Memory, memory};
use super::rows::{applies, none, without_nulls};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::rules::fused::with_rows;
use crate::rules::judge::Judge;
use crate::rules::origin::Origin;
use crate::rules::rule::{Rule, Switch};
use crate::rules::verdict::{Verdict, truth};
use crate::updating::codec::evaluate;

/// How rows come to the subtasks of a stage.
#[derive(Debug, Clone)]
pub enum Spread {
    /// As they are: each is asked about by itself.
    Any,
    /// All to one subtask.
    One,
    /// Those that agree in these expressions to one subtask.
    By(Vec<Arc<dyn PhysicalExpr>>),
}

/// The rules of a table that have one key and one order.
#[derive(Debug, Clone)]
pub struct Stage {
    judge: Arc<Judge>,
    schema: SchemaRef,
    /// The numbers of its rules among those of the table.
    rules: Vec<usize>,
    keyed: Keyed,
    /// All rows go through one subtask.
    is_single: bool,
    /// Nothing of the table's rules comes behind it.
    is_last: bool,
}

impl Stage {
    /// The stages of a table's rules, over the rows that its other rules let through.
    ///
    /// A row that refers to another table may have to wait, which is done before it is asked anything
    /// else. Behind an exchange by one key, rows of other keys overtake one another. So the stages for
    /// which the order of arrival counts come next, and are in one subtask if there are several of them.
    pub fn all(judge: &Arc<Judge>, schema: &SchemaRef) -> Vec<Arc<Self>> {
        let mut stages: Vec<Self> = Vec::new();
        for (at, rule) in judge.rules().iter().enumerate() {
            let Some(keyed) = &rule.keyed else {
                continue;
            };
            let same = |stage: &&mut Self| {
                let other = &stage.keyed;
                let alone = |ask: &Ask| matches!(ask, Ask::Refers(_) | Ask::UniqueLast(_));
                !alone(&other.ask)
                    && !alone(&keyed.ask)
                    && other.key == keyed.key
                    && other.nulls_equal == keyed.nulls_equal
                    && other.order == keyed.order
            };
            match stages.iter_mut().find(same) {
                Some(stage) => stage.rules.push(at),
                None => stages.push(Self {
                    judge: Arc::clone(judge),
                    schema: Arc::clone(schema),
                    rules: vec![at],
                    keyed: keyed.clone(),
                    is_single: keyed.key.is_empty(),
                    is_last: false,
                }),
            }
        }
        let refer = |stage: &Self| stage.refers().is_some();
        let (mut all, stages): (Vec<_>, Vec<_>) = stages.into_iter().partition(refer);
        let (mut stages, others): (Vec<_>, Vec<_>) =
            stages.into_iter().partition(Self::goes_by_arrival);
        if stages.len() > 1 {
            stages.iter_mut().for_each(|stage| stage.is_single = true);
        }
        all.extend(stages);
        all.extend(others);
        let mut stages = all;
        if let Some(last) = stages.last_mut() {
            last.is_last = true;
        }
        stages.into_iter().map(Arc::new).collect()
    }

    /// Whether how many rows break its rules depends on the order in which they arrive.
    fn goes_by_arrival(&self) -> bool {
        let mut rules = self.keyed();
        let any_order = |ask: &Ask| matches!(ask, Ask::Unique | Ask::UniqueLast(_));
        self.keyed.order.is_none() && rules.any(|(_, _, keyed)| !any_order(&keyed.ask))
    }

    /// What the exchange in front goes by.
    pub fn spread(&self) -> Spread {
        match (&self.keyed.ask, self.is_single) {
            (Ask::Refers(_), _) => Spread::Any,
            (_, true) => Spread::One,
            (_, false) => Spread::By(self.keyed.key.clone()),
        }
    }

    /// What its rows refer to: such a stage has one rule.
    pub fn refers(&self) -> Option<&Refers> {
        match &self.keyed.ask {
            Ask::Refers(refers) => Some(refers),
            _ => None,
        }
    }

    /// Which row of its key stays, where it is the last: such a stage has one rule.
    pub fn keeps_last(&self) -> Option<&UniqueLast> {
        match &self.keyed.ask {
            Ask::UniqueLast(last) => Some(last),
            _ => None,
        }
    }

    /// Whether a null in the key is a value like others.
    pub(super) fn nulls_equal(&self) -> bool {
        self.keyed.nulls_equal
    }

    /// Whether partitions may ask it without an exchange, if they share what it remembers.
    pub(in crate::rules) fn can_be_shared(&self) -> bool {
        let is_unique = matches!(self.keyed.ask, Ask::Unique);
        is_unique && self.rules.len() == 1 && self.keyed.order.is_none() && !self.is_single
    }

    /// Tells it from the other stages of the table.
    pub fn name(&self) -> String {
        let mut name = names(&self.keyed.key);
        if self.keyed.nulls_equal {
            name.push('*');
        }
        if let Some(last) = self.keeps_last() {
            let time: Vec<_> = last.time.iter().cloned().collect();
            name.push_str(&format!(" last {}", names(&time)));
        }
        if let Some(refers) = self.refers() {
            name.push_str(&format!(" in {}", refers.reference.name()));
        }
        if let Some(order) = &self.keyed.order {
            name.push_str(&format!(" by {}", names(std::slice::from_ref(order))));
        }
        name
    }

    /// What rows are told apart by.
    pub fn key(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.keyed.key
    }

    /// The rows that come and go.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The time in whose order rows are asked.
    pub(super) fn order(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.keyed.order.as_ref()
    }

    /// Names the state: stages of the same go on with it.
    pub(super) fn fingerprint(&self) -> Result<String> {
        let types = self.keyed.key.iter().map(|key| key.data_type(&self.schema));
        let types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        let rules = self
            .keyed()
            .map(|(_, _, keyed)| keyed.ask.fingerprint(&self.schema));
        let rules = rules.collect::<Result<Vec<_>>>()?;
        Ok(format!(
            "rules per {} of {types:?}: {}",
            self.name(),
            rules.join("; ")
        ))
    }

    /// What its rules remember, at the beginning.
    pub(super) fn memories(&self) -> Result<Vec<Box<dyn Memory>>> {
        self.keyed()
            .map(|(_, _, keyed)| memory(&keyed.ask, &self.schema))
            .collect()
    }

    fn keyed(&self) -> impl Iterator<Item = (usize, &Rule, &Keyed)> {
        self.rules.iter().filter_map(|at| {
            let rule = self.judge.rules().get(*at)?;
            Some((*at, rule, rule.keyed.as_ref()?))
        })
    }

    /// Asks all rules about rows, in order; gives those that go on.
    pub(super) fn judge(
        &self,
        batch: RecordBatch,
        memories: &mut [Box<dyn Memory>],
        task: &TaskContext,
    ) -> Result<RecordBatch> {
        let columns = evaluate(&self.keyed.key, &batch)?;
        let keys = fingerprint::keys(&columns, batch.num_rows())?;
        let about = self.about(&columns, &batch)?;
        let mut verdicts = vec![Verdict::default(); self.judge.rules().len()];
        for ((at, rule, keyed), memory) in self.keyed().zip(memories) {
            let question = Question {
                rule,
                keyed,
                keys: (&keys, &columns),
                about: &about,
            };
            if let Some(verdict) = verdicts.get_mut(at) {
                *verdict = question.ask(&batch, &mut **memory)?;
            }
        }
        self.settle(batch, &verdicts, task)
    }

    /// Asks the rule of a stage that can be shared: `see` is given the key, the rows whose key is known,
    /// and where to set those of them whose key was there.
    pub(super) fn judge_unique(
        &self,
        batch: RecordBatch,
        see: impl FnOnce(&[ArrayRef], &BooleanBuffer, &mut BooleanBufferBuilder) -> Result<()>,
        task: &TaskContext,
    ) -> Result<RecordBatch> {
        let columns = evaluate(&self.keyed.key, &batch)?;
        let about = self.about(&columns, &batch)?;
        let mut verdicts = vec![Verdict::default(); self.judge.rules().len()];
        if let Some((at, rule, _)) = self.keyed().next() {
            let applies = applies(rule, &batch)?;
            let known = &applies & &about;
            let mut broken = none(batch.num_rows());
            see(&columns, &known, &mut broken)?;
            if let Some(verdict) = verdicts.get_mut(at) {
                *verdict = Verdict::found(rule, &applies, known, broken.finish());
            }
        }
        self.settle(batch, &verdicts, task)
    }

    /// The rows whose key, and whose place in the order, are known.
    fn about(&self, key: &[ArrayRef], batch: &RecordBatch) -> Result<BooleanBuffer> {
        let mut about = BooleanBuffer::new_set(batch.num_rows());
        if !self.keyed.nulls_equal {
            about = without_nulls(about, key);
        }
        if let Some(order) = self.order() {
            about = without_nulls(about, &evaluate(std::slice::from_ref(order), batch)?);
        }
        Ok(about)
    }

    fn settle(
        &self,
        batch: RecordBatch,
        verdicts: &[Verdict],
        task: &TaskContext,
    ) -> Result<RecordBatch> {
        let origin = (&Origin::default(), task);
        let judged = self.judge.settle(batch, verdicts, origin, self.is_last)?;
        Ok(judged.rows)
    }

    /// The rows that its one rule is about, and those of them whose key is known.
    pub(super) fn asked(
        &self,
        batch: &RecordBatch,
        key: &[ArrayRef],
    ) -> Result<(BooleanBuffer, BooleanBuffer)> {
        let Some((_, rule, _)) = self.keyed().next() else {
            return Err(Error::internal("a stage without a rule"));
        };
        // While it is off no row waits for it.
        let applies = match rule.switch {
            Switch::Off => BooleanBuffer::new_unset(batch.num_rows()),
            Switch::On | Switch::DryRun => applies(rule, batch)?,
        };
        Ok((applies.clone(), without_nulls(applies, key)))
    }

    /// Does with rows what its one rule says, given those that it is about, that have an answer and that
    /// break it; gives those that go on.
    pub(super) fn found(
        &self,
        batch: RecordBatch,
        about: &BooleanBuffer,
        known: BooleanBuffer,
        broken: BooleanBuffer,
        task: &TaskContext,
    ) -> Result<RecordBatch> {
        let mut verdicts = vec![Verdict::default(); self.judge.rules().len()];
        for (at, rule, _) in self.keyed() {
            if let Some(verdict) = verdicts.get_mut(at)
                && rule.switch != Switch::Off
            {
                *verdict = Verdict::found(rule, about, known.clone(), broken.clone());
            }
        }
        self.settle(batch, &verdicts, task)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.keyed().map(|(_, rule, _)| rule.to_string()).collect();
        write!(f, "rules=[{}]", rules.join("; "))
    }
}

/// One rule over the rows of a batch.
struct Question<'a> {
    rule: &'a Rule,
    keyed: &'a Keyed,
    /// The numbers of the keys, and their values.
    keys: (&'a [u128], &'a [ArrayRef]),
    /// The rows whose key is known.
    about: &'a BooleanBuffer,
}

impl Question<'_> {
    fn ask(&self, batch: &RecordBatch, memory: &mut dyn Memory) -> Result<Verdict> {
        if self.rule.switch == Switch::Off {
            return Ok(Verdict::default());
        }
        let rows = batch.num_rows();
        let applies = applies(self.rule, batch)?;
        let values = self.keyed.ask.values().into_iter().cloned();
        let values = evaluate(&values.collect::<Vec<_>>(), batch)?;
        let needed = values.get(..self.keyed.ask.needs()).unwrap_or_default();
        let known = without_nulls(&applies & self.about, needed);
        let asked = Asked {
            keys: self.keys.0,
            key: self.keys.1,
            known: &known,
            values: &values,
        };
        if let Some(last) = memory.last(&asked)? {
            return self.with_last(batch, last, &applies, &known);
        }
        let mut broken = none(rows);
        memory.ask(&asked, &mut broken)?;
        let known = match memory.unanswered() {
            Some(open) => &known & &!&open,
            None => known,
        };
        Ok(Verdict::found(self.rule, &applies, known, broken.finish()))
    }

    /// Computes the expression of the rule over rows and the last ones before them.
    fn with_last(
        &self,
        batch: &RecordBatch,
        last: Vec<ArrayRef>,
        applies: &BooleanBuffer,
        known: &BooleanBuffer,
    ) -> Result<Verdict> {
        let rows = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        columns.extend(last);
        let schema = self.keyed.extended(&batch.schema())?;
        let batch = with_rows(schema, columns, rows)?;
        let selection = BooleanArray::new(known.clone(), None);
        let answer = self.rule.expect.evaluate_selection(&batch, &selection)?;
        let answer = answer.into_array(rows)?;
        let answer = truth(&answer)?;
        if answer.len() != rows {
            return Err(Error::internal("a rule answered for other rows"));
        }
        let known = match answer.nulls() {
            Some(nulls) => known & nulls.inner(),
            None => known.clone(),
        };
        let broken = &!answer.values() & &known;
        Ok(Verdict::found(self.rule, applies, known, broken))
    }
}
