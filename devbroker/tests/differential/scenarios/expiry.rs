//! Time to live, of messages and of queues' messages.

use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_consumer_is_served_before_a_time_to_live_of_0_ends,
    a_message_expires_at_the_head_of_its_queue,
    a_message_of_its_own_time_to_live_expires,
    a_queue_time_to_live_of_0_drops_without_consumers,
    a_requeued_message_may_expire_at_once,
    a_time_to_live_of_0_is_delivered_or_dropped,
    an_expired_message_is_not_got,
    an_expiration_must_be_a_number,
    an_expiration_with_a_sign_is_refused,
    an_unacknowledged_message_does_not_expire,
    messages_of_a_queue_expire_in_order,
    the_shorter_time_to_live_counts,
];

/// Arguments that dead-letter to the queue `dead`.
const DEAD: &str = "x-dead-letter-exchange= x-dead-letter-routing-key=dead";

async fn a_message_of_its_own_time_to_live_expires(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {DEAD}")).await;
    c.consume("dead consumer-tag=t").await;
    c.publish("key=q expiration=20", "1").await;
    c.delivery().await;
    c.counts("q").await;
}

async fn messages_of_a_queue_expire_in_order(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q x-message-ttl=30 {DEAD}")).await;
    c.consume("dead consumer-tag=t").await;
    c.fill("q", &["1", "2", "3"]).await;
    c.deliveries(3).await;
}

async fn the_shorter_time_to_live_counts(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.consume("dead consumer-tag=t").await;
    c.queue(&format!("long x-message-ttl=60000 {DEAD}")).await;
    c.publish("key=long expiration=20", "of the message").await;
    c.delivery().await;
    c.queue(&format!("short x-message-ttl=20 {DEAD}")).await;
    c.publish("key=short expiration=60000", "of the queue")
        .await;
    c.delivery().await;
}

async fn a_message_expires_at_the_head_of_its_queue(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {DEAD}")).await;
    c.consume("dead consumer-tag=t").await;
    c.publish("key=q expiration=60000", "in front").await;
    c.publish("key=q expiration=10", "behind").await;
    c.queue(&format!("clock {DEAD}")).await;
    c.publish("key=clock expiration=100", "time has gone by")
        .await;
    c.delivery().await;
    c.counts("q").await;
    c.get("q no-ack").await;
    c.delivery().await;
}

async fn an_expired_message_is_not_got(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue("q x-message-ttl=10").await;
    c.fill("q", &["1"]).await;
    c.queue(&format!("clock {DEAD}")).await;
    c.consume("dead consumer-tag=t").await;
    c.publish("key=clock expiration=100", "time has gone by")
        .await;
    c.delivery().await;
    c.get("q").await;
    c.counts("q").await;
}

async fn an_unacknowledged_message_does_not_expire(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {DEAD}")).await;
    c.consume("q consumer-tag=holder").await;
    c.publish("key=q expiration=20", "held").await;
    let held = c.delivery().await;
    c.consume("dead consumer-tag=t").await;
    c.queue(&format!("clock {DEAD}")).await;
    c.publish("key=clock expiration=100", "time has gone by")
        .await;
    c.delivery().await;
    c.ack(held).await;
    c.counts("q").await;
}

async fn a_requeued_message_may_expire_at_once(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q x-message-ttl=20 {DEAD}")).await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.consume("dead consumer-tag=t").await;
    c.queue(&format!("clock {DEAD}")).await;
    c.publish("key=clock expiration=100", "time has gone by")
        .await;
    c.delivery().await;
    c.requeue(tag).await;
    c.delivery().await;
}

async fn a_time_to_live_of_0_is_delivered_or_dropped(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {DEAD}")).await;
    c.consume("q consumer-tag=ready").await;
    c.publish("key=q expiration=0", "delivered").await;
    c.delivery().await;
    c.call("basic.cancel consumer-tag=ready").await;
    c.consume("dead consumer-tag=t").await;
    c.publish("key=q expiration=0", "dropped").await;
    c.delivery().await;
}

async fn a_consumer_is_served_before_a_time_to_live_of_0_ends(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-message-ttl=0").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["1", "2"]).await;
    c.delivery().await;
    c.ack(1).await;
    c.fill("q", &["3"]).await;
    c.delivery().await;
}

async fn a_queue_time_to_live_of_0_drops_without_consumers(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-message-ttl=0").await;
    c.fill("q", &["1"]).await;
    c.counts("q").await;
    c.get("q").await;
}

async fn an_expiration_must_be_a_number(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    for expiration in ["soon", "10ms", "1.5", "\"\"", "\" 10\""] {
        c.publish(&format!("key=q expiration={expiration}"), "1")
            .await;
        c.reopen().await;
    }
}

async fn an_expiration_with_a_sign_is_refused(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    for expiration in ["-1", "+10", "4294967295", "4294967296"] {
        c.publish(&format!("key=q expiration={expiration}"), "1")
            .await;
        c.reopen().await;
    }
}
