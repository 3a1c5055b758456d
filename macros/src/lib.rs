//! The macros of coney: `#[task]`, `#[derive(Queue)]`, `#[derive(TaskError)]`. Use them through the facade, `coney`.
//!
//! Bottom of the workspace, beside the protocol, whose traits the expansions name by way of `coney::__private`.
//!
//! | module | does |
//! |---|---|
//! | `attr`, `list`, `duration`, `name` | read options, with an error for each that is wrong |
//! | `ast` | our view of the function |
//! | `validate` | the rules for it, with spans |
//! | `expand`, `spec` | quote, nothing else |
//! | `fallback` | what stands in for a task that is wrong, so that one mistake gives one message |
//! | `queue`, `error` | the derives |
//! | `problems` | the errors found so far |

mod ast;
mod attr;
mod duration;
mod error;
mod expand;
mod fallback;
mod list;
mod name;
mod problems;
mod queue;
mod spec;
mod validate;

use problems::Problems;
use proc_macro::TokenStream;

/// Makes a task of a function.
///
/// The function stays as it is, to be called in unit tests. Beside it stands a type of the same name, with
/// `name::call(..)`, which takes the arguments and makes a `Call` of them; one `use` imports both.
///
/// ```
/// use coney::prelude::*;
///
/// #[derive(Queue)]
/// struct Emails;
///
/// #[derive(Clone)]
/// struct Db;
///
/// /// Welcomes a user.
/// #[task(queue = Emails, retry(max = 8, backoff = exponential("1s", "10m")), timeout = "30s")]
/// async fn welcome(user: u64, greeting: Option<String>, State(db): State<Db>) -> coney::Result<String> {
///     let _ = db;
///     Ok(format!("{} {user}", greeting.unwrap_or_else(|| "hello".to_owned())))
/// }
///
/// let call = welcome::call(7, None).delay(mins(5));
/// # drop(call);
/// ```
///
/// # Options
///
/// | option | value | default | says |
/// |---|---|---|---|
/// | `queue` | a type with `#[derive(Queue)]` | the queue `default` | where calls go |
/// | `name` | text | `<package>.<function>` | the name in messages, the same in every language |
/// | `retry(max = ..)` | number | 5 | how many attempts may follow the first |
/// | `retry(backoff = ..)` | `exponential("1s", "10m")`, `linear("5s", "1m")`, `fixed("30s")` | `exponential("1s", "10m")` | how long they wait: first or step, and the longest |
/// | `retry(jitter = ..)` | `true`, `false` | `true` | whether waits are drawn at random below that |
/// | `timeout` | duration | none | how long one attempt may take |
/// | `soft_timeout` | duration | none | when its cancellation token fires before that |
/// | `expires` | duration | never | how long after sending it is still worth starting |
/// | `priority` | `low`, `normal`, `high`, 0 to 255 | the broker's | its place within the queue |
/// | `ack` | `"late"`, `"early"` | `"late"` | `"early"`: acknowledged before it runs, lost if the worker crashes |
/// | `ignore_result` | | | nobody wants the result |
/// | `track_started` | | | the caller is told when an attempt starts (state `STARTED`) |
/// | `rate_limit` | `"10/s"`, `"10/m"`, `"10/h"` | none | how often it may start on one worker |
/// | `blocking` | | | a plain `fn`, run off the async threads |
/// | `crate` | path | `::coney` | where the facade is, if it is renamed or re-exported |
///
/// A duration is a text such as `"250ms"`, `"30s"`, `"1m 30s"` or `"1.5h"`, checked by the compiler; days and longer are
/// refused, as their length varies: write `"48h"`.
///
/// A name that shall survive a rename of the package or the function is given with `name`: messages in the queues have it.
///
/// # Parameters
///
/// A parameter is an **argument**, which travels in the message by its name, or **injected** by the worker. `State<..>`
/// and `TaskContext` are injected, all else is an argument; `#[inject]` and `#[arg]` on a parameter say otherwise.
///
/// * An argument is `Serialize` and owned `Deserialize`; there are at most 8. An `Option` may be missing in the message:
///   that is how a task grows a parameter while calls of its earlier form are still queued. `coney::Args` takes all
///   further arguments by position and `coney::Kwargs` all further ones by name, as Python's `*args` and `**kwargs`.
/// * An injected parameter implements `FromContext`; it is no part of `call(..)`.
///
/// ```
/// use coney::prelude::*;
/// use coney::{FromContext, Requirements};
///
/// struct Tenant(String);
///
/// impl FromContext for Tenant {
///     fn from_context(ctx: &TaskContext) -> coney::Result<Self> {
///         let name = ctx.headers().get("tenant").and_then(|value| value.as_str());
///         Ok(Self(name.unwrap_or("main").to_owned()))
///     }
///
///     fn requires(_: &mut Requirements) {}
/// }
///
/// #[task]
/// async fn bill(month: u8, #[inject] tenant: Tenant) -> String {
///     format!("month {month} of {}", tenant.0)
/// }
///
/// let call = bill::call(4);
/// # drop(call);
/// ```
///
/// # Results
///
/// A task returns any serde value, or a `Result` of one and an error that says what happens next: one of your own with
/// `#[derive(TaskError)]`, or `coney::Result<T>`, `anyhow::Result<T>` (feature `anyhow`) or a boxed error, which retry.
///
/// # Blocking tasks
///
/// ```
/// use coney::prelude::*;
///
/// #[task(blocking)]
/// fn thumbnail(image: Vec<u8>, edge: u32) -> Vec<u8> {
///     image.into_iter().take(edge as usize).collect()
/// }
///
/// assert_eq!(thumbnail(vec![1, 2, 3], 2), [1, 2]);
/// ```
///
/// # Tasks that run elsewhere
///
/// Without a body it is the contract of a task that another program runs, in Rust or not. It can be sent; a worker
/// that is given it, or a call of the function, does not compile.
///
/// ```
/// use coney::prelude::*;
///
/// #[task(name = "tasks.mul")]
/// async fn mul(x: i64, y: i64) -> i64;
///
/// let call = mul::call(2, 3);
/// # drop(call);
/// ```
///
/// # What to know
///
/// * The task's type and a module of the same name are one name too many: call modules by their subject (`emails`), not
///   by their task (`send_email`).
/// * A `pub` task needs `pub` argument and result types; its queue may be private.
/// * A task is a free function: a method in an `impl` block cannot be one.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task_of(options.into(), &item.into()).into()
}

/// Makes a queue of a type, for `#[task(queue = ..)]` and `call.queue::<..>()`.
///
/// The type is a name for the compiler and never made: a unit struct will do.
///
/// ```
/// use coney::Queue;
///
/// #[derive(Queue)]
/// #[queue(name = "emails", concurrency = 32)]
/// struct Emails;
///
/// assert_eq!(Emails::SPEC.name, "emails");
/// ```
///
/// # Options
///
/// | option | value | default | says |
/// |---|---|---|---|
/// | `name` | text | the type's name in snake case, `order_mails` for `OrderMails` | the name on the broker |
/// | `concurrency` | number | the worker's | how many of its tasks one worker runs at once |
/// | `prefetch` | number | a little more than that | how many of its messages one worker may hold |
/// | `delivery_limit` | number | 20 | how often a message is delivered again before it is a dead letter |
/// | `bind` | text, or `bind("..", "..")` | none | topic patterns of messages for the exchange `coney.topics` that reach it, too |
/// | `crate` | path | `::coney` | where the facade is, if it is renamed or re-exported |
///
/// A name has 1 to 170 bytes, no control characters, and does not start with `amq.`: this is checked by the compiler.
#[proc_macro_derive(Queue, attributes(queue))]
pub fn derive_queue(item: TokenStream) -> TokenStream {
    derive_of(item, queue::derive)
}

/// Says what happens after each error of a task.
///
/// On an enum each variant has at most one mark, on a struct the struct has it:
///
/// | mark | what happens next |
/// |---|---|
/// | none, `#[retry]` | another attempt, as the task's `retry` option says; a dead letter after the last |
/// | `#[retry(after = ..)]` | the same, after this wait |
/// | `#[discard]` | no further attempt; the task has failed, and that is all right |
/// | `#[dead]` | a dead letter at once |
/// | `#[defer(after = ..)]` | the same attempt again after this wait; it costs none |
///
/// The wait is a text (`"30s"`), a `Duration` in a field (`.0`, `.wait`), or what a method of a field answers
/// (`.wait.mul_f32(2.0)`).
///
/// The type implements `std::error::Error`, by thiserror or by hand: its text and its causes are what the caller, the
/// log and the dead letter are told. If it is `Serialize` and `Deserialize` it travels back to the caller whole.
///
/// ```
/// use std::time::Duration;
///
/// use coney::{Next, TaskError};
///
/// #[derive(Debug, thiserror::Error, TaskError)]
/// enum MailError {
///     #[error("the server does not answer")]
///     #[retry]
///     Silent,
///     #[error("no such user")]
///     #[discard]
///     NoUser,
///     #[error("bounced")]
///     #[dead]
///     Bounced,
///     #[error("too many mails")]
///     #[defer(after = .0)]
///     Limited(Duration),
/// }
///
/// let minute = Duration::from_secs(60);
/// assert_eq!(MailError::Limited(minute).next(), Next::Defer(minute));
/// ```
///
/// The marks stand below the derive. `#[task_error(crate = path)]` says where the facade is, if it is not `::coney`.
#[proc_macro_derive(TaskError, attributes(retry, discard, dead, defer, task_error))]
pub fn derive_task_error(item: TokenStream) -> TokenStream {
    derive_of(item, error::derive)
}

fn derive_of(
    item: TokenStream,
    derive: impl Fn(&syn::DeriveInput) -> proc_macro2::TokenStream,
) -> TokenStream {
    match syn::parse(item) {
        Ok(input) => derive(&input).into(),
        Err(error) => error.to_compile_error().into(),
    }
}

fn task_of(
    options: proc_macro2::TokenStream,
    item: &proc_macro2::TokenStream,
) -> proc_macro2::TokenStream {
    let mut problems = Problems::default();
    let options = attr::TaskOptions::parse(options, &mut problems);
    let function = match syn::parse2::<ast::TaskFn>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            problems.push(error);
            let errors = problems.to_compile_errors();
            return quote::quote!(#errors #item);
        }
    };
    let mut wrong = Problems::default();
    validate::check(&function, &options, &mut wrong);
    let code = if wrong.is_empty() {
        expand::task(&function, &options)
    } else {
        fallback::task(&function, &options)
    };
    problems.append(wrong);
    let errors = problems.to_compile_errors();
    quote::quote!(#code #errors)
}
