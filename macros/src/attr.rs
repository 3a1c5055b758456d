//! The options of `#[task(..)]`.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{LitBool, LitInt, LitStr, Path, Token, Type};

use crate::duration::{self, Zero};
use crate::list::{self, error};
use crate::name;
use crate::problems::Problems;

/// What `#[task(..)]` says; absent options are left to the protocol's defaults.
#[derive(Default)]
pub(crate) struct TaskOptions {
    pub(crate) queue: Option<Type>,
    pub(crate) name: Option<LitStr>,
    pub(crate) retry: Option<(Ident, Retry)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    pub(crate) priority: Option<Priority>,
    pub(crate) ack: Option<(Ident, Ack)>,
    pub(crate) ignore_result: bool,
    pub(crate) track_started: bool,
    pub(crate) rate_limit: Option<Rate>,
    pub(crate) blocking: Option<Ident>,
    pub(crate) facade: Option<Path>,
}

#[derive(Default)]
pub(crate) struct Retry {
    pub(crate) max: Option<u32>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) jitter: Option<bool>,
}

pub(crate) enum Backoff {
    Exponential { first: Duration, cap: Duration },
    Linear { step: Duration, cap: Duration },
    Fixed(Duration),
}

pub(crate) enum Priority {
    Low,
    Normal,
    High,
    Level(u8),
}

pub(crate) enum Ack {
    Late,
    Early,
}

const OPTIONS: &[&str] = &[
    "queue",
    "name",
    "retry",
    "timeout",
    "soft_timeout",
    "expires",
    "priority",
    "ack",
    "ignore_result",
    "track_started",
    "rate_limit",
    "blocking",
    "crate",
];

impl TaskOptions {
    /// Reads the options; wrong ones are left out.
    pub(crate) fn parse(tokens: TokenStream, problems: &mut Problems) -> Self {
        let mut options = Self::default();
        let mut inner = Problems::default();
        let mut soft = None;
        list::parse(tokens, "`#[task]`", OPTIONS, problems, |name, input| {
            match name.to_string().as_str() {
                "queue" => options.queue = Some(queue(name, input)?),
                "name" => {
                    let literal = list::text(name, input, "\"shop.welcome\"")?;
                    name::check_task(&literal)?;
                    options.name = Some(literal);
                }
                "retry" => {
                    let tokens = list::parenthesized(name, input, "retry(max = 3)")?;
                    options.retry = Some((name.clone(), Retry::parse(tokens, &mut inner)));
                }
                "timeout" => options.timeout = Some(limit(name, input)?),
                "soft_timeout" => {
                    soft = Some(name.clone());
                    options.soft_timeout = Some(limit(name, input)?);
                }
                "expires" => options.expires = Some(limit(name, input)?),
                "priority" => options.priority = Some(Priority::parse(name, input)?),
                "ack" => options.ack = Some((name.clone(), Ack::parse(name, input)?)),
                "ignore_result" => {
                    list::flag(name, input)?;
                    options.ignore_result = true;
                }
                "track_started" => {
                    list::flag(name, input)?;
                    options.track_started = true;
                }
                "rate_limit" => options.rate_limit = Some(Rate::parse(name, input)?),
                "blocking" => {
                    // taken as said even if it was said wrong: or the function would be blamed as well
                    options.blocking = Some(name.clone());
                    list::flag(name, input)?;
                }
                _ => options.facade = Some(facade(name, input)?),
            }
            Ok(())
        });
        problems.append(inner);
        if let (Some(soft), Some(short), Some(long)) = (soft, options.soft_timeout, options.timeout)
            && short >= long
        {
            problems.at(
                soft,
                "`soft_timeout` has to be shorter than `timeout`: it warns the task before the end",
            );
        }
        options
    }
}

/// Reads `= Type`.
fn queue(name: &Ident, input: ParseStream<'_>) -> syn::Result<Type> {
    list::equals(name, input, "Emails")?;
    if input.peek(LitStr) {
        return Err(input.error(
            "`queue` is a type: `#[derive(Queue)] #[queue(name = \"emails\")] struct Emails;` and `queue = Emails`",
        ));
    }
    input.parse()
}

/// Reads `= path`, the facade under another name.
pub(crate) fn facade(name: &Ident, input: ParseStream<'_>) -> syn::Result<Path> {
    list::equals(name, input, "::my_coney")?;
    let span = input.span();
    input
        .call(Path::parse_mod_style)
        .map_err(|_| error(span, "`crate` is a path: `crate = ::my_coney`"))
}

fn limit(name: &Ident, input: ParseStream<'_>) -> syn::Result<Duration> {
    let literal = list::text(name, input, "\"30s\"")?;
    duration::parse(&literal, Zero::Refused)
}

impl Retry {
    fn parse(tokens: TokenStream, problems: &mut Problems) -> Self {
        let mut retry = Self::default();
        let known = ["max", "backoff", "jitter"];
        list::parse(tokens, "`retry`", &known, problems, |name, input| {
            match name.to_string().as_str() {
                "max" => retry.max = Some(list::number(name, input, "3", 0)?),
                "backoff" => retry.backoff = Some(Backoff::parse(name, input)?),
                _ => {
                    list::equals(name, input, "false")?;
                    if !input.peek(LitBool) {
                        return Err(input.error("`jitter` is `true` or `false`"));
                    }
                    retry.jitter = Some(input.parse::<LitBool>()?.value);
                }
            }
            Ok(())
        });
        retry
    }
}

const BACKOFFS: &str =
    "`backoff` is `exponential(\"1s\", \"10m\")`, `linear(\"5s\", \"1m\")` or `fixed(\"30s\")`";

impl Backoff {
    fn parse(name: &Ident, input: ParseStream<'_>) -> syn::Result<Self> {
        list::equals(name, input, "exponential(\"1s\", \"10m\")")?;
        if !input.peek(syn::Ident) {
            return Err(input.error(BACKOFFS));
        }
        let kind: Ident = input.parse()?;
        let wrong = || error(kind.span(), BACKOFFS);
        if !input.peek(syn::token::Paren) {
            return Err(wrong());
        }
        let content;
        syn::parenthesized!(content in input);
        let content: TokenStream = content.parse()?;
        let waits = |input: ParseStream<'_>| input.parse_terminated(parse_text, Token![,]);
        let waits: Vec<LitStr> = waits
            .parse2(content)
            .map_err(|_| wrong())?
            .into_iter()
            .collect();
        match (kind.to_string().as_str(), &waits[..]) {
            ("exponential", [first, cap]) => {
                let (first, cap) = growing(first, cap)?;
                Ok(Self::Exponential { first, cap })
            }
            ("linear", [step, cap]) => {
                let (step, cap) = growing(step, cap)?;
                Ok(Self::Linear { step, cap })
            }
            ("fixed", [wait]) => duration::parse(wait, Zero::Allowed).map(Self::Fixed),
            _ => Err(wrong()),
        }
    }
}

fn parse_text(input: ParseStream<'_>) -> syn::Result<LitStr> {
    input.parse()
}

fn growing(first: &LitStr, cap: &LitStr) -> syn::Result<(Duration, Duration)> {
    let start = duration::parse(first, Zero::Refused)?;
    let end = duration::parse(cap, Zero::Refused)?;
    if end < start {
        return Err(error(
            cap.span(),
            "the longest wait is shorter than the first one",
        ));
    }
    Ok((start, end))
}

const PRIORITIES: &str = "`priority` is `low`, `normal`, `high` or a number from 0 to 255";

impl Priority {
    fn parse(name: &Ident, input: ParseStream<'_>) -> syn::Result<Self> {
        list::equals(name, input, "high")?;
        if input.peek(LitInt) {
            let level: LitInt = input.parse()?;
            return match level.base10_parse() {
                Ok(level) => Ok(Self::Level(level)),
                Err(_) => Err(error(level.span(), PRIORITIES)),
            };
        }
        let word = input
            .call(Ident::parse_any)
            .map_err(|wrong| error(wrong.span(), PRIORITIES))?;
        match word.to_string().as_str() {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            _ => Err(error(word.span(), PRIORITIES)),
        }
    }
}

impl Ack {
    fn parse(name: &Ident, input: ParseStream<'_>) -> syn::Result<Self> {
        let literal = list::text(name, input, "\"early\"")?;
        match literal.value().as_str() {
            "late" => Ok(Self::Late),
            "early" => Ok(Self::Early),
            _ => Err(error(
                literal.span(),
                "`ack` is \"late\" (after the task, the default) or \"early\" (before it: a crash loses the task)",
            )),
        }
    }
}

/// How often a task may start: a number of tasks, and the constructor of the protocol for the time.
pub(crate) struct Rate {
    pub(crate) tasks: f64,
    pub(crate) setter: &'static str,
}

impl Rate {
    fn parse(name: &Ident, input: ParseStream<'_>) -> syn::Result<Self> {
        let literal = list::text(name, input, "\"10/m\"")?;
        let text = literal.value();
        let wrong = || {
            error(
                literal.span(),
                "`rate_limit` is a number of tasks and a time: \"10/s\", \"10/m\" or \"10/h\"",
            )
        };
        let (tasks, per) = text.split_once('/').ok_or_else(wrong)?;
        let setter = match per {
            "s" => "per_second",
            "m" => "per_minute",
            "h" => "per_hour",
            _ => return Err(wrong()),
        };
        match tasks.parse::<f64>() {
            Ok(tasks) if tasks.is_finite() && tasks > 0.0 => Ok(Self { tasks, setter }),
            _ => Err(wrong()),
        }
    }
}

/// The path of the facade, unless `crate = ..` says otherwise.
pub(crate) fn default_facade() -> Path {
    syn::parse_quote!(::coney)
}
