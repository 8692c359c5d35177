//! What the coordinator does with an epoch that all tasks have passed: makes it durable, lets the
//! sinks show it, removes what is not needed any more.

use super::Coordinator;
use crate::checkpoint::protocol::{Decision, Fact};
use crate::checkpoint::{
    Manifest, ManifestKind, Published, SavedToken, SinkCommit, TakenRequests, chain, store,
};
use crate::error::Result;
use crate::limits;
use crate::message::Epoch;
use crate::runtime::recovery::{DEAD_LETTERS, bare, commit_saved};

impl Coordinator {
    pub(super) async fn publish(&mut self, epoch: Epoch, kind: ManifestKind) -> Result<Fact> {
        let letters = self.job.dead_letters.clone();
        let last = kind == ManifestKind::Finished;
        let prepared = self
            .job
            .env
            .blocking(move || letters.prepare(epoch.0, last));
        let letters: Vec<SavedToken> = prepared.await??.into_iter().map(saved).collect();
        let mut tokens = std::mem::take(&mut self.tokens);
        if !letters.is_empty() {
            tokens.insert(DEAD_LETTERS.to_owned(), letters);
        }
        let new = tokens.into_iter().map(|(node, tokens)| SinkCommit {
            node,
            epoch: epoch.0,
            tokens,
        });
        self.commits = std::mem::take(&mut self.held);
        self.commits.extend(new);
        let manifest = self.manifest(epoch, kind);
        match self.recovered.store.publish(&manifest).await {
            Ok(Published::Durable) => {
                self.last = Some(manifest);
                Ok(Fact::Published(epoch))
            }
            Ok(Published::Fenced { .. }) => Ok(Fact::Fenced),
            Err(error) => {
                if store::is_unknown(&error) {
                    self.machine.take(Fact::OutcomeUnknown);
                }
                Err(error)
            }
        }
    }

    fn manifest(&self, epoch: Epoch, kind: ManifestKind) -> Manifest {
        Manifest {
            format: crate::checkpoint::manifest::FORMAT,
            pipeline: self.job.pipeline.to_string(),
            origin: self.recovered.manifest.origin.clone(),
            generation: self.recovered.generation,
            epoch: epoch.0,
            writer: self.recovered.writer.clone(),
            created_micros: self.job.env.clock().now_micros(),
            restored_from: None,
            kind,
            nodes: self.nodes.values().cloned().collect(),
            commits: self.commits.clone(),
            views: self.views.clone(),
            rows_in: self.recovered.manifest.rows_in + self.rows_read(),
            tallies: self.job.dead_letters.settled(),
            requests: self.taken_requests(),
            paused: self.job.dead_letters.paused_by(epoch.0),
        }
    }

    fn taken_requests(&self) -> Option<TakenRequests> {
        let (streaming, alone) = self.kind;
        Some(TakenRequests {
            applied: self.job.dead_letters.applied()?,
            alone,
            streaming,
        })
    }

    fn rows_read(&self) -> u64 {
        let nodes = self
            .ledgers
            .keys()
            .filter_map(|id| self.job.metrics.node(id));
        nodes.map(|node| node.rows_in).sum()
    }

    pub(super) async fn commit(&mut self) -> Result<()> {
        for commit in &self.commits {
            if commit.node == DEAD_LETTERS {
                let letters = self.job.dead_letters.clone();
                let tokens: Vec<_> = commit.tokens.iter().map(bare).collect();
                let shown = self.job.env.blocking(move || letters.commit(&tokens));
                shown.await??;
                continue;
            }
            let Some(sink) = self.sinks.get(&commit.node) else {
                continue;
            };
            commit_saved(&self.recovered.store, &**sink, commit).await?;
            let bytes = commit.tokens.iter().map(|token| token.bytes).sum();
            self.job.metrics.add_visible(&commit.node, bytes);
        }
        self.commits.clear();
        Ok(())
    }

    /// Merges long chains and removes what no kept epoch needs. What goes wrong here does no harm:
    /// it is tried again after the next epoch.
    pub(super) async fn collect(&mut self) {
        // Merged files are named by the next epoch's manifest: after the last there is none.
        let goes_on = self.last.as_ref().map(|last| last.kind) == Some(ManifestKind::Periodic);
        if goes_on && let Err(error) = self.merge().await {
            tracing::warn!(%error, "the files of a checkpoint could not be merged");
        }
        if let Err(error) = self.recovered.store.collect(self.retained).await {
            tracing::warn!(%error, "old checkpoints could not be removed");
        }
        let (letters, now) = (
            self.job.dead_letters.clone(),
            self.job.env.clock().now_micros(),
        );
        let expired = self.job.env.blocking(move || letters.expire(now)).await;
        if let Err(error) = expired.and_then(|expired| expired) {
            tracing::warn!(%error, "old rows in quarantine could not be removed");
        }
    }

    async fn merge(&mut self) -> Result<()> {
        let (store, generation) = (&self.recovered.store, self.recovered.generation);
        let epoch = self.epoch;
        for node in self.nodes.values_mut() {
            for chain in &mut node.chains {
                let Some(run) = chain::plan(&chain.files) else {
                    continue;
                };
                let Some(files) = chain.files.get(run.clone()) else {
                    continue;
                };
                let number = limits::OUTBOXES_MAX + 1;
                let merged = store
                    .merge(generation, epoch, &node.id, chain.subtask, number, files)
                    .await?;
                chain.files.splice(run, merged);
            }
        }
        Ok(())
    }

    /// The job has failed: what no durable epoch has is thrown away.
    pub(super) async fn discard(&mut self) {
        let decisions = self.machine.take(Fact::Failed);
        let may = decisions
            .iter()
            .all(|decision| !matches!(decision, Decision::Discard { tokens: false }));
        if !may {
            return;
        }
        let deferred = std::mem::take(&mut self.deferred);
        let late = deferred.into_iter().flat_map(|handover| handover.tokens);
        for ((node, _), token) in late {
            self.tokens.entry(node.to_string()).or_default().push(token);
        }
        for (node, tokens) in &self.tokens {
            let Some(sink) = self.sinks.get(node) else {
                continue;
            };
            for token in tokens {
                if let Err(error) = sink.abort(&bare(token)).await {
                    tracing::warn!(%error, "unfinished work could not be removed");
                }
            }
        }
    }
}

fn saved(token: crate::sink::CommitToken) -> SavedToken {
    SavedToken {
        payload: token.payload,
        rows: token.rows,
        bytes: token.bytes,
        outbox: None,
    }
}
