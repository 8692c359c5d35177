//! Sources that rules have paused, as the tasks of a job and its checkpoints see them.

use super::DeadLetters;
use crate::error::{Error, Kind, Result, codes};
use crate::rules::Pause;
use crate::sink::CommitToken;

/// What the payload of a token begins with that says which sources pause.
const PAUSED: &str = "paused:";

impl DeadLetters {
    /// Goes on with the sources paused that a checkpoint says, but for those that users have resumed
    /// since. A run in which nobody could resume them does not begin.
    pub(super) fn begin_paused(&self, paused: &[Pause]) -> Result<()> {
        let mut state = self.inner.state.lock();
        let whole = state.ledger.is_whole();
        for pause in paused {
            let Pause {
                source,
                rule,
                detail,
                ..
            } = pause;
            if let Some(quarantine) = &self.inner.quarantine {
                if quarantine.is_resumed(pause)? {
                    tracing::info!("source {source} is resumed");
                    continue;
                }
                quarantine.note_paused(pause)?;
            }
            if whole {
                let message = format!("source \"{source}\" is paused");
                return Err(Error::new(Kind::Data, codes::RULE_BROKEN, message)
                    .detail(format!("by rule \"{rule}\": {detail}"))
                    .hint(format!("run RESUME SOURCE {source} with weir sql first")));
            }
            tracing::warn!(
                "source {source} is still paused: rule {rule}: {detail}; RESUME SOURCE {source} lets it read on"
            );
            state
                .ledger
                .halts
                .pauses
                .insert(source.clone(), pause.clone());
        }
        Ok(())
    }

    /// Whether a source gives no rows for now.
    pub(crate) fn is_paused(&self, source: &str) -> bool {
        self.inner
            .state
            .lock()
            .ledger
            .halts
            .pauses
            .contains_key(source)
    }

    /// Ends the pause of a source if a user has resumed it.
    pub(crate) fn take_resumed(&self, source: &str) -> Result<bool> {
        let pause = self
            .inner
            .state
            .lock()
            .ledger
            .halts
            .pauses
            .get(source)
            .cloned();
        let (Some(pause), Some(quarantine)) = (pause, &self.inner.quarantine) else {
            return Ok(false);
        };
        let resumed = quarantine.is_resumed(&pause)?;
        if resumed {
            tracing::info!("source {source} is resumed");
            self.inner.state.lock().ledger.halts.pauses.remove(source);
        }
        Ok(resumed)
    }

    /// The sources that give no rows for now.
    pub fn paused(&self) -> Vec<Pause> {
        let state = self.inner.state.lock();
        state.ledger.halts.pauses.values().cloned().collect()
    }

    /// What the manifest of an epoch says of them.
    pub(crate) fn paused_by(&self, epoch: u64) -> Vec<Pause> {
        let mut paused = self.paused();
        paused.retain(|pause| pause.epoch <= epoch);
        paused
    }

    /// The tokens of the pauses that an epoch begins.
    pub(super) fn settle_paused(&self, epoch: u64) -> Result<Vec<CommitToken>> {
        let begun = self.paused();
        let begun = begun.iter().filter(|pause| pause.epoch == epoch);
        let token = |pause: &Pause| {
            let json = serde_json::to_string(pause).map_err(|error| {
                Error::internal("the pause of a source cannot be written").caused_by(error)
            })?;
            Ok(CommitToken::new(format!("{PAUSED}{json}"), 0, 0))
        };
        begun.map(token).collect()
    }

    /// Tells users of the pause of a token; false for another token.
    pub(super) fn commit_paused(&self, token: &CommitToken) -> Result<bool> {
        let Some(json) = token.payload.strip_prefix(PAUSED) else {
            return Ok(false);
        };
        let pause: Pause = serde_json::from_str(json).map_err(|error| {
            Error::internal("the pause of a source cannot be read").caused_by(error)
        })?;
        if let Some(quarantine) = &self.inner.quarantine {
            quarantine.note_paused(&pause)?;
        }
        Ok(true)
    }
}
