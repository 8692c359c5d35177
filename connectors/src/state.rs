//! Where the state of pipelines is kept: a folder, or a URL of a store whose credentials come from
//! the environment.

use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::options::{GivenOptions, OptionValue, Options};

use crate::store::{Location, Scheme, options};

/// Opens the place of a pipeline's state.
pub fn open(place: &str) -> Result<Location> {
    let scheme = match place.split_once("://") {
        None => Scheme::File,
        Some((scheme, _)) => Scheme::of(scheme).ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                format!("state cannot be kept in \"{place}\""),
            )
            .hint("name a folder, or a URL that begins with s3://, gs:// or az://")
        })?,
    };
    let path = OptionValue {
        text: place.to_owned(),
        place: None,
    };
    let given = GivenOptions::from([("path".to_owned(), path)]);
    let checked = Options::check("the state", &[options(scheme)], given)?;
    Location::open(scheme, &checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_or_a_url() {
        assert_eq!(open("a/b").unwrap().scheme, Scheme::File);
        let absolute = open("file:///x/y").unwrap();
        assert_eq!(absolute.local_root.unwrap().to_str(), Some("/x/y"));
        assert_eq!(open("ftp://x/y").unwrap_err().code(), codes::UNSUPPORTED);
        assert_eq!(open("").unwrap_err().kind(), Kind::Invalid);
    }
}
