//! Rows that come back from quarantine: released past the rules of their table, or judged once more.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, new_null_array};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::fused::with_rows;
use super::judge::{Judge, Judged};
use super::origin::Origin;
use crate::dead_letter::DeadLetters;
use crate::env::Clock;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::quarantine::{Action as Asked, Request};

/// How often a running pipeline looks whether something is asked of rows in quarantine.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The requests about the quarantine tables of one table, for the one task that takes them.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Each with its last request that is taken.
    tables: Vec<(Arc<str>, u64)>,
    letters: DeadLetters,
    clock: Arc<dyn Clock>,
    /// When to look again.
    due: Option<Duration>,
}

impl Requests {
    /// The requests that a task is to take, if it is to take any.
    pub(crate) fn of(judge: &Judge, task: &TaskContext) -> Option<Self> {
        // Where rows wait for their window they enter behind the wait: they have had it.
        match judge.rules().iter().any(|rule| rule.gate.is_some()) {
            true => None,
            false => Self::of_gate(judge, task),
        }
    }

    /// The requests that the last rules take that rows of a table wait for.
    pub(super) fn of_gate(judge: &Judge, task: &TaskContext) -> Option<Self> {
        let letters = &task.job.dead_letters;
        if task.subtask != 0 || !letters.takes_requests() {
            return None;
        }
        let tables = judge.quarantines().into_iter();
        let tables: Vec<(Arc<str>, u64)> = tables
            .map(|into| {
                let begun = letters.begun(&into);
                (into, begun)
            })
            .collect();
        (!tables.is_empty()).then(|| Self {
            tables,
            letters: letters.clone(),
            clock: task.job.env.clock_arc(),
            due: None,
        })
    }

    /// Takes the next one, if there is any and it is time to look.
    pub(crate) fn next(&mut self) -> Result<Option<Request>> {
        let now = self.clock.monotonic();
        if self.due.is_some_and(|due| now < due) {
            return Ok(None);
        }
        for (table, last) in &mut self.tables {
            while let Some(request) = self.letters.request_after(table, *last)? {
                *last = request.number;
                self.letters.took(table, &request);
                if request.action != Asked::Discard {
                    self.due = None;
                    return Ok(Some(request));
                }
            }
        }
        self.due = Some(now + INTERVAL);
        Ok(None)
    }

    /// Looks at the next call, whatever the time is.
    pub(crate) fn ask_now(&mut self) {
        self.due = None;
    }
}

impl Judge {
    /// Takes the rows of a request back into their table; gives those that go on.
    pub(crate) fn again(
        &self,
        request: &Request,
        schema: &SchemaRef,
        task: &TaskContext,
    ) -> Result<Judged> {
        let rows = fit(self.table(), request, schema)?;
        let all = |rows| Judged {
            rows,
            published: None,
        };
        match request.action {
            Asked::Release => Ok(all(rows)),
            Asked::Discard => Ok(all(rows.slice(0, 0))),
            Asked::Replay => {
                let origin = Origin {
                    again: Some(&request.rows),
                    ..Origin::default()
                };
                self.judge(rows, &origin, task)
            }
        }
    }
}

/// Brings rows of quarantine into the columns of their table, which may have changed since.
fn fit(table: &str, request: &Request, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let found = request.rows.column_by_name(field.name());
        let column = match found {
            Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
            Some(column) if can_cast_types(column.data_type(), field.data_type()) => {
                let fits = cast(column, field.data_type())?;
                if fits.null_count() > column.null_count() {
                    return Err(unfit(
                        table,
                        request,
                        field,
                        "has values that are none of it",
                    ));
                }
                fits
            }
            Some(_) => return Err(unfit(table, request, field, "has another type")),
            None => new_null_array(field.data_type(), request.rows.num_rows()),
        };
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(unfit(table, request, field, "is null and must not be"));
        }
        Ok(column)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    with_rows(Arc::clone(schema), columns, request.rows.num_rows())
}

fn unfit(table: &str, request: &Request, field: &Field, why: &str) -> Error {
    let (action, number) = (request.action, request.number);
    Error::new(
        Kind::Data,
        codes::QUARANTINE,
        format!("rows of quarantine do not fit table \"{table}\" any more"),
    )
    .detail(format!(
        "in request {number} ({action}) column \"{}\" {why}; it is {} now",
        field.name(),
        field.data_type()
    ))
    .hint("give the column the type that it had until the request is done")
}
