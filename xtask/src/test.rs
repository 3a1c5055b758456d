//! `cargo xtask test`: every check and every test, without a service and on a RabbitMQ found or started for them.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, heading, line};
use crate::rabbitmq::{self, Broker};
use crate::totals::Totals;
use crate::{check, clients, faults, fuzz, instructions, interop};

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

/// What the tests came to.
#[derive(Default)]
struct Counted {
    embedded: Option<Totals>,
    rabbitmq: Option<Totals>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    heading("broker");
    let ready = rabbitmq::up()?;
    println!("{}", ready.broker.name());
    let mut counted = Counted::default();
    let result = steps(&ready.broker, &mut counted);
    println!();
    let stopped = if ready.started && !arguments.keep {
        rabbitmq::down()
    } else {
        Ok(())
    };
    print_totals(&ready.broker, &counted);
    result.and(stopped)
}

/// The steps in their order, quick ones first; stops at the first that fails. But all tests run on both brokers, so
/// that the totals are whole.
fn steps(broker: &Broker, counted: &mut Counted) -> Result<()> {
    check::code()?;
    instructions::run(&instructions::Arguments::default())?;
    let python = clients::python()?;
    let embedded = tests(None, &python, &mut counted.embedded);
    let rabbitmq = tests(Some(broker), &python, &mut counted.rabbitmq);
    let celery = celery(broker, &python, &mut counted.rabbitmq);
    embedded.and(rabbitmq).and(celery)?;
    check::documentation()?;
    faults::run(&faults::Arguments::for_tests(FAULT_MINUTES))?;
    fuzz::run(&fuzz::Arguments::for_seconds(FUZZ_SECONDS))
}

/// All tests on one broker, on the development broker that they start themselves if it is `None`.
fn tests(broker: Option<&Broker>, python: &Path, totals: &mut Option<Totals>) -> Result<()> {
    let mut all = cargo(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    if broker.is_some() {
        // examples in the documentation know no broker: once is enough
        all.arg("--tests");
    }
    for mut command in [all, clients::tests(python)] {
        match broker {
            Some(broker) => broker.tell(&mut command),
            None => rabbitmq::tell_of_none(&mut command),
        }
        count(&mut command, totals)?;
    }
    Ok(())
}

/// The tests with Celery's own clients, workers and tools.
fn celery(broker: &Broker, python: &Path, totals: &mut Option<Totals>) -> Result<()> {
    let mut command = interop::tests(python)?;
    broker.tell(&mut command);
    count(&mut command, totals)
}

/// Runs tests and adds what they came to.
fn count(command: &mut Command, totals: &mut Option<Totals>) -> Result<()> {
    // most tests wait for a broker: more of them at once than processors
    command.env("RUST_TEST_THREADS", "8");
    let line = line(command);
    heading(&line);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let output = child.stdout.take().context("no output to read")?;
    let counted = Totals::pass_through(output, io::stdout().lock());
    let status = child.wait()?;
    let counted = counted.context("cannot read the output of the tests")?;
    totals.get_or_insert_default().add(counted);
    if !status.success() || counted.failed > 0 {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

fn print_totals(broker: &Broker, counted: &Counted) {
    let mut all = Totals::default();
    if let Some(totals) = counted.embedded {
        println!("development broker: {totals}");
        all.add(totals);
    }
    if let Some(totals) = counted.rabbitmq {
        println!("{}: {totals}", broker.name());
        all.add(totals);
    }
    if all.ignored > 0 {
        println!("{} ignored", all.ignored);
    }
    if counted.embedded.is_some() {
        println!("total: {all}");
    }
}
