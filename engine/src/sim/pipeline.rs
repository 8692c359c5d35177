//! The pipelines that are simulated: real graphs of real operators between a simulated source and
//! a simulated sink.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_common::NullEquality;
use datafusion_expr::Operator as Infix;
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::expressions::{binary, col, lit};

use super::data::{self, APART, Bag, JITTER, Size, WINDOW, schema};
use super::sink::SimSink;
use super::source::SimSource;
use crate::dead_letter::OnError;
use crate::graph::{Edge, Graph, Node, NodeIndex, NodeKind, Partitioning};
use crate::join::{IntervalJoinFactory, JoinKind, JoinSpec};
use crate::operator::OperatorFactory;
use crate::operator::project_filter::ProjectFilter;
use crate::scan::{Scan, WatermarkSpec};
use crate::source::Source;
use crate::updating::aggregate as updating;
use crate::view::ViewFactory;
use crate::window::{
    AggregateSpec, Assign, Firing, OutputColumn, Phase, WindowAggregateFactory, WindowKind,
    WindowSpec,
};

/// A pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipeline {
    /// A filter.
    Stateless,
    /// Count and sum by window and key, in two phases around an exchange.
    Window,
    /// Pairs of two sources whose times are near.
    Join,
    /// Count and sum by key: a view of it, and its changelog.
    View,
}

/// The node whose state is the view of [`Pipeline::View`].
pub(super) const VIEW: &str = "view";

impl Pipeline {
    pub(super) const ALL: [Self; 4] = [Self::Stateless, Self::Window, Self::Join, Self::View];

    pub(super) fn sources(self) -> i64 {
        if self == Self::Join { 2 } else { 1 }
    }

    /// The rows that the sink must hold at the end.
    pub(super) fn answer(self, size: Size) -> Bag {
        match self {
            Self::Stateless => data::filtered(size),
            Self::Window => data::windowed(size),
            Self::Join => data::joined(size),
            Self::View => data::grouped(size),
        }
    }

    /// Builds the graph for one instance.
    pub(super) fn graph(
        self,
        sources: Vec<SimSource>,
        sink: SimSink,
        parallelism: u32,
    ) -> Arc<Graph> {
        let mut build = Build {
            graph: Graph::default(),
            parallelism,
        };
        let scans: Vec<NodeIndex> = sources
            .into_iter()
            .map(|source| build.scan(source))
            .collect();
        let key = || vec![column("key")];
        match self {
            Self::Stateless => {
                let filter = build.operator("filter", Arc::new(odd()));
                let sink = build.sink(sink, schema());
                build.edge(scans[0], filter, 0, Partitioning::Forward);
                build.edge(filter, sink, 0, Partitioning::Rebalance);
            }
            Self::Window => {
                let phase = |phase| WindowAggregateFactory::try_new(window(), phase).unwrap();
                let (first, last) = (phase(Phase::Local), phase(Phase::Final));
                let keys = Partitioning::Hash(first.shuffle_keys());
                let (schema, first) = (last.schema(), build.operator("local", Arc::new(first)));
                let last = build.operator("window", Arc::new(last));
                let sink = build.sink(sink, schema);
                build.edge(scans[0], first, 0, Partitioning::Forward);
                build.edge(first, last, 0, keys);
                build.edge(last, sink, 0, Partitioning::Forward);
            }
            Self::Join => {
                let times = [column("ts"), column("ts")];
                let join = IntervalJoinFactory::try_new(join(), times, -APART, APART).unwrap();
                let schema = join.schema();
                let join = build.operator("join", Arc::new(join));
                let sink = build.sink(sink, schema);
                for (input, scan) in scans.into_iter().enumerate() {
                    build.edge(scan, join, input, Partitioning::Hash(key()));
                }
                build.edge(join, sink, 0, Partitioning::Forward);
            }
            Self::View => {
                let groups = updating::AggregateFactory::try_new(groups()).unwrap();
                let schema = groups.schema();
                let view = ViewFactory::try_new("groups", &schema, vec![0]).unwrap();
                let keys = vec![col("key", &schema).unwrap()];
                let groups = build.operator("groups", Arc::new(groups));
                let view = build.operator(VIEW, Arc::new(view));
                let sink = build.sink(sink, schema);
                build.edge(scans[0], groups, 0, Partitioning::Hash(key()));
                build.edge(groups, view, 0, Partitioning::Hash(keys));
                build.edge(groups, sink, 0, Partitioning::Forward);
            }
        }
        Arc::new(build.graph)
    }
}

/// What the view of [`Pipeline::View`] shows.
pub(super) fn view_schema() -> SchemaRef {
    groups().schema
}

struct Build {
    graph: Graph,
    parallelism: u32,
}

impl Build {
    fn add(&mut self, id: &str, kind: NodeKind, schema: SchemaRef) -> NodeIndex {
        let (id, name, parallelism) = (Arc::from(id), id.to_owned(), self.parallelism);
        let node = Node {
            id,
            name,
            kind,
            parallelism,
            schema,
        };
        self.graph.add(node).unwrap()
    }

    fn scan(&mut self, source: SimSource) -> NodeIndex {
        let number = source.number;
        let source: Arc<dyn Source> = Arc::new(source);
        let schema = schema();
        let fields = schema.fields().iter();
        let delay = lit(datafusion_common::ScalarValue::DurationMicrosecond(Some(
            JITTER,
        )));
        let scan = Scan {
            name: format!("input{number}"),
            source: Arc::clone(&source),
            declared: source,
            projection: (0..schema.fields().len()).collect(),
            columns: fields
                .map(|field| (column(field.name()), Arc::clone(field)))
                .collect(),
            required: Vec::new(),
            watermark: Some(WatermarkSpec {
                column: "ts".to_owned(),
                expr: binary(column("ts"), Infix::Minus, delay, &schema).unwrap(),
                text: "ts - delay".to_owned(),
            }),
            rules: None,
            arrivals: None,
            on_error: OnError::DeadLetter,
            quiet: false,
        };
        let id = format!("input{number}");
        self.add(&id, NodeKind::Scan(Arc::new(scan)), schema)
    }

    fn operator(&mut self, id: &str, factory: Arc<dyn OperatorFactory>) -> NodeIndex {
        let schema = factory.schema();
        self.add(id, NodeKind::Operator(factory), schema)
    }

    fn sink(&mut self, sink: SimSink, schema: SchemaRef) -> NodeIndex {
        self.add("out", NodeKind::Sink(Arc::new(sink)), schema)
    }

    fn edge(&mut self, from: NodeIndex, to: NodeIndex, input: usize, partitioning: Partitioning) {
        let edge = Edge {
            from,
            to,
            input,
            partitioning,
        };
        self.graph.connect(edge).unwrap();
    }
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &schema()).unwrap()
}

fn odd() -> ProjectFilter {
    let rest = binary(column("value"), Infix::Modulo, lit(2_i64), &schema()).unwrap();
    let odd = binary(rest, Infix::Eq, lit(1_i64), &schema()).unwrap();
    ProjectFilter::filter(odd, schema())
}

fn aggregates() -> Vec<Arc<AggregateFunctionExpr>> {
    let count = AggregateExprBuilder::new(count_udaf(), vec![lit(1_i64)]).alias("rows");
    let sum = AggregateExprBuilder::new(sum_udaf(), vec![column("value")]).alias("total");
    [count, sum]
        .into_iter()
        .map(|builder| Arc::new(builder.schema(schema()).build().unwrap()))
        .collect()
}

fn ints(names: &[&str]) -> Vec<Field> {
    let field = |name: &&str| Field::new(*name, DataType::Int64, true);
    names.iter().map(field).collect()
}

fn window() -> AggregateSpec {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let mut fields = vec![
        Field::new("window_start", time.clone(), false),
        Field::new("window_end", time, false),
    ];
    fields.extend(ints(&["key", "rows", "total"]));
    AggregateSpec {
        assign: Assign::Time {
            column: 2,
            spec: WindowSpec::new(WindowKind::Tumble { size: WINDOW }, 0).unwrap(),
        },
        keys: vec![(column("key"), "key".to_owned())],
        aggregates: aggregates(),
        filters: vec![None, None],
        input: schema(),
        output: vec![
            OutputColumn::WindowStart,
            OutputColumn::WindowEnd,
            OutputColumn::Key(0),
            OutputColumn::Aggregate(0),
            OutputColumn::Aggregate(1),
        ],
        schema: Arc::new(Schema::new(fields)),
        firing: Firing::default(),
        sources: "input0".into(),
    }
}

fn groups() -> updating::AggregateSpec {
    updating::AggregateSpec {
        keys: vec![(column("key"), "key".to_owned())],
        aggregates: aggregates(),
        filters: vec![None, None],
        input: schema(),
        output: vec![
            updating::OutputColumn::Key(0),
            updating::OutputColumn::Aggregate(0),
            updating::OutputColumn::Aggregate(1),
        ],
        schema: Arc::new(Schema::new(ints(&["key", "rows", "total"]))),
        emit: updating::Emit::OnUpdate,
        ttl: None,
    }
}

fn join() -> JoinSpec {
    let rows = schema();
    let sides = ["left", "right"].into_iter().flat_map(|side| {
        let fields = rows.fields().iter();
        fields.map(move |field| {
            let name = format!("{side}_{}", field.name());
            field.as_ref().clone().with_name(name).with_nullable(true)
        })
    });
    let fields: Vec<Field> = sides.collect();
    JoinSpec {
        kind: JoinKind::Inner,
        inputs: [schema(), schema()],
        on: vec![(column("key"), column("key"))],
        null_equality: NullEquality::NullEqualsNothing,
        filter: None,
        output: (0..fields.len()).collect(),
        schema: Arc::new(Schema::new(fields)),
    }
}
