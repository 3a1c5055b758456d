//! Streams over AMQP 0-9-1.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_stream_can_be_read_again,
    a_stream_cannot_be_auto_delete,
    a_stream_cannot_be_exclusive,
    a_stream_cannot_be_got_from,
    a_stream_cannot_be_purged,
    a_stream_cannot_be_transient,
    a_stream_cannot_expire_messages,
    a_stream_consumer_goes_on_when_it_acknowledges,
    a_stream_consumer_must_acknowledge,
    a_stream_consumer_needs_a_limit,
    a_stream_is_declared_again_the_same,
    a_stream_is_deleted,
    a_stream_knows_its_offsets,
    a_stream_limits_are_accepted,
    a_stream_offset_that_is_no_word_is_refused,
    a_stream_offset_of_another_type_is_refused,
    a_stream_offset_below_0_is_refused,
    a_stream_read_from_an_offset_beyond_waits,
    a_stream_read_from_next_gives_what_is_new,
    a_stream_read_from_a_number_begins_there,
    a_stream_read_from_a_time_begins_there,
    a_stream_with_an_age_that_is_no_interval_is_refused,
    a_stream_with_an_age_that_is_no_text_is_refused,
];

const STREAM: &str = "durable x-queue-type=stream";

/// A stream s with these messages, and a channel that takes up to ten.
async fn set_up(s: &Scene<'_>, bodies: &[&str]) -> Channel {
    let c = s.channel().await;
    c.queue(&format!("s {STREAM}")).await;
    c.fill("s", bodies).await;
    c.prefetch(10).await;
    c
}

async fn a_stream_can_be_read_again(s: &Scene<'_>) {
    let c = set_up(s, &["1", "2", "3"]).await;
    for tag in ["a", "b"] {
        c.consume(&format!("s consumer-tag={tag} x-stream-offset=first"))
            .await;
        for _ in 0..3 {
            let delivery = c.delivery_to(tag).await;
            c.ack(delivery).await;
        }
    }
}

async fn a_stream_knows_its_offsets(s: &Scene<'_>) {
    let c = set_up(s, &[]).await;
    c.publish("key=s content-type=text/plain message-id=m h.a=1", "1")
        .await;
    c.consume("s consumer-tag=t x-stream-offset=first").await;
    c.delivery().await;
}

async fn a_stream_read_from_a_number_begins_there(s: &Scene<'_>) {
    let c = set_up(s, &["0", "1", "2", "3"]).await;
    c.consume("s consumer-tag=t x-stream-offset=2").await;
    c.deliveries(2).await;
}

async fn a_stream_read_from_an_offset_beyond_waits(s: &Scene<'_>) {
    let c = set_up(s, &["0"]).await;
    c.consume("s consumer-tag=t x-stream-offset=2l").await;
    c.fill("s", &["1", "2"]).await;
    c.delivery().await;
}

async fn a_stream_read_from_next_gives_what_is_new(s: &Scene<'_>) {
    let c = set_up(s, &["old"]).await;
    let other = c.channel(2).await;
    other.prefetch(10).await;
    c.consume("s consumer-tag=t x-stream-offset=next").await;
    other.consume("s consumer-tag=u").await;
    c.fill("s", &["new"]).await;
    c.delivery().await;
    other.delivery().await;
}

async fn a_stream_read_from_a_time_begins_there(s: &Scene<'_>) {
    let c = set_up(s, &["0", "1"]).await;
    c.consume("s consumer-tag=t x-stream-offset=1h").await;
    c.deliveries(2).await;
    c.consume("s consumer-tag=u x-stream-offset=5T").await;
    c.deliveries(2).await;
}

async fn a_stream_offset_that_is_no_word_is_refused(s: &Scene<'_>) {
    let c = set_up(s, &[]).await;
    c.consume("s consumer-tag=t x-stream-offset=somewhere")
        .await;
    c.reopen().await;
    c.prefetch(10).await;
    c.consume("s consumer-tag=t x-stream-offset=5x").await;
}

async fn a_stream_offset_of_another_type_is_refused(s: &Scene<'_>) {
    let c = set_up(s, &[]).await;
    c.consume("s consumer-tag=t x-stream-offset=true").await;
}

async fn a_stream_offset_below_0_is_refused(s: &Scene<'_>) {
    let c = set_up(s, &[]).await;
    c.consume("s consumer-tag=t x-stream-offset=-1").await;
}

async fn a_stream_consumer_needs_a_limit(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue(&format!("s {STREAM}")).await;
    c.consume("s consumer-tag=t").await;
}

async fn a_stream_consumer_must_acknowledge(s: &Scene<'_>) {
    let c = set_up(s, &["1"]).await;
    c.consume("s consumer-tag=t no-ack x-stream-offset=first")
        .await;
}

async fn a_stream_consumer_goes_on_when_it_acknowledges(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue(&format!("s {STREAM}")).await;
    c.fill("s", &["1", "2", "3"]).await;
    c.prefetch(1).await;
    c.consume("s consumer-tag=t x-stream-offset=first").await;
    for _ in 0..3 {
        let tag = c.delivery().await;
        c.ack(tag).await;
    }
}

async fn a_stream_cannot_be_got_from(s: &Scene<'_>) {
    let c = set_up(s, &["1"]).await;
    c.get("s").await;
}

async fn a_stream_cannot_be_purged(s: &Scene<'_>) {
    let c = set_up(s, &["1"]).await;
    c.call("queue.purge queue=s").await;
}

async fn a_stream_is_deleted(s: &Scene<'_>) {
    let c = set_up(s, &["1"]).await;
    c.call("queue.delete queue=s").await;
    c.counts("s").await;
}

async fn a_stream_cannot_be_transient(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("s x-queue-type=stream").await;
}

async fn a_stream_cannot_be_exclusive(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("s durable exclusive x-queue-type=stream").await;
}

async fn a_stream_cannot_be_auto_delete(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("s durable auto-delete x-queue-type=stream").await;
}

async fn a_stream_cannot_expire_messages(s: &Scene<'_>) {
    let c = s.plain().await;
    for argument in [
        "x-message-ttl=1000",
        "x-dead-letter-exchange=e",
        "x-max-length=5",
        "x-max-priority=5",
        "x-expires=60000",
        "x-single-active-consumer=true",
        "x-overflow=drop-head",
        "x-delivery-limit=5",
    ] {
        c.queue(&format!("s {STREAM} {argument}")).await;
        c.reopen().await;
    }
}

async fn a_stream_limits_are_accepted(s: &Scene<'_>) {
    let c = s.plain().await;
    let limits = "x-max-age=1D x-max-length-bytes=20000000 x-stream-max-segment-size-bytes=1000000";
    c.queue(&format!("s {STREAM} {limits}")).await;
    c.queue(&format!("s {STREAM} {limits}")).await;
}

async fn a_stream_with_an_age_that_is_no_interval_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    for age in ["soon", "5x", "-1D", "5 D"] {
        c.queue(&format!("s {STREAM} x-max-age=\"{age}\"")).await;
        c.reopen().await;
    }
}

async fn a_stream_with_an_age_that_is_no_text_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue(&format!("s {STREAM} x-max-age=60")).await;
}

async fn a_stream_is_declared_again_the_same(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue(&format!("s {STREAM} x-max-age=1D")).await;
    c.queue(&format!("s {STREAM} x-max-age=1D")).await;
    c.queue(&format!("s {STREAM} x-max-age=2D")).await;
}
