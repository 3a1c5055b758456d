//! A signature: a call as Celery embeds it in a message, cut into raw pieces.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::canvas::error::CanvasError;
use crate::codec::body::Pairs;
use crate::wire::time;

/// A call as Celery embeds it in a message: nothing but the task's name has to be there.
#[derive(Debug, Deserialize)]
pub(crate) struct Signature<'a> {
    #[serde(borrow)]
    pub(crate) task: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    pub(crate) args: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) kwargs: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    pub(crate) options: Pieces<'a>,
    #[serde(borrow, default)]
    subtask_type: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) immutable: bool,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// What a signature stands for.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// One task.
    Task,
    /// Tasks that run beside each other.
    Group(Vec<&'a RawValue>),
    /// Tasks that run one after the other, in this order.
    Chain(Vec<&'a RawValue>),
    /// Parts of a list, each of which is one `celery.starmap`.
    Chunks(Chunks<'a>),
    /// Tasks whose results are counted.
    Chord,
}

/// What `celery.chunks` says.
#[derive(Debug, Deserialize)]
pub(crate) struct Chunks<'a> {
    #[serde(borrow)]
    pub(crate) task: &'a RawValue,
    #[serde(borrow)]
    pub(crate) it: Vec<&'a RawValue>,
    pub(crate) n: usize,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    tasks: Vec<&'a RawValue>,
}

impl Chunks<'_> {
    /// How many parts there are.
    pub(crate) fn parts(&self) -> Result<usize, CanvasError> {
        match self.n {
            0 => Err(wrong("n", "a number above 0")),
            n => Ok(self.it.len().div_ceil(n)),
        }
    }
}

impl<'a> Signature<'a> {
    pub(crate) fn read(raw: &'a RawValue) -> Result<Self, CanvasError> {
        let mut signature: Self =
            serde_json::from_str(raw.get()).map_err(CanvasError::Signature)?;
        // `it` is all that these take
        if matches!(&*signature.task, "celery.map" | "celery.starmap") && signature.has_it() {
            signature.immutable = true;
        }
        Ok(signature)
    }

    fn has_it(&self) -> bool {
        let pairs = self.kwargs.map(|kwargs| serde_json::from_str(kwargs.get()));
        matches!(pairs, Some(Ok(Pairs(pairs))) if pairs.iter().any(|(name, _)| name == "it"))
    }

    pub(crate) fn kind(&self) -> Result<Kind<'a>, CanvasError> {
        let kind = self.subtask_type.as_deref().unwrap_or_default();
        let kind = match (kind, &*self.task) {
            ("group", _) | ("", "celery.group") => "group",
            ("chain", _) | ("", "celery.chain") => "chain",
            ("chunks", _) | ("", "celery.chunks") => "chunks",
            ("chord", _) | ("", "celery.chord") => "chord",
            _ => return Ok(Kind::Task),
        };
        let kwargs = self.kwargs.map_or("{}", RawValue::get);
        let members = || {
            let members = serde_json::from_str::<Members<'a>>(kwargs);
            members.map(|members| members.tasks)
        };
        match kind {
            "group" => members().map(Kind::Group),
            "chain" => members().map(Kind::Chain),
            "chunks" => serde_json::from_str(kwargs).map(Kind::Chunks),
            _ => Ok(Kind::Chord),
        }
        .map_err(CanvasError::Signature)
    }
}

/// The members of an object, uncut.
#[derive(Debug, Default)]
pub(crate) struct Pieces<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pieces<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Pairs(mut pairs) = Pairs::deserialize(deserializer)?;
        pairs.retain(|(_, raw)| raw.get() != "null");
        Ok(Self(pairs))
    }
}

/// A signature has so many options at most: there are some thirty, and stamps.
const MOST_OPTIONS: usize = 256;

/// The options of a group or chain that say who and where it is: its members have their own.
const OWN: [&str; 9] = [
    "task_id",
    "group_id",
    "group_index",
    "root_id",
    "parent_id",
    "chain",
    "link",
    "link_error",
    "reply_to",
];

impl<'a> Pieces<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, raw) = self.0.iter().find(|(key, _)| key == name)?;
        Some(raw)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, raw)| (&**name, *raw))
    }

    /// How many bytes each member of this has from it.
    pub(crate) fn spreads(&self) -> usize {
        let spreads = |name: &str| name == "task_id" || !OWN.contains(&name);
        let bytes = self.0.iter().filter(|(name, _)| spreads(name));
        bytes.map(|(name, raw)| name.len() + raw.get().len()).sum()
    }

    /// Lays the options of a group or chain over those of a member, but for what says who and where it is.
    pub(crate) fn lay_over(&mut self, outer: &Self) {
        for (name, raw) in outer.0.iter().filter(|(name, _)| !OWN.contains(&&**name)) {
            match self.0.iter_mut().find(|(key, _)| key == name) {
                Some((_, old)) => *old = raw,
                None => self.0.push((name.clone(), raw)),
            }
        }
    }

    /// Reads all options that mean something, so that a wrong one is found before anything is sent.
    pub(crate) fn read(&self) -> Result<Options<'a>, CanvasError> {
        if self.0.len() > MOST_OPTIONS {
            return Err(wrong("options", "so few that a signature can have them"));
        }
        if self.get("chord").is_some() {
            return Err(CanvasError::Chord);
        }
        const TEXT: &str = "a text";
        const NUMBER: &str = "a number of seconds";
        Ok(Options {
            task_id: self.typed("task_id", TEXT)?,
            reply_to: self.typed("reply_to", TEXT)?,
            queue: self.typed("queue", TEXT)?,
            exchange: self.typed("exchange", TEXT)?,
            routing_key: self.typed("routing_key", TEXT)?,
            group_id: self.typed("group_id", TEXT)?,
            shadow: self.typed("shadow", TEXT)?,
            group_index: self.typed("group_index", "a whole number")?,
            priority: self.typed("priority", "a number from 0 to 255")?,
            ignore_result: self.typed("ignore_result", "a truth value")?,
            retries: self.typed("retries", "a count")?.unwrap_or(0),
            replaced_task_nesting: self.typed("replaced_task_nesting", "a count")?.unwrap_or(0),
            countdown: self.typed("countdown", NUMBER)?.map(seconds),
            eta: self.time("eta")?,
            expires: self.expires()?,
            time_limit: self.limit("time_limit")?,
            soft_time_limit: self.limit("soft_time_limit")?,
            link: self.list("link")?,
            link_error: self.list("link_error")?,
            chain: self.list("chain")?,
            headers: self.get("headers"),
            stamped_headers: self
                .typed("stamped_headers", "a list of texts")?
                .unwrap_or_default(),
        })
    }

    fn typed<T: DeserializeOwned>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, CanvasError> {
        let read = self.get(name).map(|raw| serde_json::from_str(raw.get()));
        read.transpose().map_err(|_| wrong(name, expected))
    }

    fn time(&self, name: &'static str) -> Result<Option<SystemTime>, CanvasError> {
        const TIME: &str = "a time of ISO 8601";
        match self.typed::<Moment>(name, TIME)? {
            None => Ok(None),
            Some(Moment::Text(text) | Moment::Typed { text }) => {
                time::parse(&text).map(Some).ok_or(wrong(name, TIME))
            }
        }
    }

    fn expires(&self) -> Result<Option<Expires>, CanvasError> {
        match self.get("expires") {
            Some(raw) if raw.get().starts_with(['"', '{']) => {
                Ok(self.time("expires")?.map(Expires::At))
            }
            _ => {
                let after = self.typed("expires", "a time or a number of seconds")?;
                Ok(after.map(seconds).map(Expires::After))
            }
        }
    }

    /// A limit; zero is none, as in Celery.
    fn limit(&self, name: &'static str) -> Result<Option<Duration>, CanvasError> {
        let limit = self.typed(name, "a number of seconds")?.map(seconds);
        Ok(limit.filter(|limit| !limit.is_zero()))
    }

    /// A list of signatures; one alone counts as a list of one.
    fn list(&self, name: &'static str) -> Result<Vec<&'a RawValue>, CanvasError> {
        let list = self.get(name).map(signatures);
        let list = list.transpose();
        Ok(list
            .map_err(|_| wrong(name, "a list of signatures"))?
            .unwrap_or_default())
    }
}

/// The signatures of a list; one alone counts as a list of one.
pub(crate) fn signatures(raw: &RawValue) -> Result<Vec<&RawValue>, CanvasError> {
    match raw.get().as_bytes().first() {
        Some(b'{') => Ok(vec![raw]),
        _ => serde_json::from_str(raw.get()).map_err(CanvasError::Signature),
    }
}

fn wrong(name: &'static str, expected: &'static str) -> CanvasError {
    CanvasError::Option { name, expected }
}

/// Seconds as Celery gives them; less than none is none, and more than any clock can tell is as much as one can.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// A time as text, or as kombu writes what is a `datetime` in Python.
#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Text(String),
    Typed {
        #[serde(rename = "__value__")]
        text: String,
    },
}

/// When a task is no longer worth starting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expires {
    At(SystemTime),
    After(Duration),
}

/// The options of a signature that mean something.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    pub(crate) task_id: Option<String>,
    pub(crate) reply_to: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) exchange: Option<String>,
    pub(crate) routing_key: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) shadow: Option<String>,
    pub(crate) group_index: Option<i64>,
    pub(crate) priority: Option<u8>,
    pub(crate) ignore_result: Option<bool>,
    pub(crate) retries: u32,
    pub(crate) replaced_task_nesting: u32,
    pub(crate) countdown: Option<Duration>,
    pub(crate) eta: Option<SystemTime>,
    pub(crate) expires: Option<Expires>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) soft_time_limit: Option<Duration>,
    pub(crate) link: Vec<&'a RawValue>,
    pub(crate) link_error: Vec<&'a RawValue>,
    pub(crate) chain: Vec<&'a RawValue>,
    pub(crate) headers: Option<&'a RawValue>,
    pub(crate) stamped_headers: Vec<String>,
}
