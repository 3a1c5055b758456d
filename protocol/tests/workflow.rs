//! Workflows as they are sent, against what Celery's client sends (`golden/publish_*.json`).

use std::path::Path;
use std::time::{Duration, SystemTime};

use coney_protocol::call::{DynamicCall, Prepared, Sender};
use coney_protocol::error::EncodeError;
use coney_protocol::options::Priority;
use coney_protocol::spec::RetryPolicy;
use coney_protocol::workflow::{Sealed, WorkflowSender, chain, group};
use serde_json::{Value as Json, json};

/// Hands out what it is given.
struct Double;

/// Why nothing was sent.
#[derive(Debug)]
struct Refused(EncodeError);

impl From<EncodeError> for Refused {
    fn from(error: EncodeError) -> Self {
        Self(error)
    }
}

/// A message that was sent: its body, id, group and place in it.
type Sent = (Json, Json);

impl Sender for Double {
    type Handle<O, E> = Vec<Sent>;
    type Error = Refused;

    async fn deliver<O: Send + 'static, E: 'static>(
        &self,
        call: Prepared<O, E>,
    ) -> Result<Vec<Sent>, Refused> {
        Ok(vec![sent(&call)])
    }
}

impl WorkflowSender for Double {
    fn reply_queue(&self) -> Option<String> {
        Some("replies".to_owned())
    }

    async fn deliver_workflow<O: Send + 'static>(
        &self,
        workflow: Sealed<O>,
    ) -> Result<Vec<Vec<Sent>>, Refused> {
        let mut heads: Vec<_> = workflow.heads.iter().map(sent).collect();
        let ends = workflow.ends.iter().map(|end| json!(end.id));
        heads.push((ends.collect(), Json::Null));
        Ok(vec![heads])
    }
}

fn sent<O, E>(call: &Prepared<O, E>) -> Sent {
    let header = &call.message.header;
    let body = serde_json::from_slice(&call.message.body.bytes).expect("JSON");
    (
        body,
        json!([header.task, header.id, header.group, header.group_index]),
    )
}

/// The result of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn heads<T>(result: Result<Vec<T>, Refused>) -> T {
    result.expect("sent").remove(0)
}

fn recorded(case: &str) -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{case}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Json = serde_json::from_str(&text).expect("JSON");
    file["messages"].as_array().expect("messages").clone()
}

/// Ids and reply queues differ from run to run; queues are named by us.
fn bare(json: &Json) -> Json {
    match json {
        Json::Array(items) => items.iter().map(bare).collect(),
        Json::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "queue");
            let members = members.map(|(name, value)| match (&**name, value) {
                ("task_id" | "reply_to" | "group_id", Json::String(_)) => {
                    (name.clone(), json!("given"))
                }
                _ => (name.clone(), bare(value)),
            });
            Json::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn add(args: Json) -> DynamicCall {
    DynamicCall::new("wire.add", args).queue_named("celery")
}

#[test]
fn a_chain_is_what_celery_s_client_sends() {
    let all = chain(add(json!([1, 2])))
        .then(add(json!([10])).step())
        .then(add(json!([100])).step());
    let sent = heads(now(all.send(&Double)).map(|head| vec![head]));
    assert_eq!(
        bare(&sent[0].0),
        bare(&recorded("publish_chain3")[0]["body_json"])
    );
    // whoever waits, waits for the last step
    let chain = &sent[0].0[2]["chain"];
    assert_eq!(sent[1].0, json!([chain[0]["options"]["task_id"]]));
    assert_eq!(chain[0]["options"]["reply_to"], "replies");
}

#[test]
fn a_group_of_chains_is_what_celery_s_client_sends() {
    let member = |a: i64, b: i64| chain(add(json!([a, a]))).then(add(json!([b])).step());
    let sent = heads(now(group([member(1, 2), member(3, 4)])
        .id("g")
        .send(&Double)));
    for (sent, recorded) in sent.iter().zip(recorded("publish_group_of_chains")) {
        assert_eq!(bare(&sent.0), bare(&recorded["body_json"]));
    }
    let last = |at: usize| &sent[at].0[2]["chain"][0]["options"];
    assert_eq!(
        (&last(1)["group_id"], &last(1)["group_index"]),
        (&json!("g"), &json!(1))
    );
    assert_eq!(sent[2].0, json!([last(0)["task_id"], last(1)["task_id"]]));
}

#[test]
fn a_group_has_one_id_and_an_index_for_each_member() {
    let calls = [0, 1, 2].map(|n| add(json!([n, n])));
    let sent = heads(now(group(calls).id("g").send(&Double)));
    for (at, sent) in sent[..3].iter().enumerate() {
        assert_eq!((&sent.1[2], &sent.1[3]), (&json!("g"), &json!(at)));
        assert_eq!(
            sent.0[2],
            json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null})
        );
    }
    let none = group(Vec::<DynamicCall>::new());
    assert_eq!(now(none.send(&Double)).expect("nothing to send").len(), 0);
}

#[test]
fn a_chain_ends_in_a_group_as_celery_has_it() {
    let all =
        chain(add(json!([1, 1]))).then_each([add(json!([10])).step(), add(json!([20])).step()]);
    let sent = heads(now(all.id("g").send(&Double)));
    let last = &sent[0].0[2]["chain"][0];
    assert_eq!(
        (&last["task"], &last["options"]["task_id"]),
        (&json!("celery.group"), &json!("g"))
    );
    let members = last["kwargs"]["tasks"].as_array().expect("members");
    assert_eq!(members[1]["options"]["group_index"], 1);
    let ids: Vec<_> = members
        .iter()
        .map(|m| m["options"]["task_id"].clone())
        .collect();
    assert_eq!(sent[1].0, Json::Array(ids));
}

#[test]
fn links_are_what_celery_s_client_sends() {
    let call = add(json!([2, 3]))
        .link(add(json!([10])).step())
        .link_error(DynamicCall::new("wire.errback", json!([])).step());
    let sent = now(call.send(&Double)).expect("sent");
    let embed = &sent[0].0[2];
    let signature = |task: &str, args: Json| {
        json!([{
            "task": task, "args": args, "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false,
        }])
    };
    assert_eq!(
        bare(&embed["callbacks"]),
        signature("wire.add", json!([10]))
    );
    assert_eq!(
        bare(&embed["errbacks"]),
        signature("wire.errback", json!([]))
    );
}

#[test]
fn a_later_step_keeps_all_its_options() {
    let step = add(json!([]))
        .id("fixed")
        .priority(Priority::Level(7))
        .delay(Duration::from_millis(1500))
        .expires(Duration::from_secs(60))
        .timeout(Duration::from_secs(9))
        .soft_timeout(Duration::from_secs(8))
        .ignore_result(true)
        .retry(RetryPolicy::max(2))
        .header("mine", "yes")
        .exchange("e", "k");
    let inner = chain(add(json!([]))).then(add(json!([])).eta(SystemTime::UNIX_EPOCH));
    let sent = heads(now(chain(inner).then(step).send(&Double)).map(|head| vec![head]));
    let steps = &sent[0].0[2]["chain"];
    let options = &steps[0]["options"];
    assert_eq!(
        (&options["task_id"], &options["priority"]),
        (&json!("fixed"), &json!(7))
    );
    assert_eq!(
        (&options["countdown"], &options["expires"]),
        (&json!(1.5), &json!(60.0))
    );
    assert_eq!(
        (&options["time_limit"], &options["soft_time_limit"]),
        (&json!(9.0), &json!(8.0))
    );
    assert_eq!(
        (&options["exchange"], &options["routing_key"]),
        (&json!("e"), &json!("k"))
    );
    assert_eq!(
        (&options["ignore_result"], &options["headers"]["mine"]),
        (&json!(true), &json!("yes"))
    );
    assert!(options["headers"]["coney-retry"].is_string());
    // a call ignores what it follows, and chains in chains are one
    assert_eq!(
        (&steps[0]["immutable"], steps.as_array().map(Vec::len)),
        (&json!(true), Some(2))
    );
    assert_eq!(steps[1]["options"]["eta"], "1970-01-01T00:00:00+00:00");
}

#[test]
fn what_cannot_be_encoded_is_told_when_the_workflow_is_sent() {
    let wrong = || DynamicCall::new("t", json!(7));
    let refused = now(chain(add(json!([]))).then(wrong()).send(&Double));
    assert!(matches!(refused, Err(Refused(EncodeError::Step(_)))));
    let refused = now(group([wrong()]).send(&Double));
    assert!(matches!(refused, Err(Refused(EncodeError::Step(_)))));
    let refused = now(add(json!([])).link(wrong()).send(&Double));
    assert!(matches!(refused, Err(Refused(EncodeError::Step(_)))));
}
