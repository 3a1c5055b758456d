//! What is no function.
#![allow(unused_variables)]
use coney::prelude::*;

#[task]
struct Mail;

#[task]
mod mails {}

#[task]
const X: u8 = 1;

fn main() {}
