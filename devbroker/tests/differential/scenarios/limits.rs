//! Limits of a queue's length, and priorities.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_length_of_0_keeps_nothing,
    a_length_of_0_serves_a_waiting_consumer,
    a_limit_in_bytes_drops_the_oldest,
    a_limit_counts_what_is_ready,
    a_message_without_a_priority_has_0,
    a_priority_beyond_the_limit_is_the_limit,
    a_queue_without_priorities_keeps_the_order,
    a_requeued_message_keeps_its_priority,
    a_requeued_message_may_be_one_too_many,
    both_limits_hold,
    drop_head_drops_the_oldest,
    drop_head_of_priorities_drops_the_least,
    higher_priorities_come_first,
    reject_publish_dlx_dead_letters_the_newest,
    reject_publish_in_bytes_nacks,
    reject_publish_nacks_the_newest,
    reject_publish_without_confirms_drops_the_newest,
    reject_publish_in_one_of_two_queues_nacks,
];

const DEAD: &str = "x-dead-letter-exchange= x-dead-letter-routing-key=dead";

/// What is in the queue.
async fn rest(c: &Channel, queue: &str) {
    while c.get(&format!("{queue} no-ack")).await != 0 {}
}

async fn drop_head_drops_the_oldest(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-length=2").await;
    c.fill("q", &["1", "2", "3", "4"]).await;
    rest(&c, "q").await;
    c.queue("p x-max-length=1 x-overflow=drop-head").await;
    c.fill("p", &["1", "2"]).await;
    rest(&c, "p").await;
}

async fn a_limit_counts_what_is_ready(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-length=2").await;
    c.fill("q", &["1", "2"]).await;
    c.get("q").await;
    c.fill("q", &["3", "4"]).await;
    rest(&c, "q").await;
}

async fn a_requeued_message_may_be_one_too_many(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q x-max-length=1 {DEAD}")).await;
    c.fill("q", &["1"]).await;
    c.get("q").await;
    c.fill("q", &["2"]).await;
    c.requeue(1).await;
    c.until_count("dead", 1).await;
    rest(&c, "dead").await;
    rest(&c, "q").await;
}

async fn a_limit_in_bytes_drops_the_oldest(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-length-bytes=10").await;
    c.fill("q", &["12345", "67890", "1", "a body beyond the limit"])
        .await;
    rest(&c, "q").await;
    c.fill("q", &["123", "456", "789"]).await;
    rest(&c, "q").await;
}

async fn both_limits_hold(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-length=3 x-max-length-bytes=10").await;
    c.fill("q", &["1", "2", "3", "4"]).await;
    rest(&c, "q").await;
    c.fill("q", &["123456", "78901"]).await;
    rest(&c, "q").await;
}

async fn a_length_of_0_keeps_nothing(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q x-max-length=0 {DEAD}")).await;
    c.fill("q", &["1"]).await;
    c.until_count("dead", 1).await;
    rest(&c, "dead").await;
    rest(&c, "q").await;
}

async fn a_length_of_0_serves_a_waiting_consumer(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-length=0").await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["1"]).await;
    c.delivery().await;
}

async fn reject_publish_nacks_the_newest(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("dead").await;
    c.queue(&format!(
        "q x-max-length=2 x-overflow=reject-publish {DEAD}"
    ))
    .await;
    c.confirm().await;
    c.fill("q", &["1", "2", "3", "4"]).await;
    c.confirms(4).await;
    rest(&c, "q").await;
    rest(&c, "dead").await;
}

async fn reject_publish_without_confirms_drops_the_newest(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-max-length=1 x-overflow=reject-publish").await;
    c.fill("q", &["1", "2"]).await;
    c.get("q no-ack").await;
    c.fill("q", &["3"]).await;
    c.until_count("q", 1).await;
    rest(&c, "q").await;
}

async fn reject_publish_in_bytes_nacks(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-max-length-bytes=5 x-overflow=reject-publish")
        .await;
    c.confirm().await;
    c.fill("q", &["123", "456", "7"]).await;
    c.confirms(3).await;
    rest(&c, "q").await;
}

async fn reject_publish_in_one_of_two_queues_nacks(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("full x-max-length=0 x-overflow=reject-publish")
        .await;
    c.queue("q").await;
    for queue in ["full", "q"] {
        c.call(&format!("queue.bind queue={queue} exchange=amq.fanout"))
            .await;
    }
    c.confirm().await;
    c.publish("exchange=amq.fanout", "1").await;
    c.confirms(1).await;
    rest(&c, "q").await;
}

async fn reject_publish_dlx_dead_letters_the_newest(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("dead").await;
    c.queue(&format!(
        "q x-max-length=1 x-overflow=reject-publish-dlx {DEAD}"
    ))
    .await;
    c.confirm().await;
    c.fill("q", &["1", "2"]).await;
    c.confirms(2).await;
    c.until_count("dead", 1).await;
    rest(&c, "dead").await;
    rest(&c, "q").await;
}

async fn higher_priorities_come_first(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-priority=10").await;
    for priority in ["1", "5", "3", "5", "10", "0"] {
        c.publish(&format!("key=q priority={priority}"), priority)
            .await;
    }
    c.consume("q consumer-tag=t").await;
    c.deliveries(6).await;
}

async fn a_priority_beyond_the_limit_is_the_limit(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-priority=3").await;
    for priority in ["2", "3", "200", "3"] {
        c.publish(&format!("key=q priority={priority}"), priority)
            .await;
    }
    rest(&c, "q").await;
}

async fn a_message_without_a_priority_has_0(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-priority=3").await;
    c.publish("key=q", "none").await;
    c.publish("key=q priority=0", "0").await;
    c.publish("key=q priority=1", "1").await;
    c.publish("key=q", "none").await;
    rest(&c, "q").await;
}

async fn a_queue_without_priorities_keeps_the_order(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    for priority in ["1", "9", "5"] {
        c.publish(&format!("key=q priority={priority}"), priority)
            .await;
    }
    rest(&c, "q").await;
}

async fn a_requeued_message_keeps_its_priority(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-priority=5").await;
    for priority in ["1", "5", "3"] {
        c.publish(&format!("key=q priority={priority}"), priority)
            .await;
    }
    c.get("q").await;
    c.get("q").await;
    c.publish("key=q priority=5", "5 again").await;
    c.send("basic.nack delivery-tag=2 multiple requeue").await;
    c.until_count("q", 4).await;
    rest(&c, "q").await;
}

async fn drop_head_of_priorities_drops_the_least(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-max-priority=5 x-max-length=2").await;
    for priority in ["1", "5", "3", "0"] {
        c.publish(&format!("key=q priority={priority}"), priority)
            .await;
    }
    rest(&c, "q").await;
}
