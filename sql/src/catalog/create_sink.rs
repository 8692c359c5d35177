//! CREATE SINK: the declaration. The sink itself is made when the rows that go in are known.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use parking_lot::Mutex;
use weir_engine::changelog::is_changelog;
use weir_engine::connector::Connector;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::{GivenOptions, OptionValue, Options};
use weir_engine::sink::Sink;

use super::{check_reserved, find_connector};
use crate::ast::{ColumnValue, Constraint, CreateSink};
use crate::plan::Planner;

/// A declared sink.
#[derive(Debug)]
pub(crate) struct SinkTable {
    /// The name in the script.
    pub(crate) name: String,
    /// The connector.
    pub(crate) connector: Arc<dyn Connector>,
    /// `WITH (...)`, without `connector` and `partition_by`.
    pub(crate) options: GivenOptions,
    /// What hive partitions are made of, if the connector has them.
    pub(crate) partition_by: Option<OptionValue>,
    /// The declared columns, if any.
    pub(crate) columns: Option<SchemaRef>,
    /// Where it is declared.
    pub(crate) place: Place,
    /// The rules of its rows, which CREATE EXPECTATION adds to.
    pub(crate) constraints: Mutex<Vec<Constraint>>,
    /// How the connectors that take updating results are written.
    takers: Vec<&'static str>,
}

impl SinkTable {
    /// Refuses updating results for a sink that only appends.
    pub(crate) fn check_takes(&self, made: &dyn Sink, rows: &Schema, place: Place) -> Result<()> {
        if !is_changelog(rows) || made.takes_changelog() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Invalid,
            codes::CHANGELOG,
            format!(
                "the query updates its rows, but sink \"{}\" only appends",
                self.name
            ),
        )
        .detail(match self.connector.takes_changelog() {
            Some(how) => format!("its connector takes updates only with {how}"),
            None => format!(
                "connector '{}' writes rows that are never changed or deleted",
                self.connector.name()
            ),
        })
        .hint(format!(
            "use a sink that takes updates ({}), keep the rows with CREATE MATERIALIZED VIEW, \
             or aggregate over windows",
            self.takers.join("; ")
        ))
        .at(Some(place)))
    }
}

/// The option that names the partition expressions.
const PARTITION_BY: &str = "partition_by";

/// Checks a declaration.
pub(crate) fn create(
    planner: &Planner,
    connectors: &[Arc<dyn Connector>],
    statement: &CreateSink,
    place: Place,
) -> Result<SinkTable> {
    let mut options = statement.options.clone();
    let connector = find_connector(connectors, &mut options, "sink", Some(place))?;
    let Some(specs) = connector.sink_options() else {
        return Err(connector
            .has_no("sink", &statement.name.text)
            .at(Some(place)));
    };
    let owner = format!("connector '{}'", connector.name());
    let mut listed = options.clone();
    listed.retain(|name, _| !connector.passes(name));
    Options::check(&owner, &specs, listed).map_err(|error| error.at(Some(place)))?;
    let partition_by = options.remove(PARTITION_BY);
    let mut fields: Vec<FieldRef> = Vec::new();
    for column in &statement.columns {
        if !matches!(column.value, ColumnValue::Physical) {
            return Err(Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                "a sink's columns are not computed",
            )
            .hint("compute the column in the query that is inserted")
            .at(column.name.place));
        }
        if fields.iter().any(|field| *field.name() == column.name.text) {
            return Err(Error::new(
                Kind::Invalid,
                codes::DUPLICATE,
                format!("column \"{}\" is declared twice", column.name.text),
            )
            .at(column.name.place));
        }
        check_reserved(&column.name.text, column.name.place)?;
        let data_type = planner.data_type(&column.data_type, column.name.place)?;
        fields.push(Arc::new(Field::new(
            &column.name.text,
            data_type,
            !column.not_null,
        )));
    }
    let columns = (!fields.is_empty()).then(|| Arc::new(Schema::new(fields)));
    Ok(SinkTable {
        name: statement.name.text.clone(),
        connector,
        options,
        partition_by,
        columns,
        place,
        constraints: Mutex::new(statement.constraints.clone()),
        takers: connectors
            .iter()
            .filter_map(|c| c.takes_changelog())
            .collect(),
    })
}
