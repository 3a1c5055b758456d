//! What follows from a task, against what a Celery 5.7 worker sent in the same place (`golden/run_*.json`).

use std::path::Path;
use std::time::{Duration, SystemTime};

use coney_protocol::canvas::{
    CanvasError, Child, Destination, MOST_SIGNATURES, MOST_STEPS, Outgoing, Parent, Plan,
};
use coney_protocol::codec::body::RawCall;
use coney_protocol::id::TaskId;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

const WORKER: &str = "0b3b56c6-801c-3952-8478-16a4eae5a1ab";

fn recording(case: &str) -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{case}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Json = serde_json::from_str(&text).expect("JSON");
    file["messages"].as_array().expect("messages").clone()
}

fn plan(body: &[u8]) -> Result<Option<Plan>, CanvasError> {
    let call = RawCall::cut(body).expect("a body");
    Plan::read(&call.embed)
}

/// The plan of a message that embeds this.
fn embedding(embed: &Json) -> Result<Plan, CanvasError> {
    let body = json!([[], {}, embed]).to_string();
    plan(body.as_bytes()).map(|plan| plan.expect("something follows"))
}

fn parent<'a>(id: &'a TaskId, root: &'a TaskId) -> Parent<'a> {
    Parent::new(id, root, WORKER, "w1@host", SystemTime::UNIX_EPOCH, None)
}

fn succeeded(embed: &Json, result: &str) -> (Vec<Outgoing>, Vec<Child>) {
    let id = TaskId::from("p");
    let result = RawValue::from_string(result.to_owned()).expect("JSON");
    let plan = embedding(embed).expect("a good plan");
    let followers = plan.succeeded(&parent(&id, &id), &result);
    let followers = followers.expect("what was checked can be sent");
    (followers.outgoing, followers.children)
}

fn body(outgoing: &Outgoing) -> Json {
    serde_json::from_slice(&outgoing.message().body.bytes).expect("own bodies are JSON")
}

/// An empty list of steps means the same as none.
fn without_empty(mut body: Json) -> Json {
    if let Some(embed) = body[2].as_object_mut() {
        for (_, value) in embed {
            if *value == json!([]) {
                *value = Json::Null;
            }
        }
    }
    body
}

/// Ids that neither side has fixed become the same word.
fn masked(mut json: Json, fixed: &str) -> Json {
    match &mut json {
        Json::String(text) if text.len() == 36 && !fixed.contains(&**text) => json!("made up"),
        Json::Array(items) => items.drain(..).map(|item| masked(item, fixed)).collect(),
        other => other.take(),
    }
}

/// Plays one recording: each task that a worker ran, and what it sent after that.
fn check(case: &str) {
    let messages = recording(case);
    let fixed = messages[0]["body_text"]
        .as_str()
        .expect("a body")
        .to_owned()
        + messages[0]["headers"]["id"].as_str().expect("an id");
    let mut checked = 0;
    for task in messages.iter().filter(|m| m["kind"] == "task") {
        let id = TaskId::from(task["headers"]["id"].as_str().expect("an id"));
        let Some(done) = messages
            .iter()
            .find(|m| m["kind"] == "result" && m["body_json"]["task_id"] == task["headers"]["id"])
        else {
            continue;
        };
        let recorded: Vec<_> = messages
            .iter()
            .filter(|m| m["kind"] == "task" && m["headers"]["parent_id"] == task["headers"]["id"])
            .collect();
        let text = task["body_text"].as_str().expect("a body");
        let plan = plan(text.as_bytes()).unwrap_or_else(|e| panic!("{case}: {e}"));
        let plan = plan.unwrap_or_default();
        let root = TaskId::from(task["headers"]["root_id"].as_str().expect("a root"));
        let parent = parent(&id, &root);
        let (sent, children) = if done["body_json"]["status"] == "SUCCESS" {
            let result = done["body_json"]["result"].to_string();
            let result = RawValue::from_string(result).expect("JSON");
            let followers = plan.succeeded(&parent, &result).expect("checked");
            (followers.outgoing, followers.children)
        } else {
            let told: Vec<_> = plan.abandoned().into_iter().map(|told| told.id).collect();
            let recorded: Vec<_> = messages
                .iter()
                .filter(|m| {
                    m["kind"] == "result" && m["body_json"]["task_id"] != task["headers"]["id"]
                })
                .filter(|m| m["body_json"]["status"] == "FAILURE")
                .map(|m| TaskId::from(m["body_json"]["task_id"].as_str().expect("an id")))
                .collect();
            assert_eq!(told, recorded, "{case}");
            (plan.failed(&parent).expect("checked"), Vec::new())
        };
        assert_eq!(sent.len(), recorded.len(), "{case}: {sent:#?}");
        for (sent, recorded) in sent.iter().zip(recorded) {
            check_sent(case, sent, recorded, &fixed);
            checked += 1;
        }
        let children = serde_json::to_value(&children).expect("JSON");
        let recorded = done["body_json"]["children"].clone();
        assert_eq!(masked(children, &fixed), masked(recorded, &fixed), "{case}");
    }
    assert!(checked > 0, "{case}: nothing followed");
}

fn check_sent(case: &str, sent: &Outgoing, recorded: &Json, fixed: &str) {
    let (header, headers) = (&sent.header, &recorded["headers"]);
    assert_eq!(json!(header.task), headers["task"], "{case}");
    let same = |name: &str, ours: Json| {
        let (ours, theirs) = (masked(ours, fixed), masked(headers[name].clone(), fixed));
        assert_eq!(ours, theirs, "{case}: {name}");
    };
    same("id", json!(header.id));
    same("group", json!(header.group));
    same("group_index", json!(header.group_index));
    same("root_id", json!(header.root_id));
    same("parent_id", json!(header.parent_id));
    let reply_to = &recorded["properties"]["reply_to"];
    assert_eq!(json!(header.reply_to), *reply_to, "{case}");
    let queue = recorded["routing_key"].as_str().expect("a key");
    match &sent.destination {
        Destination::Default => assert_eq!(queue, "celery", "{case}"),
        destination => assert_eq!(*destination, Destination::Queue(queue.to_owned()), "{case}"),
    }
    let theirs = without_roots(without_empty(recorded["body_json"].clone()));
    assert_eq!(without_empty(body(sent)), theirs, "{case}");
    if case == "run_stamped" {
        assert_eq!(header.stamped_headers, ["batch", "tenant"]);
        assert_eq!(header.stamps.get("tenant"), Some(&"acme".into()));
    }
}

/// Celery notes the root in later steps of a chain within; a worker knows it anyway.
fn without_roots(mut body: Json) -> Json {
    if let Some(steps) = body[2]["chain"].as_array_mut() {
        for step in steps {
            if let Some(options) = step["options"].as_object_mut() {
                options.remove("root_id");
            }
        }
    }
    body
}

#[test]
fn what_follows_is_what_a_celery_worker_sends() {
    for case in [
        "run_chain3",
        "run_chain_failure",
        "run_chain_group",
        "run_chain_group_of_chains",
        "run_link",
        "run_link_two",
        "run_link_chain",
        "run_link_group",
        "run_link_frozen",
        "run_link_error_old",
        "run_link_error_unknown",
        "run_stamped",
    ] {
        check(case);
    }
}

#[test]
fn callbacks_come_before_the_next_step_and_the_rest_stays_byte_for_byte() {
    let embed = r#"{"callbacks":[{"task":"c"}],"chain":[{ "task" : "z", "x":1},{"task":"y","args":["\u00e9"]},{"task":"x"}]}"#;
    let body_text = format!("[[],{{}},{embed}]");
    let plan = plan(body_text.as_bytes()).expect("good").expect("a plan");
    let (id, root) = (TaskId::from("p"), TaskId::from("r"));
    let sent = plan.succeeded(&parent(&id, &root), RawValue::NULL);
    let sent = sent.expect("checked").outgoing;
    let tasks: Vec<_> = sent.iter().map(|out| &*out.header.task).collect();
    assert_eq!(tasks, ["c", "x"]);
    // null is a result like any other
    assert_eq!(body(&sent[0])[0], json!([null]));
    let text = sent[1].message().body.bytes;
    let text = std::str::from_utf8(&text).expect("UTF-8");
    assert!(
        text.contains(r#"[{ "task" : "z", "x":1}, {"task":"y","args":["\u00e9"]}]"#),
        "{text}"
    );
}

#[test]
fn an_immutable_signature_gets_no_result_wherever_it_stands() {
    let group = json!({"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [
        {"task": "a", "args": [1], "immutable": true}, {"task": "b", "args": [2]},
    ]}});
    let (sent, _) = succeeded(
        &json!({"callbacks": [group], "chain": [{"task": "c", "immutable": true}]}),
        "7",
    );
    let args: Vec<_> = sent.iter().map(|out| body(out)[0].clone()).collect();
    assert_eq!(args, [json!([1]), json!([7, 2]), json!([])]);
}

#[test]
fn every_option_of_a_signature_is_obeyed() {
    let options = json!({
        "task_id": "t1", "reply_to": "r1", "queue": "q1", "priority": 5, "countdown": 1.5, "expires": 60,
        "headers": {"mine": {"n": 1}, "id": "stolen", "coney-retry": "max=0"}, "time_limit": 9, "soft_time_limit": 0.5, "group_id": "g1",
        "group_index": 3, "ignore_result": true, "shadow": "s", "retries": 2, "replaced_task_nesting": 1,
        "stamped_headers": ["tenant"], "tenant": ["a", "b"], "serializer": "json", "nonsense": [1], "eta": null,
        "link": {"task": "l"}, "link_error": [{"task": "e"}], "chain": [{"task": "n"}], "root_id": "x", "parent_id": "y",
    });
    let (sent, children) = succeeded(
        &json!({"callbacks": [{"task": "a", "options": options}]}),
        "1",
    );
    let [out] = &sent[..] else { panic!("{sent:?}") };
    let header = &out.header;
    let after = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(secs);
    assert_eq!(
        (header.id.clone(), header.reply_to.as_deref()),
        ("t1".into(), Some("r1"))
    );
    assert_eq!(out.destination, Destination::Queue("q1".into()));
    assert_eq!((header.priority, header.eta), (Some(5), Some(after(1.5))));
    assert_eq!(header.expires, Some(after(60.0)));
    assert_eq!(header.time_limit.hard, Some(Duration::from_secs(9)));
    assert_eq!(header.time_limit.soft, Some(Duration::from_millis(500)));
    assert_eq!(
        (header.group.as_deref(), header.group_index),
        (Some("g1"), Some(3))
    );
    assert_eq!(
        (header.ignore_result, header.shadow.as_deref()),
        (Some(true), Some("s"))
    );
    assert_eq!((header.retries, header.replaced_task_nesting), (2, 1));
    assert_eq!(header.stamped_headers, ["tenant"]);
    assert_eq!(header.stamps.len(), 1);
    let own: Vec<_> = header.extra.iter().map(|(name, _)| name).collect();
    assert_eq!(own, ["coney-retry", "mine"]);
    assert_eq!(
        (header.root(), header.parent_id.as_ref()),
        (&"p".into(), Some(&"p".into()))
    );
    let embed = json!({"callbacks": [{"task": "l"}], "errbacks": [{"task": "e"}], "chain": [{"task": "n"}], "chord": null});
    assert_eq!(body(out)[2], embed);
    assert_eq!(children, [Child::task("t1".into())]);
}

#[test]
fn times_are_read_as_text_and_as_typed_values() {
    let at = "1970-01-01T00:01:00+00:00";
    let typed = json!({"__type__": "datetime", "__value__": at});
    for eta in [json!(at), typed] {
        let options = json!({"eta": eta, "expires": eta});
        let (sent, _) = succeeded(
            &json!({"callbacks": [{"task": "a", "options": options}]}),
            "1",
        );
        let minute = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        assert_eq!(
            (sent[0].header.eta, sent[0].header.expires),
            (minute, minute)
        );
    }
}

#[test]
fn where_a_signature_goes_is_read_from_queue_exchange_and_key() {
    let exchange = |name: &str, key: Option<&str>| Destination::Exchange {
        name: name.into(),
        key: key.map(Into::into),
    };
    let queue = |name: &str| Destination::Queue(name.into());
    for (options, expected) in [
        (json!({}), Destination::Default),
        (json!({"queue": "q"}), queue("q")),
        (json!({"queue": "q", "routing_key": "q"}), queue("q")),
        (
            json!({"queue": "q", "routing_key": "k"}),
            exchange("q", Some("k")),
        ),
        (json!({"routing_key": "k"}), queue("k")),
        (json!({"exchange": "", "routing_key": "k"}), queue("k")),
        (
            json!({"exchange": "e", "routing_key": "k"}),
            exchange("e", Some("k")),
        ),
        (json!({"exchange": "e"}), exchange("e", None)),
        (
            json!({"exchange": "e", "queue": "q"}),
            exchange("e", Some("q")),
        ),
    ] {
        let embed = json!({"callbacks": [{"task": "a", "options": options}]});
        let (sent, _) = succeeded(&embed, "1");
        assert_eq!(sent[0].destination, expected, "{options}");
    }
}

#[test]
fn what_is_sent_twice_has_the_same_ids() {
    let group =
        json!({"task": "celery.group", "kwargs": {"tasks": [{"task": "a"}, {"task": "a"}]}});
    let embed = json!({"callbacks": [{"task": "a"}, {"task": "a"}], "chain": [group]});
    let ids = || {
        let (sent, _) = succeeded(&embed, "1");
        sent.into_iter()
            .map(|out| out.header.id)
            .collect::<Vec<_>>()
    };
    let mut first = ids();
    assert_eq!(first, ids());
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 4);
}

#[test]
fn groups_in_groups_are_one_group() {
    let inner =
        json!({"task": "celery.group", "kwargs": {"tasks": [{"task": "b"}, {"task": "c"}]}});
    let outer = json!({"task": "celery.group", "kwargs": {"tasks": [{"task": "a"}, inner, {"task": "d"}]},
        "options": {"task_id": "g", "queue": "q"}});
    let (sent, children) = succeeded(&json!({"chain": [outer]}), "1");
    let places: Vec<_> = sent
        .iter()
        .map(|out| {
            (
                &*out.header.task,
                out.header.group.as_deref(),
                out.header.group_index,
            )
        })
        .collect();
    let g = Some("g");
    assert_eq!(
        places,
        [
            ("a", g, Some(0)),
            ("b", g, Some(1)),
            ("c", g, Some(2)),
            ("d", g, Some(3))
        ]
    );
    assert!(
        sent.iter()
            .all(|out| out.destination == Destination::Queue("q".into()))
    );
    assert_eq!(children.len(), 1);
    assert_eq!(children[0].members.as_ref().map(Vec::len), Some(4));
}

#[test]
fn a_chain_within_a_chain_goes_on_with_the_outer_one_and_its_links_are_its_last_step_s() {
    let inner = json!({"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [
        {"task": "a"}, {"task": "b"}, {"task": "c", "options": {"link": [{"task": "own"}]}},
    ]}, "options": {"link": [{"task": "l"}], "link_error": [{"task": "e"}], "queue": "q"}});
    let (sent, _) = succeeded(&json!({"chain": [{"task": "end"}, inner]}), "1");
    let [out] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(out.destination, Destination::Queue("q".into()));
    let embed = &body(out)[2];
    let errbacks = json!([{"task": "e"}]);
    assert_eq!(
        (&embed["errbacks"], &embed["callbacks"]),
        (&errbacks, &Json::Null)
    );
    let steps = embed["chain"].as_array().expect("steps");
    let tasks: Vec<_> = steps.iter().map(|step| &step["task"]).collect();
    assert_eq!(tasks, ["end", "c", "b"]);
    assert_eq!(
        steps[1]["options"]["link"],
        json!([{"task": "own"}, {"task": "l"}])
    );
    assert_eq!(
        (
            &steps[1]["options"]["link_error"],
            &steps[2]["options"]["link_error"]
        ),
        (&errbacks, &errbacks)
    );
    assert_eq!(steps[0].get("options"), None);
}

#[test]
fn chunks_are_a_group_of_starmaps() {
    let chunks = json!({"task": "celery.chunks", "kwargs": {"task": {"task": "add"}, "it": [[1, 2], [3, 4], [5, 6]], "n": 2}});
    let (sent, _) = succeeded(&json!({"chain": [chunks]}), "9");
    let bodies: Vec<_> = sent
        .iter()
        .map(|out| (body(out)[0].clone(), body(out)[1]["it"].clone()))
        .collect();
    assert_eq!(
        bodies,
        [
            (json!([]), json!([[1, 2], [3, 4]])),
            (json!([]), json!([[5, 6]]))
        ]
    );
    assert!(sent.iter().all(|out| out.header.task == "celery.starmap"));
}

#[test]
fn everybody_who_waits_for_a_later_step_is_told_once() {
    let step = |id: &str| json!({"task": "t", "options": {"task_id": id, "reply_to": "r", "group_id": "g"}});
    let chain = json!({"task": "celery.chain", "kwargs": {"tasks": [step("a"), step("b")]}, "options": {"task_id": "b"}});
    let group = json!({"task": "celery.group", "kwargs": {"tasks": [chain, step("c")]}, "options": {"task_id": "g"}});
    let ignored =
        json!({"task": "t", "options": {"task_id": "d", "reply_to": "r", "ignore_result": true}});
    let plan = embedding(&json!({"chain": [group, step("e"), ignored, {"task": "t"}, step("e")]}));
    let told = plan.expect("a good plan").abandoned();
    let ids: Vec<_> = told.iter().map(|told| told.id.to_string()).collect();
    assert_eq!(ids, ["a", "b", "c", "e"]);
    assert!(
        told.iter()
            .all(|told| told.reply_to == "r" && told.group.as_deref() == Some("g"))
    );
}

#[test]
fn a_step_that_cannot_be_sent_tells_its_own_caller_and_those_behind_it() {
    let step = |id: &str| json!({"task": "t", "options": {"task_id": id, "reply_to": "r"}});
    let (sent, _) = succeeded(&json!({"chain": [step("3"), step("2"), step("1")]}), "0");
    let ids: Vec<_> = sent[0]
        .abandoned()
        .into_iter()
        .map(|told| told.id.to_string())
        .collect();
    assert_eq!(ids, ["1", "3", "2"]);
}

#[test]
fn what_cannot_be_sent_is_refused_before_the_task_runs() {
    let group = json!({"task": "celery.group", "kwargs": {"tasks": [{"task": "a"}]}});
    let chord = json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": [], "body": {"task": "a"}}});
    let ends_in_group =
        json!({"task": "celery.chain", "kwargs": {"tasks": [{"task": "a"}, group]}});
    let nested = |depth| {
        (0..depth).fold(
            json!({"task": "a"}),
            |inner, _| json!({"task": "a", "options": {"link": [inner]}}),
        )
    };
    for (embed, expected) in [
        (json!({"chord": {"task": "a"}}), "chord"),
        (json!({"callbacks": [chord]}), "chord"),
        (
            json!({"callbacks": [{"task": "a", "options": {"chord": {"task": "b"}}}]}),
            "chord",
        ),
        (
            json!({"chain": [{"task": "a"}, group]}),
            "followed by further steps",
        ),
        (
            json!({"chain": [{"task": "a"}, ends_in_group]}),
            "followed by further steps",
        ),
        (json!({"callbacks": [{"args": [1]}]}), "not a signature"),
        (json!({"callbacks": ["a"]}), "not a signature"),
        (json!({"errbacks": 7}), "not a signature"),
        (
            json!({"chain": [{"task": "a", "args": {}}]}),
            "not a signature",
        ),
        (
            json!({"chain": [{"task": "a", "options": {"priority": "high"}}]}),
            "`priority`",
        ),
        (
            json!({"chain": [{"task": "a", "options": {"eta": "soon"}}]}),
            "`eta`",
        ),
        (
            json!({"chain": [{"task": "celery.chunks", "kwargs": {"task": {}, "it": [1], "n": 0}}]}),
            "`n`",
        ),
        (json!({"callbacks": [nested(40)]}), "nested"),
    ] {
        let error = embedding(&embed).expect_err("cannot be sent");
        assert!(error.to_string().contains(expected), "{embed}: {error}");
    }
    embedding(&json!({"callbacks": [nested(20)], "chain": [ends_in_group, {"task": "a"}]}))
        .expect("good");
}

#[test]
fn too_many_steps_are_an_error_and_the_last_ones_are_told() {
    let step =
        |n: usize| json!({"task": "t", "options": {"task_id": n.to_string(), "reply_to": "r"}});
    let steps: Vec<_> = (0..100_000).map(step).collect();
    let body = json!([[], {}, {"chain": steps}]).to_string();
    let call = RawCall::cut(body.as_bytes()).expect("a body");
    let error = Plan::read(&call.embed).expect_err("too many");
    assert!(matches!(error, CanvasError::TooMany { most: MOST_STEPS }));
    let told = Plan::salvage(&call.embed).expect("a plan").abandoned();
    assert_eq!((told.len(), &told[0].id), (MOST_STEPS, &"0".into()));

    let members = vec![json!({"task": "t"}); MOST_SIGNATURES];
    let group = json!({"task": "celery.group", "kwargs": {"tasks": members}});
    let error = embedding(&json!({"callbacks": [group]})).expect_err("too many");
    assert!(matches!(
        error,
        CanvasError::TooMany {
            most: MOST_SIGNATURES
        }
    ));
}

#[test]
fn a_deeply_nested_message_is_read_without_recursion() {
    let depth = 5_000;
    let text = format!(
        r#"[[],{{}},{{"callbacks":[{}{{"task":"a"}}{}]}}]"#,
        r#"{"task":"a","options":{"link":["#.repeat(depth),
        "]}}".repeat(depth),
    );
    let error = plan(text.as_bytes()).expect_err("too deep");
    assert!(matches!(error, CanvasError::TooDeep { .. }), "{error}");
}

#[test]
fn what_all_members_have_from_their_group_is_bounded() {
    let large = "x".repeat(1_000_000);
    let task = |id: usize| json!({"task": "t", "options": {"task_id": id.to_string()}});
    let members = |count| (0..count).map(task).collect::<Vec<_>>();
    let group = |count| {
        let options = json!({"headers": {"tenant": &large}});
        json!({"task": "celery.group", "kwargs": {"tasks": members(count)}, "options": options})
    };
    let chunks = |count: usize| {
        let task = json!({"task": "t", "kwargs": {"text": &large}});
        let it = vec![json!([1]); count];
        json!({"task": "celery.chunks", "kwargs": {"task": task, "it": it, "n": 1}})
    };
    for (few, many) in [(group(10), group(100)), (chunks(10), chunks(100))] {
        embedding(&json!({"callbacks": [few]})).expect("not too much");
        let error = embedding(&json!({"callbacks": [many]})).expect_err("too much");
        assert!(matches!(error, CanvasError::TooLarge { .. }), "{error}");
    }
    // the steps of a chain stay in the message, and have nothing from it
    let mut steps = members(100);
    steps.reverse();
    let options = json!({"headers": {"tenant": &large}});
    let chain = json!({"task": "celery.chain", "kwargs": {"tasks": steps}, "options": options});
    embedding(&json!({"callbacks": [chain]})).expect("not too much");
}
