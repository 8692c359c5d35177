//! An S3 server: MinIO of `bash tests/run` on 127.0.0.1, with one bucket.
//!
//! It ends with the harness, however that ends, and its data with it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use super::process::{Process, cache, free_ports};
use crate::failure::{During, Failure, Result};
use crate::settings;

/// The bucket that is there from the start.
pub(crate) const BUCKET: &str = "bench";
/// The access key.
pub(crate) const KEY: &str = "weir-bench";
/// The secret key, of a server that listens on this machine alone.
pub(crate) const SECRET: &str = "weir-bench-secret";

/// A running server.
#[derive(Debug)]
pub(crate) struct Minio {
    address: String,
    _process: Process,
}

impl Minio {
    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let binary = cache().join("bin/minio");
        if !binary.is_file() {
            return Err(Failure::new(format!(
                "no S3 server: {} is missing; `bash tests/run` fetches it",
                binary.display()
            )));
        }
        let folder = settings::scratch(&format!("minio-{}", std::process::id()))?;
        // A folder of a fresh server is a bucket.
        let data = folder.join("data");
        fs::create_dir_all(data.join(BUCKET)).during("making a bucket")?;
        let [port, console] = free_ports()?;
        let address = format!("127.0.0.1:{port}");
        let mut server = Command::new(binary);
        server
            .args(["server", "--quiet", "--address", &address])
            .args(["--console-address", &format!("127.0.0.1:{console}")])
            .arg(data)
            .env("MINIO_ROOT_USER", KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off");
        let process = Process::start(&server, &folder)?;
        process.wait(|| is_ready(&address))?;
        Ok(Self {
            address,
            _process: process,
        })
    }

    /// Its URL.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Whether it says that it takes requests.
fn is_ready(address: &str) -> Result<()> {
    let doing = || format!("waiting for the S3 server at {address}");
    let mut stream = TcpStream::connect(address).during(doing())?;
    let request =
        format!("GET /minio/health/ready HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).during(doing())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).during(doing())?;
    match answer.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(Failure::new(format!("{}: it is not ready", doing()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_comes_and_goes() {
        let server = Minio::start().unwrap();
        let address = server.address.clone();
        assert!(is_ready(&address).is_ok());
        drop(server);
        assert!(is_ready(&address).is_err());
    }
}
