//! The promises of the crate graph: who may depend on whom, what a sender does not compile, how large a file may grow.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

/// The crates of the workspace, lowest first. A crate may use those of lower layers, never one of its own.
const LAYERS: [&[&str]; 5] = [
    &["coney-devbroker", "coney-macros", "coney-protocol", "xtask"],
    &["coney-amqp"],
    &["coney-producer", "coney-worker"],
    &["coney"],
    &[
        "coney-benches",
        "coney-faults",
        "coney-hot-path",
        "coney-interop",
    ],
];

/// The longest source file that is still one subject.
const MOST_LINES: usize = 600;

#[test]
fn crates_depend_downward_only() {
    let metadata = metadata();
    let mut edges = 0;
    for package in metadata.workspace_packages() {
        let layer = layer(&package.name);
        for dependency in built_dependencies(package) {
            assert!(
                layer_of(&dependency.name).expect("only workspace crates are paths") < layer,
                "{} may not depend on {}: it is not in a lower layer",
                package.name,
                dependency.name
            );
            edges += 1;
        }
    }
    assert!(
        edges > 0,
        "no crate depends on another: the test sees nothing"
    );
}

/// The benches, on which nothing depends, compare coney with lapin written by hand.
#[test]
fn only_amqp_and_the_benches_name_lapin() {
    let metadata = metadata();
    let naming: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.dependencies.iter().any(is_lapin))
        .map(|package| package.name.to_string())
        .collect();
    assert_eq!(naming, ["coney-amqp", "coney-benches"]);
    for package in metadata.workspace_packages() {
        let names_them = package
            .dependencies
            .iter()
            .any(|d| d.name == "coney-benches");
        assert!(!names_them, "{} depends on the benches", package.name);
    }
}

#[test]
fn only_the_facade_may_build_on_the_devbroker() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let on_it = |dependency: &Dependency| dependency.name == "coney-devbroker";
        let builds = built_dependencies(package).find(|dependency| on_it(dependency));
        assert!(
            builds.is_none_or(|dependency| *package.name == *"coney" && dependency.optional),
            "{} depends on coney-devbroker: only tests do, and the facade by a feature",
            package.name
        );
    }
}

#[test]
fn a_sender_compiles_no_worker() {
    let sender = compiled_crates(&["--features", "default"]);
    assert!(sender.contains("coney-producer"), "{sender:?}");
    assert_lacks(&sender, &["coney-worker", "inventory"]);

    // and the test would see them
    let worker = compiled_crates(&["--features", "worker"]);
    for name in ["coney-worker", "inventory"] {
        assert!(worker.contains(name), "{name} is not in {worker:?}");
    }
}

#[test]
fn a_shared_task_crate_compiles_no_lapin() {
    let tasks = compiled_crates(&["--no-default-features", "--features", "macros"]);
    assert!(tasks.contains("coney-macros"), "{tasks:?}");
    assert_lacks(
        &tasks,
        &["coney-amqp", "coney-producer", "coney-worker", "lapin"],
    );
}

#[test]
fn every_crate_obeys_the_lints_of_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let lines: Vec<_> = manifest.lines().map(str::trim).collect();
        assert!(
            lines
                .windows(2)
                .any(|two| two == ["[lints]", "workspace = true"]),
            "{} does not inherit the lints",
            package.name
        );
    }
}

#[test]
fn no_source_file_is_over_600_lines() {
    let files = source_files();
    assert!(
        files.iter().any(|file| file.ends_with("xtask/src/main.rs")),
        "the test sees no source files"
    );
    let long: Vec<_> = files
        .iter()
        .filter_map(|file| {
            // a file that was deleted, but not from the index yet
            let lines = fs::read_to_string(file).ok()?.lines().count();
            (lines > MOST_LINES).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(
        long.is_empty(),
        "more than one subject in a file? {long:#?}"
    );
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .exec()
        .expect("cargo metadata works in the checkout")
}

fn root() -> PathBuf {
    // at run time: checkouts that share a target folder share this binary
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the test");
    Path::new(&package)
        .parent()
        .expect("a folder in the root")
        .to_owned()
}

fn layer(name: &str) -> usize {
    layer_of(name).unwrap_or_else(|| panic!("{name} has no place in LAYERS yet: give it one"))
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// What of the workspace is compiled into a crate. Dev-dependencies may point up.
fn built_dependencies(package: &Package) -> impl Iterator<Item = &Dependency> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.path.is_some())
        .filter(|dependency| dependency.kind != DependencyKind::Development)
}

fn is_lapin(dependency: &Dependency) -> bool {
    ["lapin", "deadpool-lapin"].contains(&dependency.name.as_str())
}

/// The names in the tree of the facade's normal dependencies. Its dev-dependencies, which ask for
/// more features of the facade itself, are left out of it by `-e normal`.
fn compiled_crates(features: &[&str]) -> BTreeSet<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["tree", "--package", "coney", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(features)
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {problem}");
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn assert_lacks(crates: &BTreeSet<String>, unwanted: &[&str]) {
    for name in unwanted {
        assert!(!crates.contains(*name), "{name} is in {crates:?}");
    }
}

/// What git knows, tracked or new; every folder if there is no git.
fn source_files() -> Vec<PathBuf> {
    let root = root();
    let listed = Command::new("git")
        .current_dir(&root)
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .args(["--", "*.rs"])
        .output();
    match listed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| root.join(line))
            .collect(),
        _ => walk(&root),
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(walk(&path));
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files
}
