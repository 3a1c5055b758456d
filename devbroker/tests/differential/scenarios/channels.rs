//! Channels: opening, closing, and errors that close a channel or the connection.

use crate::connection::{BODY, HEADER, METHOD};
use crate::content;
use crate::method;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_body_that_is_longer_than_announced_is_an_error,
    a_body_without_a_method_is_an_unexpected_frame,
    a_channel_closes_and_opens_again,
    a_channel_error_leaves_the_connection,
    a_channel_opened_twice_is_an_error,
    a_channel_that_was_never_opened_is_an_error,
    a_connection_method_on_a_channel_is_an_error,
    a_content_header_of_another_class_is_an_error,
    a_content_header_without_a_method_is_an_unexpected_frame,
    a_frame_of_an_unknown_type_is_an_error,
    a_frame_that_is_too_large_is_an_error,
    a_frame_without_its_end_is_an_error,
    a_heartbeat_on_a_channel_is_an_error,
    a_method_amid_content_is_an_unexpected_frame,
    a_method_for_the_client_is_an_error,
    a_method_on_channel_0_is_an_error,
    a_method_with_bytes_missing_is_a_syntax_error,
    a_publish_to_a_missing_exchange_closes_the_channel_once,
    access_request_is_answered,
    an_unknown_class_is_an_error,
    an_unknown_method_is_an_error,
    channel_flow_cannot_be_stopped,
    flow_may_be_asked_for,
    a_connection_error_closes_every_channel,
    a_long_reason_is_cut_off,
    what_follows_a_channel_error_is_ignored,
];

async fn a_channel_closes_and_opens_again(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("channel.close reply-code=200 reply-text=bye").await;
    c.reopen().await;
    c.queue("q").await;
}

async fn a_channel_error_leaves_the_connection(s: &Scene<'_>) {
    let c = s.channel().await;
    let other = c.channel(2).await;
    c.counts("missing").await;
    other.queue("q").await;
    c.reopen().await;
    c.counts("q").await;
}

async fn what_follows_a_channel_error_is_ignored(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("queue.declare queue=missing passive").await;
    c.publish("key=q", "lost").await;
    c.send("queue.declare queue=other").await;
    c.closed().await;
    c.reopen().await;
    c.get("q").await;
    c.counts("other").await;
}

async fn a_connection_error_closes_every_channel(s: &Scene<'_>) {
    let c = s.plain().await;
    let other = c.plain(2).await;
    c.queue("q exclusive").await;
    c.call("channel.open").await;
    other.queue("p").await;
    let d = s.plain().await;
    d.until_gone("q").await;
}

async fn a_long_reason_is_cut_off(s: &Scene<'_>) {
    let c = s.plain().await;
    c.counts(&"long".repeat(60)).await;
}

async fn a_channel_opened_twice_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("channel.open").await;
    c.ended().await;
}

async fn a_channel_that_was_never_opened_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    let other = c.unopened(7);
    other.queue("q").await;
    other.ended().await;
}

async fn a_method_on_channel_0_is_an_error(s: &Scene<'_>) {
    let c = s.connect("guest", "guest", 131_072).await;
    c.queue("q").await;
    c.ended().await;
}

async fn a_connection_method_on_a_channel_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("connection.open virtual-host=v").await;
    c.ended().await;
}

async fn a_method_for_the_client_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.send("basic.get-empty").await;
    c.closed().await;
}

async fn an_unknown_class_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.frame(METHOD, &[0, 99, 0, 10]).await;
    c.closed().await;
    c.ended().await;
}

async fn an_unknown_method_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.frame(METHOD, &[0, 50, 0, 99]).await;
    c.closed().await;
}

async fn a_method_with_bytes_missing_is_a_syntax_error(s: &Scene<'_>) {
    let c = s.plain().await;
    let (payload, _) = method::encode("queue.declare queue=q");
    c.frame(METHOD, &payload[..9]).await;
    c.closed().await;
}

async fn a_body_without_a_method_is_an_unexpected_frame(s: &Scene<'_>) {
    let c = s.plain().await;
    c.frame(BODY, b"body").await;
    c.closed().await;
}

async fn a_content_header_without_a_method_is_an_unexpected_frame(s: &Scene<'_>) {
    let c = s.plain().await;
    c.frame(HEADER, &content::encode_header(&[], 0)).await;
    c.closed().await;
}

async fn a_method_amid_content_is_an_unexpected_frame(s: &Scene<'_>) {
    let c = s.plain().await;
    c.send("basic.publish routing-key=q").await;
    c.queue("q").await;
    c.ended().await;
}

async fn a_content_header_of_another_class_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.send("basic.publish routing-key=q").await;
    let mut header = content::encode_header(&[], 0);
    header[1] = 50;
    c.frame(HEADER, &header).await;
    c.closed().await;
}

async fn a_body_that_is_longer_than_announced_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("basic.publish routing-key=q").await;
    c.frame(HEADER, &content::encode_header(&[], 2)).await;
    c.frame(BODY, b"three").await;
    c.call("exchange.declare exchange=amq.direct passive").await;
}

async fn a_frame_of_an_unknown_type_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.frame(5, b"x").await;
    c.closed().await;
}

async fn a_heartbeat_on_a_channel_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.frame(8, b"").await;
    c.call("exchange.declare exchange=amq.direct passive").await;
}

async fn a_frame_that_is_too_large_is_an_error(s: &Scene<'_>) {
    let c = s.connect("guest", "guest", 8192).await.plain(1).await;
    c.send("basic.publish routing-key=q").await;
    c.frame(HEADER, &content::encode_header(&[], 8193)).await;
    c.frame(BODY, &[b'x'; 8193]).await;
    c.closed().await;
}

async fn a_frame_without_its_end_is_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.bytes(&[1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0]).await;
    c.closed().await;
}

async fn a_publish_to_a_missing_exchange_closes_the_channel_once(s: &Scene<'_>) {
    let c = s.plain().await;
    c.publish("exchange=missing key=k", "1").await;
    c.publish("exchange=missing key=k", "2").await;
    c.closed().await;
    c.reopen().await;
    c.queue("q").await;
}

async fn channel_flow_cannot_be_stopped(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("channel.flow").await;
}

async fn flow_may_be_asked_for(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("channel.flow active").await;
}

async fn access_request_is_answered(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("access.request realm=/data").await;
}
