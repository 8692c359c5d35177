//! Where `weir sql` looks for materialized views: the state of one pipeline, or a folder with those
//! of several.

use std::path::Path;

use object_store::ObjectStore as _;
use weir_connectors::state;
use weir_engine::checkpoint::Store;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

use crate::state::open_store;

/// Where pipelines keep their state when nothing is said.
const DEFAULT: &str = ".weir";
/// The folder of checkpoints within a pipeline's state.
const CHECKPOINTS: &str = "checkpoints";
/// Pipelines of one folder: each is asked for its newest epoch before every statement.
const PIPELINES_MAX: usize = 64;

/// Gives the stores below a place, each with its own place, in the order of their names.
pub async fn find(place: Option<&str>, env: &Env) -> Result<Vec<(String, Store)>> {
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
    if names.contains(&CHECKPOINTS) {
        return Ok(vec![(place.to_owned(), open_store(place, env)?)]);
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
    let below = names.into_iter().map(|name| {
        let place = format!("{}/{name}", place.trim_end_matches('/'));
        let store = open_store(&place, env)?;
        Ok((place, store))
    });
    below.collect()
}
