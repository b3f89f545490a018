//! What the front door costs: time added to a request, requests per second that it passes on.
//!
//! Client, front door and instances share this machine, so that requests per second are a lower bound;
//! the time added is the difference of two medians taken in turn, so that noise hits both alike.
//! Run it with `cargo bench --no-default-features --features shell --bench front_door`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use loadline::adapters::front_door::{FrontDoorOptions, FrontDoorServer};
use loadline::domain::task::TaskId;
use loadline::domain::workload::WorkloadName;
use loadline::ports::clock::Clock;
use loadline::ports::front_door::{Backend, FrontDoor, Route};
use tokio::net::{TcpListener, TcpStream};

/// Measurements of each kind; medians are shown.
const ROUNDS: usize = 9;
/// Requests of one measurement, one after the other.
const REQUESTS: usize = 3_000;
/// Connections of a measurement of requests per second.
const CONNECTIONS: usize = 16;
/// Length of a measurement of requests per second.
const RUSH: Duration = Duration::from_millis(700);
/// Instances behind the front door.
const INSTANCES: u64 = 3;

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

async fn instance() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket");
            let answer = service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
            });
            tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

async fn connect(address: SocketAddr) -> client::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) = client::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut client::SendRequest<Empty<Bytes>>) {
    sender.ready().await.expect("open");
    let request = Request::get("/").header("host", "bench").body(Empty::new()).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.expect("a body");
}

/// The median time of a request, one at a time, in microseconds.
async fn latency(address: SocketAddr) -> f64 {
    let mut sender = connect(address).await;
    let mut took = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let start = Instant::now();
        ask(&mut sender).await;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    median(took)
}

/// Requests per second with many connections that are never idle.
async fn rush(address: SocketAddr) -> f64 {
    let start = Instant::now();
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            tokio::spawn(async move {
                let mut sender = connect(address).await;
                let mut count = 0_u32;
                while start.elapsed() < RUSH {
                    ask(&mut sender).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for connection in connections {
        count += connection.await.expect("no panic");
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    let through = socket.local_addr()?;
    drop(socket);
    let workload = WorkloadName::new("bench").expect("a name");
    let mut backends = Vec::new();
    for number in 1..=INSTANCES {
        let task = TaskId::new(workload.clone(), number);
        backends.push(Backend { task, address: instance().await, accepts: true });
    }
    let direct = backends[0].address;
    let door = FrontDoorServer::new(Arc::new(StoppedClock), FrontDoorOptions::default());
    let route = Route { workload, port: "http".to_owned(), listen: through.port(), backends, hold: None };
    assert_eq!(door.route(vec![route]).await, vec![]);

    let mut measured: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        measured[0].push(latency(direct).await);
        measured[1].push(latency(through).await);
        measured[2].push(rush(direct).await);
        measured[3].push(rush(through).await);
    }
    let [direct, through, direct_rate, through_rate] = measured.map(median);
    let mut out = io::stdout();
    writeln!(out, "median request, direct:            {direct:.0} us")?;
    writeln!(out, "median request, through the door:  {through:.0} us")?;
    writeln!(out, "added by the door:                 {:.0} us", through - direct)?;
    writeln!(out, "requests/s, direct:                {direct_rate:.0}")?;
    writeln!(out, "requests/s, through the door:      {through_rate:.0}")
}
