//! Where and with what a benchmark ran.

use std::env;
use std::fs;
use std::process::Command;

use serde::Serialize;

/// Where and with what a benchmark ran; `unknown` what cannot be found out.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) kernel: String,
    /// How busy the machine was before: the average of a minute.
    pub(crate) load: String,
    pub(crate) rustc: String,
    pub(crate) broker: String,
    /// The commit of the checkout, with a mark if it was changed.
    pub(crate) commit: String,
    /// What was run.
    pub(crate) command: String,
}

impl Setting {
    pub(crate) fn look(broker: &str) -> Self {
        Self {
            processor: line_of("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: line_of("/proc/meminfo", "MemTotal")
                .strip_suffix(" kB")
                .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
                .map(|kilobytes| kilobytes / 1024),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            load: first_word("/proc/loadavg"),
            rustc: output("rustc", &["--version"]),
            broker: broker.to_owned(),
            commit: output("git", &["describe", "--always", "--dirty"]),
            command: command(env::args().skip(1)),
        }
    }

    /// As a list in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let memory = self.memory_mib.map_or_else(String::new, |mib| {
            format!(", {:.1} GiB", mib as f64 / 1024.0)
        });
        format!(
            "* machine: {}, {} cores{memory}, Linux {}, load {}\n\
             * {}, {}, commit {}\n\
             * `{}`\n",
            self.processor,
            self.cores,
            self.kernel,
            self.load,
            self.broker,
            self.rustc,
            self.commit,
            self.command
        )
    }
}

/// The command that does it again. The broker's URL is no part of it: it may hold a password.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["cargo xtask bench".to_owned()];
    let mut arguments = arguments.skip_while(|word| word == "run");
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--url" | "--management" => drop(arguments.next()),
            url if url.starts_with("--url=") || url.starts_with("--management=") => {}
            _ => words.push(word),
        }
    }
    words.join(" ")
}

/// What follows `name :` in a file of `/proc`.
fn line_of(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(key, _)| key.trim() == name);
    found.map_or_else(unknown, |(_, value)| value.trim().to_owned())
}

fn first_word(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let word = text.split_whitespace().next();
    word.map_or_else(unknown, str::to_owned)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or_else(unknown, |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_no_password() {
        let typed = "run --short --url amqp://u:p@h --only w1 --url=amqp://u:p@h";
        let said = command(typed.split(' ').map(str::to_owned));
        assert_eq!(said, "cargo xtask bench --short --only w1");
    }
}
