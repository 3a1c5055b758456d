//! Parameters that travel and parameters that are injected.
use coney::prelude::*;
use coney::{FromContext, Requirements};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone)]
struct Db;

struct Own;

#[derive(Serialize, Deserialize)]
struct Both<T>(T);

impl FromContext for Own {
    fn from_context(_: &TaskContext) -> coney::Result<Self> {
        Ok(Self)
    }
    fn requires(_: &mut Requirements) {}
}

impl<T> FromContext for Both<T> {
    fn from_context(_: &TaskContext) -> coney::Result<Self> {
        Err(coney::Failure::dead("never"))
    }
    fn requires(_: &mut Requirements) {}
}

mod mine {
    // called like ours, but it travels
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct State<T>(pub T);
}

type Pool = State<Db>;

#[task]
async fn injected(
    a: i64,
    State(db): State<Db>,
    ctx: TaskContext,
    #[inject] own: Own,
    #[inject] pool: Pool,
    b: Option<String>,
    _: coney::State<Arc<dyn Fn(&str) -> usize + Send + Sync>>,
    text: State<&'static str>,
) {
    let _ = (a, db, ctx, own, pool, b, text);
}

#[task]
async fn marked(#[arg] one: mine::State<u8>, #[arg] two: Both<u8>, #[inject] three: Both<u8>) {
    let _ = (one, two, three);
}

#[task]
async fn forms(mut x: i64, r#type: u8, map: HashMap<String, Vec<u8>>, text: Cow<'static, str>, _unused: ()) {
    x += 1;
    let _ = (x, r#type, map, text);
}

#[task]
async fn eight(
    a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8,
    i: State<u8>, j: State<u8>, k: State<u8>, l: State<u8>, m: State<u8>, n: State<u8>, o: State<u8>, p: State<u8>,
) -> u8 {
    let _ = (i, j, k, l, m, n, o, p);
    a + b + c + d + e + f + g + h
}

#[task]
async fn r#match(x: u8) -> u8 {
    x
}

fn main() {
    let _ = injected::call(1, None);
    let _ = marked::call(mine::State(1), Both(2));
    let _ = forms::call(1, 2, HashMap::new(), "x".into(), ());
    let _ = eight::call(1, 2, 3, 4, 5, 6, 7, 8);
    let _ = r#match::call(1);
    let _ = injected(1, State(Db), TaskContext::test(), Own, State(Db), None, State(Arc::new(str::len)), State("x"));
}
