//! The end of the graph of a materialized view.

use weir_engine::error::Result;
use weir_engine::graph::Graph;

use super::{Target, refuse};
use crate::plan::Planner;
use crate::session::Materialized;
use crate::settings::Mode;

/// Adds a materialized view and what flows into it.
pub(crate) async fn add_view(
    graph: &mut Graph,
    view: &Materialized,
    planner: &Planner,
    (mode, parallelism): (Mode, u32),
) -> Result<()> {
    let prefix = format!("view/{}", view.name);
    let target = Target {
        planner,
        mode,
        parallelism,
        prefix: &prefix,
        place: Some(view.place),
        emit: view.emit,
    };
    target.lower(graph, &view.plan).await?;
    Err(refuse::materialized().at(Some(view.place)))
}
