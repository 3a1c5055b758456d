//! `cargo xtask fuzz`: libFuzzer with the stable compiler, without cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, step};
use crate::workspace;

/// What cargo-fuzz passes to rustc, but for the sanitizers, which need a nightly compiler.
const INSTRUMENTATION: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long to look for an input that fails.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// The target, a file in fuzz/fuzz_targets.
    #[arg(default_value = "decode")]
    target: String,
}

impl Arguments {
    /// The default target for some seconds.
    pub(crate) fn for_seconds(seconds: u32) -> Self {
        Self {
            seconds,
            target: "decode".to_owned(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = workspace::root().join("fuzz");
    let source = folder
        .join("fuzz_targets")
        .join(format!("{}.rs", arguments.target));
    if !source.exists() {
        bail!("there is no fuzz target {}", source.display());
    }
    let program = build(&folder, &arguments.target)?;
    fuzz(&folder, &program, arguments)
}

fn build(folder: &Path, target: &str) -> Result<PathBuf> {
    let host = host_triple()?;
    let output = folder.join("target");
    let mut command = cargo(["build", "--release", "--manifest-path"]);
    command
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&output)
        // with a target named, build scripts and macros are built without the flags
        .args(["--target", &host, "--bin", target])
        .env("RUSTFLAGS", INSTRUMENTATION)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    step(&mut command)?;
    Ok(output.join(host).join("release").join(target))
}

fn fuzz(folder: &Path, program: &Path, arguments: &Arguments) -> Result<()> {
    let corpus = folder.join("corpus").join(&arguments.target);
    let artifacts = folder.join("artifacts").join(&arguments.target);
    let seeds = folder.join("seeds").join(&arguments.target);
    for needed in [&corpus, &artifacts] {
        fs::create_dir_all(needed)
            .with_context(|| format!("cannot create {}", needed.display()))?;
    }
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .arg(format!("-max_total_time={}", arguments.seconds))
        .args(["-max_len=65536", "-rss_limit_mb=1024"])
        // a folder, for libFuzzer, only with a slash at its end
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    if seeds.is_dir() {
        // further folders are read, never written
        command.arg(&seeds);
    }
    step(&mut command).with_context(|| format!("an input that fails is in {}", artifacts.display()))
}

fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not name its host")
}
