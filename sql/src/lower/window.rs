//! The window table function: kept back for an aggregation, or lowered on its own.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use weir_engine::error::{Error, Result};
use weir_engine::window::{ExpandFactory, WindowKind};

use super::flow::{Flow, Origin, Pending, Role, Windows};
use super::{Lowering, refuse};
use crate::plan::errors::place_of_span;
use crate::plan::window_table::{WINDOW_END, WINDOW_START, WindowTableNode};

impl Lowering<'_> {
    /// Keeps a window table function back.
    pub(super) fn window(&mut self, flow: Flow, node: &WindowTableNode) -> Result<Flow> {
        // Windows over windows: the inner ones are needed as columns.
        let flow = self.expand(flow)?;
        if flow.is_changelog() {
            let place = node.time().spans().first().and_then(place_of_span);
            let windows = node.windowing().to_string();
            return Err(refuse::window_of_changes(&windows).at(place));
        }
        let column = node.input().schema().index_of_column(node.time())?;
        let Some(spec) = node.spec() else {
            return Err(refuse::sessions());
        };
        let windows = Windows {
            spec,
            depth: flow.depth() + 1,
        };
        self.check_time(&flow, column, node, windows)?;
        let Some(Origin::Input(time)) = flow.origin(column) else {
            return Err(Error::internal("the time of a window is not a column"));
        };
        let mut flow = Flow {
            pending: Some(Pending { windows, time }),
            ..flow
        };
        flow.columns.push((Origin::Start, WINDOW_START.to_owned()));
        flow.columns.push((Origin::End, WINDOW_END.to_owned()));
        Ok(flow)
    }

    /// Without a watermark of this column, rows would be late or windows never complete.
    fn check_time(
        &self,
        flow: &Flow,
        time: usize,
        node: &WindowTableNode,
        windows: Windows,
    ) -> Result<()> {
        if !self.is_streaming() && !flow.watermarked {
            // All windows close at the end of the input, where no row is late.
            return Ok(());
        }
        match flow.role(time) {
            Role::EventTime | Role::End(_) => Ok(()),
            Role::Start(inner) => match nests(inner, windows) {
                true => Ok(()),
                false => Err(refuse::cut_windows(
                    &inner.spec.to_string(),
                    &windows.spec.to_string(),
                )),
            },
            Role::Plain => {
                let place = node.time().spans().first().and_then(place_of_span);
                let spec = windows.spec.to_string();
                Err(refuse::not_event_time(&node.time().name, &spec).at(place))
            }
        }
    }

    /// Lowers a window table function that was kept back: each row once per window.
    pub(super) fn expand(&mut self, flow: Flow) -> Result<Flow> {
        let Some(pending) = flow.pending else {
            return Ok(flow);
        };
        let flow = self.settle_filter(flow)?;
        let inputs = flow.schema.fields().len();
        let data_type = flow.schema.field(pending.time).data_type().clone();
        let window = |name: &str| Arc::new(Field::new(name, data_type.clone(), false));
        let fields: Vec<_> = flow
            .schema
            .fields()
            .iter()
            .map(Arc::clone)
            .chain([window(WINDOW_START), window(WINDOW_END)])
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let factory = ExpandFactory::new(pending.windows.spec, pending.time, Arc::clone(&schema))
            .with_sources(self.graph.sources_of(flow.at));
        let (at, schema) =
            self.follow(flow.at, flow.parallelism, "window", "", Arc::new(factory))?;
        let mut roles = flow.roles;
        roles.resize(inputs, Role::Plain);
        roles.extend([Role::Start(pending.windows), Role::End(pending.windows)]);
        let columns = flow
            .columns
            .into_iter()
            .map(|(origin, name)| match origin {
                Origin::Input(index) => (Origin::Input(index), name),
                Origin::Start => (Origin::Input(inputs), name),
                Origin::End => (Origin::Input(inputs + 1), name),
            })
            .collect();
        Ok(Flow {
            at,
            schema,
            columns,
            roles,
            pending: None,
            ..flow
        })
    }
}

/// Whether each inner window lies within one slice of the outer ones: then the row of a closed
/// inner window, which carries its start, is never late for the outer one.
fn nests(inner: Windows, outer: Windows) -> bool {
    let size = inner.spec.size();
    if matches!(inner.spec.kind(), WindowKind::Hop { slide, size } if slide < size) {
        return false;
    }
    let unit = match outer.spec.kind() {
        WindowKind::Tumble { size } => size,
        WindowKind::Hop {
            slide,
            size: outer_size,
        } => {
            if outer_size % size != 0 {
                return false;
            }
            slide
        }
        WindowKind::Cumulate { step, .. } => step,
    };
    unit % size == 0 && (outer.spec.offset() - inner.spec.offset()) % size == 0
}
