//! `cargo xtask instructions`: what the hot path costs, in instructions, which no other load of the machine changes.
//!
//! The stages of `benches/hot_path` run under callgrind, and what they take for each message is compared with what is
//! written down beside them.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{cargo, heading, step};
use crate::installer::Installer;
use crate::workspace;

/// By how many hundredths a stage may change.
const TOLERANCE: u64 = 10;

/// The function whose instructions count.
const MEASURED: &str = "--toggle-collect=coney_hot_path::stage::measured*";

/// Has the C library copy large blocks on every processor as on those without a special instruction for it, each round of
/// which would count.
const TUNABLES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.x86_rep_movsb_threshold=1000000000",
);

const INSTALL: &str = "set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=120 update
apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends valgrind";

const EXPLANATION: &str = "\
# Instructions per message of each stage of the hot path. Written by `cargo xtask instructions --update`, and checked by
# `cargo xtask instructions`: a stage that takes over 10 % more fails it.
";

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Write down what is counted now, instead of comparing it.
    #[arg(long)]
    update: bool,
    /// Count only the stages whose names contain this, and write nothing down.
    #[arg(long, conflicts_with = "update")]
    stage: Option<String>,
}

/// Instructions per message, by stage.
type Counts = BTreeMap<String, u64>;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    heading("instructions of the hot path");
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("skipped: the figures are those of Linux on x86_64");
        return Ok(());
    }
    install_valgrind()?;
    let (program, mut stages) = build()?;
    let wanted = arguments.stage.as_deref().unwrap_or_default();
    stages.retain(|stage| stage.contains(wanted));
    let folder = workspace::callgrind_folder();
    fs::create_dir_all(&folder).context("cannot write to target")?;
    let counted = stages.iter().map(|stage| {
        let count = count(&program, stage, &folder)?;
        Ok((stage.clone(), count))
    });
    let now: Counts = counted.collect::<Result<_>>()?;
    let file = workspace::root().join("benches/hot_path/instructions.toml");
    let mut before = read(&file)?;
    before.retain(|stage, _| stage.contains(wanted));
    println!("{}", table(&stages, &before, &now));
    if arguments.update {
        fs::write(&file, written(&stages, &now)).context("cannot write the figures down")?;
        return Ok(());
    }
    judge(&before, &now)
}

fn install_valgrind() -> Result<()> {
    if has_valgrind() {
        return Ok(());
    }
    if let Some(installer) = Installer::find() {
        installer.install("valgrind", INSTALL)?;
    }
    ensure!(
        has_valgrind(),
        "counting instructions needs valgrind: install it (Debian, Ubuntu: apt install valgrind)"
    );
    Ok(())
}

fn has_valgrind() -> bool {
    let status = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Builds the program that is counted; its path, and its stages in their order.
fn build() -> Result<(PathBuf, Vec<String>)> {
    let program = ["--package", "coney-hot-path", "--bin", "instructions"];
    let profile = ["--profile", "instructions"];
    let command = |word| {
        let mut command = cargo([word]);
        command.args(program).args(profile);
        // which cuts a crate into other pieces, and so what is inlined
        command.env("CARGO_INCREMENTAL", "0");
        command
    };
    step(&mut command("build"))?;
    let output = command("run").arg("--quiet").output()?;
    let text = String::from_utf8(output.stdout).context("the program tells its path and stages")?;
    let mut lines = text.lines().map(str::to_owned);
    let path = lines.next().context("the program does not tell its path")?;
    Ok((path.into(), lines.collect()))
}

/// The instructions of a stage for each message.
fn count(program: &Path, stage: &str, folder: &Path) -> Result<u64> {
    let profile = folder.join(format!("{stage}.out"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", MEASURED])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .arg(stage)
        .env(TUNABLES.0, TUNABLES.1)
        // a library that is loaded first, such as another allocator, would be counted
        .env_remove("LD_PRELOAD")
        .output()
        .context("cannot run valgrind")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("the stage {stage} failed ({}):\n{said}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages: u64 = messages
        .trim()
        .parse()
        .context("the program does not tell how many messages it took")?;
    let text = fs::read_to_string(&profile).context("callgrind has written nothing")?;
    let total = total(&text).context("callgrind tells no total")?;
    ensure!(
        total > messages,
        "callgrind does not find the function of {MEASURED} in the program"
    );
    Ok(total / messages)
}

/// The number of all instructions in a profile.
fn total(profile: &str) -> Option<u64> {
    let lines = ["totals: ", "summary: "].into_iter();
    let mut found = lines.filter_map(|name| {
        let line = profile.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    });
    found.next()
}

fn read(file: &Path) -> Result<Counts> {
    if !file.exists() {
        return Ok(Counts::new());
    }
    let text = fs::read_to_string(file).context("cannot read what was counted before")?;
    parse(&text)
}

fn parse(text: &str) -> Result<Counts> {
    let lines = text.lines().map(str::trim);
    let figures = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    figures
        .map(|line| {
            let figure = line
                .split_once('=')
                .and_then(|(stage, count)| Some((stage.trim(), count.trim().parse().ok()?)));
            let (stage, count) = figure.with_context(|| format!("`{line}` is no figure"))?;
            Ok((stage.to_owned(), count))
        })
        .collect()
}

fn written(stages: &[String], now: &Counts) -> String {
    let mut text = EXPLANATION.to_owned();
    for stage in stages {
        let _infallible = writeln!(text, "{stage} = {}", now[stage]);
    }
    text
}

fn table(stages: &[String], before: &Counts, now: &Counts) -> String {
    let mut text = format!(
        "{:<18} {:>8} {:>8} {:>8}",
        "stage", "before", "now", "change"
    );
    for stage in stages {
        let now = now[stage];
        let (before, change) = match before.get(stage) {
            Some(before) => (before.to_string(), change(*before, now)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let _infallible = write!(text, "\n{stage:<18} {before:>8} {now:>8} {change:>8}");
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn change(before: u64, now: u64) -> String {
    format!("{:+.1} %", (now as f64 / before as f64 - 1.0) * 100.0)
}

/// Fails if a stage has become dearer; says so if one has become cheaper.
fn judge(before: &Counts, now: &Counts) -> Result<()> {
    let unknown = now.keys().any(|stage| !before.contains_key(stage));
    let gone = before.keys().any(|stage| !now.contains_key(stage));
    ensure!(
        !unknown && !gone,
        "benches/hot_path/instructions.toml has other stages than the program: `cargo xtask instructions --update` \
         writes those of now down"
    );
    let changed = |is_so: fn(u64, u64) -> bool| {
        let stages = now
            .iter()
            .filter(|(stage, now)| is_so(before[*stage], **now));
        stages.map(|(stage, _)| stage.as_str()).collect::<Vec<_>>()
    };
    let cheaper = changed(|before, now| now * 100 < before * (100 - TOLERANCE));
    if !cheaper.is_empty() {
        println!(
            "over {TOLERANCE} % fewer instructions in {}: keep it that way with `cargo xtask instructions --update`",
            cheaper.join(", ")
        );
    }
    let dearer = changed(|before, now| now * 100 > before * (100 + TOLERANCE));
    let Some(first) = dearer.first() else {
        return Ok(());
    };
    let profile = workspace::callgrind_folder().join(format!("{first}.out"));
    let profile = profile
        .strip_prefix(env::current_dir()?)
        .unwrap_or(&profile)
        .display()
        .to_string();
    bail!(
        "over {TOLERANCE} % more instructions in {}. `callgrind_annotate --inclusive=yes {profile}` tells where they go; \
         make it as cheap as it was or, if it is worth it, write the new figures down with `cargo xtask instructions \
         --update` and say why in the commit",
        dearer.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(figures: &[(&str, u64)]) -> Counts {
        let figures = figures.iter().copied();
        figures.map(|(stage, n)| (stage.to_owned(), n)).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let stages = ["b".to_owned(), "a".to_owned()];
        let now = counts(&[("a", 1), ("b", 20_000)]);
        let text = written(&stages, &now);
        assert!(text.ends_with("b = 20000\na = 1\n"), "{text}");
        assert_eq!(parse(&text).unwrap(), now);
        assert!(parse("a = many").is_err());
    }

    #[test]
    fn a_stage_may_change_by_a_tenth() {
        let before = counts(&[("a", 1000), ("b", 1000)]);
        for (now, is_good) in [(1, true), (900, true), (1100, true), (1101, false)] {
            let judged = judge(&before, &counts(&[("a", now), ("b", 1000)]));
            assert_eq!(judged.is_ok(), is_good, "{now}");
            if let Err(error) = judged {
                let text = error.to_string();
                assert!(text.contains("instructions in a. `callgrind"), "{text}");
            }
        }
    }

    #[test]
    fn a_stage_without_a_figure_is_not_passed_over() {
        let (one, two) = (counts(&[("a", 1)]), counts(&[("a", 1), ("b", 1)]));
        assert!(judge(&one, &two).is_err());
        assert!(judge(&two, &one).is_err());
    }

    #[test]
    fn the_total_of_a_profile_is_found() {
        let profile = "events: Ir\nsummary: 12\n\nfn=(1) main\n0 12\n\ntotals: 12\n";
        assert_eq!(total(profile), Some(12));
        assert_eq!(total("summary: 7\n"), Some(7));
        assert_eq!(total("fn=(1) main\n"), None);
    }
}
