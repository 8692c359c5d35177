//! Weir's statements as parsed: what the planner works on. Queries stay in sqlparser's form.

mod alter;
mod baseline;
mod keyed;
mod quarantine;
mod rule;
mod validate;

use std::fmt;
use std::time::Duration;

use datafusion::sql::sqlparser::ast::{DataType, Expr, Query};
use weir_anomaly::Feedback;
use weir_engine::deviation::OnChange;
use weir_engine::error::Place;
use weir_engine::options::GivenOptions;

pub use alter::{AlterTable, Alteration, CreateRuleSet};
pub use baseline::Baseline;
pub(crate) use keyed::list;
pub use keyed::{Asks, Keyed};
pub use quarantine::QuarantineRequest;
pub use rule::{Constraint, CreateExpectation, Expectation, Held, OnViolation, Remembered, Scope};
pub use validate::{FailOn, ValidateTable};

/// A name as folded (lower case unless quoted), with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub place: Option<Place>,
}

/// One statement of a script.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Where it starts.
    pub place: Place,
    /// Its source text, without the `;`, before variables are substituted: SHOW CREATE prints it.
    pub text: String,
    /// What it says.
    pub kind: StatementKind,
    /// What distributions in it are compared with.
    pub baselines: Vec<Baseline>,
}

/// What someone says of an anomaly.
#[derive(Debug, Clone)]
pub struct FeedbackOn {
    /// The id of the anomaly.
    pub id: String,
    /// Where it stands.
    pub place: Place,
    /// What is said.
    pub feedback: Feedback,
}

/// What a statement says.
#[derive(Debug, Clone)]
pub enum StatementKind {
    /// `CREATE SOURCE`.
    CreateSource(Box<CreateSource>),
    /// `CREATE VIEW`.
    CreateView(Box<CreateView>),
    /// `CREATE MATERIALIZED VIEW`.
    CreateMaterializedView(Box<CreateMaterializedView>),
    /// `CREATE SINK`, with or without `AS`.
    CreateSink(Box<CreateSink>),
    /// `CREATE EXPECTATION name ON table EXPECT ...`.
    CreateExpectation(Box<CreateExpectation>),
    /// `INSERT INTO sink query`.
    Insert {
        /// The sink.
        sink: Name,
        /// The column list, if one is given.
        columns: Vec<Name>,
        /// The rows.
        query: Box<Query>,
        /// When they come out.
        emit: Option<Emit>,
    },
    /// `DROP SOURCE|SINK|VIEW|MATERIALIZED VIEW`.
    Drop {
        /// What is dropped.
        what: ObjectKind,
        /// Their names.
        names: Vec<Name>,
        /// No error when one is missing.
        if_exists: bool,
        /// With all that depends on them.
        cascade: bool,
    },
    /// `SET name = value`.
    Set {
        /// The setting, dotted.
        name: Name,
        /// The value as text.
        value: String,
    },
    /// `SHOW SOURCES|SINKS|VIEWS|MATERIALIZED VIEWS|TABLES|SETTINGS`, `SHOW name` of a setting.
    Show(Show),
    /// `SHOW CREATE name`.
    ShowCreate(Name),
    /// `DESCRIBE name`.
    Describe(Name),
    /// `PROFILE TABLE`.
    Profile(ProfileTable),
    /// `VALIDATE TABLE`.
    Validate(ValidateTable),
    /// `SUGGEST CONSTRAINTS FOR` a table.
    Suggest(Name),
    /// `EXPLAIN [ANALYZE] statement`.
    Explain {
        /// Whether the statement is run.
        analyze: bool,
        /// The statement: a query, INSERT, CREATE SINK AS or CREATE MATERIALIZED VIEW.
        statement: Box<Statement>,
    },
    /// `CREATE RULE SET name (CONSTRAINT ..., ...)`.
    CreateRuleSet(Box<CreateRuleSet>),
    /// `DROP RULE SET name, ...`.
    DropRuleSets {
        /// Their names.
        names: Vec<Name>,
        /// No error when one is missing.
        if_exists: bool,
    },
    /// `ALTER TABLE name ...`.
    AlterTable(Box<AlterTable>),
    /// `FEEDBACK ON ANOMALY 'id' EXPECTED | TRUE_POSITIVE | FALSE_POSITIVE`.
    Feedback(FeedbackOn),
    /// `REPLAY`, `RELEASE` and `DISCARD` of rows in quarantine.
    Quarantine(Box<QuarantineRequest>),
    /// `RESUME SOURCE name`: it reads on after a rule has paused it.
    Resume(Name),
    /// `SUBSCRIBE TO (query)`.
    Subscribe(Box<Subscribe>),
    /// A bare query.
    Query {
        /// The query.
        query: Box<Query>,
        /// When its rows would come out of a pipeline; it says nothing of a query with an end.
        emit: Option<Emit>,
    },
}

/// When the results of a query come out, `EMIT ...` behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// `EMIT ON WINDOW CLOSE`: once, when a window is complete.
    OnWindowClose,
    /// `EMIT ON UPDATE`: at every change.
    OnUpdate,
    /// `EMIT EVERY INTERVAL '...'`: what has changed, now and then.
    Every(Duration),
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnWindowClose => f.write_str("EMIT ON WINDOW CLOSE"),
            Self::OnUpdate => f.write_str("EMIT ON UPDATE"),
            Self::Every(time) => write!(f, "EMIT EVERY INTERVAL '{} ms'", time.as_millis()),
        }
    }
}

/// The kinds of things in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A source.
    Source,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A sink.
    Sink,
    /// Rows that rules have kept back.
    Quarantine,
}

/// What SHOW lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// Things of one kind.
    Objects(ObjectKind),
    /// All settings with their values.
    Settings,
    /// One setting.
    Setting(Name),
    /// Sources, sinks and views together: `SHOW TABLES`.
    Tables,
    /// `SHOW RULE SETS`.
    RuleSets,
    /// `SHOW CONSTRAINTS [FROM table]`: the rules of one table, or of all.
    Constraints(Option<Name>),
}

/// `IF NOT EXISTS` and `OR REPLACE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Existing {
    /// Keep what exists.
    pub if_not_exists: bool,
    /// Replace what exists.
    pub or_replace: bool,
}

/// `CREATE SOURCE`.
#[derive(Debug, Clone)]
pub struct CreateSource {
    /// Its name.
    pub name: Name,
    /// What to do when the name is taken.
    pub existing: Existing,
    /// The declared columns; `None` asks for discovery. Discovery may be combined with a watermark
    /// and computed columns: then no physical column is declared.
    pub columns: Vec<ColumnDef>,
    /// `PRIMARY KEY (...)`.
    pub primary_key: Vec<Name>,
    /// `WATERMARK FOR column AS expr`.
    pub watermark: Option<(Name, Expr)>,
    /// `CONSTRAINT name EXPECT ...`.
    pub constraints: Vec<Constraint>,
    /// `RULE SET name`: all rules of these sets too.
    pub rule_sets: Vec<Name>,
    /// `WITH (...)`, with `connector` and `on_error`.
    pub options: GivenOptions,
    /// `ON PARSE ERROR`.
    pub on_parse_error: Option<(OnParseError, Place)>,
    /// `ON SCHEMA CHANGE`, with the rescue column of `RESCUE`.
    pub on_schema_change: Option<(OnChange, Option<Name>, Place)>,
}

/// What happens to a record that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnParseError {
    /// The job ends.
    Fail,
    /// It is counted.
    Skip,
    /// It goes to the dead-letter table.
    Quarantine,
    /// What can be decoded is a row, and the rest is in this column.
    Rescue(Name),
}

/// One declared column.
#[derive(Debug, Clone)]
pub struct ColumnDef {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub data_type: DataType,
    /// `NOT NULL` (a PRIMARY KEY column is NOT NULL too).
    pub not_null: bool,
    /// Where its value comes from.
    pub value: ColumnValue,
}

/// Where a column's value comes from.
#[derive(Debug, Clone)]
pub enum ColumnValue {
    /// The row.
    Physical,
    /// An expression over the other columns.
    Computed(Box<Expr>),
    /// The connector.
    Metadata(String),
}

/// `CREATE VIEW`.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// What to do when the name is taken.
    pub existing: Existing,
    /// The column names, if they are given.
    pub columns: Vec<Name>,
    /// The query.
    pub query: Query,
}

/// `CREATE MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct CreateMaterializedView {
    /// Its name.
    pub name: Name,
    /// What to do when the name is taken.
    pub existing: Existing,
    /// The column names, if they are given.
    pub columns: Vec<Name>,
    /// `CONSTRAINT name EXPECT ...`.
    pub constraints: Vec<Constraint>,
    /// `RULE SET name`: all rules of these sets too.
    pub rule_sets: Vec<Name>,
    /// The query.
    pub query: Query,
    /// When its rows change.
    pub emit: Option<Emit>,
}

/// `SUBSCRIBE TO (query)`: the changes of a query's result, without end.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The query.
    pub query: Query,
    /// When its rows come out.
    pub emit: Option<Emit>,
    /// Rows after which it ends.
    pub limit: Option<u64>,
}

/// `CREATE SINK`.
#[derive(Debug, Clone)]
pub struct CreateSink {
    /// Its name.
    pub name: Name,
    /// What to do when the name is taken.
    pub existing: Existing,
    /// The declared columns, if any.
    pub columns: Vec<ColumnDef>,
    /// `CONSTRAINT name EXPECT ...`.
    pub constraints: Vec<Constraint>,
    /// `RULE SET name`: all rules of these sets too.
    pub rule_sets: Vec<Name>,
    /// `WITH (...)`, with `connector`.
    pub options: GivenOptions,
    /// `AS query`.
    pub query: Option<Query>,
    /// When the rows of the query come out.
    pub emit: Option<Emit>,
}

/// `PROFILE TABLE table [COLUMNS (columns)] [INTO name]`.
#[derive(Debug, Clone)]
pub struct ProfileTable {
    /// The table.
    pub table: Name,
    /// Its columns that are looked at; all without any.
    pub columns: Vec<Name>,
    /// The name under which the profile is kept, and with whose last one it is compared.
    pub into: Option<Name>,
}
