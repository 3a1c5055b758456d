//! `cargo xtask fuzz`: libFuzzer with the stable compiler, without cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

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

/// The longest that one input may take, in seconds: what takes longer hangs. Most take a millisecond, but the machine
/// may be busy.
const HANG: u32 = 60;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long to look for an input that fails, with each target.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// The target; all, one after the other, if none is named.
    #[arg(long, value_enum)]
    target: Option<Target>,
}

impl Arguments {
    /// All targets, each for some seconds.
    pub(crate) fn for_seconds(seconds: u32) -> Self {
        Self {
            seconds,
            target: None,
        }
    }
}

/// A program of the fuzz workspace.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// Reading of messages.
    Decode,
    /// The development broker: frames and the state of connections.
    Devbroker,
}

impl Target {
    const ALL: [Self; 2] = [Self::Decode, Self::Devbroker];

    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Devbroker => "devbroker",
        }
    }

    /// The longest input that is tried, in bytes.
    fn longest(self) -> u32 {
        match self {
            Self::Decode => 65_536,
            // a script: a few hundred steps
            Self::Devbroker => 2048,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = workspace::root().join("fuzz");
    let targets = match arguments.target {
        Some(target) => vec![target],
        None => Target::ALL.to_vec(),
    };
    let programs = build(&folder, &targets)?;
    targets
        .into_iter()
        .try_for_each(|target| fuzz(&folder, &programs, target, arguments.seconds))
}

/// Builds the targets at once, so that they share what they are made of; tells the folder of the programs.
fn build(folder: &Path, targets: &[Target]) -> Result<PathBuf> {
    let host = host_triple()?;
    let output = folder.join("target");
    let mut command = cargo(["build", "--release", "--manifest-path"]);
    command
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&output)
        // with a target named, build scripts and macros are built without the flags
        .args(["--target", &host])
        .args(targets.iter().flat_map(|target| ["--bin", target.name()]))
        .env("RUSTFLAGS", INSTRUMENTATION)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    step(&mut command)?;
    Ok(output.join(host).join("release"))
}

fn fuzz(folder: &Path, programs: &Path, target: Target, seconds: u32) -> Result<()> {
    let corpus = folder.join("corpus").join(target.name());
    let artifacts = folder.join("artifacts").join(target.name());
    let seeds = folder.join("seeds").join(target.name());
    for needed in [&corpus, &artifacts] {
        fs::create_dir_all(needed)
            .with_context(|| format!("cannot create {}", needed.display()))?;
    }
    let mut command = Command::new(programs.join(target.name()));
    command
        .current_dir(folder)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.longest()))
        .arg(format!("-timeout={HANG}"))
        .arg("-rss_limit_mb=1024")
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
