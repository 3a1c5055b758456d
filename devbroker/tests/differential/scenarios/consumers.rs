//! Consumers: tags, prefetch, exclusiveness, cancelling, single active, priorities.

use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_cancelled_consumer_keeps_its_deliveries,
    a_consumer_gets_messages_in_turn,
    a_consumer_of_a_higher_priority_comes_first,
    a_consumer_of_a_missing_queue_is_an_error,
    a_consumer_priority_must_be_a_number,
    a_consumer_tag_is_given_once,
    a_consumer_tag_may_be_used_again_after_cancelling,
    a_consumer_without_acks_has_no_limit,
    a_consumer_without_a_tag_is_given_one,
    a_deleted_queue_cancels_its_consumers,
    a_deleted_queue_cancels_without_a_word_if_the_client_cannot_hear,
    a_full_consumer_leaves_messages_to_a_lower_priority,
    a_global_limit_holds_for_all_consumers_of_a_channel,
    a_limit_holds_for_each_consumer,
    a_limit_in_bytes_is_not_known,
    a_limit_is_that_of_the_time_of_consuming,
    a_limit_of_zero_is_none,
    a_single_active_consumer_hands_over_when_cancelled,
    a_single_active_consumer_hands_over_when_its_connection_goes,
    an_exclusive_consumer_is_alone,
    an_exclusive_consumer_needs_to_be_first,
    an_exclusive_consumer_on_a_single_active_queue_is_refused,
    an_unknown_consumer_may_be_cancelled,
    consuming_comes_before_the_first_message,
    consuming_without_an_answer_delivers,
    no_local_is_not_heeded,
    the_next_of_a_single_active_queue_has_its_own_limit,
];

async fn a_consumer_without_a_tag_is_given_one(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    let first = c.consume("q").await;
    let second = c.consume("q").await;
    c.call(&format!("basic.cancel consumer-tag={first}")).await;
    c.fill("q", &["1"]).await;
    c.delivery_to(&second).await;
}

async fn consuming_comes_before_the_first_message(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1", "2"]).await;
    c.send("basic.consume queue=q consumer-tag=t").await;
    c.frames(3).await;
}

async fn consuming_without_an_answer_delivers(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1"]).await;
    c.send("basic.consume queue=q consumer-tag=t no-wait").await;
    c.delivery().await;
    c.send("basic.cancel consumer-tag=t no-wait").await;
    c.counts("q").await;
}

async fn a_consumer_tag_is_given_once(s: &Scene<'_>) {
    let c = s.plain().await;
    let other = c.plain(2).await;
    c.queue("q").await;
    c.consume("q consumer-tag=t").await;
    other.consume("q consumer-tag=t").await;
    c.consume("q consumer-tag=t").await;
    c.ended().await;
}

async fn a_consumer_tag_may_be_used_again_after_cancelling(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.consume("q consumer-tag=t").await;
    c.call("basic.cancel consumer-tag=t").await;
    c.consume("q consumer-tag=t").await;
}

async fn a_consumer_of_a_missing_queue_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.consume("missing consumer-tag=t").await;
}

async fn an_unknown_consumer_may_be_cancelled(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("basic.cancel consumer-tag=unknown").await;
}

async fn a_consumer_gets_messages_in_turn(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    for tag in ["a", "b", "c"] {
        c.consume(&format!("q consumer-tag={tag}")).await;
    }
    c.fill("q", &["1", "2", "3", "4", "5", "6"]).await;
    c.deliveries(6).await;
}

async fn a_limit_holds_for_each_consumer(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.prefetch(2).await;
    c.consume("q consumer-tag=a").await;
    c.consume("q consumer-tag=b").await;
    c.fill("q", &["1", "2", "3", "4", "5", "6"]).await;
    c.deliveries(4).await;
    c.nothing("q").await;
    c.ack(2).await;
    c.delivery().await;
    c.ack(1).await;
    c.delivery().await;
}

async fn a_limit_is_that_of_the_time_of_consuming(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=one").await;
    c.prefetch(3).await;
    c.fill("q", &["1", "2"]).await;
    c.delivery().await;
    c.nothing("q").await;
    c.consume("q consumer-tag=three").await;
    c.delivery().await;
    c.fill("q", &["3", "4", "5"]).await;
    c.deliveries(2).await;
    c.nothing("q").await;
}

async fn a_limit_of_zero_is_none(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.prefetch(1).await;
    c.prefetch(0).await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.deliveries(3).await;
}

async fn a_limit_in_bytes_is_not_known(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("basic.qos prefetch-size=1000").await;
    c.ended().await;
}

async fn a_global_limit_holds_for_all_consumers_of_a_channel(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.call("basic.qos prefetch-count=2 global").await;
    c.consume("q consumer-tag=a").await;
    c.consume("q consumer-tag=b").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.deliveries(2).await;
    c.nothing("q").await;
    c.ack(1).await;
    c.delivery().await;
}

async fn a_consumer_without_acks_has_no_limit(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=t no-ack").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.deliveries(3).await;
    c.ack(1).await;
    c.closed().await;
}

async fn a_cancelled_consumer_keeps_its_deliveries(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["1", "2"]).await;
    c.deliveries(2).await;
    c.call("basic.cancel consumer-tag=t").await;
    c.fill("q", &["3"]).await;
    c.nothing("q").await;
    c.ack(1).await;
    c.requeue(2).await;
    c.until_count("q", 2).await;
    c.get("q").await;
    c.get("q").await;
}

async fn a_deleted_queue_cancels_its_consumers(s: &Scene<'_>) {
    let (c, d) = (s.channel().await, s.plain().await);
    c.queue("q").await;
    c.consume("q consumer-tag=a").await;
    c.consume("q consumer-tag=b no-ack").await;
    c.fill("q", &["1"]).await;
    c.delivery().await;
    d.call("queue.delete queue=q").await;
    for tag in ["a", "b"] {
        c.see(|event| event.name() == "basic.cancel" && event.text("consumer-tag") == tag)
            .await;
    }
    c.ack(1).await;
    c.queue("q").await;
}

async fn a_deleted_queue_cancels_without_a_word_if_the_client_cannot_hear(s: &Scene<'_>) {
    let connection = s.raw().await;
    connection
        .shake_hands(&s.vhost, "guest", "guest", "product=deaf")
        .await;
    let c = connection.plain(1).await;
    c.queue("q").await;
    c.consume("q consumer-tag=a").await;
    c.call("queue.delete queue=q").await;
    c.queue("q").await;
    c.consume("q consumer-tag=a").await;
}

async fn an_exclusive_consumer_is_alone(s: &Scene<'_>) {
    let (c, d) = (s.plain().await, s.plain().await);
    c.queue("q").await;
    c.consume("q consumer-tag=t exclusive").await;
    c.consume("q consumer-tag=u").await;
    d.consume("q consumer-tag=v").await;
    d.reopen().await;
    d.get("q").await;
}

async fn an_exclusive_consumer_needs_to_be_first(s: &Scene<'_>) {
    let (c, d) = (s.plain().await, s.plain().await);
    c.queue("q").await;
    c.consume("q consumer-tag=t").await;
    d.consume("q consumer-tag=u exclusive").await;
    d.reopen().await;
    c.call("basic.cancel consumer-tag=t").await;
    d.consume("q consumer-tag=u exclusive").await;
}

async fn an_exclusive_consumer_on_a_single_active_queue_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-single-active-consumer=true").await;
    c.consume("q consumer-tag=t exclusive").await;
}

async fn no_local_is_not_heeded(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.consume("q consumer-tag=t no-local").await;
    c.fill("q", &["1"]).await;
    c.delivery().await;
}

async fn a_single_active_consumer_hands_over_when_cancelled(s: &Scene<'_>) {
    let (c, d) = (s.channel().await, s.plain().await);
    c.queue("q x-single-active-consumer=true").await;
    c.consume("q consumer-tag=first").await;
    d.consume("q consumer-tag=second").await;
    c.fill("q", &["1", "2"]).await;
    c.deliveries(2).await;
    c.call("basic.cancel consumer-tag=first").await;
    c.fill("q", &["3"]).await;
    d.delivery().await;
}

async fn a_single_active_consumer_hands_over_when_its_connection_goes(s: &Scene<'_>) {
    let (c, d) = (s.channel().await, s.plain().await);
    c.queue("q x-single-active-consumer=true").await;
    c.consume("q consumer-tag=first").await;
    d.consume("q consumer-tag=second").await;
    c.fill("q", &["1", "2"]).await;
    c.deliveries(2).await;
    c.ack(1).await;
    c.call("exchange.declare exchange=amq.direct passive").await;
    c.hang_up().await;
    d.delivery().await;
}

async fn the_next_of_a_single_active_queue_has_its_own_limit(s: &Scene<'_>) {
    let (c, d) = (s.channel().await, s.plain().await);
    c.queue("q x-single-active-consumer=true").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=a").await;
    d.prefetch(2).await;
    d.consume("q consumer-tag=b").await;
    c.fill("q", &["1"]).await;
    c.delivery().await;
    c.nothing("q").await;
    c.call("basic.cancel consumer-tag=a").await;
    c.fill("q", &["2", "3", "4"]).await;
    d.deliveries(2).await;
    d.nothing("q").await;
}

async fn a_consumer_of_a_higher_priority_comes_first(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.consume("q consumer-tag=low x-priority=-1").await;
    c.consume("q consumer-tag=high x-priority=10").await;
    c.consume("q consumer-tag=normal").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.deliveries(3).await;
}

async fn a_full_consumer_leaves_messages_to_a_lower_priority(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=low x-priority=1").await;
    c.consume("q consumer-tag=high x-priority=10").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.deliveries(2).await;
    c.ack(1).await;
    c.delivery().await;
}

async fn a_consumer_priority_must_be_a_number(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.consume("q consumer-tag=t x-priority=high").await;
}
