//! The front door on real sockets: balancing, failover, draining, limits, streaming, counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, get};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use loadline::adapters::front_door::{FrontDoorOptions, FrontDoorServer};
use loadline::domain::load::RequestCounters;
use loadline::domain::task::TaskId;
use loadline::domain::workload::WorkloadName;
use loadline::ports::clock::Clock;
use loadline::ports::front_door::{Backend, FrontDoor, Hold, Route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::machine::{ClosedPort, PATIENCE, eventually, free_port};

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn front_door(options: FrontDoorOptions) -> Arc<FrontDoorServer> {
    Arc::new(FrontDoorServer::new(Arc::new(StoppedClock), options))
}

fn task(number: u64) -> TaskId {
    TaskId::new(WorkloadName::new("web").expect("a name"), number)
}

fn backend(number: u64, address: SocketAddr) -> Backend {
    Backend { task: task(number), address, accepts: true }
}

fn route(listen: u16, backends: &[Backend]) -> Vec<Route> {
    let workload = WorkloadName::new("web").expect("a name");
    vec![Route { workload, port: "http".to_owned(), listen, backends: backends.to_vec(), hold: None }]
}

async fn set(door: &FrontDoorServer, listen: u16, backends: &[Backend]) {
    assert_eq!(door.route(route(listen, backends)).await, vec![]);
}

fn total(door: &FrontDoorServer) -> RequestCounters {
    door.load()[0].total.clone()
}

fn instances(door: &FrontDoorServer) -> BTreeMap<TaskId, RequestCounters> {
    door.load()[0].instances.clone()
}

/// An instance in this process; it ends gracefully when `stop` is called, else with the test.
struct TestInstance {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl TestInstance {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            axum::serve(listener, app).with_graceful_shutdown(stopped).await.expect("served");
        });
        Self { address, stop, serving }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.serving.await.expect("ended");
    }
}

fn says(text: &'static str) -> Router {
    Router::new().fallback(any(move || async move { text }))
}

/// Answers each connection with `serve`, which gets the stream and the connection's number.
async fn raw_instance<F, S>(serve: S) -> SocketAddr
where
    S: Fn(TcpStream, usize) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(serve(stream, number));
        }
    });
    address
}

/// Reads up to the end of a head.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("text")
}

fn client() -> reqwest::Client {
    crate::http::client().timeout(PATIENCE).build().expect("a client")
}

fn url(listen: u16) -> String {
    format!("http://127.0.0.1:{listen}/")
}

#[tokio::test]
async fn requests_are_balanced_over_ready_instances_and_counted() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let (a, b) = (TestInstance::start(says("a")).await, TestInstance::start(says("b")).await);
    set(&door, listen, &[backend(1, a.address), backend(2, b.address)]).await;

    let client = client();
    for _ in 0..200 {
        client.get(url(listen)).send().await.expect("an answer").bytes().await.expect("a body");
    }
    eventually("all counted", || total(&door).requests == 200 && total(&door).in_flight == 0).await;
    let (total, instances) = (total(&door), instances(&door));
    assert_eq!(total.errors, 0);
    assert!(instances.values().all(|counters| (50..=150).contains(&counters.requests)), "{instances:?}");
    assert_eq!(instances.values().map(|counters| counters.requests).sum::<u64>(), 200);
    assert_eq!(total.latency.iter().sum::<u64>(), 200);
    assert!(total.latency_sum > 0.0 && total.latency_quantile(0.5).is_some());
}

#[tokio::test]
async fn an_instance_that_is_busy_gets_less() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let slow = Router::new().fallback(any(|| async { tokio::time::sleep(Duration::from_secs(1)).await }));
    let (slow, quick) = (TestInstance::start(slow).await, TestInstance::start(says("b")).await);
    set(&door, listen, &[backend(1, slow.address), backend(2, quick.address)]).await;

    let client = client();
    let requests = (0..400).map(|_| client.get(url(listen)).send());
    let answers: Vec<_> = stream::iter(requests).buffer_unordered(8).collect().await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|a| a.status() == 200)));
    let instances = instances(&door);
    assert!(instances[&task(1)].requests < 100, "{instances:?}");
}

#[tokio::test]
async fn what_is_passed_on_names_the_client_and_drops_fields_of_the_connection() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let echo = Router::new().fallback(any(|headers: HeaderMap, request: Request| async move {
        let field =
            |name: &str| headers.get(name).map_or("-", |value| value.to_str().expect("text")).to_owned();
        [
            request.uri().to_string(),
            field("host"),
            field("x-forwarded-for"),
            field("x-forwarded-host"),
            field("x-forwarded-proto"),
            field("x-private"),
        ]
        .join(" ")
    }));
    let instance = TestInstance::start(echo).await;
    set(&door, listen, &[backend(1, instance.address)]).await;
    let request = client().get(format!("{}a/b?c=d", url(listen))).header("host", "shop.test");
    let request = request.header("connection", "x-private").header("x-private", "1");
    let text = request.send().await.expect("an answer").text().await.expect("a text");
    assert_eq!(text, "/a/b?c=d shop.test 127.0.0.1 shop.test http -");
}

#[tokio::test]
async fn another_instance_answers_for_one_that_refuses_or_breaks_off() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let refuses = ClosedPort::new();
    let breaks_off = raw_instance(|mut stream, _| async move {
        read_head(&mut stream).await;
    })
    .await;
    let good = TestInstance::start(says("good")).await;
    set(&door, listen, &[backend(1, refuses.address), backend(2, breaks_off), backend(3, good.address)])
        .await;

    let client = client();
    for _ in 0..50 {
        let answer = client.get(url(listen)).send().await.expect("an answer");
        assert_eq!(
            (answer.status(), answer.text().await.expect("a text")),
            (StatusCode::OK, "good".to_owned())
        );
    }
    eventually("all counted", || total(&door).requests == 50).await;
    assert_eq!(total(&door).errors, 0);
    let instances = instances(&door);
    assert!(instances[&task(1)].errors > 0 && instances[&task(2)].errors > 0, "{instances:?}");
}

#[tokio::test]
async fn a_post_that_an_instance_has_read_is_not_sent_twice() {
    let door = front_door(FrontDoorOptions { ready_wait: Duration::ZERO, ..FrontDoorOptions::default() });
    let listen = free_port();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let breaks_off = raw_instance(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            read_head(&mut stream).await;
            stream.read_exact(&mut [0; 4]).await.expect("the body");
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    set(&door, listen, &[backend(1, breaks_off), backend(2, breaks_off)]).await;
    let answer = client().post(url(listen)).body("body").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(answer.text().await.expect("a text").starts_with("web: instance web."));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_post_goes_elsewhere_when_the_connection_is_refused() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let refuses = ClosedPort::new();
    let echo = TestInstance::start(Router::new().fallback(any(|body: String| async move { body }))).await;
    set(&door, listen, &[backend(1, refuses.address), backend(2, echo.address)]).await;
    let client = client();
    for _ in 0..20 {
        let answer = client.post(url(listen)).body("body").send().await.expect("an answer");
        assert_eq!(answer.text().await.expect("a text"), "body");
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_instance_closed_costs_no_request() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    // Answers one request a connection, promises to keep it open, and closes it at the next request.
    let forgetful = raw_instance(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("written");
        read_head(&mut stream).await;
    })
    .await;
    set(&door, listen, &[backend(1, forgetful)]).await;
    let client = client();
    for _ in 0..20 {
        assert_eq!(client.get(url(listen)).send().await.expect("an answer").status(), StatusCode::OK);
    }
    eventually("all counted", || total(&door).requests == 20).await;
    assert_eq!(total(&door).errors, 0);
}

#[tokio::test]
async fn a_crash_of_the_only_instance_is_bridged_when_another_comes_in_time() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let crashed = ClosedPort::new();
    set(&door, listen, &[backend(1, crashed.address)]).await;
    let asked = tokio::spawn(client().get(url(listen)).send());
    eventually("it was refused", || instances(&door)[&task(1)].errors > 0).await;
    set(&door, listen, &[]).await;
    let next = TestInstance::start(says("next")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    set(&door, listen, &[backend(2, next.address)]).await;
    let answer = asked.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text().await.expect("a text"), "next");
}

#[tokio::test]
async fn a_request_waits_for_an_instance_and_is_told_when_none_comes() {
    let wait = Duration::from_millis(300);
    let door =
        front_door(FrontDoorOptions { ready_wait: wait, waiting_max: 1, ..FrontDoorOptions::default() });
    let listen = free_port();
    set(&door, listen, &[]).await;
    let start = Instant::now();
    let answer = client().get(url(listen)).send().await.expect("an answer");
    assert!(start.elapsed() >= wait);
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.text().await.expect("a text"), "web: no ready instance within 0.3 s\n");
    eventually("it is counted", || total(&door).requests == 1).await;
    assert_eq!((total(&door).errors, total(&door).latency.iter().sum::<u64>()), (1, 1));
}

#[tokio::test]
async fn while_one_request_waits_the_next_is_refused_at_once() {
    let bounded = FrontDoorOptions { ready_wait: PATIENCE, waiting_max: 1, ..FrontDoorOptions::default() };
    let (door, listen) = (front_door(bounded), free_port());
    set(&door, listen, &[]).await;
    let waiting = tokio::spawn(client().get(url(listen)).send());
    eventually("one waits", || total(&door).in_flight == 1).await;
    let refused = client().get(url(listen)).send().await.expect("an answer");
    assert!(refused.text().await.expect("a text").contains("1 requests wait"));
    waiting.abort();
}

#[tokio::test]
async fn a_retired_instance_finishes_its_requests_and_gets_no_new_one() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let go_on = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go_on);
    let slow = Router::new().fallback(any(move || {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("open").forget();
            "old"
        }
    }));
    let (old, new) = (TestInstance::start(slow).await, TestInstance::start(says("new")).await);
    set(&door, listen, &[backend(1, old.address)]).await;
    let running = tokio::spawn(client().get(url(listen)).send());
    eventually("it is on its way", || door.in_flight(&task(1)) == 1).await;

    let retired = Backend { accepts: false, ..backend(1, old.address) };
    set(&door, listen, &[retired.clone(), backend(2, new.address)]).await;
    for _ in 0..20 {
        let answer = client().get(url(listen)).send().await.expect("an answer");
        assert_eq!(answer.text().await.expect("a text"), "new");
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), door.drained()).await.is_err());
    go_on.add_permits(1);
    tokio::time::timeout(PATIENCE, door.drained()).await.expect("drained");
    assert_eq!(door.in_flight(&task(1)), 0);
    let answer = running.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text().await.expect("a text"), "old");

    // Forgotten, it disappears; what it counted stays in the total.
    let before = total(&door).requests;
    set(&door, listen, &[backend(2, new.address)]).await;
    assert_eq!(instances(&door).into_keys().collect::<Vec<_>>(), vec![task(2)]);
    assert_eq!(total(&door).requests, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_instances_are_swapped_under_load() {
    const CLIENTS: usize = 8;
    const SWAPS_MIN: u64 = 40;
    const REQUESTS_MIN: usize = 2000;
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let app = || {
        Router::new().fallback(any(|body: String| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            body
        }))
    };
    let mut current = TestInstance::start(app()).await;
    set(&door, listen, &[backend(1, current.address)]).await;

    let done = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (done, answers) = (Arc::clone(&done), Arc::clone(&answers));
            tokio::spawn(async move {
                let client = client();
                while !done.load(Ordering::Relaxed) {
                    // POST, so that nothing is hidden by a second try.
                    let body = format!("{number}-{}", answers.load(Ordering::Relaxed));
                    let answer = client.post(url(listen)).body(body.clone()).send().await.expect("an answer");
                    assert_eq!(answer.status(), StatusCode::OK);
                    assert_eq!(answer.text().await.expect("a text"), body);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    for number in 2.. {
        if number > SWAPS_MIN && answers.load(Ordering::Relaxed) >= REQUESTS_MIN {
            break;
        }
        let next = TestInstance::start(app()).await;
        let retired = Backend { accepts: false, ..backend(number - 1, current.address) };
        set(&door, listen, &[retired, backend(number, next.address)]).await;
        let empty = async {
            while door.in_flight(&task(number - 1)) > 0 {
                door.drained().await;
            }
        };
        tokio::time::timeout(PATIENCE, empty).await.expect("drained");
        std::mem::replace(&mut current, next).stop().await;
        set(&door, listen, &[backend(number, current.address)]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request failed");
    }
    eventually("all counted", || total(&door).in_flight == 0).await;
    assert_eq!((total(&door).requests, total(&door).errors), (answers.load(Ordering::Relaxed) as u64, 0));
}

#[tokio::test]
async fn a_clients_connection_stays_open_when_instances_change() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let (a, b) = (TestInstance::start(says("a")).await, TestInstance::start(says("b")).await);
    let mut connection = None;
    for (number, address, text) in [(1, a.address, "a"), (2, b.address, "b"), (1, a.address, "a")] {
        set(&door, listen, &[backend(number, address)]).await;
        if connection.is_none() {
            connection = Some(TcpStream::connect(("127.0.0.1", listen)).await.expect("connected"));
        }
        let stream = connection.as_mut().expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
        let head = read_head(stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut body = [0];
        stream.read_exact(&mut body).await.expect("a body");
        assert_eq!(body, text.as_bytes());
    }
    // The address is closed: the idle connection ends, a new one is refused.
    assert_eq!(door.route(vec![]).await, vec![]);
    let mut stream = connection.expect("a connection");
    assert_eq!(
        tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.expect("in time").expect("read"),
        0
    );
    assert!(TcpStream::connect(("127.0.0.1", listen)).await.is_err());
    assert!(door.load().is_empty());
}

#[tokio::test]
async fn a_body_passes_piece_by_piece_in_both_directions() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 64;
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let echo = Router::new().fallback(any(|body: Body| async { body }));
    let instance = TestInstance::start(echo).await;
    set(&door, listen, &[backend(1, instance.address)]).await;

    // A piece is sent only after the one before has come back: whoever gathers a body stops here.
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let pieces = stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) });
    send.send(Ok(vec![0; PIECE])).await.expect("sent");
    let asked = client().post(url(listen)).body(reqwest::Body::wrap_stream(pieces)).send();
    let mut answer = asked.await.expect("an answer");
    for piece in 0..PIECES {
        let mut came = 0;
        while came < PIECE {
            let bytes = answer.chunk().await.expect("a chunk").expect("more");
            assert!(bytes.iter().all(|byte| usize::from(*byte) == piece));
            came += bytes.len();
        }
        if piece + 1 < PIECES {
            send.send(Ok(vec![u8::try_from(piece + 1).expect("small"); PIECE])).await.expect("sent");
        }
    }
    drop(send);
    assert!(answer.chunk().await.expect("the end").is_none());
}

#[tokio::test]
async fn who_does_not_read_stops_who_sends() {
    // Socket buffers on four ends, and what hyper gathers for one write.
    const HELD_MAX: usize = 24 << 20;
    let door = front_door(FrontDoorOptions { idle_timeout: PATIENCE, ..FrontDoorOptions::default() });
    let listen = free_port();
    let deaf = raw_instance(|stream, _| async move {
        tokio::time::sleep(PATIENCE).await;
        drop(stream);
    })
    .await;
    set(&door, listen, &[backend(1, deaf)]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", listen)).await.expect("connected");
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
        .await
        .expect("written");
    let piece = vec![0; 1 << 16];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), stream.write(&piece)).await {
        sent += written.expect("written");
        assert!(sent < HELD_MAX, "{sent} bytes taken in, none passed on");
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_does_not_hold_its_instance_for_ever() {
    let idle_timeout = Duration::from_millis(300);
    let door = front_door(FrontDoorOptions { idle_timeout, ..FrontDoorOptions::default() });
    let listen = free_port();
    let endless = Router::new().fallback(get(|| async {
        Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 1 << 16])))
    }));
    let instance = TestInstance::start(endless).await;
    set(&door, listen, &[backend(1, instance.address)]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", listen)).await.expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    eventually("it is on its way", || door.in_flight(&task(1)) == 1).await;
    eventually("it is given up", || door.in_flight(&task(1)) == 0).await;
    drop(stream);
}

#[tokio::test]
async fn silence_has_a_limit_on_every_side() {
    let limit = Duration::from_secs(1);
    let door = front_door(FrontDoorOptions {
        header_timeout: limit,
        idle_timeout: limit,
        ..FrontDoorOptions::default()
    });
    let listen = free_port();
    let app = Router::new()
        .route("/never", get(|| async { tokio::time::sleep(PATIENCE).await }))
        .route(
            "/stalls",
            get(|| async {
                let first = stream::once(async { Ok::<_, std::io::Error>("first") });
                Body::from_stream(first.chain(stream::pending()))
            }),
        )
        .route("/reads", any(|body: String| async { body }));
    let instance = TestInstance::start(app).await;
    set(&door, listen, &[backend(1, instance.address)]).await;

    // An instance that does not answer.
    let answer = client().get(format!("{}never", url(listen))).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    // An instance that stops within its answer: the client sees that it is not whole.
    let answer = client().get(format!("{}stalls", url(listen))).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.is_err());
    eventually("all counted", || total(&door).in_flight == 0).await;
    assert_eq!((total(&door).requests, total(&door).errors), (2, 2));
    // A client that stops within its headers, and one that stops within its body.
    for (sent, end) in [
        ("GET /reads HTTP/1.1\r\nhost:", ""),
        ("POST /reads HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc", "HTTP/1.1 408"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", listen)).await.expect("connected");
        stream.write_all(sent.as_bytes()).await.expect("written");
        let mut heard = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("closed").expect("read");
        assert!(String::from_utf8_lossy(&heard).starts_with(end), "{}", String::from_utf8_lossy(&heard));
    }
    // A slow client is no error of the service.
    eventually("all counted", || total(&door).requests == 3).await;
    assert_eq!(total(&door).errors, 2);
}

#[tokio::test]
async fn an_address_that_is_taken_is_reported_and_opened_when_it_is_free() {
    let door = front_door(FrontDoorOptions::default());
    let holder = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listen = holder.local_addr().expect("its address").port();
    let instance = TestInstance::start(says("here")).await;
    let routes = route(listen, &[backend(1, instance.address)]);
    for _ in 0..2 {
        let failures = door.route(routes.clone()).await;
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].listen, listen);
        assert!(failures[0].message.contains("in use"), "{}", failures[0].message);
    }
    drop(holder);
    assert_eq!(door.route(routes.clone()).await, vec![]);
    assert_eq!(client().get(url(listen)).send().await.expect("an answer").status(), StatusCode::OK);
    // The address passes to another service in one call.
    let mut passed = routes;
    passed[0].workload = WorkloadName::new("shop").expect("a name");
    assert_eq!(door.route(passed).await, vec![]);
    assert_eq!(client().get(url(listen)).send().await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(door.load()[0].workload.as_str(), "shop");
}

#[tokio::test]
async fn a_change_of_protocol_joins_both_sides() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let echo = raw_instance(|mut stream, _| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        let agreed = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(agreed).await.expect("written");
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.expect("echoed");
    })
    .await;
    set(&door, listen, &[backend(1, echo)]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", listen)).await.expect("connected");
    let ask = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(ask).await.expect("written");
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    for word in ["hello", "again"] {
        stream.write_all(word.as_bytes()).await.expect("written");
        let mut back = vec![0; word.len()];
        stream.read_exact(&mut back).await.expect("an echo");
        assert_eq!(back, word.as_bytes());
    }
    assert_eq!(door.in_flight(&task(1)), 1);
    drop(stream);
    eventually("it ended", || door.in_flight(&task(1)) == 0).await;
}

#[tokio::test]
async fn closing_waits_for_requests_under_way() {
    let door = front_door(FrontDoorOptions::default());
    let listen = free_port();
    let slow = Router::new().fallback(any(|| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    }));
    let instance = TestInstance::start(slow).await;
    set(&door, listen, &[backend(1, instance.address)]).await;
    let asked = tokio::spawn(client().get(url(listen)).send());
    eventually("it is on its way", || door.in_flight(&task(1)) == 1).await;
    door.close(PATIENCE).await;
    let answer = asked.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text().await.expect("a text"), "done");
    assert!(TcpStream::connect(("127.0.0.1", listen)).await.is_err());
}

#[tokio::test]
async fn a_held_request_asks_for_an_instance_and_keeps_its_body() {
    const BODY: usize = 4 << 20;
    let door =
        front_door(FrontDoorOptions { ready_wait: Duration::from_millis(50), ..FrontDoorOptions::default() });
    let listen = free_port();
    let mut routes = route(listen, &[]);
    routes[0].hold = Some(Hold { timeout: PATIENCE, requests: 1 });
    assert_eq!(door.route(routes.clone()).await, vec![]);
    assert!(door.held().is_empty());

    let sent = tokio::spawn(client().post(url(listen)).body(vec![7; BODY]).send());
    tokio::time::timeout(PATIENCE, door.asked()).await.expect("it asks");
    let web = WorkloadName::new("web").expect("a name");
    assert_eq!(door.held(), BTreeMap::from([(web, 1)]));
    // One more than may be held is refused, at once.
    let refused = client().get(url(listen)).send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    // Longer than requests wait elsewhere.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!sent.is_finished());

    let measures = |request: Request| async move {
        let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.expect("a body");
        format!("{} {}", body.len(), body.iter().all(|byte| *byte == 7))
    };
    let instance = TestInstance::start(Router::new().fallback(any(measures))).await;
    routes[0].backends = vec![backend(1, instance.address)];
    assert_eq!(door.route(routes).await, vec![]);
    let answer = sent.await.expect("it ended").expect("an answer").text().await.expect("a text");
    assert_eq!(answer, format!("{BODY} true"));
    assert!(door.held().is_empty());
}
