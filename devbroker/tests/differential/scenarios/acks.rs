//! Settling: ack, nack, reject, recover, and what comes back where.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_closed_channel_gives_its_messages_back_in_order,
    a_closed_connection_gives_its_messages_back,
    a_delivery_is_settled_once,
    a_get_from_an_empty_queue_is_empty,
    a_get_of_a_missing_queue_is_an_error,
    a_get_without_acks_removes_the_message,
    a_message_comes_back_to_its_place,
    a_multiple_ack_of_nothing_is_an_error,
    a_multiple_ack_settles_all_before,
    a_multiple_nack_requeues_all_in_order,
    a_nack_without_requeue_drops_the_message,
    a_rejected_message_is_dropped,
    a_rejected_message_is_requeued,
    a_requeued_message_goes_to_another_consumer,
    a_tag_of_another_channel_is_unknown,
    an_unknown_tag_is_an_error_for_ack,
    an_unknown_tag_is_an_error_for_nack,
    an_unknown_tag_is_an_error_for_reject,
    recover_asynchronously_gives_messages_back,
    recover_gives_messages_back,
    recover_without_requeue_is_not_known,
    redelivered_is_said_once_it_was_delivered,
    tag_0_settles_everything,
    tag_0_alone_is_unknown,
    tag_0_settles_everything_even_nothing,
    tags_count_on_through_gets_and_deliveries,
];

/// A queue with these messages, all delivered to consumer t.
async fn delivered(s: &Scene<'_>, bodies: &[&str]) -> Channel {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", bodies).await;
    c.consume("q consumer-tag=t").await;
    c.deliveries(bodies.len()).await;
    c
}

/// A queue with these messages, all taken by basic.get.
async fn taken(s: &Scene<'_>, bodies: &[&str]) -> Channel {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", bodies).await;
    for _ in bodies {
        c.get("q").await;
    }
    c
}

/// What is in the queue.
async fn rest(c: &Channel) {
    while c.get("q no-ack").await != 0 {}
}

async fn a_get_from_an_empty_queue_is_empty(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.get("q").await;
    c.get("q no-ack").await;
}

async fn a_get_of_a_missing_queue_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.get("missing").await;
}

async fn a_get_without_acks_removes_the_message(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.fill("q", &["1", "2"]).await;
    c.get("q no-ack").await;
    c.counts("q").await;
    c.ack(1).await;
    c.closed().await;
}

async fn tags_count_on_through_gets_and_deliveries(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2"]).await;
    c.queue("p").await;
    c.fill("p", &["3", "4"]).await;
    c.get("p").await;
    c.get("p no-ack").await;
    c.fill("q", &["5"]).await;
    c.delivery().await;
}

async fn redelivered_is_said_once_it_was_delivered(s: &Scene<'_>) {
    let c = taken(s, &["1"]).await;
    c.requeue(1).await;
    c.until_count("q", 1).await;
    let tag = c.get("q").await;
    c.send(&format!("basic.reject delivery-tag={tag} requeue"))
        .await;
    c.until_count("q", 1).await;
    rest(&c).await;
}

async fn a_message_comes_back_to_its_place(s: &Scene<'_>) {
    let c = taken(s, &["1", "2", "3", "4"]).await;
    c.fill("q", &["5"]).await;
    c.requeue(3).await;
    c.requeue(1).await;
    c.requeue(4).await;
    c.until_count("q", 4).await;
    rest(&c).await;
}

async fn a_multiple_nack_requeues_all_in_order(s: &Scene<'_>) {
    let c = taken(s, &["1", "2", "3"]).await;
    c.fill("q", &["4"]).await;
    c.send("basic.nack delivery-tag=2 multiple requeue").await;
    c.until_count("q", 3).await;
    rest(&c).await;
}

async fn a_multiple_ack_settles_all_before(s: &Scene<'_>) {
    let c = taken(s, &["1", "2", "3"]).await;
    c.send("basic.ack delivery-tag=2 multiple").await;
    c.send("basic.recover requeue").await;
    c.expect("basic.recover-ok").await;
    c.until_count("q", 1).await;
    rest(&c).await;
}

async fn tag_0_settles_everything(s: &Scene<'_>) {
    let c = taken(s, &["1", "2"]).await;
    c.send("basic.nack delivery-tag=0 multiple requeue").await;
    c.until_count("q", 2).await;
    c.get("q").await;
    c.get("q").await;
    c.send("basic.ack delivery-tag=0 multiple").await;
    c.call("channel.close reply-code=200").await;
    let d = s.plain().await;
    d.get("q").await;
}

async fn tag_0_settles_everything_even_nothing(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("basic.ack delivery-tag=0 multiple").await;
    c.send("basic.nack delivery-tag=0 multiple requeue").await;
    c.counts("q").await;
}

async fn tag_0_alone_is_unknown(s: &Scene<'_>) {
    let c = taken(s, &["1"]).await;
    c.ack(0).await;
    c.closed().await;
}

async fn a_multiple_ack_of_nothing_is_an_error(s: &Scene<'_>) {
    let c = taken(s, &["1"]).await;
    c.send("basic.ack delivery-tag=5 multiple").await;
    c.closed().await;
}

async fn an_unknown_tag_is_an_error_for_ack(s: &Scene<'_>) {
    let c = s.plain().await;
    c.ack(7).await;
    c.closed().await;
}

async fn an_unknown_tag_is_an_error_for_nack(s: &Scene<'_>) {
    let c = s.plain().await;
    c.requeue(7).await;
    c.closed().await;
}

async fn an_unknown_tag_is_an_error_for_reject(s: &Scene<'_>) {
    let c = s.plain().await;
    c.reject(7).await;
    c.closed().await;
}

async fn a_delivery_is_settled_once(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2"]).await;
    c.ack(1).await;
    c.ack(1).await;
    c.closed().await;
    let d = s.plain().await;
    d.until_count("q", 1).await;
}

async fn a_tag_of_another_channel_is_unknown(s: &Scene<'_>) {
    let c = delivered(s, &["1"]).await;
    let other = c.plain(2).await;
    other.ack(1).await;
    other.closed().await;
    c.ack(1).await;
    c.counts("q").await;
}

async fn a_rejected_message_is_dropped(s: &Scene<'_>) {
    let c = delivered(s, &["1"]).await;
    c.reject(1).await;
    c.fill("q", &["2"]).await;
    c.delivery().await;
}

async fn a_nack_without_requeue_drops_the_message(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2", "3"]).await;
    c.send("basic.nack delivery-tag=2 multiple").await;
    c.fill("q", &["4"]).await;
    c.delivery().await;
    c.requeue(3).await;
    c.delivery().await;
}

async fn a_rejected_message_is_requeued(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2"]).await;
    c.send("basic.reject delivery-tag=1 requeue").await;
    c.delivery().await;
}

async fn a_requeued_message_goes_to_another_consumer(s: &Scene<'_>) {
    let c = s.channel().await;
    let d = s.plain().await;
    c.queue("q").await;
    c.prefetch(1).await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["1", "2"]).await;
    c.delivery().await;
    d.consume("q consumer-tag=u").await;
    d.delivery().await;
    c.call("basic.cancel consumer-tag=t").await;
    c.requeue(1).await;
    d.delivery().await;
}

async fn a_closed_channel_gives_its_messages_back_in_order(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2", "3"]).await;
    c.ack(2).await;
    c.fill("q", &["4"]).await;
    c.delivery().await;
    c.call("channel.close reply-code=200").await;
    let d = s.plain().await;
    d.until_count("q", 3).await;
    rest(&d).await;
}

async fn a_closed_connection_gives_its_messages_back(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2"]).await;
    c.hang_up().await;
    let d = s.plain().await;
    d.until_count("q", 2).await;
    rest(&d).await;
}

async fn recover_gives_messages_back(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2"]).await;
    c.ack(1).await;
    c.call("basic.recover requeue").await;
    c.delivery().await;
}

async fn recover_asynchronously_gives_messages_back(s: &Scene<'_>) {
    let c = delivered(s, &["1", "2"]).await;
    c.send("basic.recover-async requeue").await;
    c.deliveries(2).await;
}

async fn recover_without_requeue_is_not_known(s: &Scene<'_>) {
    let c = delivered(s, &["1"]).await;
    c.call("basic.recover").await;
}
