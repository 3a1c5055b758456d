//! `cargo xtask check`: what can be found out without a broker.

use anyhow::Result;

use crate::cargo::{cargo, step};

/// The feature combinations in which the facade has to compile, each without the default features.
const FEATURES: [&str; 13] = [
    "",
    "macros",
    "producer",
    "macros,producer",
    "worker",
    "macros,worker",
    "tls",
    "macros,anyhow",
    "producer,tls",
    "worker,tls,anyhow",
    "macros,producer,worker,tls,anyhow",
    "testing",
    "macros,testing,tls,anyhow",
];

/// Those of the development broker.
const DEVBROKER_FEATURES: [&str; 2] = ["", "management"];

/// Every check, quick ones first.
pub(crate) fn run() -> Result<()> {
    code()?;
    documentation()
}

/// Format, lints and feature combinations.
pub(crate) fn code() -> Result<()> {
    step(&mut cargo(["fmt", "--all", "--check"]))?;
    step(
        cargo(["clippy", "--workspace", "--all-targets", "--all-features"])
            .args(["--", "-D", "warnings"]),
    )?;
    // what a plain `cargo test` leaves out, `--all-targets` leaves out as well
    step(
        cargo(["clippy", "--package", "coney-devbroker", "--all-features"])
            .args(["--test", "clients", "--", "-D", "warnings"]),
    )?;
    for features in DEVBROKER_FEATURES {
        step(
            cargo(["check", "--package", "coney-devbroker", "--lib"]).args([
                "--no-default-features",
                "--features",
                features,
            ]),
        )?;
    }
    for features in FEATURES {
        step(cargo(["check", "--package", "coney", "--lib"]).args([
            "--no-default-features",
            "--features",
            features,
        ]))?;
    }
    Ok(())
}

/// The documentation, with every link.
pub(crate) fn documentation() -> Result<()> {
    step(
        cargo(["doc", "--workspace", "--no-deps", "--all-features"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}
