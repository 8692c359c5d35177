//! Detectors of anomalies in plans: `ANOMALY(...) OVER (...)` and `DETECT_ANOMALIES(...)` become one node of their own.
//!
//! SQL's planner sees the first as a window function. Before anything else sees the plan, what it made of it is replaced
//! by the node, which the runtime's operator or, within an island, a sorted plan carries out.

mod exec;
mod extract;
mod function;
mod node;
mod relation;

pub(super) use exec::AnomalyPlanner;
pub(super) use extract::extract;
pub(super) use function::function;
pub(crate) use node::AnomalyNode;
pub(super) use relation::Detections;
