//! The materialized views of other pipelines, among the tables of a session.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use weir_engine::checkpoint::Store;
use weir_engine::error::{Place, Result};
use weir_engine::history::History;
use weir_engine::view::Room;

use super::Session;
use crate::stored::{StoredPipeline, StoredView, is_gone};
use crate::system::SystemTables;

/// How often a query is planned anew because the epoch that it reads was removed meanwhile.
const REMOVED_TRIES_MAX: usize = 5;

impl Session {
    /// Says where pipelines keep their state, by the place as people write it. Their materialized
    /// views become tables, read as of the last committed epoch.
    pub fn read_views(&mut self, stores: Vec<(String, Store)>) {
        let known = std::mem::take(&mut self.pipelines);
        self.pipelines = self.readers(known, stores);
    }

    /// Says where the pipeline of the script keeps its state, for statements about what its views have.
    pub fn read_own(&mut self, stores: Vec<(String, Store)>) {
        self.own = self.readers(Vec::new(), stores);
    }

    fn readers(
        &self,
        known: Vec<Arc<StoredPipeline>>,
        stores: Vec<(String, Store)>,
    ) -> Vec<Arc<StoredPipeline>> {
        let room = Room::of(&self.runtime);
        let pipelines = stores.into_iter().map(|(place, store)| {
            let mut known = known.iter();
            match known.find(|pipeline| pipeline.place() == place) {
                Some(pipeline) => Arc::clone(pipeline),
                None => {
                    let (env, room) = (self.env.clone(), room.clone());
                    Arc::new(StoredPipeline::new(place, store, env, room))
                }
            }
        });
        pipelines.collect()
    }

    /// Says where pipelines keep what they tell of themselves: the tables of the schema `weir`.
    pub fn read_history(&mut self, stores: Vec<Arc<dyn History>>) {
        self.histories.clone_from(&stores);
        self.planner.models().log().set_stores(stores.clone());
        self.catalog
            .put_system(SystemTables::over(stores, &self.env));
    }

    /// Goes on to the newest epochs: all tables of the next statement are read as of them.
    pub(super) async fn refresh_stored(&mut self) -> Result<()> {
        for pipeline in &self.pipelines {
            pipeline.refresh().await?;
        }
        let views = self.pipelines.iter().flat_map(|pipeline| {
            let manifest = pipeline.newest();
            let views = manifest.map_or_else(Vec::new, |manifest| manifest.views.clone());
            let table = |view| Arc::new(StoredView::new(pipeline, &view));
            views.into_iter().map(table).collect::<Vec<_>>()
        });
        self.catalog.put_stored(views);
        Ok(())
    }

    /// Runs a query; when an epoch is removed while its views are read, the next one is read.
    pub(super) async fn run_query_over_views(
        &self,
        plan: &LogicalPlan,
        place: Place,
    ) -> Result<SendableRecordBatchStream> {
        let mut tries = 1;
        loop {
            match self.run_query(plan, Some(place)).await {
                Err(error) if is_gone(&error) && tries < REMOVED_TRIES_MAX => {
                    tries += 1;
                    for pipeline in &self.pipelines {
                        pipeline.refresh().await?;
                    }
                }
                done => return done,
            }
        }
    }
}
