//! One run: start everything, send while things break, let it come to rest, account for every task.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use coney::{Broker, Client};
use tokio_util::task::TaskTracker;

use crate::account::{Account, Fate};
use crate::crew::Crew;
use crate::drain::{self, Remains};
use crate::faults::Stage;
use crate::hook::Hook;
use crate::journal::{self, Runs};
use crate::proxy::Proxy;
use crate::sender::{self, Ledger, Told};
use crate::worker::HEARTBEAT;
use crate::{report, restarts, schedule};

/// How much longer than the faults come tasks are sent.
const CALM: Duration = Duration::from_secs(4);
/// How much of the time is kept for what comes after the last fault.
const REST: Duration = Duration::from_secs(40);
/// How long it may take until everything has come to rest, if it takes longer than usual: a quorum queue that does not
/// hear that a message has arrived where it dead-letters to sends it once more after three minutes.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long workers may take to start.
const START: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The broker, or the nodes of a cluster with commas between them.
    #[arg(long)]
    pub(crate) url: String,
    /// Its management API; of several nodes, with commas.
    #[arg(long)]
    pub(crate) management: String,
    /// The program that does things to the broker.
    #[arg(long)]
    hook: PathBuf,
    /// Where logs go; what is there is removed.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 3)]
    pub(crate) workers: usize,
    #[arg(long, default_value_t = 40)]
    pub(crate) rate: u32,
    /// Instead of drawn faults, restarts the broker so many times and measures how soon the full rate is back.
    #[arg(long)]
    restarts: Option<u32>,
}

/// True if every promise was kept.
pub(crate) async fn run(arguments: Arguments) -> Result<bool> {
    if arguments.workers == 0 || arguments.rate == 0 {
        bail!("without workers and tasks nothing can be shown");
    }
    let seed = arguments.seed.unwrap_or_else(new_seed);
    let length = Duration::try_from_secs_f64(arguments.minutes * 60.0).context("--minutes")?;
    let length = length.saturating_sub(REST).max(Duration::from_secs(10));
    if let Some(restarts) = arguments.restarts {
        return restarts::run(&arguments, restarts).await;
    }
    let again = format!(
        "cargo xtask faults --minutes {} --seed {seed} --workers {} --rate {}",
        arguments.minutes, arguments.workers, arguments.rate
    );
    println!("{again}");
    prepare(&arguments.folder)?;
    let stage = set_up(&arguments).await?;
    let ledger: &'static Ledger = Box::leak(Box::default());
    let client = connect(&stage, &arguments).await?;

    let schedule = schedule::draw(seed, length, arguments.workers, nodes(&arguments.url));
    let waiting = TaskTracker::new();
    tokio::join!(
        sender::send(
            &client,
            seed,
            arguments.rate,
            length + CALM,
            ledger,
            &waiting
        ),
        stage.play(schedule.clone()),
    );
    stage.say("no more tasks, all faults over");
    let management = &arguments.management;
    drain::rest(&stage, management, ledger, arguments.workers, PATIENCE).await;
    for problem in stage.crew.stop().await {
        stage.problem(problem);
    }
    client.close().await;
    client.broker().close().await;
    waiting.close();
    waiting.wait().await;

    let remains = drain::remains(&arguments.url, management).await?;
    let fates = fates(&stage, ledger, remains, &runs(&arguments.folder)?);
    let account = Account::of(&fates);
    report::print(&account, &fates, &schedule);
    let problems = stage.problems();
    for problem in &problems {
        println!("PROBLEM {problem}");
    }
    let kept = account.faults.is_empty() && problems.is_empty();
    if !kept {
        println!("\nlogs: {}", arguments.folder.display());
    }
    println!("\nrepeat: {again}");
    println!("{}", account.line());
    Ok(kept)
}

fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // short enough to be typed
    now.map_or(0, |now| now.as_millis() as u64 % 1_000_000)
}

/// Empties the folder, and lets the client log into it.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let log = fs::File::create(folder.join("sender.log"))?;
    tracing_subscriber::fmt()
        .with_env_filter("info,lapin=off")
        .with_ansi(false)
        .with_writer(log)
        .init();
    Ok(())
}

/// Proxies and workers.
pub(crate) async fn set_up(arguments: &Arguments) -> Result<std::sync::Arc<Stage>> {
    let mut proxies = Vec::new();
    for _ in 0..=arguments.workers {
        let mut of_program = Vec::new();
        for node in arguments.url.split(',') {
            of_program.push(Proxy::start(split(node)?.1).await?);
        }
        proxies.push(of_program);
    }
    let workers = proxies.iter().take(arguments.workers);
    let urls: Result<Vec<_>> = workers.map(|own| through(own, arguments)).collect();
    let crew = Crew::start(&urls?, &arguments.folder)?;
    let hook = Hook::new(arguments.hook.clone());
    if !drain::all_consume(&arguments.management, arguments.workers, START).await {
        bail!(
            "the workers do not start: see {}",
            arguments.folder.display()
        );
    }
    Ok(Stage::new(crew, proxies, hook))
}

/// How many nodes there are.
fn nodes(url: &str) -> usize {
    url.split(',').count()
}

/// The URL in front of the host, and host and port.
fn split(url: &str) -> Result<(&str, &str)> {
    let at = url.rfind('@').context("the URL has no login")? + 1;
    Ok(url.split_at(at))
}

/// The URLs of all nodes through the proxies of a program.
fn through(proxies: &[Proxy], arguments: &Arguments) -> Result<String> {
    let nodes = arguments.url.split(',').zip(proxies);
    let urls = nodes.map(|(node, proxy)| Ok(format!("{}{}", split(node)?.0, proxy.place())));
    Ok(urls.collect::<Result<Vec<_>>>()?.join(","))
}

pub(crate) async fn connect(stage: &Stage, arguments: &Arguments) -> Result<Client> {
    let own = stage.proxies.last().context("the sender has a proxy")?;
    let url = through(own, arguments)?;
    let broker = Broker::builder(&url).heartbeat(HEARTBEAT).connect().await?;
    Ok(Client::new(&broker))
}

/// What the workers wrote down.
fn runs(folder: &Path) -> Result<HashMap<String, Runs>> {
    let mut runs = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "runs") {
            journal::count(&fs::read_to_string(&path)?, &mut runs);
        }
    }
    Ok(runs)
}

fn fates(
    stage: &Stage,
    ledger: &Ledger,
    mut remains: Remains,
    runs: &HashMap<String, Runs>,
) -> Vec<Fate> {
    let records = ledger.records().clone();
    let fate = |record: sender::Record| {
        let end = record.answered.unwrap_or_else(Instant::now);
        let never_told = || Told::Failed {
            stored: true,
            why: "the send never returned".to_owned(),
        };
        if record.told.is_none() {
            stage.problem(format!("the send of {} never returned", record.id));
        }
        Fate {
            kind: record.kind,
            told: record.told.unwrap_or_else(never_told),
            answer: record.answer,
            runs: runs.get(&record.id).cloned().unwrap_or_default(),
            dead: remains.dead.remove(&record.id).unwrap_or_default(),
            waits: remains.waiting.remove(&record.id).unwrap_or_default(),
            touched: stage.touches(record.sent, end),
            id: record.id,
        }
    };
    records.into_iter().map(fate).collect()
}
