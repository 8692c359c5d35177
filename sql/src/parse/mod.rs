//! The parser: a script in, statements out.
//!
//! The whole script is tokenized once, with places; variables are put into its string literals;
//! each statement is then parsed on its own. Expressions, types and queries are sqlparser's, as
//! DataFusion's planner wants them; the statements around them are Weir's own. Every error names
//! the place, what was found and what was expected.
//!
//! Nothing here looks at the catalog: whether a name exists is the planner's business.

mod alter;
pub(crate) mod anomaly;
mod anomaly_model;
mod baseline;
mod bounds;
mod columns;
mod constraint;
mod create;
mod cursor;
mod deviation;
mod dialect;
mod emit;
mod feedback;
mod keywords;
mod named;
mod options;
mod patterns;
mod quarantine;
mod query;
mod scan;
mod script;
pub(crate) mod skeleton;
mod statement;
mod syntax;
#[cfg(test)]
mod tests;
mod unsupported;
mod validate;
mod windows;

use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use weir_engine::Result;
use weir_engine::error::{Error, Kind, Place, codes};
use weir_engine::limits;

pub(crate) use constraint::check_new;
pub use keywords::KEYWORDS;
pub use scan::is_complete;

use crate::ast::Statement;
use crate::variables::Variables;

/// Parses a script into its statements, in order. A script of spaces and comments has none.
///
/// ```
/// # use weir_sql::{parse::parse, variables::Variables};
/// let variables = Variables::from_iter([("DATA", "examples")]);
/// let script = "CREATE SOURCE trips WITH (connector = 'file', path = '${DATA}/*.parquet');
///               SELECT count(*) FROM trips;";
/// assert_eq!(parse(script, &variables)?.len(), 2);
/// # Ok::<(), weir_engine::Error>(())
/// ```
pub fn parse(script: &str, variables: &Variables) -> Result<Vec<Statement>> {
    if script.len() > limits::SCRIPT_BYTES_MAX {
        return Err(Error::new(
            Kind::Limit,
            codes::LIMIT,
            format!(
                "the script has {} bytes, {} are allowed",
                script.len(),
                limits::SCRIPT_BYTES_MAX
            ),
        )
        .hint("split it into several scripts"));
    }
    let pieces = script::split(script, variables)?;
    stacker::grow(STACK_BYTES, || {
        pieces.into_iter().map(statement::parse).collect()
    })
}

/// Stack for parsing. A level of nesting takes up to 200 KB in a debug build, more than the rest
/// that sqlparser makes sure of, and the levels are bounded. Memory is only taken when it is used.
const STACK_BYTES: usize = 32 << 20;

/// Where a token starts; `None` for the end of the statement.
fn place_of(token: &TokenWithSpan) -> Option<Place> {
    let start = token.span.start;
    (start.line > 0).then_some(Place {
        line: start.line,
        column: start.column,
    })
}
