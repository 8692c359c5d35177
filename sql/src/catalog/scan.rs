//! The reading of a source for one query: only the columns that it needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::reassign_expr_columns;
use weir_engine::arrival::{Arrivals, Coming};
use weir_engine::changelog::{OP_COLUMN, is_changelog, op_field};
use weir_engine::error::Result;
use weir_engine::rules::{Action, Judge, Rule};
use weir_engine::scan::{Scan, ScanRules, WatermarkSpec};
use weir_engine::source::Source;

use super::source::{SourceColumn, SourceTable};
use crate::rules::gate::of_mode;

impl SourceTable {
    /// Reads the table's columns at `projection`, and what the watermark needs if it is asked for; in a
    /// streaming job or not.
    pub(crate) fn scan(
        &self,
        source: Arc<dyn Source>,
        projection: &[usize],
        (with_watermark, streaming): (bool, bool),
    ) -> Result<Scan> {
        // A scan that shared its source with another would find nothing left to read.
        let own = source.rescan().unwrap_or_else(|| Arc::clone(&source));
        self.scan_of(source, own, projection, (with_watermark, streaming))
    }

    /// The same for a source that reads what was declared in its own way.
    pub(super) fn scan_of(
        &self,
        declared: Arc<dyn Source>,
        source: Arc<dyn Source>,
        projection: &[usize],
        (with_watermark, streaming): (bool, bool),
    ) -> Result<Scan> {
        let rules = of_mode(self.rules(), streaming)?;
        let wanted: Vec<_> = projection
            .iter()
            .filter_map(|column| self.columns.get(*column))
            .filter(|column| column.told().is_none())
            .collect();
        let watermark = self.watermark.as_ref().filter(|_| with_watermark);
        let required = self.required(&source.schema(), projection);
        let judged = self.judged(&rules, projection);
        let time = self.arriving_by().filter(|_| watermark.is_some());
        let mut reads: BTreeSet<usize> = wanted
            .iter()
            .chain(&required)
            .chain(&judged)
            .chain(&time)
            .flat_map(|column| column.reads.iter().copied())
            .collect();
        reads.extend(watermark.iter().flat_map(|found| &found.reads));
        let schema = source.schema();
        let kind = is_changelog(&schema).then(|| schema.fields().len() - 1);
        reads.extend(kind);
        if reads.is_empty() {
            // Rows without columns can be counted, but not every format can read them.
            reads.extend(cheapest(&schema));
        }
        let read: Vec<usize> = reads.into_iter().collect();
        let read_schema: SchemaRef = Arc::new(schema.project(&read)?);
        let place = |expr: &Arc<dyn PhysicalExpr>| {
            Ok::<_, weir_engine::Error>(reassign_expr_columns(Arc::clone(expr), &read_schema)?)
        };
        let compute = |columns: &[&SourceColumn]| {
            columns
                .iter()
                .map(|column| Ok((place(&column.expr)?, column.field_over(&schema))))
                .collect::<Result<Vec<_>>>()
        };
        let mut columns = compute(&wanted)?;
        let mut judged = compute(&judged)?;
        if kind.is_some() {
            let column = Column::new_with_schema(OP_COLUMN, &read_schema)?;
            columns.push((Arc::new(column.clone()), op_field()));
            judged.push((Arc::new(column), op_field()));
        }
        let required = compute(&required)?;
        let told = |time| Arrivals::new(time, self.arrivals(projection));
        let arrivals = time.map(|time| place(&time.expr)).transpose()?.map(told);
        let watermark = watermark
            .map(|watermark| {
                Ok::<_, weir_engine::Error>(WatermarkSpec {
                    column: watermark.name.clone(),
                    expr: place(&watermark.expr)?,
                    text: watermark.text.clone(),
                })
            })
            .transpose()?;
        Ok(Scan {
            name: self.name().to_owned(),
            source,
            declared,
            projection: read,
            columns,
            required,
            rules: self.judge(&rules, judged)?,
            watermark,
            arrivals,
            on_error: self.request.on_error,
            quiet: false,
        })
    }

    /// The columns that are judged: those at `projection` and those that rules need. A row that may go
    /// to quarantine is judged as a whole, since all of it is kept.
    fn judged(&self, rules: &[Rule], projection: &[usize]) -> Vec<&SourceColumn> {
        if rules.is_empty() && !self.keeps_unread() {
            return Vec::new();
        }
        let quarantines = |rule: &Rule| rule.acts() && matches!(rule.action, Action::Quarantine(_));
        let whole = self.keeps_unread() || rules.iter().any(quarantines);
        let needed: BTreeSet<String> = rules.iter().flat_map(|rule| rule.columns()).collect();
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(at, column)| {
                let wanted = whole || projection.contains(at);
                column.told().is_none() && (wanted || needed.contains(column.field.name()))
            })
            .map(|(_, column)| column)
            .collect()
    }

    /// The event time, where it is told how rows come.
    fn arriving_by(&self) -> Option<&SourceColumn> {
        let watermark = self.watermark.as_ref().filter(|_| self.is_arriving())?;
        self.columns.get(watermark.column)
    }

    /// What is told of how rows come, of the columns at `projection`.
    fn arrivals(&self, projection: &[usize]) -> Vec<(Coming, FieldRef)> {
        let wanted = projection.iter().filter_map(|at| self.columns.get(*at));
        let told = wanted.filter_map(|column| Some((column.told()?, Arc::clone(&column.field))));
        told.collect()
    }

    /// The rules over the columns that are judged.
    fn judge(
        &self,
        rules: &[Rule],
        columns: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    ) -> Result<Option<ScanRules>> {
        if rules.is_empty() && !self.keeps_unread() {
            return Ok(None);
        }
        let fields = columns.iter().map(|(_, field)| Arc::clone(field));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let time = self
            .watermark
            .as_ref()
            .map(|watermark| watermark.name.as_str());
        let judge = Judge::try_new(self.name(), rules, &schema, time)?;
        let judge = Arc::new(match self.keeps_unread() {
            true => judge.keeping_unread(),
            false => judge,
        });
        Ok(Some(ScanRules { columns, judge }))
    }

    /// The columns that are read beside those at `projection`, because a row in which they are null
    /// breaks its source's promise whoever reads it. What the connector itself promises holds.
    fn required(&self, read: &SchemaRef, projection: &[usize]) -> Vec<&SourceColumn> {
        let may_be_null = |column: &SourceColumn| {
            let mut fields = column.reads.iter().filter_map(|at| read.fields().get(*at));
            fields.any(|field| field.is_nullable())
        };
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(at, _)| !projection.contains(at))
            .map(|(_, column)| column)
            .filter(|column| column.note.is_empty() && !column.field.is_nullable())
            .filter(|column| may_be_null(column))
            .collect()
    }
}

/// The column that costs the least to decode: one of fixed width.
fn cheapest(schema: &SchemaRef) -> Option<usize> {
    let fixed = |data_type: &DataType| data_type.primitive_width().is_some();
    let fields = schema.fields();
    fields
        .iter()
        .position(|field| fixed(field.data_type()))
        .or((!fields.is_empty()).then_some(0))
}
