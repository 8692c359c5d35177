//! When results come out: `EMIT ...` of the statement reaches the aggregations whose results no other
//! aggregation reads.

use std::time::Duration;

use weir_engine::error::Result;
use weir_engine::updating::aggregate;
use weir_engine::window::{self, Firing};

use super::flow::Windows;
use super::{Lowering, refuse};
use crate::ast::Emit;

impl Lowering<'_> {
    /// What the statement says, if the aggregation that is being lowered is to do it.
    fn emit(&mut self) -> Option<Emit> {
        let emit = self
            .target
            .emit
            .filter(|_| !self.inner && self.is_streaming());
        self.emits |= emit.is_some();
        emit
    }

    /// When an aggregation by windows gives its results.
    pub(super) fn firing(&mut self, windows: Windows) -> Result<Firing> {
        if !self.is_streaming() {
            return Ok(Firing::default());
        }
        let emit = match self.emit() {
            None | Some(Emit::OnWindowClose) => window::Emit::OnClose,
            Some(Emit::OnUpdate) => window::Emit::OnUpdate,
            Some(Emit::Every(time)) => window::Emit::Every(micros(time)),
        };
        Ok(Firing {
            emit,
            allowed_lateness: windows.lateness,
        })
    }

    /// When an aggregation without windows gives its results.
    pub(super) fn updates(&mut self) -> Result<aggregate::Emit> {
        match self.emit() {
            None | Some(Emit::OnUpdate) => Ok(aggregate::Emit::OnUpdate),
            Some(Emit::Every(time)) => Ok(aggregate::Emit::Every(time)),
            Some(Emit::OnWindowClose) => Err(refuse::never_closes()),
        }
    }

    /// Refuses an EMIT that nothing in the query does.
    pub(super) fn check_emit(&self) -> Result<()> {
        match self.target.emit {
            Some(emit) if self.is_streaming() && !self.emits => {
                Err(refuse::nothing_to_emit(&emit.to_string()))
            }
            _ => Ok(()),
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
