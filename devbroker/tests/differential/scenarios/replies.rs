//! Direct reply-to: answers without a queue.

use crate::client::Channel;
use crate::connection::Event;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_reply_consumer_is_alone_on_its_channel,
    a_reply_consumer_may_be_cancelled,
    a_reply_consumer_must_not_acknowledge,
    a_mandatory_reply_is_returned_though_delivered,
    a_reply_finds_its_way,
    a_second_reply_has_a_delivery_tag,
    a_mandatory_reply_to_a_closed_channel_is_returned,
    a_reply_to_a_closed_channel_is_confirmed_and_lost,
    a_reply_to_a_made_up_address_is_lost,
    a_request_needs_a_reply_consumer,
    a_request_without_reply_to_needs_none,
    the_reply_queue_cannot_be_got_from,
    the_reply_queue_is_seen_by_a_passive_declare,
];

const CONSUMER: &str = "amq.rabbitmq.reply-to consumer-tag=r no-ack";

/// Sends a request, and takes it on another connection: that channel and the address to reply to.
async fn requested(s: &Scene<'_>, c: &Channel) -> (Channel, String) {
    let server = s.channel().await;
    server.queue("requests").await;
    c.publish(
        "key=requests reply-to=amq.rabbitmq.reply-to correlation-id=1",
        "please",
    )
    .await;
    server.until_count("requests", 1).await;
    server.send("basic.get queue=requests no-ack").await;
    let request = server.see(|event| event.name() == "basic.get-ok").await;
    let address = request.as_ref().map(Event::reply_to).unwrap_or_default();
    (server, address)
}

async fn a_reply_finds_its_way(s: &Scene<'_>) {
    let c = s.channel().await;
    c.consume(CONSUMER).await;
    let (server, address) = requested(s, &c).await;
    server
        .publish(&format!("key={address} correlation-id=1"), "here you are")
        .await;
    c.delivery().await;
}

async fn a_second_reply_has_a_delivery_tag(s: &Scene<'_>) {
    let c = s.channel().await;
    c.consume(CONSUMER).await;
    let (server, address) = requested(s, &c).await;
    for body in ["here you are", "once more"] {
        server
            .publish(&format!("key={address} correlation-id=1"), body)
            .await;
        c.delivery().await;
    }
}

async fn a_mandatory_reply_is_returned_though_delivered(s: &Scene<'_>) {
    let c = s.channel().await;
    c.consume(CONSUMER).await;
    let (server, address) = requested(s, &c).await;
    server
        .publish(&format!("key={address} mandatory"), "here you are")
        .await;
    c.delivery().await;
    server.nothing("requests").await;
}

async fn a_reply_to_a_closed_channel_is_confirmed_and_lost(s: &Scene<'_>) {
    let c = s.channel().await;
    c.consume(CONSUMER).await;
    let (server, address) = requested(s, &c).await;
    c.call("channel.close reply-code=200").await;
    server.publish(&format!("key={address}"), "too late").await;
    server.nothing("requests").await;
}

async fn a_mandatory_reply_to_a_closed_channel_is_returned(s: &Scene<'_>) {
    let c = s.channel().await;
    c.consume(CONSUMER).await;
    let (server, address) = requested(s, &c).await;
    c.call("channel.close reply-code=200").await;
    server
        .publish(&format!("key={address} mandatory"), "too late")
        .await;
    server.nothing("requests").await;
}

async fn a_reply_to_a_made_up_address_is_lost(s: &Scene<'_>) {
    let c = s.channel().await;
    c.publish("key=amq.rabbitmq.reply-to.made-up", "lost").await;
    c.publish("key=amq.rabbitmq.reply-to.made-up mandatory", "back")
        .await;
    c.expect("basic.return").await;
}

async fn a_request_needs_a_reply_consumer(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("requests").await;
    c.publish("key=requests reply-to=amq.rabbitmq.reply-to", "please")
        .await;
    c.closed().await;
}

async fn a_request_without_reply_to_needs_none(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("requests").await;
    c.publish("key=requests reply-to=amq.rabbitmq.other", "please")
        .await;
    c.get("requests").await;
}

async fn a_reply_consumer_must_not_acknowledge(s: &Scene<'_>) {
    let c = s.plain().await;
    c.consume("amq.rabbitmq.reply-to consumer-tag=r").await;
}

async fn a_reply_consumer_is_alone_on_its_channel(s: &Scene<'_>) {
    let c = s.plain().await;
    c.consume(CONSUMER).await;
    c.consume("amq.rabbitmq.reply-to consumer-tag=another no-ack")
        .await;
}

async fn a_reply_consumer_may_be_cancelled(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("requests").await;
    c.consume(CONSUMER).await;
    c.call("basic.cancel consumer-tag=r").await;
    c.publish("key=requests reply-to=amq.rabbitmq.reply-to", "please")
        .await;
    c.closed().await;
}

async fn the_reply_queue_cannot_be_got_from(s: &Scene<'_>) {
    let c = s.plain().await;
    c.get("amq.rabbitmq.reply-to no-ack").await;
}

async fn the_reply_queue_is_seen_by_a_passive_declare(s: &Scene<'_>) {
    let c = s.channel().await;
    c.counts("amq.rabbitmq.reply-to").await;
    c.consume(CONSUMER).await;
    let (server, address) = requested(s, &c).await;
    server.counts(&address).await;
    c.call("channel.close reply-code=200").await;
    server.counts(&address).await;
}
