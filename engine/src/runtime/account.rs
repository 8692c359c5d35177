//! Where the rows of each source and sink went: the sums that are printed at the end of a run.
//!
//! Per source: rows in = rows out + dropped by filters + kept back by rules + dead letters + late. "Out" is what reached
//! a sink, or an operator that folds rows into others (aggregation, join). Where rows go several
//! ways, the sums are those of one way: that with the most late rows, then with the most rows out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::filter::FilterExec;

use crate::dead_letter::DeadLetters;
use crate::graph::{Edge, Graph, NodeIndex, NodeKind};
use crate::island::ScanExec;
use crate::metrics::{Metrics, NodeSnapshot};
use crate::operator::Consumes;
use crate::rules::keyed::StageExec;

/// The rows of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceAccount {
    /// The name in the script.
    pub name: String,
    /// Rows read, with those that could not be decoded.
    pub rows_in: u64,
    /// Rows that reached a sink, an aggregation or a join.
    pub rows_out: u64,
    /// Rows that a filter dropped.
    pub filtered: u64,
    /// Rows that a rule dropped or quarantined.
    pub ruled: u64,
    /// Rows in the dead-letter table.
    pub dead_letters: u64,
    /// Rows that could not be processed and were skipped.
    pub skipped: u64,
    /// Rows that came after their window was closed.
    pub late: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// The rows of one sink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SinkAccount {
    /// The name in the script.
    pub name: String,
    /// Rows written.
    pub rows: u64,
    /// Bytes made visible.
    pub bytes: u64,
}

/// Sums the sinks of a graph by name.
pub fn sinks(graph: &Graph, metrics: &Metrics) -> Vec<SinkAccount> {
    let mut sums: BTreeMap<String, SinkAccount> = BTreeMap::new();
    for (_, node) in graph
        .nodes()
        .filter(|(_, n)| matches!(n.kind, NodeKind::Sink(_)))
    {
        let account = sums.entry(node.name.clone()).or_default();
        account.name.clone_from(&node.name);
        if let Some(counts) = metrics.node(&node.id) {
            account.rows += counts.rows_out;
            account.bytes += counts.bytes;
        }
    }
    sums.into_values().collect()
}

/// Sums the sources of a graph by name; may be called while the job runs.
pub fn sources(graph: &Graph, metrics: &Metrics, letters: &DeadLetters) -> Vec<SourceAccount> {
    let mut flows = Vec::new();
    for (index, node) in graph.nodes() {
        match &node.kind {
            NodeKind::Scan(scan) if !scan.quiet => {
                let Some(counts) = metrics.node(&node.id) else {
                    continue;
                };
                let mut flow = Flow {
                    source: scan.name.clone(),
                    decoded: counts.rows_in,
                    rejected: counts.rejected,
                    bytes: counts.bytes,
                    rows: counts.rows_out,
                    ..Flow::default()
                };
                follow(graph, metrics, index, &mut flow);
                flows.push(flow);
            }
            NodeKind::Island(plan) => {
                let mut inside = island_flows(plan);
                for flow in inside.iter_mut().filter(|flow| !flow.folded) {
                    follow(graph, metrics, index, flow);
                }
                flows.append(&mut inside);
            }
            _ => {}
        }
    }
    sum(flows, letters)
}

/// The rows of one scan on their way.
#[derive(Debug, Clone, Default)]
struct Flow {
    source: String,
    decoded: u64,
    rejected: u64,
    bytes: u64,
    rows: u64,
    filtered: u64,
    ruled: u64,
    late: u64,
    /// The rows have become others.
    folded: bool,
}

/// Follows the rows of one scan through the operators that only filter.
fn follow(graph: &Graph, metrics: &Metrics, from: NodeIndex, flow: &mut Flow) {
    let follow_edge = |edge: &&Edge| {
        let mut way = flow.clone();
        if enter(graph, metrics, edge, &mut way) {
            follow(graph, metrics, edge.to, &mut way);
        }
        way
    };
    let outputs = graph.outputs(from);
    let ways = outputs.iter().map(follow_edge);
    if let Some(way) = ways.max_by_key(|way| (way.late, way.rows)) {
        *flow = way;
    }
}

/// Takes the rows through one operator; says whether they are still the same rows behind it.
fn enter(graph: &Graph, metrics: &Metrics, edge: &Edge, flow: &mut Flow) -> bool {
    let at = edge.to;
    let Ok(node) = graph.node(at) else {
        return false;
    };
    let NodeKind::Operator(factory) = &node.kind else {
        return false;
    };
    let Some(counts) = metrics.node(&node.id) else {
        return false;
    };
    let inputs = graph.inputs(at).len();
    let folds = factory.consumes() == Consumes::Folds;
    let holds = matches!(factory.consumes(), Consumes::Holds { .. });
    if inputs != 1 && !folds && !(holds && edge.input == 0) {
        return false;
    }
    let late = match (inputs, edge.input) {
        (1, _) => counts.late,
        (_, 0) => counts.late.saturating_sub(counts.late_second),
        _ => counts.late_second,
    };
    flow.decoded += counts.returned;
    flow.rows += counts.returned;
    // A row that is in several windows may be late for more than one of them.
    let late = late.min(flow.rows);
    flow.late += late;
    flow.rows -= late;
    if folds {
        return false;
    }
    if let Consumes::Holds { of_source } = factory.consumes() {
        // The second input is what they refer to.
        let rows_in = if inputs == 1 {
            counts.rows_in
        } else {
            flow.rows + late
        };
        held(flow, &counts, (rows_in, late), of_source);
        return true;
    }
    let dropped = counts.rows_in.saturating_sub(counts.rows_out + late);
    match factory.consumes() {
        Consumes::Judges => flow.ruled += dropped,
        // Rows that wait are on their way.
        Consumes::Delays => return true,
        Consumes::JudgesSource | Consumes::Holds { .. } => {}
        Consumes::Filters | Consumes::Folds => flow.filtered += dropped,
    }
    flow.rows = flow.rows.saturating_sub(dropped);
    true
}

/// Takes the rows through rules that they may wait for. Those that wait are on their way; those that have
/// waited since before the run are read with it.
fn held(flow: &mut Flow, counts: &NodeSnapshot, (rows_in, late): (u64, u64), of_source: bool) {
    let decided = counts.rows_out + counts.kept_back + late;
    let waited = decided.saturating_sub(rows_in);
    flow.decoded += waited;
    flow.rows = (flow.rows + waited).saturating_sub(counts.kept_back);
    if !of_source {
        flow.ruled += counts.kept_back;
    }
}

/// Finds the scans of an island and the filters that each one's rows went through.
fn island_flows(plan: &Arc<dyn ExecutionPlan>) -> Vec<Flow> {
    if let Some(exec) = plan.downcast_ref::<ScanExec>() {
        let (scan, counts) = (exec.scan(), exec.counters());
        if scan.quiet {
            return Vec::new();
        }
        return vec![Flow {
            source: scan.name.clone(),
            decoded: counts.rows_in.load(Relaxed),
            rejected: counts.rejected.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            rows: counts.rows_out.load(Relaxed),
            ..Flow::default()
        }];
    }
    let mut flows: Vec<Flow> = plan.children().into_iter().flat_map(island_flows).collect();
    if let Some(stage) = plan.downcast_ref::<StageExec>() {
        for flow in &mut flows {
            flow.decoded += stage.counters().returned.load(Relaxed);
            flow.rows = stage.counters().rows_out.load(Relaxed);
        }
        return flows;
    }
    if let (Some(filter), [flow]) = (plan.downcast_ref::<FilterExec>(), flows.as_mut_slice()) {
        let out = filter.metrics().and_then(|m| m.output_rows()).unwrap_or(0) as u64;
        if !flow.folded {
            flow.filtered += flow.rows.saturating_sub(out);
            flow.rows = flow.rows.min(out);
        }
        return flows;
    }
    const KEEPS: [&str; 8] = [
        "AnomalyExec",
        "ProjectionExec",
        "RepartitionExec",
        "CoalescePartitionsExec",
        "CoalesceBatchesExec",
        "CooperativeExec",
        "SortExec",
        "SortPreservingMergeExec",
    ];
    // A sort with a limit keeps only some rows: it folds.
    let keeps = KEEPS.contains(&plan.name()) && plan.fetch().is_none() && flows.len() == 1;
    for flow in &mut flows {
        flow.folded |= !keeps;
    }
    flows
}

fn sum(flows: Vec<Flow>, letters: &DeadLetters) -> Vec<SourceAccount> {
    let mut sums: BTreeMap<String, (SourceAccount, u64)> = BTreeMap::new();
    for flow in flows {
        let (account, rejected) = sums.entry(flow.source.clone()).or_default();
        account.name = flow.source;
        account.rows_in += flow.decoded;
        account.rows_out += flow.rows;
        account.filtered += flow.filtered;
        account.ruled += flow.ruled;
        account.late += flow.late;
        account.bytes += flow.bytes;
        *rejected += flow.rejected;
    }
    let finish = |(mut account, rejected): (SourceAccount, u64)| {
        account.dead_letters = letters.of_source(&account.name);
        account.skipped = letters.skipped(&account.name);
        account.ruled += letters.kept_back(&account.name);
        // Rejected rows were decoded, so they are in `rows_in` already.
        let unread = letters.unread(&account.name);
        account.rows_in +=
            (account.dead_letters + account.skipped + unread).saturating_sub(rejected);
        account
    };
    sums.into_values().map(finish).collect()
}
