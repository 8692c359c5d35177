//! One pipeline, several scans of one source: each row is read, counted and kept as a dead letter
//! once.
//!
//! Operators read a source through one node, which gives all the columns that any of them needs. Its id
//! is that of the source, even if only one operator reads it: what has been read stays known when a
//! changed script has more readers or fewer.
//! Scans within islands stay, since DataFusion asks each of them for its rows at its own pace; all
//! but one are quiet, and that one reads the columns of all, so that it finds every bad row.
//!
//! The rules of a source over keys follow right behind its node, before the ways of its readers part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::arrival::Arrivals;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::graph::{Edge, Graph, KeysOf, Node, NodeIndex, NodeKind, Partitioning};
use weir_engine::island::ScanExec;
use weir_engine::operator::project_filter::ProjectFilter;
use weir_engine::scan::{Scan, ScanRules};

use super::steps::Behind;

/// A scan within an island.
struct Leaf {
    plan: Arc<dyn ExecutionPlan>,
    /// What is above may stop reading before the end.
    may_stop: bool,
}

impl Leaf {
    fn exec(&self) -> Result<&ScanExec> {
        self.plan
            .downcast_ref::<ScanExec>()
            .ok_or_else(|| Error::internal("the leaf of an island is no scan"))
    }
}

/// The scans of one source.
struct Group {
    /// One of them: it knows the source as it was declared.
    first: Arc<Scan>,
    nodes: Vec<(NodeIndex, Arc<Scan>)>,
    leaves: Vec<Leaf>,
}

/// Makes each source of a pipeline read its rows, as far as they count, once.
pub(crate) fn share(graph: Graph) -> Result<Graph> {
    let mut shared = Vec::new();
    let mut replaced = BTreeMap::new();
    for group in groups(&graph) {
        let all = group.scans()?;
        let steps = group.first.steps();
        group.agree(!steps.is_empty())?;
        if all.len() < 2 && (steps.is_empty() || group.nodes.is_empty()) {
            continue;
        }
        let reads: BTreeSet<usize> = all
            .iter()
            .flat_map(|scan| scan.projection.iter().copied())
            .collect();
        let reads: Vec<usize> = reads.into_iter().collect();
        group.quieten(&reads)?;
        match group.nodes.as_slice() {
            [] => {}
            [(at, scan)] if steps.is_empty() => {
                replaced.insert(*at, Arc::new(merge(std::slice::from_ref(scan), &reads)?));
            }
            nodes => {
                let scans: Vec<_> = nodes.iter().map(|(_, scan)| Arc::clone(scan)).collect();
                let nodes = nodes.iter().map(|(at, _)| *at).collect();
                shared.push((nodes, Arc::new(merge(&scans, &reads)?)));
            }
        }
    }
    rebuild(&graph, &shared, &replaced)
}

impl Group {
    fn scans(&self) -> Result<Vec<Arc<Scan>>> {
        let mut scans: Vec<_> = self.nodes.iter().map(|(_, s)| Arc::clone(s)).collect();
        for leaf in &self.leaves {
            scans.push(leaf.exec()?.scan());
        }
        Ok(scans)
    }

    /// Which row breaks a rule over keys depends on the order in which rows come: all readers have to
    /// have the same one.
    fn agree(&self, has_steps: bool) -> Result<()> {
        // How rows come is told without these rules.
        let mut leaves = Vec::new();
        for leaf in &self.leaves {
            if leaf.exec()?.scan().arrivals.is_none() {
                leaves.push(leaf.exec()?);
            }
        }
        if !has_steps || leaves.is_empty() {
            return Ok(());
        }
        if !self.nodes.is_empty() {
            let name = &self.first.name;
            let message = format!("source \"{name}\" is read as a stream and as a table");
            return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                .detail("its rules over keys would be asked twice, in two orders")
                .hint("declare a second source over the same data for the table"));
        }
        if leaves.len() > 1 {
            leaves.iter().for_each(|leaf| leaf.read_in_order());
        }
        Ok(())
    }

    /// Leaves the counts to the nodes, or to one of the islands' scans if there are no nodes.
    fn quieten(&self, reads: &[usize]) -> Result<()> {
        // The rules over keys are not behind a scan that tells how rows come.
        let mut whole = None;
        for (number, leaf) in self.leaves.iter().enumerate().rev() {
            if !leaf.may_stop && leaf.exec()?.scan().arrivals.is_none() {
                whole = Some(number);
            }
        }
        let loud = self.nodes.is_empty().then(|| whole.unwrap_or(0));
        for (number, leaf) in self.leaves.iter().enumerate() {
            let exec = leaf.exec()?;
            let scan = exec.scan();
            let scan = if loud == Some(number) {
                merge(&[scan], reads)?
            } else {
                Scan {
                    quiet: true,
                    ..scan.as_ref().clone()
                }
            };
            exec.replace(Arc::new(scan))?;
        }
        Ok(())
    }
}

/// Lets all scans of a source in an island that runs by itself have its rows in one order, where that
/// matters.
pub(crate) fn agree(island: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let mut groups = Vec::new();
    leaves(island, false, &mut groups);
    let mut groups = groups.iter();
    groups.try_for_each(|group| group.agree(!group.first.steps().is_empty()))
}

/// The scans of a graph by source, in the order of the graph.
fn groups(graph: &Graph) -> Vec<Group> {
    let mut groups = Vec::new();
    for (at, node) in graph.nodes() {
        match &node.kind {
            NodeKind::Scan(scan) => group_of(&mut groups, scan)
                .nodes
                .push((at, Arc::clone(scan))),
            NodeKind::Island(plan) => leaves(plan, false, &mut groups),
            NodeKind::Operator(_) | NodeKind::Lookup(_) | NodeKind::Sink(_) => {}
        }
    }
    groups
}

fn group_of<'a>(groups: &'a mut Vec<Group>, scan: &Arc<Scan>) -> &'a mut Group {
    let same = |group: &Group| Arc::ptr_eq(&group.first.declared, &scan.declared);
    let at = groups.iter().position(same).unwrap_or(groups.len());
    if at == groups.len() {
        groups.push(Group {
            first: Arc::clone(scan),
            nodes: Vec::new(),
            leaves: Vec::new(),
        });
    }
    &mut groups[at]
}

/// Finds the scans of an island.
fn leaves(plan: &Arc<dyn ExecutionPlan>, may_stop: bool, groups: &mut Vec<Group>) {
    if let Some(exec) = plan.downcast_ref::<ScanExec>() {
        group_of(groups, &exec.scan()).leaves.push(Leaf {
            plan: Arc::clone(plan),
            may_stop,
        });
        return;
    }
    // A sort and an aggregation read all, whatever is asked of them.
    let may_stop = match plan.name() {
        "SortExec" | "AggregateExec" => false,
        _ => may_stop || plan.fetch().is_some(),
    };
    for child in plan.children() {
        leaves(child, may_stop, groups);
    }
}

/// A scan that reads the source's columns at `reads` and gives those of all `scans`.
fn merge(scans: &[Arc<Scan>], reads: &[usize]) -> Result<Scan> {
    let Some(first) = scans.first() else {
        return Err(Error::internal("no scans to merge"));
    };
    let mut columns = Vec::new();
    let mut required = Vec::new();
    for scan in scans {
        add(&mut columns, &scan.columns, scan, reads)?;
    }
    for scan in scans {
        add(&mut required, &scan.required, scan, reads)?;
    }
    required.retain(|(_, field)| !columns.iter().any(|(_, given)| given == field));
    let mut watermark = first.watermark.clone();
    if let Some(watermark) = &mut watermark {
        watermark.expr = rebase(&watermark.expr, first, reads)?;
    }
    let scan = Scan {
        projection: reads.to_vec(),
        columns,
        required,
        rules: rules(scans, reads)?,
        watermark,
        arrivals: arrivals(scans, reads)?,
        ..first.as_ref().clone()
    };
    match scan.steps().is_empty() {
        true => Ok(scan),
        false => Ok(scan.whole()),
    }
}

/// What any of the scans tells of how rows come.
fn arrivals(scans: &[Arc<Scan>], reads: &[usize]) -> Result<Option<Arrivals>> {
    let mut all: Option<Arrivals> = None;
    for scan in scans {
        let Some(Arrivals { time, columns }) = &scan.arrivals else {
            continue;
        };
        let time = rebase(time, scan, reads)?;
        let known = all.get_or_insert_with(|| Arrivals {
            time,
            columns: Vec::new(),
        });
        for told in columns {
            if !known.columns.contains(told) {
                known.columns.push(told.clone());
            }
        }
    }
    Ok(all)
}

/// The rules of the source over the columns that any of the scans needs.
fn rules(scans: &[Arc<Scan>], reads: &[usize]) -> Result<Option<ScanRules>> {
    let mut columns = Vec::new();
    let mut judge = None;
    for scan in scans {
        if let Some(rules) = &scan.rules {
            add(&mut columns, &rules.columns, scan, reads)?;
            judge.get_or_insert_with(|| Arc::clone(&rules.judge));
        }
    }
    let Some(judge) = judge else {
        return Ok(None);
    };
    let fields = columns.iter().map(|(_, field)| Arc::clone(field));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let judge = Arc::new(judge.over(&schema)?);
    Ok(Some(ScanRules { columns, judge }))
}

/// A column of a scan.
type Output = (Arc<dyn PhysicalExpr>, FieldRef);

/// Adds those columns of a scan that are not there yet. All scans are of one table, so that columns
/// of one name are one column.
fn add(to: &mut Vec<Output>, columns: &[Output], scan: &Scan, reads: &[usize]) -> Result<()> {
    for (expr, field) in columns {
        if !to.iter().any(|(_, other)| other.name() == field.name()) {
            to.push((rebase(expr, scan, reads)?, Arc::clone(field)));
        }
    }
    Ok(())
}

/// Moves an expression from the columns that a scan reads to those at `reads`.
fn rebase(
    expr: &Arc<dyn PhysicalExpr>,
    scan: &Scan,
    reads: &[usize],
) -> Result<Arc<dyn PhysicalExpr>> {
    let moved = Arc::clone(expr).transform_up(|part| {
        let Some(column) = part.downcast_ref::<Column>() else {
            return Ok(Transformed::no(part));
        };
        let read = scan.projection.get(column.index());
        let at = read.and_then(|read| reads.iter().position(|other| other == read));
        let at = at.ok_or_else(|| Error::internal("a shared scan lacks a column"))?;
        let column = Column::new(column.name(), at);
        Ok::<_, DataFusionError>(Transformed::yes(Arc::new(column)))
    })?;
    Ok(moved.data)
}

/// Builds the graph anew with the shared scans before the first of the nodes that they stand for.
fn rebuild(
    old: &Graph,
    shared: &[(Vec<NodeIndex>, Arc<Scan>)],
    replaced: &BTreeMap<NodeIndex, Arc<Scan>>,
) -> Result<Graph> {
    let mut graph = Graph::default();
    let mut moved = BTreeMap::new();
    let mut added: BTreeMap<usize, (NodeIndex, NodeIndex)> = BTreeMap::new();
    let mut ids = Ids::default();
    for (at, node) in old.nodes() {
        let mut node = node.clone();
        if let Some(scan) = replaced.get(&at) {
            node.kind = NodeKind::Scan(Arc::clone(scan));
        }
        let number = shared.iter().position(|(nodes, _)| nodes.contains(&at));
        let Some((number, (_, scan))) = number.and_then(|n| Some((n, shared.get(n)?))) else {
            if let NodeKind::Scan(scan) = &node.kind {
                node.id = ids.of(scan);
            }
            let to = graph.add(node)?;
            give_keys(&mut graph, old, at, to);
            moved.insert(at, to);
            continue;
        };
        let (read, judged) = match added.get(&number) {
            Some(added) => *added,
            None => {
                let id = ids.of(scan);
                let read = graph.add(Node {
                    id: Arc::clone(&id),
                    kind: NodeKind::Scan(Arc::clone(scan)),
                    schema: scan.schema(),
                    ..node.clone()
                })?;
                let judged = steps(&mut graph, read, &id, scan)?;
                added.insert(number, (read, judged));
                (read, judged)
            }
        };
        // How rows come is told before any of them waits for a rule.
        let from = match &node.kind {
            NodeKind::Scan(own) if own.arrivals.is_some() => read,
            _ => judged,
        };
        let given = Arc::clone(&graph.node(from)?.schema);
        node.kind = NodeKind::Operator(Arc::new(pick(&node.schema, &given)?));
        let partitioning = match graph.node(from)?.parallelism == node.parallelism {
            true => Partitioning::Forward,
            false => Partitioning::Rebalance,
        };
        let to = graph.add(node)?;
        graph.connect(Edge {
            from,
            to,
            input: 0,
            partitioning,
        })?;
        give_keys(&mut graph, old, at, to);
        moved.insert(at, to);
    }
    for edge in old.edges() {
        let place = |index: &NodeIndex| {
            let place = moved.get(index).copied();
            place.ok_or_else(|| Error::internal("an edge of a node that is not there"))
        };
        graph.connect(Edge {
            from: place(&edge.from)?,
            to: place(&edge.to)?,
            ..edge.clone()
        })?;
    }
    Ok(graph)
}

/// Says where keys come from that came from a node of the old graph.
fn give_keys(graph: &mut Graph, old: &Graph, at: NodeIndex, to: NodeIndex) {
    for keys in old.keys().iter().filter(|keys| keys.at == at) {
        graph.give_keys(KeysOf {
            at: to,
            ..keys.clone()
        });
    }
}

/// Adds the rules over more than one row behind the scan of a source; gives the node from which its rows go on.
fn steps(graph: &mut Graph, scan: NodeIndex, id: &str, of: &Scan) -> Result<NodeIndex> {
    let mut from = scan;
    let parallelism = graph.node(scan)?.parallelism;
    let all = of.steps();
    if of.arrivals.is_some() && !all.is_empty() {
        from = plain(graph, scan, id, of)?;
    }
    for step in all {
        let behind = Behind {
            prefix: id,
            table: &of.name,
            of_source: true,
            parallelism,
            alone: Partitioning::Rebalance,
        };
        from = behind.add(graph, from, &step)?;
    }
    Ok(from)
}

/// The ids of the nodes that read sources: a script may drop a source and declare another one of its
/// name.
#[derive(Default)]
struct Ids(BTreeMap<String, usize>);

impl Ids {
    fn of(&mut self, scan: &Scan) -> Arc<str> {
        let count = self.0.entry(scan.name.clone()).or_default();
        *count += 1;
        match count {
            1 => format!("source/{}", scan.name).into(),
            more => format!("source/{}.{more}", scan.name).into(),
        }
    }
}

/// Adds a node that leaves out what is told of how rows come: rules over keys compare whole rows.
fn plain(graph: &mut Graph, scan: NodeIndex, id: &str, of: &Scan) -> Result<NodeIndex> {
    let parallelism = graph.node(scan)?.parallelism;
    let rows = Scan {
        arrivals: None,
        ..of.clone()
    };
    let schema = rows.schema();
    let to = graph.add(Node {
        id: format!("{id}/rows").into(),
        name: of.name.clone(),
        kind: NodeKind::Operator(Arc::new(pick(&schema, &of.schema())?)),
        parallelism,
        schema,
    })?;
    graph.connect(Edge {
        from: scan,
        to,
        input: 0,
        partitioning: Partitioning::Forward,
    })?;
    Ok(to)
}

/// Picks columns from those that are given.
fn pick(wanted: &SchemaRef, given: &SchemaRef) -> Result<ProjectFilter> {
    let columns = wanted
        .fields()
        .iter()
        .map(|field| {
            let column = Column::new_with_schema(field.name(), given)?;
            Ok(Arc::new(column) as Arc<dyn PhysicalExpr>)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(ProjectFilter::project(columns, Arc::clone(wanted)))
}
