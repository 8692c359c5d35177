//! Which run may follow which, where one takes requests about rows in quarantine and reads nothing
//! else: what the run before had begun must not be shown half.

use crate::checkpoint::Manifest;
use crate::error::{Error, Kind, Result, codes};

/// Refuses a run behind one of another kind that is not over.
pub(super) fn check_follows(latest: &Manifest, over: bool, alone: bool) -> Result<()> {
    if latest.nodes.is_empty() {
        // It has read nothing.
        return Ok(());
    }
    let before = latest.requests.clone().unwrap_or_default();
    if alone && before.streaming {
        let hint = "run the script in streaming mode: it takes the requests by itself";
        return Err(refused("goes on in streaming mode", hint));
    }
    match (over, before.alone, alone) {
        (false, false, true) => Err(refused(
            "has not ended",
            "take REPLAY and RELEASE out of the script and let it come to its end first",
        )),
        (false, true, false) => Err(refused(
            "took rows out of quarantine and has not ended",
            "run the script with REPLAY or RELEASE once more: it goes on where it was",
        )),
        _ => Ok(()),
    }
}

fn refused(why: &str, hint: &str) -> Error {
    let message = format!("the last run of this pipeline {why}");
    Error::new(Kind::Conflict, codes::QUARANTINE, message).hint(hint)
}
