//! CREATE SOURCE: checks the statement against the connector and resolves its columns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::physical_expr::utils::collect_columns;
use weir_engine::changelog::{is_changelog, rows_schema};
use weir_engine::connector::{Connector, SourceRequest};
use weir_engine::dead_letter::OnError;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::unknown;
use weir_engine::source::Source;

use super::deviation;
use super::source::{PROCESSING_TIME, SourceColumn, SourceTable, SourceWatermark};
use super::{check_reserved, find_connector};
use crate::ast::{ColumnDef, ColumnValue, CreateSource, Name};
use crate::plan::{Planner, proctime::is_proctime};
use crate::settings::{Mode, Settings};

/// What making a source needs of the session.
pub(crate) struct Making<'a> {
    /// Plans expressions.
    pub(crate) planner: &'a Planner,
    /// The known connectors.
    pub(crate) connectors: &'a [Arc<dyn Connector>],
    /// The settings so far.
    pub(crate) settings: &'a Settings,
    /// Time, chance, tasks.
    pub(crate) env: &'a Env,
}

/// Makes a source.
pub(crate) async fn create(
    making: &Making<'_>,
    statement: &CreateSource,
    place: Place,
) -> Result<SourceTable> {
    let mut options = statement.options.clone();
    let connector = find_connector(making.connectors, &mut options, "source", Some(place))?;
    let given = options.remove("on_error");
    let on_error = deviation::on_error(statement, given, making.settings.on_error())?;
    let deviations = deviation::deviations(statement, &*connector)?;
    check_names(statement)?;
    let rescued = deviation::with_column(statement, &deviations)?;
    let statement = &rescued;
    let physical = physical_columns(making.planner, statement)?;
    let mut request = SourceRequest {
        name: statement.name.text.clone(),
        options,
        columns: physical,
        metadata: metadata_columns(statement, &*connector)?,
        on_error,
        deviations,
        streaming: making.settings.mode() != Some(Mode::Batch),
        env: making.env.clone(),
    };
    let first = connector
        .source(request.clone())
        .await
        .map_err(|error| error.at(Some(place)))?;
    if is_changelog(&first.schema()) && request.on_error == OnError::Quarantine {
        // What cannot be read is no change of a row.
        request.on_error = OnError::DeadLetter;
    }
    if request.columns.is_none() {
        // What was found holds for the whole script, also where the source is made anew.
        let found = rows_schema(&first.schema());
        let count = found.fields().len().saturating_sub(request.metadata.len());
        request.columns = Some(found.fields().iter().take(count).map(Arc::clone).collect());
    }
    let resolved = Resolver::new(making.planner, &first)?.resolve(statement, &request)?;
    for column in &resolved.columns {
        check_reserved(column.field.name(), Some(place))?;
        if request.on_error == OnError::Quarantine {
            deviation::check_kept(column.field.name(), statement)?;
        }
    }
    let fields: Vec<FieldRef> = resolved
        .columns
        .iter()
        .map(|c| Arc::clone(&c.field))
        .collect();
    let table = SourceTable {
        connector,
        request,
        first,
        batch: Arc::default(),
        schema: Arc::new(Schema::new(fields)),
        primary_key: primary_key(statement, &resolved.columns),
        columns: resolved.columns,
        watermark: resolved.watermark,
        lookups: making
            .connectors
            .iter()
            .filter(|connector| connector.has_lookup())
            .map(|connector| connector.name())
            .collect(),
        rules: Default::default(),
        constraints: Default::default(),
        nothing: Default::default(),
    };
    table.expect(making.planner, &statement.constraints)?;
    Ok(table)
}

fn primary_key(statement: &CreateSource, columns: &[SourceColumn]) -> Vec<usize> {
    let names = statement.primary_key.iter();
    names
        .filter_map(|name| columns.iter().position(|c| *c.field.name() == name.text))
        .collect()
}

fn check_names(statement: &CreateSource) -> Result<()> {
    let mut seen = BTreeSet::new();
    for column in &statement.columns {
        if !seen.insert(column.name.text.as_str()) {
            return Err(Error::new(
                Kind::Invalid,
                codes::DUPLICATE,
                format!("column \"{}\" is declared twice", column.name.text),
            )
            .at(column.name.place));
        }
    }
    Ok(())
}

/// The declared physical columns, or `None` to discover them. All may be null for the reader: what
/// NOT NULL forbids is told apart from what cannot be decoded.
fn physical_columns(planner: &Planner, statement: &CreateSource) -> Result<Option<Vec<FieldRef>>> {
    let mut fields = Vec::new();
    for column in &statement.columns {
        if matches!(column.value, ColumnValue::Physical) {
            let data_type = planner.data_type(&column.data_type, column.name.place)?;
            fields.push(Arc::new(Field::new(&column.name.text, data_type, true)));
        }
    }
    Ok((!fields.is_empty()).then_some(fields))
}

fn metadata_columns(
    statement: &CreateSource,
    connector: &dyn Connector,
) -> Result<Vec<(FieldRef, String)>> {
    let known = connector.metadata_columns();
    let mut columns = Vec::new();
    for column in &statement.columns {
        let ColumnValue::Metadata(key) = &column.value else {
            continue;
        };
        let Some(found) = known.iter().find(|known| known.key == key) else {
            let what = format!("metadata of connector '{}':", connector.name());
            let keys = known.iter().map(|known| known.key);
            return Err(unknown(codes::UNKNOWN_COLUMN, &what, key, keys).at(column.name.place));
        };
        let field = Field::new(&column.name.text, found.data_type.clone(), true);
        columns.push((Arc::new(field), key.clone()));
    }
    Ok(columns)
}

struct Resolved {
    columns: Vec<SourceColumn>,
    watermark: Option<SourceWatermark>,
}

/// Resolves the columns in order; each may refer to the read columns and to earlier computed ones,
/// whose expressions are put in their place.
struct Resolver<'a> {
    planner: &'a Planner,
    /// The columns that are read.
    read: DFSchema,
    /// The columns that expressions may name so far.
    names: DFSchema,
    computed: BTreeMap<String, Expr>,
}

impl<'a> Resolver<'a> {
    fn new(planner: &'a Planner, source: &Arc<dyn Source>) -> Result<Self> {
        let read = DFSchema::try_from(source.schema())?;
        Ok(Self {
            planner,
            names: read.clone(),
            read,
            computed: BTreeMap::new(),
        })
    }

    fn resolve(mut self, statement: &CreateSource, request: &SourceRequest) -> Result<Resolved> {
        let mut columns = Vec::new();
        let declared_physical = statement
            .columns
            .iter()
            .any(|c| matches!(c.value, ColumnValue::Physical));
        if !declared_physical {
            for field in request.columns.iter().flatten() {
                columns.push(self.read_column(field, field.is_nullable())?);
            }
        }
        for column in &statement.columns {
            columns.push(self.column(column)?);
        }
        for key in &statement.primary_key {
            let names: Vec<String> = columns.iter().map(|c| c.field.name().clone()).collect();
            let Some(column) = columns.iter_mut().find(|c| *c.field.name() == key.text) else {
                let names = names.iter().map(String::as_str);
                return Err(
                    unknown(codes::UNKNOWN_COLUMN, "column", &key.text, names).at(key.place)
                );
            };
            column.field = Arc::new(column.field.as_ref().clone().with_nullable(false));
        }
        let watermark = match &statement.watermark {
            Some((name, expr)) => Some(self.watermark(name, expr, &columns)?),
            None => None,
        };
        Ok(Resolved { columns, watermark })
    }

    fn read_column(&self, field: &FieldRef, nullable: bool) -> Result<SourceColumn> {
        let expr = Expr::Column(Column::new_unqualified(field.name()));
        self.finish(field.name(), field.data_type(), nullable, expr, "", None)
    }

    fn column(&mut self, column: &ColumnDef) -> Result<SourceColumn> {
        let name = &column.name.text;
        let place = column.name.place;
        let data_type = self.planner.data_type(&column.data_type, place)?;
        let nullable = !column.not_null;
        match &column.value {
            ColumnValue::Physical => {
                let expr = Expr::Column(Column::new_unqualified(name));
                self.finish(name, &data_type, nullable, expr, "", place)
            }
            ColumnValue::Metadata(key) => {
                let expr = Expr::Column(Column::new_unqualified(name));
                self.finish(
                    name,
                    &data_type,
                    nullable,
                    expr,
                    &format!("metadata '{key}'"),
                    place,
                )
            }
            ColumnValue::Computed(sql) => {
                if self.names.has_column_with_unqualified_name(name) {
                    return Err(Error::new(
                        Kind::Invalid,
                        codes::DUPLICATE,
                        format!("the source has a column \"{name}\" already"),
                    )
                    .hint("give the computed column another name")
                    .at(place));
                }
                let planned = self.planner.expr(sql, &self.names, place)?;
                let expr = self.inline(planned)?;
                let note = match is_proctime(sql) {
                    true => PROCESSING_TIME,
                    false => "computed",
                };
                let column = self.finish(name, &data_type, nullable, expr.clone(), note, place)?;
                let field = Arc::new(Field::new(name, data_type.clone(), true));
                let one =
                    DFSchema::from_unqualified_fields(vec![field].into(), Default::default())?;
                self.names = self.names.join(&one)?;
                self.computed
                    .insert(name.clone(), self.cast(expr, &data_type, place)?);
                Ok(column)
            }
        }
    }

    fn cast(&self, expr: Expr, data_type: &DataType, place: Option<Place>) -> Result<Expr> {
        let found = expr.get_type(&self.read)?;
        if found == *data_type {
            return Ok(expr);
        }
        if can_cast_types(&found, data_type) {
            return Ok(cast(expr, data_type.clone()));
        }
        Err(Error::new(
            Kind::Invalid,
            codes::TYPE,
            format!("the value is {found}, which cannot become {data_type}"),
        )
        .at(place))
    }

    /// Replaces earlier computed columns by their expressions.
    fn inline(&self, expr: Expr) -> Result<Expr> {
        let inlined = expr.transform_up(|expr| match &expr {
            Expr::Column(column) => match self.computed.get(&column.name) {
                Some(computed) => Ok(Transformed::yes(computed.clone())),
                None => Ok(Transformed::no(expr)),
            },
            _ => Ok::<_, DataFusionError>(Transformed::no(expr)),
        })?;
        Ok(inlined.data)
    }

    fn finish(
        &self,
        name: &str,
        data_type: &DataType,
        nullable: bool,
        expr: Expr,
        note: &str,
        place: Option<Place>,
    ) -> Result<SourceColumn> {
        let expr = self.cast(expr, data_type, place)?;
        let expr = self
            .planner
            .compile(expr, &self.read)
            .map_err(|error| error.at(place))?;
        let reads = collect_columns(&expr)
            .iter()
            .map(|column| column.index())
            .collect();
        let field = Arc::new(Field::new(name, data_type.clone(), nullable));
        Ok(SourceColumn {
            field,
            expr,
            reads,
            note: note.to_owned(),
        })
    }

    fn watermark(
        &self,
        name: &Name,
        sql: &datafusion::sql::sqlparser::ast::Expr,
        columns: &[SourceColumn],
    ) -> Result<SourceWatermark> {
        let Some(column) = columns.iter().position(|c| *c.field.name() == name.text) else {
            let names = columns.iter().map(|c| c.field.name().as_str());
            return Err(unknown(codes::UNKNOWN_COLUMN, "column", &name.text, names).at(name.place));
        };
        let timestamp = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
        let wrong = |what: &str, found: &DataType| {
            Error::new(
                Kind::Invalid,
                codes::TYPE,
                format!(
                    "{what} must be a timestamp, but \"{}\" is {found}",
                    name.text
                ),
            )
            .hint("declare a computed column: name TIMESTAMP AS (CAST(column AS TIMESTAMP))")
            .at(name.place)
        };
        if let Some(found) = columns.get(column)
            && !timestamp(found.field.data_type())
        {
            return Err(wrong("the column of a watermark", found.field.data_type()));
        }
        let expr = self.inline(self.planner.expr(sql, &self.names, name.place)?)?;
        let expr = self
            .planner
            .compile(expr, &self.read)
            .map_err(|e| e.at(name.place))?;
        let found = expr.data_type(self.read.as_arrow())?;
        if !timestamp(&found) {
            return Err(wrong("a watermark", &found));
        }
        let reads = collect_columns(&expr)
            .iter()
            .map(|column| column.index())
            .collect();
        let text = sql.to_string();
        Ok(SourceWatermark {
            column,
            name: name.text.clone(),
            text,
            expr,
            reads,
        })
    }
}
