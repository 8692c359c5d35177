//! Where `weir sql` looks for materialized views, rows in quarantine and what rules have found: the state
//! of one pipeline, or a folder with those of several.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore as _;
use weir_connectors::dead_letter::{QUARANTINE, SYSTEM};
use weir_connectors::history::LocalHistory;
use weir_connectors::quarantine::LocalQuarantine;
use weir_connectors::state;
use weir_engine::checkpoint::Store;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::history::History;
use weir_engine::quarantine::Quarantine;
use weir_sql::settings::Settings;

use crate::state::{StatePlace, open_store};

/// Where pipelines keep their state when nothing is said.
const DEFAULT: &str = ".weir";
/// The folder of checkpoints within a pipeline's state.
const CHECKPOINTS: &str = "checkpoints";
/// The name of a pipeline that has none.
const UNNAMED: &str = "pipeline";
/// Pipelines of one folder: each is asked for its newest epoch before every statement.
const PIPELINES_MAX: usize = 64;

/// What pipelines keep.
#[derive(Debug, Default)]
pub struct Found {
    /// Their checkpoints, by the place of each.
    pub stores: Vec<(String, Store)>,
    /// The tables of the schema `weir`, which are on the local disk.
    pub histories: Vec<Arc<dyn History>>,
    /// Their rows in quarantine, which are there too.
    pub quarantines: Vec<Arc<dyn Quarantine>>,
}

/// Finds what pipelines keep at or below a place, in the order of their names.
pub async fn find(place: Option<&str>, env: &Env) -> Result<Found> {
    let mut found = Found::default();
    for place in places(place).await? {
        if let Some(folder) = state::open(&place)?.local_root {
            found.add(&folder, env);
        }
        found.stores.push((place.clone(), open_store(&place, env)?));
    }
    Ok(found)
}

/// What the pipeline of a script keeps beside its checkpoints. Where its state cannot be is told when
/// it starts.
pub fn own(settings: &Settings, env: &Env) -> Found {
    let mut found = Found::default();
    if let Ok(place) = StatePlace::of(settings, settings.name().unwrap_or(UNNAMED)) {
        found.add(&place.folder(), env);
    }
    found
}

/// The checkpoints of the pipeline of a script, if it has any.
pub fn own_views(settings: &Settings, env: &Env) -> Result<Vec<(String, Store)>> {
    let place = StatePlace::of(settings, settings.name().unwrap_or(UNNAMED))?;
    Ok(vec![(place.shown(), place.store(env)?)])
}

/// The quarantine in the folder of a pipeline's state.
pub fn local(folder: &Path, env: &Env) -> Arc<dyn Quarantine> {
    Arc::new(LocalQuarantine::new(folder, env.next_id().into()))
}

impl Found {
    fn add(&mut self, folder: &Path, env: &Env) {
        self.histories.push(Arc::new(LocalHistory::new(folder)));
        self.quarantines.push(local(folder, env));
    }
}

async fn places(place: Option<&str>) -> Result<Vec<String>> {
    let place = match place {
        Some(place) => place,
        None if Path::new(DEFAULT).is_dir() => DEFAULT,
        None => return Ok(Vec::new()),
    };
    let location = state::open(place)?;
    let listed = location.store.list_with_delimiter(Some(&location.path));
    let listed = listed.await.map_err(|error| {
        Error::new(
            Kind::Unavailable,
            codes::UNAVAILABLE,
            format!("the state in \"{place}\" cannot be listed"),
        )
        .caused_by(error)
    })?;
    let folders = listed.common_prefixes.iter();
    let mut names: Vec<&str> = folders.filter_map(|folder| folder.filename()).collect();
    if [CHECKPOINTS, SYSTEM, QUARANTINE]
        .iter()
        .any(|own| names.contains(own))
    {
        return Ok(vec![place.to_owned()]);
    }
    names.sort_unstable();
    if names.len() > PIPELINES_MAX {
        return Err(Error::new(
            Kind::Limit,
            codes::LIMIT,
            format!(
                "\"{place}\" has the state of {} pipelines, {PIPELINES_MAX} can be read at once",
                names.len()
            ),
        )
        .hint("name one of them: weir sql --state PLACE"));
    }
    let within = place.trim_end_matches('/');
    Ok(names
        .into_iter()
        .map(|name| format!("{within}/{name}"))
        .collect())
}
