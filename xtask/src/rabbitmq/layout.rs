//! The folder of a private node: its files, and the environment that keeps it apart from any other RabbitMQ.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::ports::Ports;

/// Erlang nodes with the same cookie trust each other. This one listens on loopback only.
const COOKIE: &str = "coney-development-node";
/// How many lines of a log are shown after a failure.
const TAIL: usize = 25;

/// Where a node keeps what.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    home: PathBuf,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            home: folder.join("node"),
        }
    }

    /// The node's `HOME`, by which its processes are known.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// The log of the node.
    pub(super) fn log(&self) -> PathBuf {
        self.home.join("log").join("rabbit.log")
    }

    /// The number of the running node, written by itself.
    pub(super) fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.pid_file())
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Forgets the number of a node that has ended.
    pub(super) fn forget_pid(&self) {
        let _not_there = fs::remove_file(self.pid_file());
    }

    /// Writes a fresh folder. What an earlier node left is dropped: another RabbitMQ version may not be able to read it.
    pub(super) fn create(&self, ports: Ports) -> Result<()> {
        match fs::remove_dir_all(&self.home) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| {
                    format!("cannot remove the old node in {}", self.home.display())
                });
            }
            _ => {}
        }
        self.write_files(ports)
            .with_context(|| format!("cannot write to {}", self.home.display()))
    }

    fn write_files(&self, ports: Ports) -> std::io::Result<()> {
        fs::create_dir_all(self.home.join("log"))?;
        let cookie = self.home.join(".erlang.cookie");
        fs::write(&cookie, COOKIE)?;
        owner_may_read_only(&cookie)?;
        fs::write(
            self.home.join("enabled_plugins"),
            "[rabbitmq_management].\n",
        )?;
        fs::write(self.home.join("rabbitmq.conf"), configuration(ports))
    }

    /// `program` with the environment of the node, in the background: it outlives this command and its terminal.
    pub(super) fn command(&self, program: &Path, ports: Ports, output: &str) -> Result<Command> {
        let output = self.home.join("log").join(output);
        let output =
            File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment(ports))
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }

    fn environment(&self, ports: Ports) -> Vec<(&'static str, OsString)> {
        let inside = |name: &str| self.home.join(name).into_os_string();
        vec![
            ("HOME", self.home.clone().into_os_string()),
            ("PATH", search_path()),
            ("LC_ALL", "C.UTF-8".into()),
            ("ERL_EPMD_PORT", ports.epmd.to_string().into()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_NODENAME", node_name(ports).into()),
            ("RABBITMQ_DIST_PORT", ports.distribution.to_string().into()),
            ("RABBITMQ_CONFIG_FILE", inside("rabbitmq")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", inside("advanced.config")),
            // neither exists: the files of a system-wide RabbitMQ must not be read instead
            ("RABBITMQ_CONF_ENV_FILE", inside("none.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", inside("data")),
            ("RABBITMQ_LOG_BASE", inside("log")),
            ("RABBITMQ_LOGS", self.log().into_os_string()),
            ("RABBITMQ_PID_FILE", self.pid_file().into_os_string()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}".into(),
            ),
        ]
    }

    /// The last lines of what the node wrote, for an error message.
    pub(super) fn last_words(&self) -> String {
        let mut text = String::new();
        for path in [self.log(), self.home.join("log").join("output")] {
            let Ok(bytes) = fs::read(&path) else { continue };
            let log = String::from_utf8_lossy(&bytes);
            let lines: Vec<_> = log.lines().filter(|line| !line.is_empty()).collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            if !tail.is_empty() {
                text.push_str(&format!("\n--- {}\n{}", path.display(), tail.join("\n")));
            }
        }
        text
    }

    fn pid_file(&self) -> PathBuf {
        self.home.join("pid")
    }
}

fn node_name(ports: Ports) -> String {
    format!("coney-{}@localhost", ports.amqp)
}

fn configuration(ports: Ports) -> String {
    let Ports {
        amqp, management, ..
    } = ports;
    format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {management}\n\
         loopback_users.guest = true\n\
         disk_free_limit.absolute = 50MB\n\
         collect_statistics_interval = 1000\n\
         log.file.level = info\n"
    )
}

/// The user's `PATH` plus the folders where Erlang may lie beside it.
fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

#[cfg(unix)]
fn owner_may_read_only(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o400))
}

#[cfg(not(unix))]
fn owner_may_read_only(_path: &Path) -> std::io::Result<()> {
    Ok(())
}
