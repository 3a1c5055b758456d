//! The benchmark and the measurement of growth, whole but tiny, on a development broker: so that neither rots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use coney_devbroker::DevBroker;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// How long it may take on a slow machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs the program on a broker of its own and expects success.
async fn run(arguments: &[&str]) -> Output {
    let starting = DevBroker::builder().management(0).start();
    let broker = starting.await.expect("a free port");
    let management = broker.management_url().expect("asked for");
    let running = Command::new(env!("CARGO_BIN_EXE_coney-benches"))
        .args(arguments)
        .args(["--url", &broker.url(), "--management", &management])
        .kill_on_drop(true)
        .output();
    let output = timeout(LIMIT, running).await.expect("it ends");
    broker.stop().await;
    output.expect("it runs")
}

fn succeeded(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
}

/// A folder for what a test writes.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("it was written");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workloads_are_measured_on_both_kinds_of_queues() {
    let folder = folder("comparison");
    let json = folder.join("bench.json");
    let markdown = folder.join("bench.md");
    let files = [json.to_str().unwrap(), markdown.to_str().unwrap()];
    let tiny = ["run", "--scale", "100", "--rounds", "1"];
    let files = ["--json", files[0], "--markdown", files[1]];
    succeeded(&run(&[&tiny[..], &files].concat()).await);

    let told = read(&json);
    let mut seen = BTreeSet::new();
    for figure in told["figures"].as_array().expect("figures") {
        // what only the operating system knows is not there on all of them, nor for a broker in this process
        let from_outside = ["cpu", "memory"];
        let metric = figure["metric"].as_str().unwrap();
        if from_outside.iter().any(|kind| metric.contains(kind)) {
            continue;
        }
        for who in ["limit", "rich", "coney"] {
            let rounds = &figure["measured"][who]["rounds"];
            assert_eq!(rounds.as_array().map(Vec::len), Some(1), "{figure}");
        }
        let text = |name: &str| figure[name].as_str().unwrap().to_owned();
        seen.insert((text("queue"), text("workload")));
    }
    let workloads = ["w1", "w2", "w3", "w4", "w5", "w6"];
    let expected = ["classic", "quorum"]
        .iter()
        .flat_map(|queue| workloads.map(|workload| ((*queue).to_owned(), workload.to_owned())));
    assert_eq!(seen, expected.collect());
    let text = fs::read_to_string(markdown).expect("it was written");
    assert!(text.contains("On a quorum queue"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_is_measured_and_plotted() {
    for dimension in ["waiting", "queues", "size", "concurrency", "workers"] {
        let folder = folder(dimension);
        let tiny = [
            "growth", "--steps", "1,2", "--tasks", "100", "--repeat", "1",
        ];
        let one = ["--only", dimension, "--folder", folder.to_str().unwrap()];
        succeeded(&run(&[&tiny[..], &one].concat()).await);

        let told = read(&folder.join("growth.json"));
        let growth = &told["growth"][0];
        assert_eq!(growth["dimension"], dimension);
        let points = growth["points"].as_array().expect("points");
        assert_eq!(points.len(), 2);
        for point in points {
            assert_eq!(point["problem"], Value::Null, "{growth}");
        }
        let plot = fs::read_to_string(folder.join(dimension).with_extension("svg"));
        assert!(plot.expect("a plot").contains("tasks/s"), "{dimension}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_cannot_work_is_named_with_its_error() {
    // a task that is larger than a client sends
    let too_large = ["growth", "--only", "size", "--steps", "2000000"];
    let few = ["--tasks", "2", "--repeat", "1", "--folder"];
    let folder = folder("refused");
    let output = run(&[&too_large[..], &few, &[folder.to_str().unwrap()]].concat()).await;
    succeeded(&output);
    let told = read(&folder.join("growth.json"));
    let problem = told["growth"][0]["points"][0]["problem"].as_str();
    let problem = problem.expect("a problem");
    for part in ["coney publish", "2000"] {
        assert!(problem.contains(part), "{problem}");
    }
}
