//! Installs packages on Debian and Ubuntu.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Who may install packages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Installer {
    /// This user.
    Root,
    /// This user by `sudo`, which asks for no password.
    Sudo,
}

impl Installer {
    /// `None` if packages cannot be installed without asking anybody.
    pub(crate) fn find() -> Option<Self> {
        if !Path::new("/usr/bin/apt-get").exists() {
            return None;
        }
        if output_of("id", &["-u"]).is_some_and(|id| id.trim() == "0") {
            return Some(Self::Root);
        }
        output_of("sudo", &["-n", "true"]).map(|_| Self::Sudo)
    }

    /// Runs a shell script that installs a package. What apt prints goes to standard error.
    pub(crate) fn install(self, package: &str, script: &str) -> Result<()> {
        eprintln!("installing the package {package}");
        let mut command = match self {
            Self::Root => Command::new("sh"),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "sh"]);
                command
            }
        };
        let status = command
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .context("cannot run the installation")?;
        if !status.success() {
            bail!("cannot install the package {package} ({status})");
        }
        Ok(())
    }
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}
