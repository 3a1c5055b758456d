//! Automation of the coney repository: `cargo xtask <command>`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks to its user"
)]

mod address;
mod bench;
mod cargo;
mod check;
mod clients;
mod faults;
mod fuzz;
mod handshake;
mod installer;
mod instructions;
mod interop;
mod quickstart;
mod rabbitmq;
mod test;
mod totals;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Brokers, tests and examples of the coney repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Find, start and stop a RabbitMQ to develop with.
    #[command(subcommand)]
    Rabbitmq(rabbitmq::Command),
    /// Find or start a broker and run `examples/quickstart.rs` on it.
    Quickstart(quickstart::Arguments),
    /// Format, lints, feature combinations and documentation: what needs no broker.
    Check,
    /// Run every check and every test of the repository: without a service, and on a RabbitMQ found or started for them.
    Test(test::Arguments),
    /// Run Celery's own clients, workers and tools with a worker and a producer of coney.
    Interop(interop::Arguments),
    /// Run tasks while workers die, the broker restarts and connections break; account for every task at the end.
    Faults(faults::Arguments),
    /// What `faults` does to its broker while it runs.
    #[command(hide = true)]
    FaultNode {
        /// What to do.
        deed: rabbitmq::victim::Deed,
        /// Which node; there is one.
        #[arg(default_value_t = 0)]
        node: usize,
    },
    /// Count the instructions of the hot path and compare them with those written down.
    Instructions(instructions::Arguments),
    /// Measure coney against lapin written by hand, on a RabbitMQ; `cargo xtask bench -- --help` says what can be chosen.
    Bench(bench::Arguments),
    /// Fuzz the reading of messages and the development broker for some seconds, with the stable compiler.
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => {
            <Cli as clap::CommandFactory>::command().print_help()?;
            Ok(())
        }
        Some(Command::Rabbitmq(command)) => rabbitmq::run(&command),
        Some(Command::Quickstart(arguments)) => quickstart::run(&arguments),
        Some(Command::Check) => check::run(),
        Some(Command::Test(arguments)) => test::run(&arguments),
        Some(Command::Interop(arguments)) => interop::run(&arguments),
        Some(Command::Faults(arguments)) => faults::run(&arguments),
        Some(Command::FaultNode { deed, .. }) => rabbitmq::victim::act(deed),
        Some(Command::Instructions(arguments)) => instructions::run(&arguments),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
        Some(Command::Fuzz(arguments)) => fuzz::run(&arguments),
    }
}
