//! A source of rows that are a function of their place; it tells where its splits were opened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parking_lot::Mutex;

use super::data::{self, Size, row, schema};
use super::executor::Sim;
use crate::error::Result;
use crate::job::TaskContext;
use crate::source::{Boundedness, Low, Position, Read, Source, Split, SplitReader};

/// Where the splits of one instance's sources were opened, by source and split.
pub(super) type Opened = Arc<Mutex<BTreeMap<(i64, i64), i64>>>;

/// One source of one instance.
#[derive(Debug)]
pub(super) struct SimSource {
    pub(super) number: i64,
    pub(super) size: Size,
    pub(super) sim: Sim,
    pub(super) side_by_side: bool,
    /// A seeded mistake: the place it goes on from is one batch too far.
    pub(super) skips: bool,
    pub(super) opened: Opened,
}

#[derive(Debug)]
struct Reader {
    source: i64,
    split: i64,
    next: i64,
    size: Size,
    skips: bool,
    sim: Sim,
    task: TaskContext,
}

#[async_trait]
impl Source for SimSource {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        let split = |i: i64| Split {
            id: format!("split-{i}"),
            order: format!("{i:04}"),
            payload: i.to_string(),
            bytes: None,
            position: None,
        };
        Ok((0..self.size.splits).map(split).collect())
    }

    async fn low(&self, split: &Split, columns: &[usize]) -> Result<Low> {
        let split = split.payload.parse().unwrap();
        let rows: Vec<_> = (0..self.size.rows)
            .map(|seq| row(self.number, split, seq))
            .collect();
        Ok(Low::First(data::batch(&rows).project(columns)?))
    }

    fn is_side_by_side(&self) -> bool {
        self.side_by_side
    }

    async fn open(
        &self,
        split: &Split,
        _projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        let number = split.payload.parse().unwrap();
        let next = split.position.as_ref();
        let next = next.map_or(0, |position| position.0.parse().unwrap());
        self.opened.lock().insert((self.number, number), next);
        Ok(Box::new(Reader {
            source: self.number,
            split: number,
            next,
            size: self.size,
            skips: self.skips,
            sim: self.sim.clone(),
            task: context.clone(),
        }))
    }

    fn describe(&self) -> String {
        format!("simulated {}", self.number)
    }
}

#[async_trait]
impl SplitReader for Reader {
    async fn next(&mut self) -> Result<Read> {
        let time = Duration::from_micros(self.sim.draw(8_000));
        self.task.job.env.clock().sleep(time).await;
        if self.next >= self.size.rows_of_split() {
            return Ok(Read::End);
        }
        let end = (self.next + self.size.rows).min(self.size.rows_of_split());
        let rows: Vec<_> = (self.next..end)
            .map(|seq| row(self.source, self.split, seq))
            .collect();
        self.next = end;
        Ok(Read::Rows {
            batch: data::batch(&rows),
            bytes: 1,
        })
    }

    fn position(&self) -> Position {
        let ahead = if self.skips { self.size.rows } else { 0 };
        Position((self.next + ahead).to_string())
    }
}
