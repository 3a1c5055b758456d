//! `cargo xtask quickstart`: a broker and `examples/quickstart.rs` on it.

use crate::cargo::{cargo, step};
use crate::rabbitmq;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to the example.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let ready = rabbitmq::up()?;
    println!("{}", ready.broker.name());
    let mut command = cargo(["run", "--package", "coney", "--example", "quickstart"]);
    if !arguments.arguments.is_empty() {
        command.arg("--").args(&arguments.arguments);
    }
    ready.broker.tell(&mut command);
    let result = step(&mut command);
    println!();
    if ready.broker.is_ours() {
        println!("The broker goes on running, with what the example left in it:");
    }
    rabbitmq::print_places(&ready.broker);
    result
}
