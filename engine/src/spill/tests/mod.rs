//! The parts of the decorator by themselves; what it does as a whole is tested with each operator.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};

use super::divide::sort;
use super::file::Disk;
use super::gauge::Gauge;
use super::pending::{Moment, Pending, arrivals};
use crate::key_group::KeyGroups;

fn rows(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("value", DataType::Int64, false)]);
    let column = Int64Array::from_iter_values(values);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).unwrap()
}

fn values(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column(0).as_primitive::<Int64Type>();
    column.values().to_vec()
}

fn disk() -> (Disk, Arc<DiskManager>) {
    let context = DataFusionContext::default();
    let manager = Arc::clone(&context.runtime_env().disk_manager);
    (Disk::new("the state", &manager), manager)
}

#[test]
fn a_file_goes_with_the_last_batch_in_it() {
    let (mut disk, manager) = disk();
    let frames: Vec<_> = (0..100)
        .map(|i| disk.write(&rows(i..i + 300)).unwrap())
        .collect();
    let files = manager.spilling_progress().active_files_count;
    assert!((2..20).contains(&files), "{files} files");
    for (i, frame) in (0..).zip(&frames) {
        assert_eq!(values(&frame.read().unwrap()), Vec::from_iter(i..i + 300));
    }
    let last = frames.last().cloned();
    drop(frames);
    assert_eq!(manager.spilling_progress().active_files_count, 1);
    drop((last, disk));
    assert_eq!(manager.spilling_progress().active_files_count, 0);
}

#[test]
fn rows_wait_in_their_order_with_the_time_at_which_they_came() {
    let (mut disk, _manager) = disk();
    let at = |watermark, now| Moment { watermark, now };
    let mut pending = Pending::default();
    pending.push(0, rows([1, 2]), 16, at(5, 0));
    pending.push(1, rows([10]), 8, at(5, 0));
    pending.push(0, rows([3]), 8, at(5, 0));
    pending.push(0, rows([4]), 8, at(6, 0));
    assert_eq!(pending.bytes(), 40);
    pending.flush(&mut disk).unwrap();
    pending.push(1, rows([11]), 8, at(i64::MIN, i64::MAX));
    pending.flush(&mut disk).unwrap();
    let (first, saved) = pending.save(false);
    assert_eq!((first, saved.len()), (0, 3));
    let mut found = Vec::new();
    for frame in pending.take() {
        let (input, arrived) = arrivals(&frame.read().unwrap()).unwrap();
        for (moment, batch) in arrived {
            assert!(batch.schema().metadata().is_empty());
            found.push((input, moment, values(&batch)));
        }
    }
    let expected = vec![
        (0, at(5, 0), vec![1, 2, 3]),
        (0, at(6, 0), vec![4]),
        (1, at(5, 0), vec![10]),
        (1, at(i64::MIN, i64::MAX), vec![11]),
    ];
    assert_eq!(found, expected);
    assert!(pending.is_empty());
    assert_eq!((pending.first(), pending.save(false).1.len()), (3, 0));
}

#[test]
fn rows_are_sorted_by_part_and_stay_in_order() {
    let parts = [KeyGroups::between(0, 10), KeyGroups::between(20, 30)];
    let places = [25, 3, 15, 9, 20, 0, 29, 30];
    let hashes: Vec<u64> = places.iter().map(|place| place << 48 | 77).collect();
    let sorted = sort(&rows(places.map(|p| p as i64)), &hashes, &parts).unwrap();
    assert_eq!(values(&sorted.rows), [3, 9, 0, 25, 20, 29]);
    assert_eq!(sorted.parts, [(0, 0, 3), (1, 3, 3)]);
}

#[test]
fn an_operator_is_never_refused_memory_and_gives_it_back() {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
    let all = Arc::new(MemoryConsumer::new("all").register(&pool));
    let gauge = Gauge::new(&all);
    let own: Arc<dyn MemoryPool> = Arc::clone(&gauge) as _;
    let account = MemoryConsumer::new("one").register(&own);
    account.try_resize(250).unwrap();
    assert_eq!((gauge.bytes(), pool.reserved()), (250, 250));
    account.try_resize(40).unwrap();
    assert_eq!((gauge.bytes(), pool.reserved()), (40, 40));
    drop(account);
    assert_eq!((gauge.bytes(), pool.reserved()), (0, 0));
}
