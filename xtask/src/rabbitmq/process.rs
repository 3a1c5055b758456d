//! Processes by their number: is it still ours, stop it. Never by name: other nodes may run on the machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A process that a private node consists of, with what tells it from a stranger that got its number later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process<'a> {
    pub(super) pid: u32,
    /// The `HOME` that it was started with: the folder of the node, which nothing else has.
    pub(super) home: &'a Path,
}

impl Process<'_> {
    /// Whether it runs and is the one that we started.
    pub(super) fn is_ours(self) -> bool {
        let entry = format!("HOME={}", self.home.display());
        match fs::read(format!("/proc/{}/environ", self.pid)) {
            Ok(environ) => environ
                .split(|byte| *byte == 0)
                .any(|line| line == entry.as_bytes()),
            Err(_) if Path::new("/proc/self").exists() => false,
            Err(_) => environment_by_ps(self.pid).contains(&entry),
        }
    }

    /// Asks it to end, and ends it the hard way if it does not within `patience`. A stranger is left alone.
    pub(super) fn stop(self, patience: Duration) {
        if !self.is_ours() {
            return;
        }
        // one that was paused would not see the first signal
        signal(self.pid, "CONT");
        signal(self.pid, "TERM");
        if !self.ends_within(patience) {
            signal(self.pid, "KILL");
            self.ends_within(Duration::from_secs(5));
        }
    }

    /// Ends it the way a power cut does. A stranger is left alone.
    pub(super) fn kill(self) -> bool {
        if self.is_ours() {
            signal(self.pid, "KILL");
        }
        self.ends_within(Duration::from_secs(5))
    }

    fn ends_within(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_ours() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
        true
    }
}

/// For systems without `/proc`.
fn environment_by_ps(pid: u32) -> String {
    Command::new("ps")
        .args(["eww", "-o", "command=", "-p", &pid.to_string()])
        .stderr(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn signal(pid: u32, name: &str) {
    // `kill` is built into every shell; a program of that name is not everywhere
    let _gone_meanwhile = Command::new("sh")
        .args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn only_a_process_with_our_home_is_ours() {
        let home = Path::new("/nowhere/coney-test-home");
        let mut child = Command::new("cat")
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // its environment can be read once it answers, not before
        child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();

        let process = Process {
            pid: child.id(),
            home,
        };
        let stranger = Process {
            home: Path::new("/nowhere/coney-test"),
            ..process
        };
        assert!(!stranger.is_ours());
        stranger.stop(Duration::ZERO);
        assert!(process.is_ours());
        process.stop(Duration::from_secs(5));
        assert!(!process.is_ours());
        child.wait().unwrap();
    }
}
