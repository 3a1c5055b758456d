//! Quorum queues.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_delivery_limit_dead_letters,
    a_delivery_limit_drops_without_a_dead_letter_exchange,
    a_delivery_limit_must_be_a_number,
    a_delivery_limit_needs_a_quorum_queue,
    a_quorum_queue_cannot_be_auto_delete,
    a_quorum_queue_cannot_be_exclusive,
    a_quorum_queue_cannot_be_server_named,
    a_quorum_queue_cannot_be_transient,
    a_quorum_queue_cannot_have_a_global_limit,
    a_quorum_queue_cannot_have_priorities,
    a_quorum_queue_confirms_and_delivers,
    a_quorum_queue_deletes_and_purges,
    a_quorum_queue_gets,
    a_quorum_queue_is_declared_again_the_same,
    a_quorum_queue_is_not_declared_as_a_classic_one,
    a_quorum_queue_limits_each_consumer,
    a_quorum_queue_dead_letters_rejected_messages,
    a_quorum_queue_dead_letters_at_least_once,
    a_quorum_queue_expires_messages,
    a_quorum_queue_has_a_single_active_consumer,
    a_quorum_queue_ignores_an_exclusive_consumer,
    a_quorum_queue_recovers,
    a_quorum_queue_takes_a_length_limit,
    arguments_of_quorum_queues_without_effect_are_accepted,
    deliveries_are_counted,
    messages_of_a_closed_channel_count,
    reject_publish_dlx_is_refused_on_a_quorum_queue,
];

const QUORUM: &str = "durable x-queue-type=quorum";
const DEAD: &str = "x-dead-letter-exchange= x-dead-letter-routing-key=dead";

async fn set_up(s: &Scene<'_>, arguments: &str) -> Channel {
    let c = s.channel().await;
    c.queue(&format!("q {QUORUM} {arguments}")).await;
    c
}

async fn a_quorum_queue_confirms_and_delivers(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue(&format!("q {QUORUM}")).await;
    c.confirm().await;
    c.fill("q", &["1", "2", "3"]).await;
    c.confirms(3).await;
    c.until_count("q", 3).await;
    c.consume("q consumer-tag=t").await;
    c.deliveries(3).await;
    c.send("basic.ack delivery-tag=3 multiple").await;
    c.publish("key=q delivery-mode=2 h.a=1", "4").await;
    c.confirms(4).await;
    c.delivery().await;
}

async fn a_quorum_queue_gets(s: &Scene<'_>) {
    let c = set_up(s, "").await;
    c.get("q").await;
    c.fill("q", &["1", "2"]).await;
    let tag = c.get("q").await;
    c.ack(tag).await;
    c.get("q no-ack").await;
    c.get("q").await;
}

async fn a_quorum_queue_deletes_and_purges(s: &Scene<'_>) {
    let c = set_up(s, "").await;
    c.fill("q", &["1", "2"]).await;
    c.call("queue.purge queue=q").await;
    c.fill("q", &["3"]).await;
    c.call("queue.delete queue=q").await;
    c.counts("q").await;
}

async fn a_quorum_queue_is_declared_again_the_same(s: &Scene<'_>) {
    let c = set_up(s, "x-delivery-limit=5").await;
    c.queue("q durable x-queue-type=quorum x-delivery-limit=5")
        .await;
    c.queue("q passive").await;
    c.queue("q durable x-queue-type=quorum x-delivery-limit=6")
        .await;
}

async fn a_quorum_queue_is_not_declared_as_a_classic_one(s: &Scene<'_>) {
    let c = set_up(s, "").await;
    c.queue("q durable x-queue-type=classic").await;
    c.reopen().await;
    c.queue("q durable").await;
    c.reopen().await;
    c.queue("p durable").await;
    c.queue("p durable x-queue-type=quorum").await;
}

async fn a_quorum_queue_cannot_be_transient(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-queue-type=quorum").await;
}

async fn a_quorum_queue_cannot_be_exclusive(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable exclusive x-queue-type=quorum").await;
}

async fn a_quorum_queue_cannot_be_auto_delete(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable auto-delete x-queue-type=quorum").await;
}

async fn a_quorum_queue_cannot_be_server_named(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue(" durable x-queue-type=quorum").await;
}

async fn a_quorum_queue_cannot_have_priorities(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable x-queue-type=quorum x-max-priority=5")
        .await;
}

async fn reject_publish_dlx_is_refused_on_a_quorum_queue(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable x-queue-type=quorum x-overflow=reject-publish-dlx")
        .await;
}

async fn a_delivery_limit_must_be_a_number(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable x-queue-type=quorum x-delivery-limit=many")
        .await;
    c.reopen().await;
    c.queue("q durable x-queue-type=quorum x-delivery-limit=-1")
        .await;
}

async fn a_delivery_limit_needs_a_quorum_queue(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable x-queue-type=classic x-delivery-limit=5")
        .await;
}

async fn arguments_of_quorum_queues_without_effect_are_accepted(s: &Scene<'_>) {
    let arguments = "x-queue-leader-locator=client-local x-quorum-initial-group-size=1 x-max-in-memory-length=5 \
                     x-dead-letter-strategy=at-most-once x-expires=60000";
    set_up(s, arguments).await;
}

async fn a_quorum_queue_cannot_have_a_global_limit(s: &Scene<'_>) {
    let c = set_up(s, "").await;
    c.call("basic.qos prefetch-count=5 global").await;
    c.consume("q consumer-tag=t").await;
}

async fn a_quorum_queue_limits_each_consumer(s: &Scene<'_>) {
    let c = set_up(s, "").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=a").await;
    c.fill("q", &["1", "2"]).await;
    c.delivery().await;
    c.nothing("q").await;
    c.ack(1).await;
    c.delivery().await;
}

async fn a_quorum_queue_ignores_an_exclusive_consumer(s: &Scene<'_>) {
    let c = set_up(s, "").await;
    c.consume("q consumer-tag=a exclusive").await;
    c.consume("q consumer-tag=b").await;
}

async fn a_quorum_queue_has_a_single_active_consumer(s: &Scene<'_>) {
    let c = set_up(s, "x-single-active-consumer=true").await;
    c.consume("q consumer-tag=a").await;
    c.consume("q consumer-tag=b").await;
    c.fill("q", &["1", "2"]).await;
    c.deliveries(2).await;
    c.send("basic.ack delivery-tag=2 multiple").await;
    c.call("basic.cancel consumer-tag=a").await;
    c.fill("q", &["3"]).await;
    c.delivery().await;
}

async fn deliveries_are_counted(s: &Scene<'_>) {
    let c = set_up(s, "x-delivery-limit=10").await;
    c.fill("q", &["1"]).await;
    c.consume("q consumer-tag=t").await;
    for _ in 0..3 {
        let tag = c.delivery().await;
        c.send(&format!("basic.reject delivery-tag={tag} requeue"))
            .await;
    }
    c.delivery().await;
}

async fn a_delivery_limit_dead_letters(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {QUORUM} x-delivery-limit=2 {DEAD}"))
        .await;
    c.consume("dead consumer-tag=d").await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["poison"]).await;
    for _ in 0..3 {
        let tag = c.delivery_to("t").await;
        c.send(&format!("basic.reject delivery-tag={tag} requeue"))
            .await;
    }
    c.delivery_to("d").await;
}

async fn a_delivery_limit_drops_without_a_dead_letter_exchange(s: &Scene<'_>) {
    let c = set_up(s, "x-delivery-limit=1").await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["poison"]).await;
    for _ in 0..2 {
        let tag = c.delivery_to("t").await;
        c.send(&format!("basic.reject delivery-tag={tag} requeue"))
            .await;
    }
    c.fill("q", &["next"]).await;
    c.delivery().await;
}

async fn messages_of_a_closed_channel_count(s: &Scene<'_>) {
    let c = set_up(s, "x-delivery-limit=5").await;
    c.fill("q", &["1"]).await;
    c.consume("q consumer-tag=t").await;
    c.delivery().await;
    c.call("channel.close reply-code=200").await;
    let d = s.plain().await;
    d.consume("q consumer-tag=t").await;
    d.delivery().await;
}

async fn a_quorum_queue_dead_letters_rejected_messages(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {QUORUM} {DEAD}")).await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    c.until_count("dead", 1).await;
    c.get("dead").await;
}

async fn a_quorum_queue_dead_letters_at_least_once(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue(&format!("dead {QUORUM}")).await;
    let strategy = "x-dead-letter-strategy=at-least-once x-overflow=reject-publish";
    c.queue(&format!("q {QUORUM} {strategy} x-message-ttl=20 {DEAD}"))
        .await;
    c.consume("dead consumer-tag=d").await;
    c.fill("q", &["expired"]).await;
    c.delivery().await;
}

async fn a_quorum_queue_expires_messages(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {QUORUM} {DEAD}")).await;
    c.consume("dead consumer-tag=d").await;
    c.publish("key=q expiration=20", "1").await;
    c.delivery().await;
}

async fn a_quorum_queue_takes_a_length_limit(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {QUORUM} x-max-length=2 {DEAD}")).await;
    c.fill("q", &["1", "2", "3"]).await;
    c.until_count("dead", 1).await;
    c.get("dead").await;
    c.get("q no-ack").await;
    c.get("q no-ack").await;
}

async fn a_quorum_queue_recovers(s: &Scene<'_>) {
    let c = set_up(s, "x-delivery-limit=5").await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["1"]).await;
    c.delivery().await;
    c.call("basic.recover requeue").await;
    c.delivery().await;
}
