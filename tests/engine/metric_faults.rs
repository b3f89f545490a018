//! A source of metrics over a real socket that dies, hangs, says what is no amount, begins its counts anew,
//! jumps in time and lies: the count stays, and each fault has a name in status, alarms and metrics.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::harness::Engine;

/// How the source is at the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    /// Forty jobs wait, forty more come each second.
    Good,
    /// Ten.
    Quiet,
    /// Connections are closed without an answer.
    Dead,
    /// Connections are left open.
    Hangs,
    /// The values are these words.
    Says(&'static str),
    /// The metric is not there.
    Absent,
    /// The text makes no sense.
    Garbage,
    /// The instant of the values is off by so many seconds.
    Off(i64),
    /// The count begins anew.
    Anew,
    /// The values are wrong by this factor.
    Lies(f64),
}

struct Source {
    port: u16,
    mood: Arc<Mutex<Mood>>,
}

impl Source {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let mood = Arc::new(Mutex::new(Mood::Good));
        let now = Arc::clone(&mood);
        let began = Instant::now();
        tokio::spawn(async move {
            let mut anew = 0.0;
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let mood = *now.lock().expect("a lock");
                let total = 1e6 + 40.0 * began.elapsed().as_secs_f64();
                if mood == Mood::Anew && anew == 0.0 {
                    anew = total;
                }
                tokio::spawn(answer(stream, mood, total - anew));
            }
        });
        Self { port, mood }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().expect("a lock") = mood;
    }
}

async fn answer(mut stream: TcpStream, mood: Mood, total: f64) {
    let mut request = [0; 2048];
    let _ = stream.read(&mut request).await;
    #[expect(clippy::disallowed_methods, reason = "the source's own clock")]
    let now = Timestamp::now().as_millisecond();
    let text = |jobs: &str, total: &str, at: &str| {
        format!("# TYPE jobs gauge\njobs {jobs}{at}\n# TYPE done_total counter\ndone_total {total}{at}\n")
    };
    let counted = total.to_string();
    let body = match mood {
        Mood::Good | Mood::Anew => text("40", &counted, &format!(" {now}")),
        Mood::Quiet => text("10", &counted, &format!(" {now}")),
        Mood::Dead => return,
        Mood::Hangs => {
            tokio::time::sleep(Duration::from_mins(1)).await;
            return;
        }
        Mood::Says(words) => text(words, words, ""),
        Mood::Absent => "other 1\n".to_owned(),
        Mood::Garbage => "<html>it works</html>\n".to_owned(),
        Mood::Off(seconds) => text("40", &counted, &format!(" {}", now + seconds * 1000)),
        Mood::Lies(factor) => text(&(40.0 * factor).to_string(), &counted, ""),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn spec(port: u16) -> String {
    let service = |name: &str, metric: &str, tolerance: f64| {
        format!(
            r#"
[service.{name}]
command = ["sleep", "100000"]
cpu = 0.01
memory = "16MiB"
instances = 4
[service.{name}.scale]
min = 1
max = 4
tolerance = {tolerance}
queue = {{ url = "http://127.0.0.1:{port}/metrics", length = "{metric}", length_per_instance = 10 }}
behavior.scaleDown.stabilizationWindowSeconds = 0
"#
        )
    };
    service("level", "jobs", 0.1) + &service("rate", "done_total", 0.4)
}

async fn conditions(engine: &Engine, service: &str) -> Vec<String> {
    let scale = engine.workload(service).await.scale.expect("how it scales");
    scale.conditions.into_iter().map(|found| found.condition).collect()
}

/// Whether a condition was last seen in the given words.
async fn told(engine: &Engine, service: &str, condition: &str, words: &str) -> bool {
    let scale = engine.workload(service).await.scale.expect("how it scales");
    scale.conditions.iter().any(|found| found.condition == condition && found.message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_in_any_way_scales_nothing_down_and_is_named() {
    let source = Source::start().await;
    let engine = Engine::start(&spec(source.port));
    engine.wait_ready("level", 4).await;
    engine.wait_ready("rate", 4).await;
    // Long enough for a level to be known.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(conditions(&engine, "level").await, Vec::<String>::new());

    let moods = [
        (Mood::Dead, "level", "metric-stale", "cannot read"),
        (Mood::Hangs, "level", "metric-stale", "in time"),
        (Mood::Says("NaN"), "level", "metric-invalid", "NaN"),
        (Mood::Says("+Inf"), "rate", "metric-invalid", "inf"),
        (Mood::Says("-40"), "level", "metric-invalid", "-40"),
        (Mood::Absent, "level", "metric-invalid", "no metric"),
        (Mood::Garbage, "rate", "metric-invalid", "line 1"),
        (Mood::Off(7200), "level", "clock-jump", "not come yet"),
        (Mood::Off(-7200), "rate", "clock-jump", "went back"),
        (Mood::Anew, "rate", "counter-reset", "fell from"),
        (Mood::Lies(0.001), "level", "metric-implausible", "0.04"),
        (Mood::Lies(1000.0), "level", "metric-implausible", "40000"),
    ];
    for (mood, service, condition, words) in moods {
        source.set(mood);
        engine
            .wait(&format!("{mood:?} is named {condition}"), async || {
                told(&engine, service, condition, words).await
            })
            .await;
        // Three more decisions, none of them downwards.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for service in ["level", "rate"] {
                let found = engine.workload(service).await;
                assert_eq!(found.wanted, Some(4), "{mood:?}: {service}: {:?}", found.scale);
            }
        }
        let alarms = engine.client.alarms().await.expect("alarms");
        assert!(
            alarms.iter().any(|alarm| alarm.kind == condition && alarm.workload.as_deref() == Some(service)),
            "{mood:?}: {alarms:?}"
        );
        let address = format!("{}/metrics", engine.client.address());
        let answer = crate::http::client().build().expect("a client").get(address).send().await;
        let metrics = answer.expect("an answer").text().await.expect("metrics");
        let line = metrics
            .lines()
            .find(|line| {
                line.starts_with("loadline_scaling_condition{")
                    && line.contains(&format!("workload=\"{service}\""))
                    && line.contains(&format!("condition=\"{condition}\""))
            })
            .unwrap_or_else(|| panic!("{metrics}"));
        assert!(line.ends_with(" 1"), "{line}");
        let notes = engine.workload(service).await.notes;
        assert!(notes.iter().any(|note| note.starts_with(condition)), "{notes:?}");
        // Back to its senses, which is no fault.
        source.set(Mood::Good);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    // What is true is followed: a quarter of the work is one instance.
    source.set(Mood::Quiet);
    engine.wait("it scales down", async || engine.workload("level").await.wanted == Some(1)).await;
}
