//! The programs of other making that coney and its development broker are tested with: pika, Celery and Flower, in a
//! Python of their own.

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

/// What is installed; the second list takes the first one in.
const REQUIREMENTS: [&str; 2] = [
    "devbroker/tests/clients/requirements.txt",
    "tests/interop/python/requirements.txt",
];

/// A Python that has the packages of both lists; installed if it is not there yet.
pub(crate) fn python() -> Result<PathBuf> {
    let folder = workspace::clients_folder();
    let python = folder.join("bin").join("python");
    let lists = REQUIREMENTS.map(|list| workspace::root().join(list));
    let mut wanted = String::new();
    for list in &lists {
        wanted += &fs::read_to_string(list).context("cannot read what to install")?;
    }
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
            .arg(&lists[1]),
    )
    .context("the tests with pika, Celery and Flower install them from PyPI")?;
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
        "the tests with pika, Celery and Flower need python3 with venv: install it (Debian, Ubuntu: apt install python3-venv)"
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

/// The tests of the development broker that use them.
pub(crate) fn tests(python: &Path) -> Command {
    let mut command = cargo(["test", "--package", "coney-devbroker", "--all-features"]);
    command.args(["--test", "clients"]);
    command.env("CONEY_PYTHON", python);
    command
}
