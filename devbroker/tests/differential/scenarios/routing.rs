//! Which exchange sends what where.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_direct_exchange_takes_the_whole_key,
    a_fanout_exchange_looks_at_no_key,
    a_message_reaches_a_queue_once_however_many_bindings_match,
    a_topic_hash_matches_any_number_of_words,
    a_topic_of_many_patterns_finds_each_queue,
    a_topic_star_matches_one_word,
    a_topic_with_empty_words_counts_them,
    an_alternate_exchange_takes_what_has_no_route,
    an_alternate_exchange_that_is_missing_loses_the_message,
    an_alternate_exchange_without_a_route_returns_the_message,
    alternate_exchanges_in_a_circle_end,
    bcc_and_cc_headers_are_routes_too,
    exchanges_bound_in_a_circle_deliver_once,
    exchanges_bound_to_exchanges_pass_messages_on,
    headers_all_must_match,
    headers_all_with_x_looks_at_x_headers,
    headers_any_may_match,
    headers_any_with_x_looks_at_x_headers,
    headers_are_told_apart_by_value,
    headers_match_of_another_kind_is_refused,
    headers_without_a_match_are_all,
    the_cc_header_must_be_a_list,
    the_default_exchange_leads_to_every_queue,
    topics_unbound_do_not_match_any_more,
    unbinding_exchanges_stops_the_flow,
];

/// Queues bound to an exchange with these keys and arguments, named after their order.
async fn bound(s: &Scene<'_>, exchange: &str, bindings: &[&str]) -> Channel {
    let c = s.channel().await;
    for (number, binding) in bindings.iter().enumerate() {
        c.queue(&format!("q{number}")).await;
        c.call(&format!(
            "queue.bind queue=q{number} exchange={exchange} routing-key={binding}"
        ))
        .await;
    }
    c
}

/// Publishes with each key and looks where the messages are.
async fn route(c: &Channel, exchange: &str, keys: &[&str], queues: usize) {
    for key in keys {
        c.publish(&format!("exchange={exchange} key={key}"), key)
            .await;
    }
    for number in 0..queues {
        while c.get(&format!("q{number} no-ack")).await != 0 {}
    }
}

async fn the_default_exchange_leads_to_every_queue(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q0").await;
    c.queue("q1").await;
    route(&c, "", &["q0", "q1", "q2"], 2).await;
}

async fn a_direct_exchange_takes_the_whole_key(s: &Scene<'_>) {
    let c = bound(s, "amq.direct", &["a", "a.b", "#", ""]).await;
    c.call("queue.bind queue=q1 exchange=amq.direct routing-key=a")
        .await;
    route(&c, "amq.direct", &["a", "a.b", "b", "#", ""], 4).await;
}

async fn a_fanout_exchange_looks_at_no_key(s: &Scene<'_>) {
    let c = bound(s, "amq.fanout", &["a", "b"]).await;
    c.call("queue.bind queue=q1 exchange=amq.fanout routing-key=c")
        .await;
    route(&c, "amq.fanout", &["a", "x", ""], 2).await;
}

async fn a_topic_star_matches_one_word(s: &Scene<'_>) {
    let c = bound(s, "amq.topic", &["*", "*.b", "a.*", "*.*.c", "a.*.c"]).await;
    route(
        &c,
        "amq.topic",
        &["a", "a.b", "a.b.c", "b.b.c", "a.b.c.d", "b"],
        5,
    )
    .await;
}

async fn a_topic_hash_matches_any_number_of_words(s: &Scene<'_>) {
    let c = bound(
        s,
        "amq.topic",
        &["#", "a.#", "#.c", "a.#.c", "#.b.#", "a.#.#"],
    )
    .await;
    route(
        &c,
        "amq.topic",
        &["", "a", "c", "a.c", "a.b.c", "b", "x.y.z"],
        6,
    )
    .await;
}

async fn a_topic_with_empty_words_counts_them(s: &Scene<'_>) {
    let c = bound(s, "amq.topic", &["*.*", "a.", ".a", "*", "", "a..b"]).await;
    route(&c, "amq.topic", &["", ".", "a.", ".a", "a..b", "a.x.b"], 6).await;
}

async fn a_topic_of_many_patterns_finds_each_queue(s: &Scene<'_>) {
    let patterns = [
        "orders.*.created",
        "orders.#",
        "*.eu.*",
        "orders.eu.created",
        "#.created",
        "*.*.created.#",
    ];
    let c = bound(s, "amq.topic", &patterns).await;
    route(
        &c,
        "amq.topic",
        &["orders.eu.created", "orders.us.deleted", "bills.eu.created"],
        6,
    )
    .await;
}

async fn topics_unbound_do_not_match_any_more(s: &Scene<'_>) {
    let c = bound(s, "amq.topic", &["a.#", "a.*"]).await;
    c.call("queue.bind queue=q0 exchange=amq.topic routing-key=a.b")
        .await;
    c.call("queue.unbind queue=q0 exchange=amq.topic routing-key=a.#")
        .await;
    route(&c, "amq.topic", &["a.b", "a.c", "a"], 2).await;
}

async fn a_message_reaches_a_queue_once_however_many_bindings_match(s: &Scene<'_>) {
    let c = bound(s, "amq.topic", &["a.#"]).await;
    c.call("queue.bind queue=q0 exchange=amq.topic routing-key=*.b")
        .await;
    c.call("exchange.declare exchange=e type=topic").await;
    c.call("exchange.bind source=amq.topic destination=e routing-key=#")
        .await;
    c.call("queue.bind queue=q0 exchange=e routing-key=#").await;
    route(&c, "amq.topic", &["a.b"], 1).await;
}

async fn exchanges_bound_to_exchanges_pass_messages_on(s: &Scene<'_>) {
    let c = bound(s, "amq.fanout", &["k"]).await;
    c.call("exchange.declare exchange=inner type=direct internal")
        .await;
    c.call("queue.bind queue=q0 exchange=inner routing-key=a.b")
        .await;
    c.call("exchange.bind source=amq.topic destination=inner routing-key=a.*")
        .await;
    c.call("exchange.bind source=amq.topic destination=amq.fanout routing-key=#.z")
        .await;
    route(&c, "amq.topic", &["a.b", "a.c", "a.z", "z"], 1).await;
}

async fn exchanges_bound_in_a_circle_deliver_once(s: &Scene<'_>) {
    let c = bound(s, "amq.fanout", &["k"]).await;
    c.call("exchange.bind source=amq.fanout destination=amq.topic")
        .await;
    c.call("exchange.bind source=amq.topic destination=amq.fanout routing-key=#")
        .await;
    c.call("exchange.bind source=amq.topic destination=amq.topic routing-key=#")
        .await;
    route(&c, "amq.topic", &["a"], 1).await;
}

async fn unbinding_exchanges_stops_the_flow(s: &Scene<'_>) {
    let c = bound(s, "amq.fanout", &["k"]).await;
    c.call("exchange.bind source=amq.direct destination=amq.fanout routing-key=a")
        .await;
    c.call("exchange.bind source=amq.direct destination=amq.fanout routing-key=b")
        .await;
    c.call("exchange.unbind source=amq.direct destination=amq.fanout routing-key=a")
        .await;
    route(&c, "amq.direct", &["a", "b"], 1).await;
}

async fn an_alternate_exchange_takes_what_has_no_route(s: &Scene<'_>) {
    let c = bound(s, "amq.fanout", &["k"]).await;
    c.call("exchange.declare exchange=e type=direct alternate-exchange=amq.fanout")
        .await;
    c.queue("q1").await;
    c.call("queue.bind queue=q1 exchange=e routing-key=a").await;
    route(&c, "e", &["a", "b"], 2).await;
    c.publish("exchange=e key=c mandatory", "c").await;
    c.get("q0").await;
}

async fn an_alternate_exchange_that_is_missing_loses_the_message(s: &Scene<'_>) {
    let c = s.channel().await;
    c.call("exchange.declare exchange=e type=direct alternate-exchange=missing")
        .await;
    c.publish("exchange=e key=a", "lost").await;
    c.publish("exchange=e key=a mandatory", "returned").await;
    c.expect("basic.return").await;
}

async fn an_alternate_exchange_without_a_route_returns_the_message(s: &Scene<'_>) {
    let c = s.channel().await;
    c.call("exchange.declare exchange=e type=direct alternate-exchange=amq.topic")
        .await;
    c.publish("exchange=e key=a mandatory", "returned").await;
    c.expect("basic.return").await;
}

async fn alternate_exchanges_in_a_circle_end(s: &Scene<'_>) {
    let c = s.channel().await;
    c.call("exchange.declare exchange=e type=direct alternate-exchange=f")
        .await;
    c.call("exchange.declare exchange=f type=direct alternate-exchange=e")
        .await;
    c.publish("exchange=e key=a mandatory", "returned").await;
    c.expect("basic.return").await;
}

async fn bcc_and_cc_headers_are_routes_too(s: &Scene<'_>) {
    let c = s.channel().await;
    for queue in ["q0", "q1", "q2"] {
        c.queue(queue).await;
    }
    c.publish("key=q0 h.CC=[q1,q2] h.other=1", "cc").await;
    c.publish("key=q0 h.BCC=[q1,q1,q0]", "bcc").await;
    c.publish("key=q0 h.CC=[q1] h.BCC=[q2]", "both").await;
    route(&c, "", &[], 3).await;
}

async fn the_cc_header_must_be_a_list(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q0").await;
    c.publish("key=q0 h.CC=q1", "no list").await;
    c.closed().await;
}

/// Queues bound to amq.headers, and messages with these headers.
async fn headers(s: &Scene<'_>, bindings: &[&str], messages: &[&str]) {
    let bindings: Vec<String> = bindings
        .iter()
        .map(|binding| format!("k {binding}"))
        .collect();
    let bindings: Vec<&str> = bindings.iter().map(String::as_str).collect();
    let c = bound(s, "amq.headers", &bindings).await;
    for message in messages {
        c.publish(&format!("exchange=amq.headers {message}"), message)
            .await;
    }
    route(&c, "", &[], bindings.len()).await;
}

async fn headers_all_must_match(s: &Scene<'_>) {
    let messages = [
        "h.a=1 h.b=2",
        "h.a=1",
        "h.a=1 h.b=3",
        "h.a=1 h.b=2 h.c=3",
        "",
    ];
    headers(s, &["x-match=all a=1 b=2"], &messages).await;
}

async fn headers_any_may_match(s: &Scene<'_>) {
    let messages = ["h.a=1 h.b=2", "h.a=1", "h.a=2 h.b=3", "h.c=3", ""];
    headers(s, &["x-match=any a=1 b=2", "x-match=any"], &messages).await;
}

async fn headers_without_a_match_are_all(s: &Scene<'_>) {
    headers(s, &["a=1 b=2", ""], &["h.a=1 h.b=2", "h.a=1", ""]).await;
}

async fn headers_all_with_x_looks_at_x_headers(s: &Scene<'_>) {
    let messages = ["h.a=1 h.x-b=2", "h.a=1", "h.a=1 h.x-b=3"];
    headers(
        s,
        &["x-match=all-with-x a=1 x-b=2", "x-match=all a=1 x-b=2"],
        &messages,
    )
    .await;
}

async fn headers_any_with_x_looks_at_x_headers(s: &Scene<'_>) {
    let messages = ["h.x-b=2", "h.a=1", "h.a=2 h.x-b=3"];
    headers(
        s,
        &["x-match=any-with-x a=1 x-b=2", "x-match=any a=1 x-b=2"],
        &messages,
    )
    .await;
}

async fn headers_are_told_apart_by_value(s: &Scene<'_>) {
    let bindings = ["a=1", "a=\"1\"", "a=true", "a=null", "a=1l", "a=1.5d"];
    let messages = [
        "h.a=1",
        "h.a=\"1\"",
        "h.a=true",
        "h.a=1l",
        "h.a=1.5d",
        "h.a=null",
        "h.a=[1]",
    ];
    headers(s, &bindings, &messages).await;
}

async fn headers_match_of_another_kind_is_refused(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.call("queue.bind queue=q exchange=amq.headers routing-key=k x-match=some a=1")
        .await;
    c.reopen().await;
    c.call("queue.bind queue=q exchange=amq.headers routing-key=k x-match=1 a=1")
        .await;
}
