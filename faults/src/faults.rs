//! Carries a schedule out: each fault at its time, some at once, and everything whole again at the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::crew::Crew;
use crate::hook::Hook;
use crate::proxy::Proxy;
use crate::schedule::{Event, Fault, Way, Who};

/// Everything that can be broken.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) crew: Crew,
    /// Those of each worker, one for each node of the broker; then the sender's.
    pub(crate) proxies: Vec<Vec<Proxy>>,
    pub(crate) hook: Hook,
    pub(crate) started: Instant,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    windows: Vec<(Instant, Instant)>,
    problems: Vec<String>,
}

impl Stage {
    pub(crate) fn new(crew: Crew, proxies: Vec<Vec<Proxy>>, hook: Hook) -> Arc<Self> {
        Arc::new(Self {
            crew,
            proxies,
            hook,
            started: Instant::now(),
            log: Mutex::default(),
        })
    }

    /// Does all of it, and returns when the last fault is over.
    pub(crate) async fn play(self: &Arc<Self>, schedule: Vec<Event>) {
        let mut running = JoinSet::new();
        let start = Instant::now();
        for Event { at, fault } in schedule {
            sleep((start + at).saturating_duration_since(Instant::now())).await;
            let stage = Arc::clone(self);
            running.spawn(async move { stage.suffer(fault).await });
        }
        while running.join_next().await.is_some() {}
    }

    async fn suffer(&self, fault: Fault) {
        let started = Instant::now();
        self.say(&fault.to_string());
        let result = self.cause(fault).await;
        if let Err(error) = &result {
            self.problem(format!("{fault}: {error:#}"));
        }
        if !matches!(fault, Fault::Cut { .. }) {
            self.say(&format!("over: {fault}"));
        }
        self.log().windows.push((started, Instant::now()));
    }

    async fn cause(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill { worker, down } => self.crew.kill(worker, down).await?,
            Fault::Pause { worker, lasts } => self.crew.pause(worker, lasts).await?,
            Fault::Cut { who } => self.each(who, Proxy::cut),
            Fault::Hold { who, way, lasts } => self.hold(who, way, lasts).await,
            Fault::Delay { who, by, lasts } => {
                self.each(who, |proxy| proxy.delay(by));
                sleep(lasts).await;
                self.each(who, |proxy| proxy.delay(Duration::ZERO));
            }
            Fault::Refuse { who, lasts } => {
                self.each(who, |proxy| proxy.refuse(true));
                self.each(who, Proxy::cut);
                sleep(lasts).await;
                self.each(who, |proxy| proxy.refuse(false));
            }
            Fault::Restart {
                node,
                cleanly,
                down,
            } => self.restart(node, cleanly, down).await?,
            Fault::Alarm { node, lasts } => {
                let _alone = self.hook.broker.lock().await;
                self.hook.act("alarm", node).await?;
                sleep(lasts).await;
                self.hook.act("no-alarm", node).await?;
            }
        }
        Ok(())
    }

    /// Ends a node of the broker, and starts it again after a while.
    pub(crate) async fn restart(&self, node: usize, cleanly: bool, down: Duration) -> Result<()> {
        let _alone = self.hook.broker.lock().await;
        let end = if cleanly { "stop" } else { "kill" };
        self.hook.act(end, node).await?;
        sleep(down).await;
        self.hook.act("start", node).await
    }

    async fn hold(&self, who: Who, way: Way, lasts: Duration) {
        self.each(who, |proxy| proxy.hold(way, true));
        sleep(lasts).await;
        self.each(who, |proxy| proxy.hold(way, false));
    }

    fn each(&self, who: Who, what: impl Fn(&Proxy)) {
        let sender = self.proxies.len() - 1;
        let hurt = match who {
            Who::Sender => &self.proxies[sender..],
            Who::Worker(number) => &self.proxies[number..=number],
            Who::Everybody => &self.proxies,
        };
        hurt.iter().flatten().for_each(what);
    }

    /// Prints a line with its time.
    pub(crate) fn say(&self, text: &str) {
        println!("{:7.2} s  {text}", self.started.elapsed().as_secs_f64());
    }

    /// Notes what must not happen.
    pub(crate) fn problem(&self, text: String) {
        self.say(&format!("PROBLEM {text}"));
        self.log().problems.push(text);
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.log().problems.clone()
    }

    /// Whether a fault was on between these times.
    pub(crate) fn touches(&self, from: Instant, to: Instant) -> bool {
        self.log()
            .windows
            .iter()
            .any(|(start, end)| *start <= to && from <= *end)
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
