//! `cargo xtask bench`: the end-to-end benchmark of the crate `coney-benches`, on a broker found or started for it.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::cargo::{cargo, heading, step};
use crate::rabbitmq;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave a broker that this command started running.
    #[arg(long)]
    keep: bool,
    /// What the benchmark is told, such as `--short`, `--only w1,w2`, or `growth`; `--help` says what there is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    benchmark: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let build = ["build", "--release", "--package", "coney-benches"];
    step(&mut cargo(build))?;
    heading("broker");
    let ready = rabbitmq::up()?;
    println!("{}", ready.broker.name());
    let result = measure(&ready.broker, &arguments.benchmark);
    let stopped = if ready.started && !arguments.keep {
        rabbitmq::down()
    } else {
        Ok(())
    };
    result.and(stopped)
}

fn measure(broker: &rabbitmq::Broker, arguments: &[OsString]) -> Result<()> {
    if broker.management.is_none() {
        bail!("the benchmark needs the management API: set CONEY_MANAGEMENT_URL");
    }
    let run = ["run", "--quiet", "--release", "--package", "coney-benches"];
    let mut command = cargo(run);
    command.arg("--");
    // comparing is what it does unless told otherwise
    let growth = arguments.first().is_some_and(|word| word == "growth");
    if !growth {
        command.arg("run");
    }
    command.args(arguments);
    broker.tell(&mut command);
    step(&mut command)
}
