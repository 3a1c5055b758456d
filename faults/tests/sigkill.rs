//! A worker process that is killed loses no task: each one that it ran is run once more, by another.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(dead_code, reason = "shared with the tests of the facade")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coney::Client;
use serde_json::json;

#[path = "../../tests/support/management.rs"]
mod management;
#[path = "../../tests/support/place.rs"]
mod place;

const TASKS: u64 = 100;
const DEADLINE: Duration = Duration::from_secs(60);

/// A worker process of the fault suite, killed with the test.
struct WorkerProcess {
    child: Child,
    journal: PathBuf,
}

impl WorkerProcess {
    fn start(name: &str, url: &str, folder: &Path) -> Self {
        let journal = folder.join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_coney-faults"))
            .args(["worker", "--url", url, "--name", name, "--journal"])
            .arg(&journal)
            .env("CONEY_CONCURRENCY_FAULTS_SLOW", TASKS.to_string())
            // it ends with its standard input
            .stdin(Stdio::piped())
            .spawn()
            .expect("the fault suite is built");
        Self { child, journal }
    }

    /// What it wrote down: for each task the words of the lines behind its id.
    fn notes(&self) -> BTreeMap<String, Vec<String>> {
        let mut notes = BTreeMap::<_, Vec<_>>::new();
        let text = fs::read_to_string(&self.journal).unwrap_or_default();
        for line in text.lines() {
            let (id, rest) = line.split_once(' ').expect("an id and more");
            let (rest, _millis) = rest.rsplit_once(' ').expect("a time at the end");
            notes
                .entry(id.to_owned())
                .or_default()
                .push(rest.to_owned());
        }
        notes
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_a_killed_worker_ran_ends_once_elsewhere() {
    let management = management::Management::new();
    let vhost = format!("coney-test-sigkill-{}", std::process::id());
    management.request("PUT", &format!("vhosts/{vhost}"), &json!({}));
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    management.request("PUT", &format!("permissions/{vhost}/guest"), &all);
    let url = format!("amqp://guest:guest@{}/{vhost}", place::place().amqp);
    let folder = std::env::temp_dir().join(&vhost);
    fs::create_dir_all(&folder).expect("a folder");

    let client = Client::connect(&url)
        .await
        .expect("no broker: run `cargo xtask test`, or unset CONEY_URL");
    let mut first = WorkerProcess::start("first", &url, &folder);
    // long enough for the worker to be killed while all of them run
    let call = |n: u64| {
        client
            .call_by_name("coney-faults.slow", json!([n, 5_000]))
            .queue_named("faults.slow")
            .id(format!("task-{n}"))
            .send(&client)
    };
    let begun = Instant::now();
    let mut handles = Vec::new();
    while handles.is_empty() {
        // the worker declares the queue
        match call(0).await {
            Ok(handle) => handles.push(handle),
            Err(error) => assert!(begun.elapsed() < DEADLINE, "{error}"),
        }
    }
    for n in 1..TASKS {
        handles.push(call(n).await.expect("sent"));
    }
    while first.notes().len() < TASKS as usize {
        assert!(begun.elapsed() < DEADLINE, "not all tasks start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.child.kill().expect("it runs");
    let second = WorkerProcess::start("second", &url, &folder);
    for (n, handle) in (0..).zip(&handles) {
        let result = handle.result().timeout(DEADLINE).await.expect("a result");
        assert_eq!(result, json!(n));
    }
    let (before, after) = (first.notes(), second.notes());
    for n in 0..TASKS {
        let id = format!("task-{n}");
        assert_eq!(before[&id], ["1 start 0"], "{id}");
        // the first attempt still, delivered once more
        assert_eq!(after[&id], ["1 start 1", "1 done 1"], "{id}");
    }
    drop(second);
    client.close().await;
    client.broker().close().await;
    management.delete(&format!("vhosts/{vhost}"));
    let _ = fs::remove_dir_all(&folder);
}
