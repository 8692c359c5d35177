//! Real peers that tests start: each on a free loopback port, with its own folder, stopped when
//! its last user is done.

mod certificate;
pub(crate) mod http;
pub(crate) mod kafka;
pub(crate) mod minio;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod storm;

use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::program::block_on;

/// When this fails, the machine or the fixture is at fault, not Weir.
#[test]
fn fixtures_work() {
    let minio = minio::Minio::shared();
    let bucket = minio.bucket();
    minio.put(&bucket, "a/b.txt", b"hello".to_vec());
    let store = minio.store(&bucket);
    let bytes = block_on(async {
        store
            .get(&Path::from("a/b.txt"))
            .await
            .unwrap()
            .bytes()
            .await
    });
    assert_eq!(&bytes.unwrap()[..], b"hello");

    let proxy = proxy::Proxy::start(minio.host());
    let address = proxy.endpoint();
    let address = address.strip_prefix("http://").unwrap();
    assert_eq!(ask(address).as_deref(), Some("HTTP/1.1"));
    proxy.cut();
    assert_eq!(ask(address), None);
    assert_eq!(proxy.refused(), 1);
    proxy.restore();
    assert_eq!(ask(address).as_deref(), Some("HTTP/1.1"));
}

/// Sends a request and gives the first word of the answer, if there is one.
fn ask(address: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream
        .write_all(b"GET /minio/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_whitespace().next().map(str::to_owned)
}
