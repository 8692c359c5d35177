//! The window table function: kept back for an aggregation, or lowered on its own.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use weir_engine::error::{Error, Result};
use weir_engine::window::{ExpandFactory, ProcTimeFactory, SessionExpandFactory, WindowKind};

use super::flow::{Flow, Kind, Origin, Pending, Role, Windows};
use super::stateless::node_column;
use super::{Lowering, refuse};
use crate::plan::errors::place_of_span;
use crate::plan::window_table::{WINDOW_END, WINDOW_START, WindowTableNode, Windowing};

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
        let input = node.input().schema();
        let (kind, keys) = match node.windowing() {
            Windowing::Fixed(spec) => (Kind::Fixed(*spec), &[][..]),
            Windowing::Session { gap, keys } => (Kind::Session(*gap), keys.as_slice()),
        };
        let windows = Windows {
            kind,
            lateness: node.lateness(),
            depth: flow.depth() + 1,
        };
        let flow = self.clock(flow, column)?;
        self.check_time(&flow, column, node, windows)?;
        let Some(Origin::Input(time)) = flow.origin(column) else {
            return Err(Error::internal("the time of a window is not a column"));
        };
        let keys = keys.iter().map(|key| {
            let key = flow.origin(input.index_of_column(key)?);
            match key {
                Some(Origin::Input(key)) => Ok(key),
                _ => Err(Error::internal("the key of a session is not a column")),
            }
        });
        let keys = keys.collect::<Result<_>>()?;
        let mut flow = Flow {
            pending: Some(Pending {
                windows,
                time,
                keys,
            }),
            ..flow
        };
        flow.columns.push((Origin::Start, WINDOW_START.to_owned()));
        flow.columns.push((Origin::End, WINDOW_END.to_owned()));
        Ok(flow)
    }

    /// Gives rows their processing time, if windows go by it: the clock is the watermark then.
    pub(super) fn clock(&mut self, flow: Flow, column: usize) -> Result<Flow> {
        let Some(Origin::Input(time)) = flow.origin(column) else {
            return Ok(flow);
        };
        if flow.node_role(time) != Role::Clock || !self.is_streaming() {
            return Ok(flow);
        }
        let flow = self.settle_filter(flow)?;
        let factory = ProcTimeFactory::try_new(Arc::clone(&flow.schema), time)?;
        let (at, schema) =
            self.follow(flow.at, flow.parallelism, "clock", "", Arc::new(factory))?;
        let roles = flow.roles.iter().enumerate().map(|(at, role)| match role {
            _ if at == time => Role::EventTime,
            Role::Clock => Role::Clock,
            _ => Role::Plain,
        });
        Ok(Flow {
            at,
            schema,
            roles: roles.collect(),
            watermarked: true,
            ..flow
        })
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
                    &inner.to_string(),
                    &windows.to_string(),
                )),
            },
            Role::Plain | Role::Clock => {
                let place = node.time().spans().first().and_then(place_of_span);
                let spec = windows.to_string();
                Err(refuse::not_event_time(&node.time().name, &spec).at(place))
            }
        }
    }

    /// Lowers a window table function that was kept back: each row once per window.
    pub(super) fn expand(&mut self, flow: Flow) -> Result<Flow> {
        let Some(pending) = flow.pending.clone() else {
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
        let flow = match pending.windows.kind {
            Kind::Fixed(spec) => {
                let factory = ExpandFactory::new(spec, pending.time, Arc::clone(&schema))
                    .with_lateness(pending.windows.lateness)
                    .with_sources(self.graph.sources_of(flow.at));
                let from = (flow.at, flow.parallelism);
                let (at, _) = self.follow(from.0, from.1, "window", "", Arc::new(factory))?;
                Flow { at, ..flow }
            }
            Kind::Session(gap) => self.sessions(flow, &pending, gap, &schema)?,
        };
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
            schema,
            columns,
            roles,
            pending: None,
            ..flow
        })
    }

    /// Adds the operator that puts rows into sessions, where rows of equal keys meet.
    fn sessions(
        &mut self,
        flow: Flow,
        pending: &Pending,
        gap: i64,
        schema: &SchemaRef,
    ) -> Result<Flow> {
        if self.is_streaming() && pending.windows.lateness > 0 {
            return Err(refuse::late_rows_of_sessions());
        }
        let keys: Vec<_> = pending
            .keys
            .iter()
            .map(|key| node_column(&flow, *key))
            .collect();
        let factory = SessionExpandFactory::try_new(
            pending.time,
            gap,
            keys.clone(),
            Arc::clone(&flow.schema),
            Arc::clone(schema),
            self.graph.sources_of(flow.at),
        )?;
        let (columns, roles) = (flow.columns.clone(), flow.roles.clone());
        let flow = self.keyed(flow, keys, "window", Arc::new(factory))?;
        Ok(Flow {
            columns,
            roles,
            ..flow
        })
    }
}

/// Whether each inner window lies within one slice of the outer ones: then the row of a closed
/// inner window, which carries its start, is never late for the outer one.
fn nests(inner: Windows, outer: Windows) -> bool {
    let (Kind::Fixed(inner), Kind::Fixed(outer)) = (inner.kind, outer.kind) else {
        return false;
    };
    let size = inner.size();
    if matches!(inner.kind(), WindowKind::Hop { slide, size } if slide < size) {
        return false;
    }
    let unit = match outer.kind() {
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
    unit % size == 0 && (outer.offset() - inner.offset()) % size == 0
}
