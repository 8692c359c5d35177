//! `FEEDBACK ON ANOMALY`: what someone says of an anomaly that a model has told, kept for the pipeline of the model, which
//! takes it while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::catalog::TableProvider;
use datafusion::sql::sqlparser::ast::{Query, Value};
use futures::TryStreamExt as _;
use weir_engine::anomaly::{FEEDBACK, feedback_schema};
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::history::History;

use super::show::texts;
use super::{Outcome, Session};
use crate::ast::FeedbackOn;
use crate::parse::skeleton;
use crate::plan::Tables;
use crate::settings::Mode;
use crate::stored::{StoredPipeline, StoredView};
use crate::system::{anomalies_of, is_anomalies, is_model, query_of};

/// The anomalies that the models of some pipelines have kept.
struct Kept<'a> {
    models: BTreeMap<String, Arc<StoredView>>,
    others: &'a dyn Tables,
}

impl<'a> Kept<'a> {
    fn of(pipelines: &[Arc<StoredPipeline>], others: &'a dyn Tables) -> Self {
        let mut models = BTreeMap::new();
        for pipeline in pipelines {
            let manifest = pipeline.newest();
            for view in manifest.iter().flat_map(|manifest| &manifest.views) {
                let view = StoredView::new(pipeline, view);
                if is_model(&view.schema()) {
                    models.insert(view.name().to_owned(), Arc::new(view));
                }
            }
        }
        Self { models, others }
    }
}

impl Tables for Kept<'_> {
    fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        match self.models.get(name) {
            Some(view) => Ok(Arc::clone(view) as _),
            None => self.others.table(name),
        }
    }

    fn query(&self, name: &str) -> Result<Option<Box<Query>>> {
        match is_anomalies(name) {
            true => anomalies_of(self.models.keys().map(String::as_str)).map(Some),
            false => query_of(name),
        }
    }
}

impl Session {
    /// Keeps what someone says of an anomaly.
    pub(super) async fn feedback(&mut self, said: &FeedbackOn, place: Place) -> Result<Outcome> {
        let (model, store) = self.anomaly_named(said, place).await?;
        let now = self.env.clock().now_micros();
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let word = said.feedback.word();
        let time = TimestampMicrosecondArray::from(vec![now]).with_timezone("UTC");
        let columns = vec![text(&said.id), text(&model), text(word), Arc::new(time)];
        let row = RecordBatch::try_new(feedback_schema(), columns)?;
        let file = self.env.next_id();
        let added = self
            .env
            .blocking(move || store.add(FEEDBACK, &file, &[row]));
        added.await??;
        let row = vec![said.id.clone(), model, word.to_owned()];
        texts(&["anomaly", "model", "feedback"], &[row])
    }

    /// The model that has told an anomaly, and where what is said of it is kept.
    async fn anomaly_named(
        &self,
        said: &FeedbackOn,
        place: Place,
    ) -> Result<(String, Arc<dyn History>)> {
        let known = match self.runs {
            true => self.told_by_own(said, place).await?,
            false => self.told_by_others(said, place).await?,
        };
        known.ok_or_else(|| {
            let message = format!("there is no anomaly \"{}\"", said.id);
            Error::new(Kind::Invalid, codes::ANOMALY, message)
                .hint("SELECT id, model, key, time FROM weir.anomalies shows those that models have kept")
                .at(Some(said.place))
        })
    }

    /// Looks in the state of the script's pipeline, and in what its models find if they have an end.
    async fn told_by_own(
        &self,
        said: &FeedbackOn,
        place: Place,
    ) -> Result<Option<(String, Arc<dyn History>)>> {
        for pipeline in &self.own {
            pipeline.refresh().await?;
        }
        let kept = Kept::of(&self.own, &self.catalog);
        let mut model = self.model_in(&kept, said, place).await?;
        if model.is_none() && self.settings.mode() != Some(Mode::Streaming) {
            model = self.model_in(&self.catalog, said, place).await?;
        }
        let store = self.histories.first().map(Arc::clone);
        Ok(model.zip(store))
    }

    /// Looks in the state of each pipeline that is seen: those on the local disk can be told.
    async fn told_by_others(
        &self,
        said: &FeedbackOn,
        place: Place,
    ) -> Result<Option<(String, Arc<dyn History>)>> {
        for (at, pipeline) in self.pipelines.iter().enumerate() {
            let kept = Kept::of(std::slice::from_ref(pipeline), &self.catalog);
            let Some(model) = self.model_in(&kept, said, place).await? else {
                continue;
            };
            let are_all_local = self.pipelines.len() == self.histories.len();
            let store = self.histories.get(at).filter(|_| are_all_local);
            return match store {
                Some(store) => Ok(Some((model, Arc::clone(store)))),
                None => {
                    let message = "what is said of anomalies is kept on the local disk";
                    Err(Error::new(Kind::Invalid, codes::ANOMALY, message)
                        .hint("name the state of one pipeline: weir sql --state FOLDER")
                        .at(Some(place)))
                }
            };
        }
        Ok(None)
    }

    /// The model of an anomaly among those of some tables.
    async fn model_in(
        &self,
        tables: &dyn Tables,
        said: &FeedbackOn,
        place: Place,
    ) -> Result<Option<String>> {
        let id = Value::SingleQuotedString(said.id.clone());
        let query = skeleton::query(&format!("SELECT model FROM weir.anomalies WHERE id = {id}"))?;
        let planned = self.planner.query(tables, &query, Some(place))?;
        let rows = self.run_query_over_views(&planned.plan, place).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        let first = rows.iter().find(|rows| rows.num_rows() > 0);
        let Some(first) = first else {
            return Ok(None);
        };
        let names = arrow::compute::cast(first.column(0), &arrow::datatypes::DataType::Utf8)?;
        let names = arrow::array::AsArray::as_string_opt::<i32>(&names);
        Ok(names.map(|names| names.value(0).to_owned()))
    }
}
