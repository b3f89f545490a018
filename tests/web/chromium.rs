//! A headless Chromium, spoken to by its `DevTools` protocol over a web socket: it opens pages, evaluates
//! expressions, takes screenshots, and keeps what went wrong.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// Whatever a page does, it does within this time.
const PATIENCE: Duration = Duration::from_secs(90);
/// Where Debian's package and others have it.
const PLACES: [&str; 4] =
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];

/// A browser with one page.
pub(super) struct Chromium {
    child: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    number: u64,
    events: VecDeque<Value>,
    /// Everything that was asked for.
    pub(super) requests: Vec<String>,
    /// What went wrong: errors on the console, requests that failed.
    pub(super) faults: Vec<String>,
    _profile: tempfile::TempDir,
}

/// The program, where the machine has it.
pub(super) fn program() -> Option<String> {
    let named = std::env::var("LOADLINE_CHROMIUM").ok();
    named.or_else(|| PLACES.into_iter().find(|place| Path::new(place).exists()).map(str::to_owned))
}

impl Chromium {
    pub(super) fn start(program: &str) -> Self {
        let profile = tempfile::Builder::new().prefix("loadline-chromium-").tempdir().expect("a folder");
        let mut child = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-extensions", "--mute-audio", "--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the browser");
        let lines = BufReader::new(child.stderr.take().expect("its messages")).lines();
        let mut lines = lines.map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        let address = address.expect("the browser says where it listens");
        // It stops when nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        let (mut socket, _) = tungstenite::connect(address).expect("a connection");
        if let MaybeTlsStream::Plain(stream) = socket.get_mut() {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        }
        let mut browser = Self {
            child,
            socket,
            session: None,
            number: 0,
            events: VecDeque::new(),
            requests: Vec::new(),
            faults: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", &json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Calls a method, and keeps what happens meanwhile.
    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(message.to_string())).expect("a message");
        loop {
            let answer = self.read();
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    /// The next message; events are noted.
    fn read(&mut self) -> Value {
        loop {
            let message = self.socket.read().expect("the browser says something in time");
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
            if value["id"].is_null() {
                self.note(&value);
                self.events.push_back(value.clone());
            }
            return value;
        }
    }

    fn note(&mut self, event: &Value) {
        let about = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requests.push(about["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            "Network.responseReceived" if about["response"]["status"].as_u64() >= Some(400) => {
                self.faults.push(format!("{} {}", about["response"]["status"], about["response"]["url"]));
            }
            // What is under way when a page is left is given up, and is no failure.
            "Network.loadingFailed"
                if about["canceled"] != true && about["errorText"] != "net::ERR_ABORTED" =>
            {
                self.faults.push(format!("failed: {} {}", about["errorText"], about["blockedReason"]));
            }
            "Runtime.exceptionThrown" => {
                self.faults.push(format!("exception: {}", about["exceptionDetails"]));
            }
            "Runtime.consoleAPICalled" if about["type"] == "error" || about["type"] == "warning" => {
                self.faults.push(format!("console: {}", about["args"]));
            }
            "Log.entryAdded" if about["entry"]["level"] == "error" => {
                self.faults.push(format!("log: {} {}", about["entry"]["text"], about["entry"]["url"]));
            }
            _ => {}
        }
    }

    fn wait_for(&mut self, method: &str) {
        let began = Instant::now();
        loop {
            while let Some(event) = self.events.pop_front() {
                if event["method"] == method {
                    return;
                }
            }
            assert!(began.elapsed() < PATIENCE, "no {method} in time");
            self.read();
        }
    }

    /// Opens a page, and waits until it is there.
    pub(super) fn open(&mut self, address: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", &json!({"url": address}));
        assert!(answer["errorText"].is_null(), "{address}: {}", answer["errorText"]);
        self.wait_for("Page.loadEventFired");
    }

    /// Opens a page in a window of its own, as one that somebody looks at, and leaves it open; tells how to close it.
    pub(super) fn open_beside(&mut self, address: &str) -> Value {
        let first = self.session.take();
        let asked = json!({"url": "about:blank", "newWindow": true});
        let target = self.call("Target.createTarget", &asked)["targetId"].clone();
        let attached = self.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        self.call("Page.enable", &json!({}));
        self.call("Emulation.setFocusEmulationEnabled", &json!({"enabled": true}));
        // Nothing can be asked of a page that is on its way.
        self.open(address);
        self.until("the page beside is seen", "!document.hidden");
        self.session = first;
        target
    }

    /// Closes a page that was opened beside.
    pub(super) fn close_beside(&mut self, target: &Value) {
        let first = self.session.take();
        self.call("Target.closeTarget", &json!({ "targetId": target }));
        self.session = first;
    }

    /// What an expression comes to in the page.
    pub(super) fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Does something that leads to another page, and waits until that is there.
    pub(super) fn go(&mut self, expression: &str) {
        self.events.clear();
        self.eval(expression);
        self.wait_for("Page.loadEventFired");
    }

    /// Waits until an expression is true.
    pub(super) fn until(&mut self, what: &str, expression: &str) {
        let began = Instant::now();
        while self.eval(expression) != true {
            if began.elapsed() > PATIENCE {
                let page = self.eval("document.body.innerText");
                panic!("not in time: {what}\n{}", page.as_str().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The width of the window, and the theme of the reader's system.
    pub(super) fn look(&mut self, width: u32, theme: &str) {
        let height = if width < 600 { 740 } else { 1080 };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Writes a picture of the whole page.
    pub(super) fn picture(&mut self, file: &Path) {
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.call("Page.captureScreenshot", &asked);
        let text = answer["data"].as_str().expect("a picture");
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).expect("a picture");
        std::fs::write(file, bytes).expect("a file");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
