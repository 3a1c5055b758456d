//! What a task cannot be: all mistakes of a signature at once, and nothing about those who use it.
#![allow(unused_variables)]
use coney::prelude::*;

#[task]
async fn generic<T>(x: T) -> T { x }

#[task]
async fn bounded(x: i64) where i64: Copy {}

#[task]
async fn impl_argument(x: impl ToString) {}

#[task]
async fn str_argument(x: &str, y: &'static str, z: &[u8], path: &std::path::Path) {}

#[task]
async fn lifetime<'a>(x: &'a str) -> &'a str { x }

#[task]
async fn nested(x: Option<&u8>) {}

#[task]
async fn reference_to_state(db: &State<u8>, #[inject] own: &u8) {}

#[task]
async fn nameless(_: i64, (a, b): (u8, u8)) {}

#[task]
fn neither_async_nor_blocking(x: i64) {}

#[task(blocking)]
async fn both() {}

#[task]
async unsafe fn not_safe() {}

#[task]
async extern "C" fn foreign() {}

#[task(blocking)]
const fn constant() {}

#[task]
async fn nine(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) {}

#[task]
async fn nine_injected(
    a: TaskContext, b: TaskContext, c: TaskContext, d: TaskContext, e: TaskContext,
    f: TaskContext, g: TaskContext, h: TaskContext, i: TaskContext,
) {}

#[task]
async fn marked_twice(#[arg] #[inject] x: u8) {}

#[task]
async fn mark_with_arguments(#[inject(x)] x: State<u8>) {}

#[task]
async fn conditional(#[cfg(unix)] x: u8) {}

#[task]
async fn injected_into_a_contract(x: i64, ctx: TaskContext);

#[task(retry(max = 3), ack = "early", blocking)]
async fn options_of_the_body(x: i64);

#[task]
fn plain_contract(x: i64);

struct Mailer;

impl Mailer {
    #[task]
    async fn send(&self, user: u64) {}
}

fn main() {
    let _ = generic::call(1).prepare();
    let _ = bounded::call(1).prepare();
    let _ = impl_argument::call("x").prepare();
    let _ = str_argument::call("x", "y", [1], "z").prepare();
    let _ = nine::call(1, 2, 3, 4, 5, 6, 7, 8, 9).prepare();
    neither_async_nor_blocking(1);
    fn runs<T: coney::Run>() {}
    runs::<nameless>();
}
