//! The clients of other making that the development broker is tested with: pika and Celery, in a Python of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, step};
use crate::installer::Installer;
use crate::workspace;

const INSTALL: &str = "set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=120 update
apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends python3 python3-venv";

/// A Python that has the packages of `devbroker/tests/clients/requirements.txt`; installed if it is not there yet.
pub(crate) fn python() -> Result<PathBuf> {
    let folder = workspace::clients_folder();
    let python = folder.join("bin").join("python");
    let requirements = workspace::root().join("devbroker/tests/clients/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("cannot read what to install")?;
    // written last, so that half an installation is not taken for a whole one
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    make_venv(&folder)?;
    step(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .arg("--requirement")
            .arg(&requirements),
    )
    .context("the tests with pika and Celery install both from PyPI")?;
    fs::write(&installed, wanted).context("cannot write to target")?;
    Ok(python)
}

fn make_venv(folder: &Path) -> Result<()> {
    if try_venv(folder) {
        return Ok(());
    }
    if let Some(installer) = Installer::find() {
        installer.install("python3-venv", INSTALL)?;
        if try_venv(folder) {
            return Ok(());
        }
    }
    bail!(
        "the tests with pika and Celery need python3 with venv: install it (Debian, Ubuntu: apt install python3-venv)"
    )
}

fn try_venv(folder: &Path) -> bool {
    let status = Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(folder)
        // the reason is said better by whoever calls this
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The tests that use them.
pub(crate) fn tests(python: &Path) -> Command {
    let mut command = cargo(["test", "--package", "coney-devbroker", "--all-features"]);
    command.args(["--test", "clients"]);
    command.env("CONEY_PYTHON", python);
    command
}
