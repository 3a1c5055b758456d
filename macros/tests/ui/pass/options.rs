//! Every option, in every form.
use coney::prelude::*;
use coney::Run;

#[derive(Queue)]
#[queue(name = "emails", concurrency = 32, prefetch = 64, delivery_limit = 20, bind = "orders.*.created")]
struct Emails;

#[derive(Queue)]
#[queue(bind("a.*", "b.#"),)]
enum Audit {}

#[task()]
async fn none() {}

#[task(queue = Emails, name = "shop.welcome", timeout = "30s", soft_timeout = "20s", expires = "1h")]
async fn limits() {}

#[task(queue = crate::Emails, retry(max = 8, backoff = exponential("1s", "10m"), jitter = false))]
async fn exponential() {}

#[task(retry(backoff = linear("5s", "1m"), jitter = true,),)]
async fn linear() {}

#[task(retry(max = 0))]
async fn never_again() {}

#[task(retry(backoff = fixed("30s")), priority = low, ack = "late")]
async fn fixed() {}

#[task(priority = normal, ack = "early", ignore_result)]
async fn normal() {}

#[task(priority = high, crate = coney)]
async fn high() {}

#[task(priority = 255, crate = ::coney)]
async fn level() {}

#[task(blocking, priority = 0)]
fn blocking() {}

#[task(timeout = "1m 30s", soft_timeout = "250ms", expires = "1.5h")]
async fn durations() {}

fn runs<T: Run>() {}

fn main() {
    runs::<none>();
    runs::<limits>();
    runs::<exponential>();
    runs::<linear>();
    runs::<never_again>();
    runs::<fixed>();
    runs::<normal>();
    runs::<high>();
    runs::<level>();
    runs::<blocking>();
    runs::<durations>();
    let _ = level::call().queue::<Audit>();
}
