//! The broker of the fault suite: a private node of its own, which is killed, restarted and starved.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::node;
use super::state::{Lock, State};
use crate::workspace;

/// What is done to the node.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Deed {
    /// Ends it as a power cut does.
    Kill,
    /// Ends it cleanly.
    Stop,
    /// Starts it again, on what it stored.
    Start,
    /// Makes it believe that memory is short.
    Alarm,
    /// Gives it its memory back.
    NoAlarm,
}

/// The node, stopped when dropped. One checkout has one at a time.
pub(crate) struct Victim {
    folder: PathBuf,
    state: State,
    _lock: Lock,
}

impl Victim {
    /// Starts the node empty.
    pub(crate) fn start() -> Result<Self> {
        let folder = workspace::faults_folder();
        let lock = Lock::take(&folder)?;
        if let Some(left) = State::load(&folder)? {
            node::stop(&folder, &left)?;
        }
        eprintln!("starting a private RabbitMQ node for the faults");
        let state = node::start(&folder, &server()?)?;
        Ok(Self {
            folder,
            state,
            _lock: lock,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.state.url
    }

    pub(crate) fn management(&self) -> &str {
        &self.state.management
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // it has another number after a restart
        let now = State::load(&self.folder).ok().flatten();
        if let Err(error) = node::stop(&self.folder, now.as_ref().unwrap_or(&self.state)) {
            eprintln!("the node of the faults is left running: {error:#}");
        }
    }
}

/// Does something to the node that a [`Victim`] of another process holds.
pub(crate) fn act(deed: Deed) -> Result<()> {
    let folder = workspace::faults_folder();
    let mut state = State::load(&folder)?.context("no fault run has a broker here")?;
    let server = server()?;
    let watermark = |part| {
        let arguments = ["set_vm_memory_high_watermark", part];
        node::control(&folder, &server, &state, &arguments)
    };
    match deed {
        Deed::Kill => node::halt(&folder, &state, false),
        Deed::Stop => node::halt(&folder, &state, true),
        Deed::Start => node::resume(&folder, &server, &mut state),
        Deed::Alarm => watermark("0"),
        Deed::NoAlarm => watermark("0.4"),
    }
}

fn server() -> Result<PathBuf> {
    let Some(server) = super::server()? else {
        bail!(
            "the faults need a broker that can be killed: install rabbitmq-server (Debian, Ubuntu: \
             apt install rabbitmq-server; macOS: brew install rabbitmq)"
        );
    };
    Ok(server)
}
