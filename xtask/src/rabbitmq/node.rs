//! A private RabbitMQ node from an installed `rabbitmq-server`: own ports, data, cookie and port mapper.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::layout::Layout;
use super::ports::Ports;
use super::process::Process;
use super::state::{Engine, State};
use crate::address::Address;
use crate::handshake;

/// How long a node may take to boot; 5 to 20 seconds are usual.
const BOOT: Duration = Duration::from_secs(90);
/// How long a node may take to stop cleanly.
const STOP: Duration = Duration::from_secs(30);
/// Debian's and Red Hat's scripts proper. `/usr/sbin/rabbitmq-server` is a wrapper that changes the user.
const PACKAGED: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The installed server, if there is one.
pub(super) fn installed_server() -> Option<PathBuf> {
    let packaged = PathBuf::from(PACKAGED);
    if packaged.exists() {
        return Some(packaged);
    }
    let wrapper = Path::new("/usr/sbin/rabbitmq-server");
    in_search_path("rabbitmq-server").filter(|path| path != wrapper)
}

/// Starts a node and waits until it serves AMQP and the management UI.
pub(super) fn start(folder: &Path, server: &Path) -> Result<State> {
    let layout = Layout::new(folder);
    // a node without a readable state, whose folder would be removed under it
    stop_running(&layout);
    let ports = Ports::find(folder)?;
    layout.create(ports)?;
    // the node would start a port mapper of its own, which stays behind and whose number nobody knows
    let epmd = layout
        .command(&epmd_program()?, ports, "epmd")?
        .spawn()
        .context("cannot start epmd")?;
    let node = layout
        .command(server, ports, "output")?
        .spawn()
        .with_context(|| format!("cannot start {}", server.display()));
    let mut state = State {
        engine: Engine::Node {
            pid: node.as_ref().map_or(0, Child::id),
            epmd: epmd.id(),
        },
        url: format!("amqp://guest:guest@127.0.0.1:{}", ports.amqp),
        management: format!("http://127.0.0.1:{}", ports.management),
    };
    // saved before the long wait, so that an interrupted start is found and cleaned up
    let booted = state
        .save(folder)
        .and(node)
        .and_then(|node| wait_for_boot(node, &state));
    if let Err(error) = booted {
        let words = layout.last_words();
        stop(folder, &state)?;
        bail!("RabbitMQ did not start: {error:#}{words}");
    }
    if let (Some(own), Engine::Node { pid, .. }) = (layout.pid(), &mut state.engine) {
        *pid = own;
    }
    state.save(folder)?;
    Ok(state)
}

/// Ends a node without its port mapper: cleanly, or as a power cut does. What it stored stays.
pub(super) fn halt(folder: &Path, state: &State, cleanly: bool) -> Result<()> {
    let layout = Layout::new(folder);
    let Engine::Node { pid, .. } = state.engine else {
        bail!("the running broker is no private node");
    };
    let home = layout.home();
    let node = Process { pid, home };
    if cleanly {
        node.stop(STOP);
    } else if !node.kill() {
        bail!("the node {pid} outlives a SIGKILL");
    }
    Ok(())
}

/// Starts a node that was halted, on what it stored and on the same ports.
pub(super) fn resume(folder: &Path, server: &Path, state: &mut State) -> Result<()> {
    let layout = Layout::new(folder);
    let ports = Ports::of_amqp(Address::parse(&state.url)?.port);
    layout.forget_pid();
    let node = layout
        .command(server, ports, "output")?
        .spawn()
        .with_context(|| format!("cannot start {}", server.display()))?;
    if let Err(error) = wait_for_boot(node, state) {
        bail!(
            "RabbitMQ did not start again: {error:#}{}",
            layout.last_words()
        );
    }
    if let (Some(own), Engine::Node { pid, .. }) = (layout.pid(), &mut state.engine) {
        *pid = own;
    }
    state.save(folder)
}

/// Runs `rabbitmqctl` on a node.
pub(super) fn control(
    folder: &Path,
    server: &Path,
    state: &State,
    arguments: &[&str],
) -> Result<()> {
    let ports = Ports::of_amqp(Address::parse(&state.url)?.port);
    let status = Layout::new(folder)
        .command(&server.with_file_name("rabbitmqctl"), ports, "control")?
        .args(arguments)
        .status()
        .context("cannot run rabbitmqctl")?;
    if !status.success() {
        bail!("`rabbitmqctl {}` failed ({status})", arguments.join(" "));
    }
    Ok(())
}

/// Stops a node and its port mapper. What of it does not run any more is passed over.
pub(super) fn stop(folder: &Path, state: &State) -> Result<()> {
    let Engine::Node { pid, epmd } = state.engine else {
        bail!("the running broker is no private node");
    };
    let layout = Layout::new(folder);
    let home = layout.home();
    // the script around the node ends with it; asked first, it stops the node
    Process { pid, home }.stop(STOP);
    stop_running(&layout);
    Process { pid: epmd, home }.stop(Duration::from_secs(5));
    State::forget(folder)
}

/// Stops the node that names itself in the folder.
fn stop_running(layout: &Layout) {
    if let Some(pid) = layout.pid() {
        let home = layout.home();
        Process { pid, home }.stop(STOP);
    }
}

/// Whether the processes of the state still run.
pub(super) fn is_alive(folder: &Path, state: &State) -> bool {
    let layout = Layout::new(folder);
    let home = layout.home();
    matches!(state.engine, Engine::Node { pid, .. } if Process { pid, home }.is_ours())
}

/// The log of a node that runs or ran.
pub(super) fn log(folder: &Path) -> PathBuf {
    Layout::new(folder).log()
}

fn wait_for_boot(mut node: Child, state: &State) -> Result<()> {
    let deadline = Instant::now() + BOOT;
    loop {
        let problem = match is_serving(state) {
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        };
        if let Some(status) = node.try_wait()? {
            bail!("the server ended while it booted ({status})");
        }
        if Instant::now() > deadline {
            return Err(problem.context(format!("it is not ready after {} s", BOOT.as_secs())));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn is_serving(state: &State) -> Result<()> {
    handshake::greet(&Address::parse(&state.url)?)?;
    if !super::answers(&state.management) {
        bail!("nothing listens at {}", state.management);
    }
    Ok(())
}

/// Erlang's port mapper: in the search path, or deep in the Erlang of a package.
fn epmd_program() -> Result<PathBuf> {
    let packaged = || {
        let entries = fs::read_dir("/usr/lib/erlang").ok()?;
        entries
            .flatten()
            .map(|entry| entry.path().join("bin/epmd"))
            .find(|path| path.exists())
    };
    in_search_path("epmd")
        .or_else(packaged)
        .context("cannot find Erlang's epmd in PATH or /usr/lib/erlang")
}

fn in_search_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
