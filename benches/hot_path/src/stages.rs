//! The stages, in the order in which a message goes through them.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use coney_amqp::__bench::{Confirms, Outgoing};
use coney_amqp::Acker;
use serde_json::value::RawValue;

use crate::bench::Bench;
use crate::stage::Stage;
use crate::tasks::add;

/// How many publications are confirmed together.
const CONFIRMED: usize = 64;

/// How many deliveries are acknowledged together.
const ACKNOWLEDGED: usize = 100;

/// All stages. `encode_call` and `decode_and_bind` are followed by the parts that they consist of.
///
/// # Errors
///
/// When coney finds fault with the set-up.
pub fn stages() -> Result<Vec<Stage>> {
    let bench = Bench::new()?;
    let stages: [fn(Rc<Bench>) -> Stage; 13] = [
        encode_call,
        prepare,
        route,
        convert,
        confirm,
        decode_and_bind,
        read_properties,
        read_header,
        bind,
        run_and_decide,
        encode_reply,
        decode_reply,
        acknowledge,
    ];
    let mut stages: Vec<_> = stages.iter().map(|of| of(Rc::clone(&bench))).collect();
    stages.push(tell_monitors(Rc::clone(&bench))?);
    stages.push(work(bench));
    Ok(stages)
}

/// `add::call(1, 2)` until it is with the publishing task, in lapin's form.
fn encode_call(bench: Rc<Bench>) -> Stage {
    let input = || Ok(());
    Stage::new("encode_call", 1, input, move |()| bench.sent())
}

/// Options merged, arguments encoded, names checked.
fn prepare(bench: Rc<Bench>) -> Stage {
    let input = || Ok(());
    Stage::new("prepare", 1, input, move |()| {
        bench.prepared(add::call(1, 2))
    })
}

/// The headers of an encoded call, and where it goes.
fn route(bench: Rc<Bench>) -> Stage {
    let sender = Rc::clone(&bench);
    let input = move || bench.prepared(add::call(1, 2));
    Stage::new("route", 1, input, move |call| sender.published(call))
}

/// A publication as lapin wants it.
fn convert(bench: Rc<Bench>) -> Stage {
    let input = move || bench.published(bench.prepared(add::call(1, 2))?);
    Stage::new("convert", 1, input, |publication| {
        Ok(Outgoing::new(publication)?)
    })
}

/// The books of the publishing task: what is on its way, what is confirmed, who is told.
fn confirm(bench: Rc<Bench>) -> Stage {
    let sender = Rc::clone(&bench);
    let input = move || {
        (0..CONFIRMED)
            .map(|_| bench.sent())
            .collect::<Result<Vec<_>>>()
    };
    let mut confirms = Confirms::default();
    Stage::new("confirm", CONFIRMED, input, move |messages| {
        for message in messages {
            confirms.publish(message);
        }
        ensure!(confirms.confirm() == CONFIRMED, "a message is not stored");
        for _ in 0..CONFIRMED {
            sender.sending().count("default");
        }
        Ok(())
    })
}

/// A call from lapin until it can run.
fn decode_and_bind(bench: Rc<Bench>) -> Stage {
    let worker = Rc::clone(&bench);
    let input = move || bench.received();
    Stage::new("decode_and_bind", 1, input, move |incoming| {
        worker.bound(worker.read(worker.delivery(incoming))?)
    })
}

/// Properties and headers, free of lapin.
fn read_properties(bench: Rc<Bench>) -> Stage {
    let worker = Rc::clone(&bench);
    let input = move || bench.received();
    Stage::new("read_properties", 1, input, move |incoming| {
        Ok(worker.delivery(incoming))
    })
}

/// The header, and whether it runs.
fn read_header(bench: Rc<Bench>) -> Stage {
    let worker = Rc::clone(&bench);
    let input = move || Ok(bench.delivery(bench.received()?));
    Stage::new("read_header", 1, input, move |delivery| {
        worker.read(delivery)
    })
}

/// The arguments, and what the task sees of the worker.
fn bind(bench: Rc<Bench>) -> Stage {
    let worker = Rc::clone(&bench);
    let input = move || bench.read(bench.delivery(bench.received()?));
    Stage::new("bind", 1, input, move |read| worker.bound(read))
}

/// The task itself with its limits, and what follows.
fn run_and_decide(bench: Rc<Bench>) -> Stage {
    let worker = Rc::clone(&bench);
    let input = move || bench.bound(bench.read(bench.delivery(bench.received()?))?);
    Stage::new("run_and_decide", 1, input, move |bound| worker.ran(bound))
}

/// The result until it is with the publishing task, in lapin's form.
fn encode_reply(bench: Rc<Bench>) -> Stage {
    let input = move || bench.ran(bench.bound(bench.read(bench.delivery(bench.received()?))?)?);
    Stage::new("encode_reply", 1, input, |answer| {
        Ok(Outgoing::new(answer.publication())?)
    })
}

/// A result from lapin until its caller has it.
fn decode_reply(bench: Rc<Bench>) -> Stage {
    let client = Rc::clone(&bench);
    let input = move || bench.replied();
    Stage::new("decode_reply", 1, input, move |(handle, reply)| {
        let sending = client.sending();
        sending.deliver(client.delivery(reply));
        let result = sending.result(&handle).context("no result has come")?;
        ensure!(result.is_ok_and(|sum| sum == 3), "another result has come");
        Ok(())
    })
}

/// The books of a consuming channel: what is settled, with how few frames.
fn acknowledge(bench: Rc<Bench>) -> Stage {
    let worker = Rc::clone(&bench);
    let input = move || {
        let mut inbox = bench.inbox().borrow_mut();
        Ok((0..ACKNOWLEDGED).map(|_| inbox.acker()).collect::<Vec<_>>())
    };
    Stage::new("acknowledge", ACKNOWLEDGED, input, move |ackers| {
        ackers.into_iter().for_each(Acker::ack);
        ensure!(
            worker.inbox().borrow_mut().settle() > 0,
            "nothing is acknowledged"
        );
        Ok(())
    })
}

/// Three events of a task: received, started, succeeded.
fn tell_monitors(bench: Rc<Bench>) -> Result<Stage> {
    let worker = Rc::clone(&bench);
    let input = move || bench.read(bench.delivery(bench.received()?));
    let result = RawValue::from_string("3".to_owned())?;
    Ok(Stage::new("tell_monitors", 1, input, move |read| {
        worker.telling().tell(&read, &result);
        Ok(read)
    }))
}

/// A task without a result from lapin to its ack: all that the worker does.
fn work(bench: Rc<Bench>) -> Stage {
    let worker = Rc::clone(&bench);
    let input = move || bench.received_note();
    Stage::new("work", 1, input, move |incoming| {
        let is_done = worker.running().work(worker.delivery(incoming));
        ensure!(is_done, "the task does not run to its end at once");
        Ok(())
    })
}

#[cfg(test)]
mod tests;
