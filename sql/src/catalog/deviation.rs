//! What a source does about data that is not as declared: its clauses checked, and the rescue column.

use datafusion::sql::sqlparser::ast::DataType;
use weir_engine::connector::Connector;
use weir_engine::dead_letter::OnError;
use weir_engine::deviation::{Deviations, OnChange};
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::OptionValue;
use weir_engine::rules::is_kept_column;

use crate::ast::{ColumnDef, ColumnValue, CreateSource, Name, OnParseError};
use crate::settings::parse_on_error;

/// The rescue column of `ON SCHEMA CHANGE RESCUE` that names none.
const RESCUED: &str = "_rescued";

/// What becomes of records that cannot be decoded: as the clause says, else the option, else the
/// setting. What cannot be rescued is kept.
pub(super) fn on_error(
    statement: &CreateSource,
    given: Option<OptionValue>,
    setting: OnError,
) -> Result<OnError> {
    match (&statement.on_parse_error, given) {
        (Some((_, place)), Some(_)) => {
            let message = "the source says ON PARSE ERROR and on_error";
            Err(Error::new(Kind::Invalid, codes::OPTION, message)
                .hint("leave the option on_error out")
                .at(Some(*place)))
        }
        (Some((action, _)), None) => Ok(match action {
            OnParseError::Fail => OnError::Fail,
            OnParseError::Skip => OnError::Skip,
            OnParseError::Quarantine => OnError::Quarantine,
            OnParseError::Rescue(_) => OnError::DeadLetter,
        }),
        (None, None) => Ok(setting),
        (None, Some(value)) => parse_on_error(&value.text).ok_or_else(|| {
            let what = format!("'{}' is not 'fail' or 'dead_letter'", value.text);
            let message = format!("option \"on_error\": {what}");
            Error::new(Kind::Invalid, codes::OPTION, message).at(value.place)
        }),
    }
}

/// Refuses a column that a quarantine table has for itself.
pub(super) fn check_kept(column: &str, statement: &CreateSource) -> Result<()> {
    if !is_kept_column(column) {
        return Ok(());
    }
    let message = format!("a quarantine table has a column \"{column}\" of its own");
    let place = statement.on_parse_error.as_ref().map(|(_, place)| *place);
    Err(Error::new(Kind::Invalid, codes::DUPLICATE, message)
        .hint("give the column another name, or leave ON PARSE ERROR QUARANTINE out")
        .at(place))
}

/// What the clauses ask of the connector.
pub(super) fn deviations(
    statement: &CreateSource,
    connector: &dyn Connector,
) -> Result<Deviations> {
    let mut found = Deviations::default();
    let mut column: Option<Name> = None;
    let mut asked: Option<Place> = None;
    if let Some((OnParseError::Rescue(into), place)) = &statement.on_parse_error {
        column = Some(into.clone());
        asked = Some(*place);
        found.rescues_records = true;
    }
    if let Some((on_change, into, place)) = &statement.on_schema_change {
        found.on_change = *on_change;
        if *on_change != OnChange::Ignore {
            asked = Some(*place);
        }
        if let (Some(first), Some(into)) = (&column, into)
            && first.text != into.text
        {
            let message = format!(
                "two rescue columns: \"{}\" and \"{}\"",
                first.text, into.text
            );
            return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message)
                .hint("both clauses put what they rescue into one column")
                .at(into.place));
        }
        if *on_change == OnChange::Rescue && column.is_none() {
            column = into.clone().or_else(|| Some(rescued(*place)));
        }
    }
    found.rescue = column.map(|column| column.text);
    match asked {
        Some(place) if !connector.rescues() => {
            let what = format!("of connector '{}'", connector.name());
            let message = format!("RESCUE and ON SCHEMA CHANGE {what}");
            Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                .detail("its rows come with the columns and types that are declared")
                .hint("leave the clause out")
                .at(Some(place)))
        }
        _ => Ok(found),
    }
}

fn rescued(place: Place) -> Name {
    Name {
        text: RESCUED.to_owned(),
        place: Some(place),
    }
}

/// The statement with the rescue column among the declared ones. Discovered columns get it from the
/// connector.
pub(super) fn with_column(
    statement: &CreateSource,
    deviations: &Deviations,
) -> Result<CreateSource> {
    let mut statement = statement.clone();
    let Some(name) = &deviations.rescue else {
        return Ok(statement);
    };
    let text = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Varchar(_) | DataType::Text | DataType::String(_)
        )
    };
    let known = statement
        .columns
        .iter()
        .find(|column| column.name.text == *name);
    if let Some(column) = known {
        let fits = matches!(column.value, ColumnValue::Physical) && text(&column.data_type);
        if fits && !column.not_null {
            return Ok(statement);
        }
        let message = format!("the rescue column \"{name}\" is a VARCHAR that may be null");
        return Err(Error::new(Kind::Invalid, codes::TYPE, message)
            .hint(format!(
                "declare \"{name}\" VARCHAR, or leave it out: it is added"
            ))
            .at(column.name.place));
    }
    let is_physical = |column: &ColumnDef| matches!(column.value, ColumnValue::Physical);
    if statement.columns.iter().any(is_physical) {
        let place = statement.name.place;
        statement.columns.push(ColumnDef {
            name: Name {
                text: name.clone(),
                place,
            },
            data_type: DataType::Varchar(None),
            not_null: false,
            value: ColumnValue::Physical,
        });
    }
    Ok(statement)
}
