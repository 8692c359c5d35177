//! Finds the columns of a source in its first file that has any.

use arrow::datatypes::{DataType, Field, Fields};
use weir_engine::Result;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, codes};

use crate::store::Location;

use super::avro::{self, Header};
use super::columns::{partitions, plain_field, position};
use super::config::{FileConfig, Format};
use super::infer;
use super::input::{Filled, Input};
use super::listing::Entry;
use super::parquet_input::{Footers, Trouble};

/// Files that are tried: empty and damaged ones at the front do no harm.
const FILES_TRIED_MAX: usize = 16;

/// Looks for the columns in the files, in order.
pub(super) async fn columns(
    location: &Location,
    files: &[Entry],
    format: Format,
    config: &FileConfig,
    footers: &Footers,
    env: &Env,
) -> Result<Fields> {
    let mut reason = "all files are empty".to_owned();
    for file in files.iter().take(FILES_TRIED_MAX) {
        match of_file(location, file, format, config, footers, env).await? {
            Ok(Some(fields)) => return Ok(with_partitions(&fields, file)),
            Ok(None) => {}
            Err(detail) => reason = format!("{}: {detail}", file.shown),
        }
    }
    if files.is_empty() {
        reason = "there is no file yet".to_owned();
    }
    Err(Error::new(
        Kind::Invalid,
        codes::SCHEMA,
        format!("the columns of {} cannot be discovered", location.url),
    )
    .detail(reason)
    .hint("declare them: CREATE SOURCE name (column type, ...) WITH (...)"))
}

async fn of_file(
    location: &Location,
    file: &Entry,
    format: Format,
    config: &FileConfig,
    footers: &Footers,
    env: &Env,
) -> Result<std::result::Result<Option<Fields>, String>> {
    if format == Format::Parquet {
        return match footers.get(location, file, env).await {
            Ok(footer) => {
                let fields = footer.schema().fields().iter();
                Ok(Ok(Some(fields.map(|field| plain_field(field)).collect())))
            }
            Err(Trouble::Corrupt(detail)) => Ok(Err(detail)),
            Err(Trouble::Store(error)) => Err(error),
        };
    }
    if file.size == 0 {
        return Ok(Ok(None));
    }
    let compression = config.compression_of(&file.key);
    let mut input = Input::open(location, file, compression, 0, env)?;
    let sample = sample(&mut input).await?;
    Ok(match format {
        Format::Csv => infer::csv(&sample, &config.csv),
        Format::Json => infer::json(&sample),
        Format::Parquet => Ok(None),
        Format::Avro => match Header::parse(&sample) {
            Ok(Some(header)) => header
                .schema()
                .map(|schema| Some(avro::fields(&schema)))
                .map_err(|error| error.to_string()),
            Ok(None) => Err("the header is cut short".to_owned()),
            Err(detail) => Err(detail),
        },
    })
}

/// Reads enough to look at; a last line that is cut is left out unless the file ends with it.
async fn sample(input: &mut Input) -> Result<Vec<u8>> {
    let mut sample = Vec::new();
    while sample.len() < infer::SAMPLE_BYTES {
        match input.fill(&mut sample).await? {
            Filled::Bytes => {}
            Filled::End => {
                sample.push(b'\n');
                break;
            }
            Filled::Damaged(_) => break,
        }
    }
    if sample.starts_with(super::decode::BOM) {
        sample.drain(..super::decode::BOM.len());
    }
    Ok(sample)
}

/// Adds the `name=value` folders of the path as text columns.
fn with_partitions(fields: &Fields, file: &Entry) -> Fields {
    let mut all: Vec<_> = fields.iter().cloned().collect();
    for (name, _) in partitions(&file.key) {
        if position(fields, &name).is_none() {
            all.push(Field::new(name, DataType::Utf8, true).into());
        }
    }
    all.into()
}
