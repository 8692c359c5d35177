//! A proxy in front of an S3 server that knows its calls, and by a seed makes them fail as a store in
//! trouble does: it answers 503 and 429, breaks connections before, within and after a call, loses
//! answers of what was done, waits, or is away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::http::{self, Call, Message};

/// The longest that a call is held up.
const DELAY_MAX: Duration = Duration::from_secs(1);
/// The longest wait for the server: a call that takes longer is a broken fixture.
const SERVER_TIME_MAX: Duration = Duration::from_secs(60);

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// 503 with the error that S3 gives to who is too fast.
    SlowDown,
    /// 429.
    TooMany,
    /// The connection breaks before anything is asked.
    Before,
    /// It breaks when half of the request is with the server.
    Within,
    /// What was asked is done, and nothing is answered.
    Lost,
    /// The answer breaks off in its middle.
    Broken,
    /// All goes well, later.
    Delay,
}

const FAULTS: [Fault; 7] = [
    Fault::SlowDown,
    Fault::TooMany,
    Fault::Before,
    Fault::Within,
    Fault::Lost,
    Fault::Broken,
    Fault::Delay,
];

/// A proxy in front of one server.
#[derive(Debug)]
pub(crate) struct Storm {
    address: SocketAddr,
    weather: Arc<Weather>,
}

#[derive(Debug)]
struct Weather {
    target: String,
    chance: Mutex<StdRng>,
    /// The share of calls that something happens to.
    share: Mutex<f64>,
    /// The kinds of calls that something has happened to.
    hit: Mutex<BTreeSet<Call>>,
    away: AtomicBool,
    closed: AtomicBool,
    counts: Mutex<BTreeMap<(Call, Option<Fault>), u64>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Storm {
    /// Starts a proxy on a free loopback port; the weather is calm.
    pub(crate) fn start(target: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let weather = Arc::new(Weather {
            target: target.to_owned(),
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
            share: Mutex::new(0.0),
            hit: Mutex::default(),
            away: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            counts: Mutex::default(),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&weather);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::SeqCst) {
                    return;
                }
                let weather = Arc::clone(&accepting);
                std::thread::spawn(move || weather.serve(&client));
            }
        });
        Self { address, weather }
    }

    /// `http://host:port` of the proxy.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes something happen to this share of the calls from now on, and to the first of each
    /// kind.
    pub(crate) fn blow(&self, share: f64) {
        *lock(&self.weather.share) = share;
    }

    /// Breaks all connections and takes no call any more.
    pub(crate) fn go_away(&self) {
        self.weather.away.store(true, Ordering::SeqCst);
        self.weather.break_all();
    }

    /// Takes calls again.
    pub(crate) fn come_back(&self) {
        self.weather.away.store(false, Ordering::SeqCst);
    }

    /// How often each fault has met each kind of call.
    pub(crate) fn faults(&self) -> BTreeMap<(Call, Fault), u64> {
        let counts = lock(&self.weather.counts);
        let faults = counts.iter();
        faults
            .filter_map(|((call, fault), count)| Some(((*call, (*fault)?), *count)))
            .collect()
    }

    /// How many calls of each kind there were, and how many of them met a fault.
    pub(crate) fn told(&self) -> String {
        let mut kinds: BTreeMap<Call, (u64, u64)> = BTreeMap::new();
        for ((call, fault), count) in lock(&self.weather.counts).iter() {
            let (all, hit) = kinds.entry(*call).or_default();
            *all += count;
            *hit += fault.map_or(0, |_| *count);
        }
        let kinds = kinds
            .iter()
            .map(|(call, (all, hit))| format!("{call:?} {hit} of {all}"));
        kinds.collect::<Vec<_>>().join(", ")
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.weather.closed.store(true, Ordering::SeqCst);
        self.weather.break_all();
        // Wakes the accepting thread so that it sees the end.
        drop(TcpStream::connect(self.address));
    }
}

impl Weather {
    fn break_all(&self) {
        for stream in lock(&self.open).drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Carries calls until the client is gone or the connection breaks.
    fn serve(&self, client: &TcpStream) {
        if let Ok(copy) = client.try_clone() {
            lock(&self.open).push(copy);
        }
        let mut server = None;
        let mut requests = BufReader::new(client);
        while !self.away.load(Ordering::SeqCst) {
            if !matches!(self.call(&mut requests, client, &mut server), Ok(true)) {
                break;
            }
        }
        client.shutdown(Shutdown::Both).ok();
    }

    /// Carries one call; false when the connection is to be broken.
    fn call(
        &self,
        requests: &mut BufReader<&TcpStream>,
        client: &TcpStream,
        server: &mut Option<TcpStream>,
    ) -> std::io::Result<bool> {
        let Some(head) = http::read_head(requests)? else {
            return Ok(false);
        };
        let call = head.call();
        let fault = self.draw(call);
        *lock(&self.counts).entry((call, fault)).or_default() += 1;
        if fault == Some(Fault::Before) {
            // What the client sends on meets a closed connection.
            return Ok(false);
        }
        let request = head.with_body(requests, false)?;
        match fault {
            Some(Fault::SlowDown) => return refuse(client, &request, "503 Slow Down", "SlowDown"),
            Some(Fault::TooMany) => {
                return refuse(client, &request, "429 Too Many Requests", "TooManyRequests");
            }
            Some(Fault::Delay) => std::thread::sleep(self.delay()),
            _ => {}
        }
        let Some(mut upstream) = self.server(server)? else {
            return Ok(false);
        };
        let bytes = request.bytes();
        if fault == Some(Fault::Within) {
            upstream.write_all(&bytes[..bytes.len() / 2])?;
            upstream.shutdown(Shutdown::Both)?;
            *server = None;
            return Ok(false);
        }
        upstream.write_all(&bytes)?;
        let answer = answer(&upstream, call == Call::Head)?;
        if self.away.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let bytes = answer.bytes();
        let mut client = client;
        match fault {
            Some(Fault::Lost) => Ok(false),
            Some(Fault::Broken) => {
                client.write_all(&bytes[..bytes.len() - 1 - answer.body.len() / 2])?;
                Ok(false)
            }
            _ => {
                client.write_all(&bytes)?;
                *server = Some(upstream);
                Ok(!answer.closes() && !request.closes())
            }
        }
    }

    fn draw(&self, call: Call) -> Option<Fault> {
        let (mut chance, mut met) = (lock(&self.chance), lock(&self.hit));
        let share = *lock(&self.share);
        let (hit, fault) = (
            chance.random::<f64>() < share,
            FAULTS[chance.random_range(0..FAULTS.len())],
        );
        let first = share > 0.0 && !met.contains(&call);
        // MinIO itself loses the parts of an upload when the connection breaks while it completes
        // it (docs/limits.md): that is no fault of who asked.
        if !(hit || first) || call == Call::Complete && fault == Fault::Within {
            return None;
        }
        met.insert(call);
        Some(fault)
    }

    fn delay(&self) -> Duration {
        DELAY_MAX.mul_f64(lock(&self.chance).random())
    }

    /// The connection to the server, made anew when there is none.
    fn server(&self, open: &mut Option<TcpStream>) -> std::io::Result<Option<TcpStream>> {
        if self.away.load(Ordering::SeqCst) {
            return Ok(None);
        }
        if let Some(open) = open.take() {
            return Ok(Some(open));
        }
        let server = TcpStream::connect(&self.target)?;
        server.set_read_timeout(Some(SERVER_TIME_MAX))?;
        server.set_nodelay(true)?;
        Ok(Some(server))
    }
}

fn answer(server: &TcpStream, headless: bool) -> std::io::Result<Message> {
    let mut answers = BufReader::new(server);
    loop {
        let head = http::read_head(&mut answers)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        if !head.is_interim() {
            return head.with_body(&mut answers, headless);
        }
    }
}

fn refuse(
    mut client: &TcpStream,
    request: &Message,
    status: &str,
    code: &str,
) -> std::io::Result<bool> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>Please reduce \
         your request rate.</Message></Error>"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes())?;
    Ok(!request.closes())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
