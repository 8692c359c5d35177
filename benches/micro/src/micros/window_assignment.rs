//! Window columns for rows that are not aggregated: HOP with five windows per row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use weir_engine::operator::OperatorFactory as _;
use weir_engine::window::{ExpandFactory, WindowSpec};

use crate::input;
use crate::subtask::{context, feed};
use crate::work::{Micro, Prepared, Result};

const ROWS: usize = 1 << 16;
const WINDOWS_PER_ROW: i64 = 5;

pub(super) const HOP: Micro = Micro {
    name: "window_assignment",
    prepare,
};

fn prepare() -> Result<Prepared> {
    let batches = input::measurements(ROWS, 1_000)?;
    let spec = WindowSpec::hop(input::WINDOW / WINDOWS_PER_ROW, input::WINDOW)?;
    Ok(Prepared::new(
        ROWS,
        ROWS * WINDOWS_PER_ROW as usize,
        move || {
            let factory = ExpandFactory::new(spec, 0, schema());
            let mut chain = [factory.create(&context())?];
            let batches = batches.clone();
            Ok(Box::new(move || feed(&mut chain, &batches)))
        },
    ))
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let mut fields = input::measurement().fields().to_vec();
    for name in ["window_start", "window_end"] {
        fields.push(Arc::new(Field::new(name, time.clone(), false)));
    }
    Arc::new(Schema::new(fields))
}
