//! `cargo xtask rabbitmq`: find or start a broker to develop with, and stop what was started.

mod compose;
mod layout;
mod node;
mod ports;
mod process;
mod state;
pub(crate) mod victim;

use std::env;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use self::state::{Engine, Lock, State};
use crate::address::Address;
use crate::handshake::{self, Greeting};
use crate::installer::Installer;
use crate::workspace;

const LOCAL_URL: &str = "amqp://guest:guest@127.0.0.1:5672";
const LOCAL_MANAGEMENT: &str = "http://127.0.0.1:15672";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Find a broker, or start one: `CONEY_URL`, a local RabbitMQ on port 5672, Docker Compose,
    /// an installed rabbitmq-server, in this order.
    Up,
    /// Stop the broker that `up` started, and drop what it stored. Any other is left alone.
    Down,
    /// Say which broker `up` would use, and where its management UI is.
    Status,
    /// Print the AMQP URL of the broker, and nothing else.
    Url,
}

/// Where a broker comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Named by the user in `CONEY_URL`.
    Environment,
    /// Found on the standard port.
    Local,
    /// Started by us in a container.
    Compose,
    /// Started by us as processes.
    Node,
}

/// A broker that answers.
pub(crate) struct Broker {
    pub(crate) origin: Origin,
    pub(crate) url: String,
    pub(crate) management: Option<String>,
    address: Address,
    greeting: Option<Greeting>,
}

/// A broker to work with, and whether this very command started it.
pub(crate) struct Ready {
    pub(crate) broker: Broker,
    pub(crate) started: bool,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Up => {
            let ready = up()?;
            let verb = if ready.started { "started" } else { "found" };
            println!("{verb} {}", ready.broker.name());
            print_places(&ready.broker);
        }
        Command::Down => down()?,
        Command::Status => {
            let broker = running()?;
            println!("{}", broker.name());
            print_places(&broker);
        }
        Command::Url => println!("{}", running()?.url),
    }
    Ok(())
}

/// Finds or starts a broker. Two commands at once start only one.
pub(crate) fn up() -> Result<Ready> {
    if let Some(broker) = from_environment()? {
        return Ok(found(broker));
    }
    let folder = workspace::rabbitmq_folder();
    let _lock = Lock::take(&folder)?;
    if let Some(state) = State::load(&folder)? {
        match Broker::of_state(&state) {
            Ok(broker) => return Ok(found(broker)),
            Err(_) => clean_up(&folder, &state)?,
        }
    }
    if let Some(broker) = local() {
        return Ok(found(broker));
    }
    let state = start(&folder)?;
    let broker = Broker::of_state(&state)?;
    Ok(Ready {
        broker,
        started: true,
    })
}

/// Stops what `up` started, if it did.
pub(crate) fn down() -> Result<()> {
    let folder = workspace::rabbitmq_folder();
    let _lock = Lock::take(&folder)?;
    let Some(state) = State::load(&folder)? else {
        println!("nothing to stop: no broker was started from here");
        return Ok(());
    };
    match state.engine {
        Engine::Compose => compose::stop(&folder)?,
        Engine::Node { .. } => node::stop(&folder, &state)?,
    }
    println!("stopped the broker");
    Ok(())
}

/// The broker that answers now, without starting one.
fn running() -> Result<Broker> {
    if let Some(broker) = from_environment()? {
        return Ok(broker);
    }
    if let Some(state) = State::load(&workspace::rabbitmq_folder())?
        && let Ok(broker) = Broker::of_state(&state)
    {
        return Ok(broker);
    }
    local().context("no broker is running: start one with `cargo xtask rabbitmq up`")
}

fn from_environment() -> Result<Option<Broker>> {
    let Some(url) = env::var("CONEY_URL").ok().filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let management = env::var("CONEY_MANAGEMENT_URL")
        .ok()
        .filter(|url| !url.is_empty());
    Broker::at(Origin::Environment, &url, management)
        .context("CONEY_URL is set, but cannot be used")
        .map(Some)
}

fn local() -> Option<Broker> {
    let management = answers(LOCAL_MANAGEMENT).then(|| LOCAL_MANAGEMENT.to_owned());
    match Broker::at(Origin::Local, LOCAL_URL, management) {
        // a development broker that somebody serves there is no RabbitMQ
        Ok(broker) if broker.is_rabbitmq() => Some(broker),
        Ok(broker) => {
            eprintln!("port 5672 is in use by {}", broker.name());
            None
        }
        Err(error) => {
            // worth a word if something is there; silence is the usual case
            if answers("http://127.0.0.1:5672") {
                eprintln!("port 5672 is in use, but not by a broker for us: {error:#}");
            }
            None
        }
    }
}

/// Tries the ways to start a broker, in their order.
fn start(folder: &Path) -> Result<State> {
    if compose::is_available() {
        eprintln!("starting RabbitMQ with Docker Compose");
        match compose::start(folder) {
            Ok(state) => return Ok(state),
            Err(error) => eprintln!("{error:#}; trying without Docker"),
        }
    }
    let Some(server) = server()? else {
        bail!(
            "there is no broker to use. Do one of these:\n  \
             * set CONEY_URL to the AMQP URL of a RabbitMQ\n  \
             * install and start Docker with its Compose plugin\n  \
             * install rabbitmq-server (Debian, Ubuntu: apt install rabbitmq-server; macOS: brew install rabbitmq)"
        );
    };
    eprintln!("starting a private RabbitMQ node");
    node::start(folder, &server)
}

/// The installed server; installs one where that needs nobody's leave.
fn server() -> Result<Option<PathBuf>> {
    if node::installed_server().is_none()
        && let Some(installer) = Installer::find()
    {
        installer.install("rabbitmq-server", include_str!("rabbitmq/install.sh"))?;
    }
    Ok(node::installed_server())
}

/// Removes what is left of a broker of ours that does not answer any more.
fn clean_up(folder: &Path, state: &State) -> Result<()> {
    match state.engine {
        // `compose up` repairs a container that is there but does not run
        Engine::Compose => State::forget(folder),
        Engine::Node { .. } => {
            if node::is_alive(folder, state) {
                eprintln!("the private node does not answer: stopping it");
            }
            node::stop(folder, state)
        }
    }
}

fn found(broker: Broker) -> Ready {
    Ready {
        broker,
        started: false,
    }
}

impl Broker {
    fn at(origin: Origin, url: &str, management: Option<String>) -> Result<Self> {
        let address = Address::parse(url)?;
        let greeting = handshake::greet(&address)?;
        Ok(Self {
            origin,
            url: url.to_owned(),
            management,
            address,
            greeting,
        })
    }

    fn of_state(state: &State) -> Result<Self> {
        let origin = match state.engine {
            Engine::Compose => Origin::Compose,
            Engine::Node { .. } => Origin::Node,
        };
        Self::at(origin, &state.url, Some(state.management.clone()))
    }

    /// Such as `RabbitMQ 4.1.0 at 127.0.0.1:5672 (Docker Compose)`. Holds no password.
    pub(crate) fn name(&self) -> String {
        let product = match &self.greeting {
            Some(greeting) => format!("{} {}", greeting.product, greeting.version),
            None => "broker with TLS".to_owned(),
        };
        let origin = match self.origin {
            Origin::Environment => "from CONEY_URL",
            Origin::Local => "was running already",
            Origin::Compose => "Docker Compose",
            Origin::Node => "private node",
        };
        format!("{product} at {} ({origin})", self.address)
    }

    fn is_rabbitmq(&self) -> bool {
        let greeting = self.greeting.as_ref();
        greeting.is_none_or(|greeting| greeting.product == "RabbitMQ")
    }

    /// Whether `cargo xtask rabbitmq down` stops it.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.origin, Origin::Compose | Origin::Node)
    }

    /// Tells a child process where the broker is.
    pub(crate) fn tell(&self, command: &mut std::process::Command) {
        command.env("CONEY_URL", &self.url);
        if let Some(management) = &self.management {
            command.env("CONEY_MANAGEMENT_URL", management);
        }
    }
}

/// Tells a child process that there is no broker.
pub(crate) fn tell_of_none(command: &mut std::process::Command) {
    command.env_remove("CONEY_URL");
    command.env_remove("CONEY_MANAGEMENT_URL");
}

/// Prints where to reach the broker.
pub(crate) fn print_places(broker: &Broker) {
    if broker.origin != Origin::Environment {
        println!("AMQP        {}", broker.url);
    }
    if let Some(management) = &broker.management {
        let login = match broker.origin {
            Origin::Environment => "",
            _ => "  (user guest, password guest)",
        };
        println!("management  {management}{login}");
    }
    if broker.origin == Origin::Node {
        let log = node::log(&workspace::rabbitmq_folder());
        println!("log         {}", log.display());
    }
    if broker.is_ours() {
        println!("stop it     cargo xtask rabbitmq down");
    }
}

/// Whether something listens at `http://host:port`.
fn answers(url: &str) -> bool {
    let place = url.strip_prefix("http://").unwrap_or(url);
    place.to_socket_addrs().is_ok_and(|mut places| {
        places.any(|place| TcpStream::connect_timeout(&place, Duration::from_secs(2)).is_ok())
    })
}
