//! Arguments that do not travel, injected parameters that cannot be injected, and types that could be both.
#![allow(unused_variables)]
use coney::prelude::*;
use coney::State as S;
use serde::{Deserialize, Serialize};

struct Db;

#[derive(Clone)]
struct Context;

#[derive(Serialize, Deserialize)]
struct Tenant;

impl coney::FromContext for Tenant {
    fn from_context(_: &TaskContext) -> Result<Self, coney::Failure> { Ok(Self) }
    fn requires(_: &mut coney::Requirements) {}
}

#[task]
async fn not_serde(id: u64, db: Db) {}

#[task]
async fn nested(db: Vec<Option<Db>>) {}

#[task]
async fn renamed(S(db): S<u8>, db2: S<u8>) {}

#[task]
async fn renamed_with_a_name(db: S<u8>) {}

#[task]
async fn not_an_extractor(#[inject] ctx: Context) {}

#[task]
async fn state_that_is_not_clone(db: State<Db>) {}

#[task]
async fn could_be_both(tenant: Tenant) {}

#[task]
async fn says_which(#[arg] tenant: Tenant, #[inject] other: Tenant) {}

fn main() {}
