//! A public task needs public types, and a module of its name hides it.
#![allow(unused_variables)]
use coney::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Private;

#[task]
pub async fn public(x: Private) {}

fn main() {}
