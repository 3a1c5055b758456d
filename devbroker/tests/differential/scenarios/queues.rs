//! Queues: declaring, names, exclusiveness, purge, delete.

use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_deleted_queue_says_how_many_messages_it_had,
    a_missing_queue_cannot_be_purged,
    a_missing_queue_may_be_deleted,
    a_passive_declare_counts_messages_and_consumers,
    a_passive_declare_of_a_missing_queue_is_not_found,
    a_purge_leaves_what_is_unacknowledged,
    a_queue_declared_again_differently_is_refused,
    a_queue_declared_again_with_other_arguments_is_refused,
    a_queue_expires_when_nobody_uses_it,
    a_queue_in_use_is_kept_if_unused,
    a_queue_is_declared_without_an_answer,
    a_queue_keeps_its_messages_in_order,
    a_queue_with_messages_is_kept_if_empty,
    a_reserved_queue_name_is_refused,
    a_server_named_queue_gets_a_name,
    an_auto_delete_queue_goes_with_its_last_consumer,
    an_auto_delete_queue_without_consumers_stays,
    an_exclusive_queue_goes_with_its_connection,
    an_exclusive_queue_is_locked_for_others,
    an_exclusive_queue_is_seen_on_every_channel_of_its_connection,
    an_expiry_of_the_wrong_type_is_refused,
    an_integer_of_another_size_is_the_same_argument,
    an_unknown_queue_mode_is_refused,
    an_unknown_queue_type_is_refused,
    the_last_declared_queue_is_meant_by_no_name,
    the_last_declared_queue_may_be_missing,
    a_deleted_queue_loses_its_bindings,
    arguments_of_the_wrong_type_are_refused,
];

async fn a_queue_keeps_its_messages_in_order(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.counts("q").await;
    let tag = c.get("q").await;
    c.ack(tag).await;
    c.consume("q consumer-tag=t").await;
    c.deliveries(2).await;
}

async fn a_server_named_queue_gets_a_name(s: &Scene<'_>) {
    let c = s.channel().await;
    let first = c.queue("").await;
    let second = c.queue(" exclusive auto-delete").await;
    c.queue(" exclusive").await;
    c.fill(&first, &["1"]).await;
    c.get(&first).await;
    c.counts(&second).await;
    c.counts(&first).await;
}

async fn a_reserved_queue_name_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("amq.mine").await;
    c.reopen().await;
    c.queue("amq.mine passive").await;
}

async fn the_last_declared_queue_is_meant_by_no_name(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("first").await;
    c.queue("last").await;
    c.fill("last", &["1", "2", "3"]).await;
    c.call("queue.bind queue= exchange=amq.direct routing-key=")
        .await;
    c.publish("exchange=amq.direct key=last", "4").await;
    c.get("").await;
    c.counts("").await;
    c.consume("").await;
    c.delivery().await;
    c.delivery().await;
    c.call("queue.purge queue=").await;
    c.call("queue.delete queue=").await;
}

async fn the_last_declared_queue_may_be_missing(s: &Scene<'_>) {
    let c = s.plain().await;
    c.get("").await;
    c.reopen().await;
    c.consume("").await;
    c.reopen().await;
    c.call("queue.bind queue= exchange=amq.direct routing-key=k")
        .await;
    c.reopen().await;
    c.call("queue.purge queue=").await;
    c.reopen().await;
    c.call("queue.delete queue=").await;
    c.reopen().await;
    c.queue(" passive").await;
}

async fn a_passive_declare_of_a_missing_queue_is_not_found(s: &Scene<'_>) {
    let c = s.plain().await;
    c.counts("missing").await;
}

async fn a_passive_declare_counts_messages_and_consumers(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.get("q").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=a").await;
    c.delivery().await;
    c.queue("q passive durable exclusive auto-delete x-max-length=1")
        .await;
}

async fn a_queue_declared_again_differently_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.queue("q").await;
    for other in ["durable", "auto-delete", "exclusive"] {
        c.queue(&format!("q {other}")).await;
        c.reopen().await;
    }
    c.queue("d durable").await;
    c.queue("d").await;
}

async fn a_queue_declared_again_with_other_arguments_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-max-length=1 x-message-ttl=60000").await;
    c.queue("q x-max-length=1 x-message-ttl=60000").await;
    for other in [
        "",
        "x-max-length=2 x-message-ttl=60000",
        "x-max-length=1",
        "x-max-length=1 x-message-ttl=60000 x-dead-letter-exchange=e",
        "x-max-length=1 x-message-ttl=60000 x-expires=60000",
        "x-max-length=1 x-message-ttl=60000 x-max-priority=5",
        "x-max-length=1 x-message-ttl=60000 x-overflow=reject-publish",
        "x-max-length=1 x-message-ttl=60000 x-single-active-consumer=true",
        "x-max-length=1 x-message-ttl=60000 x-queue-type=quorum",
        "x-max-length=1 x-message-ttl=60000 x-queue-type=classic",
    ] {
        c.queue(&format!("q {other}")).await;
        c.reopen().await;
    }
}

async fn an_integer_of_another_size_is_the_same_argument(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-max-length=5 x-expires=60000").await;
    c.queue("q x-max-length=5l x-expires=60000i").await;
    c.queue("q x-max-length=5B x-expires=60000").await;
    c.queue("q x-max-length=\"5\" x-expires=60000").await;
}

async fn arguments_of_the_wrong_type_are_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    for argument in [
        "x-message-ttl=soon",
        "x-message-ttl=-1",
        "x-expires=0",
        "x-max-length=-1",
        "x-max-length=\"1\"",
        "x-max-length-bytes=-1",
        "x-max-priority=-1",
        "x-max-priority=256",
        "x-max-priority=high",
        "x-dead-letter-exchange=1",
        "x-dead-letter-routing-key=k",
        "x-dead-letter-exchange=e x-dead-letter-routing-key=1",
        "x-overflow=sometimes",
        "x-overflow=1",
        "x-single-active-consumer=1",
        "x-queue-type=1",
    ] {
        c.queue(&format!("q {argument}")).await;
        c.reopen().await;
    }
}

async fn an_unknown_queue_mode_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-queue-mode=fast").await;
}

async fn an_unknown_queue_type_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable x-queue-type=fast").await;
}

async fn an_expiry_of_the_wrong_type_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-expires=never").await;
    c.reopen().await;
    c.queue("q x-expires=-5").await;
}

async fn a_queue_is_declared_without_an_answer(s: &Scene<'_>) {
    let c = s.plain().await;
    c.send("queue.declare queue=q no-wait").await;
    c.send("queue.bind queue=q exchange=amq.direct routing-key=k no-wait")
        .await;
    c.counts("q").await;
    c.send("queue.purge queue=q no-wait").await;
    c.send("queue.delete queue=q no-wait").await;
    c.counts("q").await;
}

async fn an_exclusive_queue_is_locked_for_others(s: &Scene<'_>) {
    let (c, d) = (s.channel().await, s.plain().await);
    c.queue("q exclusive").await;
    for line in [
        "queue.declare queue=q passive",
        "queue.declare queue=q exclusive",
        "queue.declare queue=q",
        "queue.bind queue=q exchange=amq.direct routing-key=k",
        "queue.purge queue=q",
        "queue.delete queue=q",
        "basic.consume queue=q",
    ] {
        d.call(line).await;
        d.reopen().await;
    }
    d.get("q").await;
    d.reopen().await;
    d.publish("key=q", "from another connection").await;
    d.call("exchange.declare exchange=amq.direct passive").await;
    c.until_count("q", 1).await;
    c.get("q").await;
}

async fn an_exclusive_queue_is_seen_on_every_channel_of_its_connection(s: &Scene<'_>) {
    let c = s.channel().await;
    let other = c.channel(2).await;
    c.queue("q exclusive").await;
    other.queue("q exclusive").await;
    other.consume("q consumer-tag=t").await;
    c.fill("q", &["1"]).await;
    other.delivery().await;
    c.call("channel.close reply-code=200").await;
    other.counts("q").await;
}

async fn an_exclusive_queue_goes_with_its_connection(s: &Scene<'_>) {
    let (c, d) = (s.plain().await, s.plain().await);
    c.queue("q exclusive").await;
    c.queue("durable exclusive durable").await;
    c.hang_up().await;
    d.until_gone("q").await;
    d.until_gone("durable").await;
}

async fn an_auto_delete_queue_goes_with_its_last_consumer(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q auto-delete").await;
    c.consume("q consumer-tag=a").await;
    c.consume("q consumer-tag=b").await;
    c.call("basic.cancel consumer-tag=a").await;
    c.counts("q").await;
    c.call("basic.cancel consumer-tag=b").await;
    c.until_gone("q").await;
}

async fn an_auto_delete_queue_without_consumers_stays(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q auto-delete").await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.ack(tag).await;
    let d = s.plain().await;
    d.counts("q").await;
}

async fn a_queue_expires_when_nobody_uses_it(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-expires=100").await;
    c.fill("q", &["1"]).await;
    c.queue("dead").await;
    c.queue("letters x-expires=100 x-dead-letter-exchange= x-dead-letter-routing-key=dead")
        .await;
    c.fill("letters", &["not dead-lettered"]).await;
    c.let_pass(500).await;
    c.until_gone("q").await;
    c.until_gone("letters").await;
    c.counts("dead").await;
}

async fn a_purge_leaves_what_is_unacknowledged(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1", "2", "3"]).await;
    let tag = c.get("q").await;
    c.call("queue.purge queue=q").await;
    c.requeue(tag).await;
    c.until_count("q", 1).await;
    c.get("q").await;
}

async fn a_missing_queue_cannot_be_purged(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("queue.purge queue=missing").await;
}

async fn a_missing_queue_may_be_deleted(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("queue.delete queue=missing").await;
    c.call("queue.delete queue=missing if-unused if-empty")
        .await;
}

async fn a_deleted_queue_says_how_many_messages_it_had(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.get("q").await;
    c.call("queue.delete queue=q").await;
}

async fn a_deleted_queue_loses_its_bindings(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.call("queue.bind queue=q exchange=amq.direct routing-key=k")
        .await;
    c.call("queue.delete queue=q").await;
    c.queue("q").await;
    c.publish("exchange=amq.direct key=k mandatory", "1").await;
    c.expect("basic.return").await;
}

async fn a_queue_in_use_is_kept_if_unused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.consume("q consumer-tag=t").await;
    c.call("queue.delete queue=q if-unused").await;
    c.reopen().await;
    c.call("queue.delete queue=q if-unused").await;
}

async fn a_queue_with_messages_is_kept_if_empty(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1"]).await;
    c.call("queue.delete queue=q if-empty").await;
    c.reopen().await;
    let tag = c.get("q").await;
    c.ack(tag).await;
    c.call("queue.delete queue=q if-empty").await;
}
