//! `cargo xtask test`: every check and every test, on a broker found or started for them.

use std::io;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, heading, line};
use crate::rabbitmq::{self, Broker};
use crate::totals::Totals;
use crate::{check, faults, fuzz};

/// How long each fuzz target runs as part of the tests.
const FUZZ_SECONDS: u32 = 15;
/// How long the fault suite runs as part of the tests, its drain included.
const FAULT_MINUTES: f64 = 2.0;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave a broker that this command started running.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    heading("broker");
    let ready = rabbitmq::up()?;
    println!("{}", ready.broker.name());
    let mut totals = None;
    let result = steps(&ready.broker, &mut totals);
    println!();
    let stopped = if ready.started && !arguments.keep {
        rabbitmq::down()
    } else {
        Ok(())
    };
    if let Some(totals) = totals {
        print_totals(&ready.broker, totals);
    }
    result.and(stopped)
}

/// The steps in their order, quick ones first; stops at the first that fails.
fn steps(broker: &Broker, totals: &mut Option<Totals>) -> Result<()> {
    check::code()?;
    tests(broker, totals)?;
    check::documentation()?;
    faults::run(&faults::Arguments::for_tests(FAULT_MINUTES))?;
    fuzz::run(&fuzz::Arguments::for_seconds(FUZZ_SECONDS))
}

/// `cargo test`, counted. All test binaries run, so that the totals are whole.
fn tests(broker: &Broker, totals: &mut Option<Totals>) -> Result<()> {
    let mut command = cargo(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    broker.tell(&mut command);
    // most tests wait for a broker: more of them at once than processors
    command.env("RUST_TEST_THREADS", "8");
    let line = line(&command);
    heading(&line);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let output = child.stdout.take().context("no output to read")?;
    let counted = Totals::pass_through(output, io::stdout().lock());
    let status = child.wait()?;
    let counted = *totals.insert(counted.context("cannot read the output of the tests")?);
    if !status.success() || counted.failed > 0 {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

fn print_totals(broker: &Broker, totals: Totals) {
    println!("{}", broker.name());
    if totals.ignored > 0 {
        println!("{} ignored", totals.ignored);
    }
    println!("{} passed, {} failed", totals.passed, totals.failed);
}
