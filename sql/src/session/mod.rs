//! A session: executes statements one by one, and lowers what they insert to one graph.

mod alone;
mod alter;
mod baselines;
mod checks;
mod ephemeral;
mod excluded;
mod feedback;
mod insert;
mod materialize;
mod outcome;
mod outlet;
mod partition;
mod past;
mod profile;
mod quarantine;
mod query;
mod references;
mod requests;
mod rule_sets;
mod rules;
pub(crate) mod show;
mod stored;
mod subscribe;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::view::ViewTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::sql::sqlparser::ast::Query;
use tokio::sync::watch;
use weir_engine::connector::Connector;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::graph::Graph;
use weir_engine::history::History;
use weir_engine::job::Stop;
use weir_engine::quarantine::Quarantine;

use crate::ast::{
    Constraint, CreateSink, CreateSource, CreateView, Name, ObjectKind, Statement, StatementKind,
};
use crate::catalog::create_source::{self, Making};
use crate::catalog::{Catalog, Create, Entry, Object, create_sink, word};
use crate::plan::{Planned, Planner};
use crate::settings::{Mode, Settings};
use crate::stored::StoredPipeline;
use insert::Insert;
pub(crate) use materialize::Materialized;
pub use outcome::Outcome;

/// What a session works with.
#[derive(Debug)]
pub struct SessionOptions {
    /// Time, chance, tasks.
    pub env: Env,
    /// The connectors that scripts may name.
    pub connectors: Vec<Arc<dyn Connector>>,
    /// The memory and the spill files of queries.
    pub runtime: Arc<RuntimeEnv>,
    /// The settings that flags fix, which beat `SET`.
    pub settings: Settings,
}

/// What the inserts of a script amount to.
#[derive(Debug)]
pub struct Pipeline {
    /// The plan to run.
    pub graph: Graph,
    /// Whether it ends with its input.
    pub mode: Mode,
    /// The name under which state is kept.
    pub name: String,
    /// It takes requests about rows in quarantine and reads nothing else of their tables.
    pub alone: bool,
}

/// The state of a script: catalog, settings, inserts so far.
#[derive(Debug)]
pub struct Session {
    env: Env,
    connectors: Vec<Arc<dyn Connector>>,
    runtime: Arc<RuntimeEnv>,
    settings: Settings,
    planner: Planner,
    catalog: Catalog,
    inserts: Vec<Insert>,
    views: Vec<Materialized>,
    pipelines: Vec<Arc<StoredPipeline>>,
    /// The state of the pipeline that the script is, where a statement asks for it.
    own: Vec<Arc<StoredPipeline>>,
    /// What pipelines keep of themselves; profiles are added to the first.
    histories: Vec<Arc<dyn History>>,
    quarantines: Vec<Arc<dyn Quarantine>>,
    rule_sets: BTreeMap<String, Vec<Constraint>>,
    /// The session is the script of a pipeline, which takes the requests that it makes.
    runs: bool,
    /// Something was asked of rows in quarantine that the pipeline is to do.
    requested: bool,
    /// Bare queries run until they are dropped: nobody stops them but their reader.
    stop: watch::Sender<Stop>,
}

impl Session {
    /// Makes a session with an empty catalog.
    pub fn new(options: SessionOptions) -> Result<Self> {
        let SessionOptions {
            env,
            connectors,
            runtime,
            settings,
        } = options;
        let planner = Planner::new(Arc::clone(&runtime), &settings, &env);
        let (stop, _) = watch::channel(Stop::Run);
        Ok(Self {
            env,
            connectors,
            runtime,
            settings,
            planner,
            catalog: Catalog::default(),
            inserts: Vec::new(),
            views: Vec::new(),
            pipelines: Vec::new(),
            own: Vec::new(),
            histories: Vec::new(),
            quarantines: Vec::new(),
            rule_sets: BTreeMap::new(),
            runs: false,
            requested: false,
            stop,
        })
    }

    /// The settings so far.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn planner(&self) -> &Planner {
        &self.planner
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Notes what statements that will be executed declare, so that those before them may name it: anomaly models.
    pub fn declare(&self, statements: &[Statement]) {
        self.planner.models().declare(statements);
    }

    /// Executes one statement.
    pub async fn execute(&mut self, statement: &Statement) -> Result<Outcome> {
        let place = statement.place;
        if !self.pipelines.is_empty() {
            Box::pin(self.refresh_stored()).await?;
        }
        Box::pin(self.refresh_quarantines()).await?;
        // Boxed: the future of a statement is large, and it is awaited once per statement.
        let outcome = Box::pin(self.execute_kind(statement)).await;
        outcome.map_err(|error| error.at(Some(place)))
    }

    async fn execute_kind(&mut self, statement: &Statement) -> Result<Outcome> {
        let place = statement.place;
        let kind = self.with_sets(&statement.kind)?;
        self.look_up(&kind, statement).await?;
        match &*kind {
            StatementKind::CreateSource(create) => {
                self.create_source(create, statement).await?;
                Ok(Outcome::Done("CREATE SOURCE".to_owned()))
            }
            StatementKind::CreateView(create) => {
                self.create_view(create, statement)?;
                Ok(Outcome::Done("CREATE VIEW".to_owned()))
            }
            StatementKind::CreateMaterializedView(create) => {
                self.create_materialized_view(create, statement)
            }
            StatementKind::CreateSink(create) => self.create_sink(create, statement),
            StatementKind::CreateExpectation(_)
            | StatementKind::CreateRuleSet(_)
            | StatementKind::DropRuleSets { .. }
            | StatementKind::AlterTable(_) => self.change_constraints(&kind),
            StatementKind::Insert {
                sink,
                columns,
                query,
                emit,
            } => {
                let insert = self.plan_insert(sink, columns, (query, *emit), place)?;
                self.inserts.push(insert);
                Ok(Outcome::Added)
            }
            StatementKind::Drop {
                what,
                names,
                if_exists,
                cascade,
            } => {
                self.drop_objects(*what, names, *if_exists, *cascade)?;
                Ok(Outcome::Done(format!(
                    "DROP {}",
                    word(*what).to_uppercase()
                )))
            }
            StatementKind::Set { name, value } => {
                self.set(name, value)?;
                Ok(Outcome::Done("SET".to_owned()))
            }
            StatementKind::Show(show) => show::show(self, show),
            StatementKind::ShowCreate(name) => show::show_create(self, name),
            StatementKind::Describe(name) => show::describe(self, name),
            StatementKind::Profile(profile) => self.profile(profile, place).await,
            StatementKind::Validate(validate) => self.validate(validate, place).await,
            StatementKind::Suggest(table) => self.suggest(table, place).await,
            StatementKind::Explain { analyze, statement } => {
                crate::explain::explain(self, *analyze, statement).await
            }
            StatementKind::Feedback(feedback) => self.feedback(feedback, place).await,
            StatementKind::Quarantine(request) => self.request(request, place).await,
            StatementKind::Resume(source) => self.resume(source).await,
            StatementKind::Subscribe(subscribe) => Ok(Outcome::Subscription(
                self.subscribe(subscribe, place).await?,
            )),
            StatementKind::Query { query, .. } => {
                let planned = self.planner.query(&self.catalog, query, Some(place))?;
                Ok(Outcome::Query(
                    self.run_query_over_views(&planned.plan, place).await?,
                ))
            }
        }
    }

    /// Finds what a statement refers to in other tables.
    async fn look_up(&mut self, kind: &StatementKind, statement: &Statement) -> Result<()> {
        self.refer(kind)?;
        for baseline in &statement.baselines {
            Box::pin(self.find_baseline(baseline)).await?;
        }
        Box::pin(self.read_excluded(kind, statement.place)).await
    }

    /// Changes a setting: the planner goes by them.
    fn set(&mut self, name: &Name, value: &str) -> Result<()> {
        let set = self.settings.set(&name.text, value);
        set.map_err(|error| error.at(name.place))?;
        self.planner = Planner::new(Arc::clone(&self.runtime), &self.settings, &self.env)
            .with_names_of(&self.planner);
        Ok(())
    }

    async fn create_source(&mut self, create: &CreateSource, statement: &Statement) -> Result<()> {
        let kind = ObjectKind::Source;
        if self
            .catalog
            .may_create(kind, &create.name, create.existing)?
            == Create::Keep
        {
            return Ok(());
        }
        let making = Making {
            planner: &self.planner,
            connectors: &self.connectors,
            settings: &self.settings,
            env: &self.env,
        };
        let source = create_source::create(&making, create, statement.place).await?;
        let source = Arc::new(source);
        self.source_checks(&source, &source.constraints())?;
        self.put(
            &create.name,
            Object::Source(source),
            statement,
            BTreeSet::new(),
        );
        Ok(())
    }

    fn create_view(&mut self, create: &CreateView, statement: &Statement) -> Result<()> {
        let kind = ObjectKind::View;
        if self
            .catalog
            .may_create(kind, &create.name, create.existing)?
            == Create::Keep
        {
            return Ok(());
        }
        let planned = self.plan_view(
            &create.name,
            &create.columns,
            &create.query,
            statement.place,
        )?;
        let view = ViewTable::new(planned.plan, Some(statement.text.clone()));
        self.put(
            &create.name,
            Object::View(Arc::new(view)),
            statement,
            planned.uses,
        );
        Ok(())
    }

    /// Plans the query of a view, with its columns named.
    fn plan_view(
        &self,
        name: &Name,
        columns: &[Name],
        query: &Query,
        place: Place,
    ) -> Result<Planned> {
        let planned = self.planner.query(&self.catalog, query, Some(place))?;
        if planned.uses.contains(&name.text) {
            return Err(Error::new(
                Kind::Invalid,
                codes::PLAN,
                format!("view \"{}\" reads itself", name.text),
            )
            .at(name.place));
        }
        let plan = insert::rename(planned.plan, columns, place)?;
        insert::check_unique(&plan, place)?;
        Ok(Planned { plan, ..planned })
    }

    /// A sink with AS is an insert too: both are checked before either is kept.
    fn create_sink(&mut self, create: &CreateSink, statement: &Statement) -> Result<Outcome> {
        let done = || Ok(Outcome::Done("CREATE SINK".to_owned()));
        let kind = ObjectKind::Sink;
        if self
            .catalog
            .may_create(kind, &create.name, create.existing)?
            == Create::Keep
        {
            return done();
        }
        let sink = self.make_sink(create, statement.place)?;
        let insert = match &create.query {
            Some(query) => {
                let query = (query, create.emit);
                Some(self.plan_into(&sink, &[], query, statement.place)?)
            }
            None => None,
        };
        self.inserts.retain(|insert| insert.sink.name != sink.name);
        self.put(&create.name, Object::Sink(sink), statement, BTreeSet::new());
        match insert {
            Some(insert) => {
                self.inserts.push(insert);
                Ok(Outcome::Added)
            }
            None => done(),
        }
    }

    pub(crate) fn make_sink(
        &self,
        create: &CreateSink,
        place: Place,
    ) -> Result<Arc<create_sink::SinkTable>> {
        create_sink::create(&self.planner, &self.connectors, create, place).map(Arc::new)
    }

    fn drop_objects(
        &mut self,
        what: ObjectKind,
        names: &[Name],
        if_exists: bool,
        cascade: bool,
    ) -> Result<()> {
        for name in names {
            let inserts = self
                .inserts
                .iter()
                .any(|insert| insert.sink.name == name.text);
            if what == ObjectKind::Sink && inserts && !cascade {
                return Err(Error::new(
                    Kind::Invalid,
                    codes::DUPLICATE,
                    format!(
                        "sink \"{}\" cannot be dropped: the script inserts into it",
                        name.text
                    ),
                )
                .hint("add CASCADE to drop the inserts too")
                .at(name.place));
            }
            self.catalog.remove(what, name, if_exists, cascade)?;
            match what {
                ObjectKind::Sink => self.inserts.retain(|insert| insert.sink.name != name.text),
                _ => self.views.retain(|view| self.catalog.has(&view.name)),
            }
            self.planner
                .models()
                .retain(|model| self.catalog.has(model));
        }
        Ok(())
    }

    fn put(&mut self, name: &Name, object: Object, statement: &Statement, uses: BTreeSet<String>) {
        let text = statement.text.clone();
        self.catalog.put(&name.text, Entry { object, text, uses });
    }

    /// Lowers all inserts since the last call to one graph; `None` when there are none.
    pub async fn pipeline(&mut self) -> Result<Option<Pipeline>> {
        let inserts = std::mem::take(&mut self.inserts);
        let views = std::mem::take(&mut self.views);
        let (inserts, alone) = self.alone(inserts, &views)?;
        self.requested = false;
        if inserts.is_empty() && views.is_empty() {
            return Ok(None);
        }
        let pipeline = Box::pin(self.lower(&inserts, &views, alone)).await?;
        Ok(Some(pipeline))
    }
}

#[cfg(test)]
mod tests;
