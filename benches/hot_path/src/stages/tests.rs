//! The stages do what they are measured for.

use std::collections::HashSet;

use coney::protocol::reply::{Reply, Status};
use coney::protocol::topology::Route;
use coney_amqp::__bench::Outgoing;
use coney_amqp::Publication;

use super::*;
use crate::runtime;
use crate::tasks::note;

/// Runs within a runtime, as everything here has to.
fn with_bench(test: impl FnOnce(&Bench)) {
    let runtime = runtime().unwrap();
    let _within = runtime.enter();
    test(&Bench::new().unwrap());
}

#[test]
fn a_call_arrives_as_it_was_sent_and_its_answer_is_the_sum() {
    with_bench(|bench| {
        let call = bench.prepared(add::call(1, 2)).unwrap();
        let id = call.message.header.id.clone();
        let sent = bench.published(call).unwrap();
        assert!(sent.payload.starts_with(br#"[[],{"a":1,"b":2},"#));
        assert_eq!(sent.routing_key, "default");
        let outgoing = Outgoing::new(sent.clone()).unwrap();
        let message_id = outgoing.id().map(ToOwned::to_owned);

        let delivery = bench.delivery(bench.bring(outgoing).unwrap());
        assert_eq!(delivery.payload, sent.payload);
        assert_eq!(delivery.routing_key, sent.routing_key);
        assert_eq!(delivery.properties.message_id, message_id);
        assert_eq!(delivery.properties.reply_to, sent.properties.reply_to);
        let headers = &delivery.properties.headers;
        assert_eq!(headers.len(), sent.properties.headers.len());
        for (name, value) in sent.properties.headers.iter() {
            assert_eq!(headers.get(name), Some(value), "{name}");
        }

        let bound = bench.bound(bench.read(delivery).unwrap()).unwrap();
        let answer = bench.ran(bound).unwrap().publication();
        assert_eq!(
            Some(&*answer.routing_key),
            sent.properties.reply_to.as_deref()
        );
        let reply = Reply::decode(&answer.payload).unwrap();
        assert_eq!(reply.task_id, id);
        assert_eq!((reply.status, reply.result.get()), (Status::Success, "3"));
    });
}

#[test]
fn arguments_of_another_type_are_refused() {
    with_bench(|bench| {
        let mut sent = bench
            .published(bench.prepared(add::call(1, 2)).unwrap())
            .unwrap();
        sent = Publication::new(
            Route::to_queue("default".to_owned()),
            sent.properties,
            r#"[[],{"a":1,"b":"two"},{}]"#,
        );
        let incoming = bench.bring(Outgoing::new(sent).unwrap()).unwrap();
        let read = bench.read(bench.delivery(incoming)).unwrap();
        assert!(bench.bound(read).is_err());
    });
}

#[test]
fn a_task_without_a_result_is_acknowledged_at_its_end() {
    with_bench(|bench| {
        let call = bench.prepared(note::call("hello".to_owned())).unwrap();
        let sent = bench.published(call).unwrap();
        assert_eq!(sent.properties.reply_to, None);
        let delivery = bench.delivery(bench.bring(Outgoing::new(sent).unwrap()).unwrap());
        assert_eq!(bench.inbox().borrow_mut().settle(), 0);
        assert!(bench.running().work(delivery));
        assert_eq!(bench.inbox().borrow_mut().settle(), 1);
    });
}

#[test]
fn every_stage_does_its_work_again_and_again() {
    let runtime = runtime().unwrap();
    let _within = runtime.enter();
    let mut names = HashSet::new();
    for mut stage in stages().unwrap() {
        for steps in [1, 3] {
            stage.prepare(steps).unwrap();
            stage
                .run()
                .unwrap_or_else(|error| panic!("{stage:?}: {error:#}"));
        }
        assert!(names.insert(stage.name()), "{stage:?} is there twice");
    }
}
