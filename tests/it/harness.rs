//! A polymeter process in a folder of its own: started on free ports, asked over HTTP, always reaped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest wait for anything that has no time limit of its own.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Settles often, so that tests need not wait for it.
pub const QUICK: &str = "[settle]\ninterval_s = 1\n";

/// The runtime of all HTTP clients; tests themselves are plain threads.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// Looks until there is something, at most `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A temporary folder with room for data, configuration, input and logs.
pub struct Place {
    dir: TempDir,
    started: AtomicUsize,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary folder"), started: AtomicUsize::new(0) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The data directory.
    pub fn data(&self) -> String {
        self.text("data")
    }

    /// The path of something as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of plain characters").to_owned()
    }

    /// Writes a file, with its folders; its path as text.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        std::fs::write(path, content).expect("a file can be written");
        self.text(name)
    }

    /// Everything that processes of this place wrote to their outputs.
    pub fn logs(&self) -> Vec<PathBuf> {
        let all = self.dir.path().read_dir().expect("the place").map(|entry| entry.expect("an entry").path());
        all.filter(|path| path.extension().is_some_and(|end| end == "out" || end == "err")).collect()
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Finished {
        self.run_with(args, &[])
    }

    /// The same with more variables in its environment.
    pub fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Finished {
        let name = self.next("run");
        let mut child = self.spawn(&name, args, environment);
        let end = Instant::now() + PATIENCE * 2;
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{args:?} does not end: {}", self.read(&format!("{name}.err")));
            }
            std::thread::sleep(LOOK_EVERY);
        };
        Finished { status, stdout: self.read(&format!("{name}.out")), stderr: self.read(&format!("{name}.err")) }
    }

    /// Imports, asserts that it worked, and gives the summary.
    pub fn import(&self, kind: &str, paths: &[&str]) -> Value {
        let data = self.data();
        let mut args = vec!["import", kind];
        args.extend(paths);
        args.extend(["--data", &data]);
        let done = self.run(&args);
        assert!(done.status.success(), "{args:?}: {}", done.stderr);
        let last = done.stdout.lines().last().expect("a summary");
        serde_json::from_str(last).unwrap_or_else(|_| panic!("the last line is no JSON summary: {last}"))
    }

    /// Asks with `polymeter sql`.
    pub fn sql(&self, statement: &str) -> Vec<Value> {
        let done = self.run(&["sql", statement, "--data", &self.data(), "--format", "json"]);
        assert!(done.status.success(), "{statement}: {}", done.stderr);
        serde_json::from_str(&done.stdout).expect("rows")
    }

    /// A server on the data of this place; settles every second.
    pub fn serve(&self) -> Server<'_> {
        self.serve_with(QUICK, &[])
    }

    /// A server with a configuration of its own.
    pub fn serve_with(&self, config: &str, more: &[&str]) -> Server<'_> {
        let ready = self.launch(config, more, &[]).ready();
        ready.unwrap_or_else(|ended| panic!("serve {more:?} ended ({}): {}", ended.status, ended.stderr))
    }

    /// Starts a server with `environment` added to what it inherits, and does not wait for it.
    pub fn launch(&self, config: &str, more: &[&str], environment: &[(&str, &str)]) -> Starting<'_> {
        let name = self.next("serve");
        let config = self.file(&format!("{name}.toml"), config);
        let data = self.data();
        let mut args = vec!["serve", "--config", &config, "--data", &data];
        args.extend(["--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"]);
        args.extend(["--pg", "127.0.0.1:0"]);
        args.extend(more);
        let child = Some(self.spawn(&name, &args, environment));
        let [http, grpc, otlp, pg] = [(); 4].map(|()| String::new());
        Starting(Server { child, place: self, name, http, grpc, otlp, pg, client: reqwest::Client::new() })
    }

    fn next(&self, what: &str) -> String {
        format!("{what}-{}", self.started.fetch_add(1, Ordering::SeqCst))
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    fn spawn(&self, name: &str, args: &[&str], environment: &[(&str, &str)]) -> Child {
        let output = |end: &str| File::create(self.path(&format!("{name}.{end}"))).expect("a file for output");
        // `POLYMETER_BIN` names another binary than the one that cargo builds.
        let binary = std::env::var_os("POLYMETER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_polymeter").into());
        let mut command = Command::new(binary);
        for variable in ["POLYMETER_DATA", "POLYMETER_CONFIG", "POLYMETER_CRASH_AT", "RUST_LOG", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        command.stdout(output("out")).stderr(output("err")).spawn().expect("the program starts")
    }
}

/// What a command left.
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// An answer over HTTP.
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A server that is not ready yet; killed when dropped.
pub struct Starting<'a>(Server<'a>);

/// How a server ended that was expected to live.
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl<'a> Starting<'a> {
    /// Waits until it is ready, or has ended on its way.
    pub fn ready(self) -> Result<Server<'a>, Ended> {
        let Self(mut server) = self;
        let out = format!("{}.out", server.name);
        let banner = eventually("the server is ready", PATIENCE, || {
            let ended = server.ended();
            let text = server.place.read(&out);
            if text.contains("Try:") { Some(Ok(text)) } else { ended.map(Err) }
        })?;
        let address = |label: &str| {
            let line = banner.lines().find(|line| line.trim_start().starts_with(label)).expect("an address");
            line.split_whitespace().find(|word| word.starts_with("http")).expect("an address").to_owned()
        };
        let pg = banner.split("postgresql://").nth(1).and_then(|rest| rest.split('/').next());
        server.pg = pg.unwrap_or_default().to_owned();
        (server.http, server.grpc, server.otlp) = (address("HTTP API"), address("OTLP/gRPC"), address("OTLP/HTTP"));
        if server.http.starts_with("https") {
            return Ok(server);
        }
        eventually("readyz", PATIENCE, || match ask(server.client.get(format!("{}/readyz", server.http))) {
            Some(reply) => (reply.status == 200).then_some(Ok(())),
            None => server.ended().map(Err),
        })?;
        Ok(server)
    }

    /// Ends it at once.
    pub fn kill(self) {
        self.0.kill();
    }
}

/// Sends a request of any kind; `None` if nobody answered.
pub fn ask(request: reqwest::RequestBuilder) -> Option<Reply> {
    runtime().block_on(async {
        let answer = request.timeout(PATIENCE).send().await.ok()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Some(Reply { status, headers, body: answer.bytes().await.ok()?.to_vec() })
    })
}

/// A running server; killed when dropped.
pub struct Server<'a> {
    child: Option<Child>,
    place: &'a Place,
    name: String,
    /// Address of the API.
    pub http: String,
    /// Address of OTLP over gRPC.
    pub grpc: String,
    /// Address of OTLP over HTTP.
    pub otlp: String,
    /// Host and port of the PostgreSQL wire.
    pub pg: String,
    client: reqwest::Client,
}

impl Server<'_> {
    pub fn get(&self, path: &str) -> Reply {
        self.ask(self.client.get(format!("{}{path}", self.http))).expect("an answer")
    }

    /// Sends a request of any kind; `None` if the server did not answer.
    pub fn ask(&self, request: reqwest::RequestBuilder) -> Option<Reply> {
        ask(request)
    }

    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Posts the body of `POST /api/v1/sql`.
    pub fn post_sql(&self, body: &Value) -> Reply {
        self.ask(self.client.post(format!("{}/api/v1/sql", self.http)).json(body)).expect("an answer")
    }

    /// The rows of a statement.
    pub fn sql(&self, statement: &str) -> Vec<Value> {
        let reply = self.post_sql(&json!({"sql": statement}));
        assert_eq!(reply.status, 200, "{statement}: {}", reply.text());
        reply.json()["rows"].as_array().expect("rows").clone()
    }

    /// The first number of a statement's only row.
    pub fn number(&self, statement: &str) -> i64 {
        let rows = self.sql(statement);
        rows[0].as_object().and_then(|row| row.values().next()?.as_i64()).unwrap_or_default()
    }

    /// Posts a body to the OTLP receiver; `None` if it did not answer.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Option<Reply> {
        let request = self.client.post(format!("{}{path}", self.otlp)).body(body);
        self.ask(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    }

    /// Posts spans as JSON and asserts that all were kept.
    pub fn export(&self, request: &Value) {
        let reply = self.post("/v1/traces", &[("content-type", "application/json")], request.to_string());
        let reply = reply.expect("an answer");
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    }

    /// What it wrote to standard error.
    pub fn stderr(&self) -> String {
        self.place.read(&format!("{}.err", self.name))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = self.child.as_mut().expect("a child").try_wait().expect("a child")?;
        Some(Ended { status, stderr: self.stderr() })
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        self.reap();
    }

    /// Asks it to end and asserts that it does so in order.
    pub fn stop(self) {
        self.signal();
        self.ended_well();
    }

    /// Asks it to end and goes on.
    pub fn signal(&self) {
        send("-TERM", self.child.as_ref().expect("a child").id());
    }

    /// Waits for the end that was asked for.
    pub fn ended_well(mut self) {
        let mut child = self.child.take().expect("a child");
        let status = eventually("the server drains", PATIENCE, || child.try_wait().expect("a child"));
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
        assert!(!self.stderr().contains("panicked"), "{}", self.stderr());
    }

    /// Kills it while others still use it; it is reaped later.
    pub fn strike(&self) {
        send("-KILL", self.child.as_ref().expect("a child").id());
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.reap();
    }
}

fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the signal was not sent");
}

/// All files below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}
