//! A certificate for servers on this machine.

use std::path::Path;
use std::process::Command;

use super::process::run;

/// Makes a certificate for this machine alone that trusts itself: `key.pem` and `certificate.pem`.
pub(crate) fn make(folder: &Path) {
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("certificate.pem")));
}
