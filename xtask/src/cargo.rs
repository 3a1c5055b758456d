//! Calls of cargo, each a step with a heading.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// `cargo` in the root of the checkout, the one that runs this program.
pub(crate) fn cargo<I: IntoIterator<Item = &'static str>>(arguments: I) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(workspace::root()).args(arguments);
    // set by the outer `cargo run` for this package; build scripts and tests must not see it
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CARGO_MANIFEST_DIR");
    command.env_remove("CARGO_MANIFEST_PATH");
    command
}

/// Prints what a step is about.
pub(crate) fn heading(text: &str) {
    println!("\n==> {text}");
}

/// Prints the command as a heading, runs it and expects success.
pub(crate) fn step(command: &mut Command) -> Result<()> {
    let line = line(command);
    heading(&line);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// A command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![program_name(command)];
    words.extend(
        command
            .get_args()
            .map(|word| quoted(&word.to_string_lossy())),
    );
    words.join(" ")
}

fn program_name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_stem().unwrap_or(program.as_os_str());
    name.to_string_lossy().into_owned()
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(' ') {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}
