//! Clients of other making work as they do on RabbitMQ: pika, and an unmodified Celery with its worker.
//!
//! They are installed from the network, so these tests are not part of a plain `cargo test`: `cargo xtask test` installs
//! them, names their Python in `CONEY_PYTHON` and runs the tests on both brokers.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(dead_code, reason = "shared with other tests")]

#[path = "../../../tests/support/management.rs"]
mod management;
#[path = "../../../tests/support/place.rs"]
mod place;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use management::Management;
use serde_json::json;

/// How long a client may take for all that it does.
const DEADLINE: Duration = Duration::from_secs(90);

/// A virtual host of one test, gone when it ends.
struct Vhost(String);

impl Vhost {
    fn new(test: &str) -> Self {
        let name = format!("coney-test-{test}-{}", std::process::id());
        let management = Management::new();
        management.request("PUT", &format!("vhosts/{name}"), &json!({}));
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        management.request("PUT", &format!("permissions/{name}/guest"), &all);
        Self(name)
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@{}/{}", place::place().amqp, self.0)
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        Management::new().delete(&format!("vhosts/{}", self.0));
    }
}

/// A Python process, killed with the test.
struct Python(Child);

impl Python {
    fn start<S: AsRef<OsStr>>(arguments: &[S], url: &str) -> Self {
        let python = std::env::var_os("CONEY_PYTHON").unwrap_or_else(|| {
            panic!("CONEY_PYTHON names no Python that has pika and Celery: run `cargo xtask test`")
        });
        let child = Command::new(python)
            .args(arguments)
            .current_dir(folder())
            .env("CLIENTS_URL", url)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("CONEY_PYTHON can be started");
        Self(child)
    }

    /// All that it says from now on, on both outputs, line by line.
    fn lines(&mut self) -> mpsc::Receiver<String> {
        let (tell, told) = mpsc::channel();
        let out = self.0.stdout.take().expect("piped");
        let errors = self.0.stderr.take().expect("piped");
        pass_on(out, tell.clone());
        pass_on(errors, tell);
        told
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pass_on(from: impl std::io::Read + Send + 'static, to: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Waits for a line that contains `wanted`; fails with all that was said before if there is none.
fn wait_for(lines: &mpsc::Receiver<String>, wanted: &str) {
    let end = Instant::now() + DEADLINE;
    let mut said = Vec::new();
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if line.contains(wanted) {
            return;
        }
        said.push(line);
    }
    panic!("not said: {wanted}\n{}", said.join("\n"));
}

#[test]
fn pika_publishes_gets_consumes_and_is_refused() {
    let vhost = Vhost::new("pika");
    let mut client = Python::start(&["use_pika.py", &vhost.url()], &vhost.url());
    wait_for(&client.lines(), "pika is content");
}

#[test]
fn an_unmodified_celery_runs_tasks_and_gets_results() {
    let vhost = Vhost::new("celery");
    let worker = [
        "-m", "celery", "-A", "tasks", "worker", "-l", "INFO", "-c", "2",
    ];
    let mut worker = Python::start(&worker, &vhost.url());
    let said = worker.lines();
    wait_for(&said, " ready.");
    let mut client = Python::start(&["use_celery.py"], &vhost.url());
    wait_for(&client.lines(), "celery is content");
}
