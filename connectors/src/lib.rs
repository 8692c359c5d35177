//! Sources, sinks and formats of Weir, behind the engine's traits.

use std::sync::Arc;

use weir_engine::connector::Connector;

pub mod blackhole;
pub mod dead_letter;
pub mod delta;
pub mod file;
pub mod file_sink;
pub mod format;
pub mod generator;
pub mod history;
pub mod kafka;
pub mod nexmark;
pub mod postgres;
pub mod print;
pub mod quarantine;
mod rescue;
pub mod state;
pub mod store;

/// Gives every connector that this build knows.
pub fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(file::FileConnector::file()),
        Arc::new(file::FileConnector::s3()),
        Arc::new(file::FileConnector::gcs()),
        Arc::new(file::FileConnector::azure()),
        Arc::new(generator::GeneratorConnector),
        Arc::new(kafka::KafkaConnector),
        Arc::new(delta::DeltaConnector),
        Arc::new(nexmark::NexmarkConnector),
        Arc::new(postgres::PostgresConnector),
        Arc::new(print::PrintConnector),
        Arc::new(blackhole::BlackholeConnector),
    ]
}
