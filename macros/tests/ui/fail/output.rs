//! Outputs and errors that do not travel: one message each, under the type.
#![allow(unused_variables)]
use coney::prelude::*;

struct Page;

#[derive(Debug)]
struct MailError;

type Res<T> = Result<T, MailError>;

#[task]
async fn plain_output() -> Page { Page }

#[task]
async fn output_in_a_result() -> Result<Page, coney::Failure> { Ok(Page) }

#[task]
async fn silent_error() -> Result<u8, MailError> { Ok(1) }

#[task]
async fn both() -> Result<Page, MailError> { Ok(Page) }

#[task]
async fn alias() -> Res<u8> { Ok(1) }

#[task]
async fn io() -> std::io::Result<u8> { Ok(1) }

#[task]
async fn other_alias() -> anyhow::Result<Page> { Ok(Page) }

fn main() {}
