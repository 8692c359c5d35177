//! Where a job begins: takes the pipeline over, commits what the last checkpoint has prepared, and
//! gives each node back what it had.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::checkpoint::{
    Chain, Manifest, ManifestKind, NodeState, Published, Rejected, SavedToken, SinkCommit,
    StateFile, Store,
};
use crate::env::Env;
use crate::error::{Error, Kind, Result, codes};
use crate::feed::Ledger;
use crate::graph::{Graph, Node, NodeKind};
use crate::job::JobContext;
use crate::key_group::KeyGroups;
use crate::message::Epoch;
use crate::operator::{Operator, StateBatches};
use crate::sink::{CommitToken, Owner, Sink, Start};

/// The name under which a manifest keeps the tokens of dead letters.
pub(super) const DEAD_LETTERS: &str = "dead_letters";

/// What a job goes on from.
pub(super) struct Recovered {
    pub(super) store: Store,
    pub(super) generation: u64,
    pub(super) writer: String,
    /// The manifest that the job begins with: the content of the last epoch, taken over.
    pub(super) manifest: Manifest,
    /// The epoch whose content the job goes on from; `None` for a new pipeline.
    pub(super) resumed: Option<u64>,
    /// All input was read and shown before; what is new since is read now.
    more: bool,
    /// All input was read before: only the sinks may have something left to show.
    pub(super) read: bool,
    env: Env,
    ledgers: BTreeMap<String, Ledger>,
    kept: BTreeMap<String, Vec<Chain>>,
    /// What people should know of it.
    pub(super) notes: Vec<String>,
}

impl fmt::Debug for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovered")
            .field("generation", &self.generation)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

impl Recovered {
    /// Takes a pipeline over: whoever had it before can't extend its log any more.
    pub(super) async fn take_over(
        graph: &Graph,
        store: Store,
        job: &JobContext,
        (streaming, alone): (bool, bool),
    ) -> Result<Self> {
        let mut claim = store.claim(&job.run_id).await?;
        let mut rejected = std::mem::take(&mut claim.rejected);
        while let Some(latest) = &claim.latest {
            let Err(error) = store.verify(latest).await else {
                break;
            };
            if error.kind() != Kind::Data {
                return Err(error);
            }
            // Its files are there, but what is in them is not what was written.
            let why = error.to_string();
            rejected.push(Rejected {
                epoch: latest.epoch,
                why,
            });
            let Some(earlier) = earlier(&store, latest.epoch).await? else {
                return Err(lost(&rejected));
            };
            claim = store.claim_at(&job.run_id, Some(earlier)).await?;
        }
        if let Some(latest) = &claim.latest {
            let (_, kind) = origin(&store, latest).await;
            let over = kind == ManifestKind::Finished && latest.commits.is_empty();
            requests::check_follows(latest, over, alone)?;
        }
        if let Some(latest) = &claim.latest
            && !streaming
            && latest.commits.is_empty()
            && origin(&store, latest).await.1 == ManifestKind::Finished
        {
            // All was read and shown: this is another run over the input.
            claim.latest = None;
        }
        let manifest = store.fence(&claim, &job.pipeline).await?;
        // Who had the pipeline may have come one epoch further before it was fenced: what counts is
        // what the fence holds.
        let origin = match manifest.restored_from {
            Some(_) => Some(origin(&store, &manifest).await),
            None => None,
        };
        let was_read = origin.is_some_and(|(_, kind)| kind == ManifestKind::Finished);
        let shown = manifest.commits.is_empty();
        let mut recovered = Self {
            read: was_read && !shown,
            more: was_read && shown && streaming,
            resumed: origin.map(|(epoch, _)| epoch),
            generation: claim.generation,
            writer: claim.writer.clone(),
            manifest,
            env: job.env.clone(),
            store,
            ledgers: BTreeMap::new(),
            kept: BTreeMap::new(),
            notes: rejected.iter().map(told).collect(),
        };
        recovered.match_nodes(graph);
        recovered.read_ledgers(graph).await?;
        Ok(recovered)
    }

    /// Tells the log that the sinks have shown all of a pipeline that has read all of its input.
    pub(super) async fn close(&self, last: Manifest) -> Result<()> {
        let manifest = Manifest {
            epoch: last.epoch + 1,
            commits: Vec::new(),
            // It may be a start that took over what an earlier one had read.
            kind: ManifestKind::Finished,
            restored_from: None,
            created_micros: self.env.clock().now_micros(),
            ..last
        };
        match self.store.publish(&manifest).await? {
            Published::Durable => Ok(()),
            Published::Fenced { .. } => Err(fenced()),
        }
    }

    /// The last epoch that there is.
    pub(super) fn epoch(&self) -> u64 {
        self.manifest.epoch
    }

    /// The splits of a source, as the checkpoint has them.
    pub(super) fn ledger(&self, node: &str) -> Ledger {
        self.ledgers.get(node).cloned().unwrap_or_default()
    }

    /// How many batches a partition of an island has given.
    pub(super) fn given(&self, node: &str, partition: u32) -> u64 {
        let ledger = self.ledger(node);
        let of = ledger
            .entries()
            .find(|entry| entry.split.id == partition.to_string());
        let position = of.and_then(|entry| entry.split.position.as_ref());
        position
            .and_then(|position| position.0.parse().ok())
            .unwrap_or(0)
    }

    /// Whether a sink wrote for this pipeline before.
    pub(super) fn start_of(&self, node: &Node) -> Start {
        let known = self.manifest.nodes.iter().any(|n| *n.id == *node.id);
        match self.resumed {
            Some(epoch) if known => Start::Resumed(Epoch(epoch)),
            _ => Start::Fresh,
        }
    }

    /// Whose work the sink of a node makes visible.
    pub(super) fn owner(&self, node: &Node) -> Owner {
        Owner {
            pipeline: self.manifest.pipeline.as_str().into(),
            node: Arc::clone(&node.id),
            origin: self.manifest.origin.as_str().into(),
            fence: Epoch(self.epoch()),
            checkpoints: true,
        }
    }

    /// The chains of a node that go on where they ended: each subtask has the key groups that it
    /// had before, so that what it is given back is what its chain holds. `None` begins anew.
    pub(super) fn continued(&self, id: &str, subtasks: usize) -> Option<&[Chain]> {
        let chains = self.kept.get(id)?;
        let each = (0..).zip(chains).all(|(subtask, c)| c.subtask == subtask);
        (each && chains.len() == subtasks).then_some(chains)
    }

    /// Gives an operator back what its subtask had. The files of one chain are open at a time, and
    /// of those one batch is in memory.
    pub(super) async fn restore(
        &self,
        node: &Node,
        subtask: u32,
        mut operator: Box<dyn Operator>,
    ) -> Result<Box<dyn Operator>> {
        let own = self.continued(&node.id, node.parallelism as usize);
        let chains = match own {
            // With the same parallelism all keys of a subtask are in its own chain.
            Some(chains) => chains.get(subtask as usize..=subtask as usize),
            None => self.kept.get(&*node.id).map(Vec::as_slice),
        };
        let groups = KeyGroups::of(subtask, node.parallelism);
        for chain in chains.into_iter().flatten() {
            let mut files: Vec<StateBatches> = Vec::with_capacity(chain.files.len());
            for file in &chain.files {
                files.push(self.store.read_state(file).await?);
            }
            let groups = groups.clone();
            let restored = self.env.blocking(move || {
                operator.restore(&mut files.into_iter().flatten(), &groups)?;
                Ok::<_, Error>(operator)
            });
            operator = restored.await??;
        }
        Ok(operator)
    }

    /// Finds for each node what the checkpoint has of it; notes what fits nowhere.
    fn match_nodes(&mut self, graph: &Graph) {
        // A pipeline that was stopped before its first checkpoint has nothing that could be missed.
        if self.resumed.is_none() || self.manifest.nodes.is_empty() {
            return;
        }
        let prints: BTreeMap<&str, String> = graph
            .nodes()
            .filter_map(|(_, node)| Some((&*node.id, fingerprint(node)?)))
            .collect();
        let over: BTreeSet<&str> = graph
            .nodes()
            .filter(|(_, node)| self.more && !outlives_input(node))
            .map(|(_, node)| &*node.id)
            .collect();
        for state in &self.manifest.nodes {
            let id = &state.id;
            if over.contains(id.as_str()) {
                continue;
            }
            match prints.get(id.as_str()) {
                Some(print) if *print == state.fingerprint => {
                    self.kept.insert(id.clone(), state.chains.clone());
                }
                Some(_) if state.chains.is_empty() => {}
                Some(_) => self
                    .notes
                    .push(format!("the state of {id} is dropped: it has changed")),
                None => self.notes.push(format!(
                    "the state of {id} is dropped: the script has it no more"
                )),
            }
        }
        let known = |id: &str| self.manifest.nodes.iter().any(|node| node.id == id);
        let new = prints.keys().filter(|id| !known(id));
        let notes: Vec<_> = new
            .map(|id| format!("{id} is new: it begins without state"))
            .collect();
        self.notes.extend(notes);
    }

    async fn read_ledgers(&mut self, graph: &Graph) -> Result<()> {
        let reads = |node: &Node| matches!(node.kind, NodeKind::Scan(_) | NodeKind::Island(_));
        let mut files: Vec<(String, StateFile)> = Vec::new();
        for (_, node) in graph.nodes().filter(|(_, node)| reads(node)) {
            let chains = self.kept.get(&*node.id).into_iter().flatten();
            files.extend(chains.flat_map(|chain| {
                let files = chain.files.iter().cloned();
                files.map(|file| (node.id.to_string(), file))
            }));
        }
        for (node, file) in files {
            let mut batches = self.store.read_state(&file).await?;
            self.ledgers
                .entry(node)
                .or_default()
                .restore(&mut batches)?;
        }
        Ok(())
    }
}

/// The epoch whose rows were the last to be prepared, and its kind: starts that did not come
/// further, and a user who went back, took the same content over once more.
async fn origin(store: &Store, latest: &Manifest) -> (u64, ManifestKind) {
    let (mut epoch, mut kind, mut from) = (latest.epoch, latest.kind, latest.restored_from);
    while let (ManifestKind::Restored, Some(earlier)) = (kind, from) {
        epoch = earlier;
        match store.inspect(earlier).await {
            Ok(manifest) => (kind, from) = (manifest.kind, manifest.restored_from),
            // It is collected, so that it is not the newest of its content.
            Err(_) => break,
        }
    }
    (epoch, kind)
}

/// The newest epoch before another one that can be read.
async fn earlier(store: &Store, than: u64) -> Result<Option<u64>> {
    let listed = store.list().await?;
    let readable = listed
        .iter()
        .filter(|listed| listed.epoch < than && listed.manifest.is_ok());
    Ok(readable.map(|listed| listed.epoch).max())
}

fn lost(rejected: &[Rejected]) -> Error {
    let told: Vec<String> = rejected
        .iter()
        .map(|rejected| format!("epoch {}: {}", rejected.epoch, rejected.why))
        .collect();
    Error::new(
        Kind::Data,
        codes::CHECKPOINT_CORRUPT,
        "no checkpoint of this pipeline can be restored",
    )
    .detail(told.join("; "))
    .hint("bring the files back from a copy, or begin anew with another --state")
}

/// Whether the state of a node goes on when a run has ended with its input.
fn outlives_input(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Operator(factory) => factory.outlives_input(),
        NodeKind::Scan(_) | NodeKind::Island(_) | NodeKind::Lookup(_) | NodeKind::Sink(_) => true,
    }
}

fn told(rejected: &Rejected) -> String {
    format!(
        "epoch {} cannot be restored ({}): the one before is used, and rows that it has shown in \
         sinks other than files come again",
        rejected.epoch, rejected.why
    )
}

/// The error of an instance whose pipeline another one has.
pub(super) fn fenced() -> Error {
    Error::new(
        Kind::Conflict,
        codes::FENCED,
        "another instance has taken this pipeline over",
    )
    .detail("it goes on from the last epoch that this one made durable; nothing is lost or doubled")
    .hint("run one instance of a pipeline at a time, or give each its own --state")
}

/// Commits what a manifest's epoch has prepared: it may or may not be visible.
pub(super) async fn commit_again(
    manifest: &Manifest,
    store: &Store,
    graph: &Graph,
    job: &JobContext,
) -> Result<()> {
    let sinks = sinks(graph);
    for commit in &manifest.commits {
        if commit.node == DEAD_LETTERS {
            let tokens: Vec<_> = commit.tokens.iter().map(bare).collect();
            job.dead_letters.commit(&tokens)?;
            continue;
        }
        match sinks.get(&commit.node) {
            Some(sink) => commit_saved(store, &**sink, commit).await?,
            None => tracing::warn!(
                sink = commit.node,
                "the script has no such sink any more: what it had prepared may stay unseen"
            ),
        }
    }
    Ok(())
}

/// What a node's state is of; `None` for a node without state.
pub(super) fn fingerprint(node: &Node) -> Option<String> {
    match &node.kind {
        NodeKind::Scan(scan) => Some(scan.source.describe()),
        NodeKind::Island(_) => Some("rows of the script".to_owned()),
        NodeKind::Operator(factory) => factory.fingerprint(),
        NodeKind::Lookup(_) => None,
        NodeKind::Sink(sink) => Some(sink.describe()),
    }
}

/// The entry of a node in a manifest, without state.
pub(super) fn entry(node: &Node) -> Option<NodeState> {
    let chain = |subtask| Chain {
        subtask,
        files: Vec::new(),
    };
    let chains = match &node.kind {
        NodeKind::Scan(_) | NodeKind::Island(_) => vec![chain(0)],
        NodeKind::Operator(_) => (0..node.parallelism).map(chain).collect(),
        NodeKind::Lookup(_) | NodeKind::Sink(_) => Vec::new(),
    };
    Some(NodeState {
        id: node.id.to_string(),
        fingerprint: fingerprint(node)?,
        chains,
    })
}

/// Commits the tokens of a sink's epoch; rows that the checkpoint keeps are read as they are
/// needed.
pub(super) async fn commit_saved(
    store: &Store,
    sink: &dyn Sink,
    commit: &SinkCommit,
) -> Result<()> {
    let epoch = Epoch(commit.epoch);
    if commit.tokens.iter().all(|token| token.outbox.is_none()) {
        let tokens: Vec<_> = commit.tokens.iter().map(bare).collect();
        return sink.commit(epoch, &tokens).await;
    }
    for saved in &commit.tokens {
        let mut token = bare(saved);
        if let Some(file) = &saved.outbox {
            token.outbox = store.read_state(file).await?.collect::<Result<_>>()?;
        }
        sink.commit(epoch, std::slice::from_ref(&token)).await?;
    }
    Ok(())
}

/// A token without its outbox.
pub(super) fn bare(saved: &SavedToken) -> CommitToken {
    CommitToken::new(saved.payload.clone(), saved.rows, saved.bytes)
}

/// The sinks of a graph by node.
pub(super) fn sinks(graph: &Graph) -> BTreeMap<String, Arc<dyn Sink>> {
    let sink = |node: &Node| match &node.kind {
        NodeKind::Sink(sink) => Some((node.id.to_string(), Arc::clone(sink))),
        _ => None,
    };
    graph.nodes().filter_map(|(_, node)| sink(node)).collect()
}
