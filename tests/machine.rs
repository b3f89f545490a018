//! What tests ask of the machine that they run on: its processes, its ports, and patience.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpSocket;

/// What takes this long is broken, however loaded the machine is; no test waits for it unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same, for what happens in the test's own runtime.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a signal; a process that is gone needs none.
pub(crate) fn signal(number: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(i32::try_from(number).expect("a process id")), signal);
}

/// CPU time that a process has used, all its threads together, in seconds.
pub(crate) fn cpu_seconds(number: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    // Fields 14 and 15, in hundredths of a second on every Linux.
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(number: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// The numbers of all processes that are alive.
pub(crate) fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| is_alive(*number)).collect()
}

/// Processes whose working folder lies in `folder`: tasks start in folders of their own.
pub(crate) fn processes_in(folder: &Path) -> Vec<u32> {
    let is_in =
        |number: &u32| fs::read_link(format!("/proc/{number}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    processes().into_iter().filter(is_in).collect()
}

/// A port on loopback for this test alone. It lies below those that the kernel and the engine give, so that
/// nobody else gets it between here and its use.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("ports");
    for _ in 0..10_000 {
        let port = fastrand::u16(10_000..20_000);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no port is free from 10000 to 20000");
}

/// An address on which nobody listens, and nobody else can: connections are refused while this lives.
pub(crate) struct ClosedPort {
    _held: TcpSocket,
    pub(crate) address: SocketAddr,
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let held = TcpSocket::new_v4().expect("a socket");
        held.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = held.local_addr().expect("its address");
        Self { _held: held, address }
    }
}
