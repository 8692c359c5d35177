//! A TCP proxy whose line can be cut and restored: a peer that goes away and comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A proxy in front of one address.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    closed: AtomicBool,
    /// Connections that were refused while the line was cut.
    refused: AtomicU64,
    /// The ends of each connection: the client's, then the server's.
    open: Mutex<Vec<[TcpStream; 2]>>,
}

impl Proxy {
    /// Starts a proxy on a free loopback port.
    pub(crate) fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Line::default());
        let (accepting, target) = (Arc::clone(&line), target.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::SeqCst) {
                    return;
                }
                accepting.connect(client, &target);
            }
        });
        Self { address, line }
    }

    /// `http://host:port` of the proxy.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks all connections and refuses new ones.
    pub(crate) fn cut(&self) {
        self.line.cut.store(true, Ordering::SeqCst);
        self.line.close_all();
    }

    /// Takes connections again.
    pub(crate) fn restore(&self) {
        self.line.cut.store(false, Ordering::SeqCst);
    }

    /// How many connections were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.line.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.closed.store(true, Ordering::SeqCst);
        self.line.close_all();
        // Wakes the accepting thread so that it sees the end.
        drop(TcpStream::connect(self.address));
    }
}

impl Line {
    fn connect(self: &Arc<Self>, client: TcpStream, target: &str) {
        if self.cut.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let Ok(server) = TcpStream::connect(target) else {
            return;
        };
        let (Ok(client_copy), Ok(server_copy)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.push([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        }
        // A cut between the check above and the registration must not leave this pair open.
        if self.cut.load(Ordering::SeqCst) {
            self.close_all();
        }
        std::thread::spawn(move || pump(client, server));
        std::thread::spawn(move || pump(server_copy, client_copy));
    }

    fn close_all(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..).flatten() {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Carries bytes until an end is closed, and closes the other.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        stream.shutdown(Shutdown::Both).ok();
    }
}
