//! Messages as such: properties of every kind, bodies of every size.

use crate::connection::{BODY, HEADER};
use crate::content;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_body_arrives_in_frames_of_the_receiver,
    a_body_in_many_small_frames_arrives,
    a_body_of_exactly_a_frame_is_one_frame,
    a_body_that_is_not_text_arrives,
    a_body_without_bytes_arrives,
    a_body_without_bytes_may_come_in_an_empty_frame,
    a_forged_user_id_is_refused,
    a_header_table_of_every_type_arrives,
    a_header_table_that_is_empty_arrives,
    a_nested_header_table_arrives,
    a_true_user_id_arrives,
    a_user_id_of_an_impersonator_is_refused,
    contents_on_two_channels_may_be_mixed,
    delivery_mode_arrives_as_it_is,
    every_property_arrives,
    properties_that_are_damaged_are_an_error,
    texts_that_are_not_utf8_arrive,
    the_longest_short_texts_arrive,
];

async fn every_property_arrives(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    let properties = "content-type=text/plain content-encoding=gzip h.a=1 delivery-mode=2 priority=9 correlation-id=c \
                      reply-to=r expiration=60000 message-id=m timestamp=77 type=t user-id=guest app-id=a cluster-id=x";
    c.publish(&format!("key=q {properties}"), "1").await;
    c.get("q").await;
}

async fn delivery_mode_arrives_as_it_is(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    for mode in ["0", "1", "2", "3", "255"] {
        c.publish(&format!("key=q delivery-mode={mode}"), mode)
            .await;
        c.reopen().await;
        c.get("q no-ack").await;
    }
}

async fn a_header_table_of_every_type_arrives(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    let numbers =
        "h.b=-5b h.B=200B h.s=-300s h.u=60000u h.I=-70000 h.i=4000000000i h.l=-5000000000l h.T=5T";
    let others = "h.f=1.5f h.d=2.25d h.D=2/314D h.t=true h.S=text h.x=x:bytes h.V=null h.A=[1,two,[3],{f=4}] h.F={a={b=c}}";
    c.publish(&format!("key=q {numbers} {others}"), "1").await;
    c.get("q").await;
}

async fn a_header_table_that_is_empty_arrives(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.publish("key=q headers", "1").await;
    c.get("q").await;
    c.publish("key=q h.a={} h.b=[] h.c=\"\"", "2").await;
    c.get("q").await;
}

async fn a_nested_header_table_arrives(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    let deep = format!("{}1{}", "{a=[".repeat(20), "]}".repeat(20));
    c.publish(&format!("key=q h.deep={deep}"), "1").await;
    c.get("q").await;
}

async fn texts_that_are_not_utf8_arrive(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("basic.publish routing-key=q").await;
    // message-id and type
    let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0b1010_0000];
    header.extend(b"\x02\xff\xfe\x01\xc3");
    c.frame(HEADER, &header).await;
    c.frame(BODY, b"1").await;
    c.get("q").await;
}

async fn the_longest_short_texts_arrive(s: &Scene<'_>) {
    let c = s.channel().await;
    let long = "k".repeat(255);
    c.queue("q").await;
    c.call(&format!(
        "queue.bind queue=q exchange=amq.direct routing-key={long}"
    ))
    .await;
    c.publish(
        &format!("exchange=amq.direct key={long} message-id={long}"),
        "1",
    )
    .await;
    c.get("q").await;
}

async fn properties_that_are_damaged_are_an_error(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("basic.publish routing-key=q").await;
    // a content type of ten bytes of which there are two
    c.frame(HEADER, b"\0\x3c\0\0\0\0\0\0\0\0\0\0\x80\0\x0aab")
        .await;
    c.closed().await;
}

async fn a_body_without_bytes_arrives(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.publish("key=q", "").await;
    c.consume("q consumer-tag=t").await;
    c.delivery().await;
    c.publish("key=q content-type=none", "").await;
    c.delivery().await;
}

async fn a_body_without_bytes_may_come_in_an_empty_frame(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("basic.publish routing-key=q").await;
    c.frame(HEADER, &content::encode_header(&[], 1)).await;
    c.frame(BODY, b"").await;
    c.frame(BODY, b"1").await;
    c.frame(BODY, b"").await;
    c.closed().await;
    c.ended().await;
}

async fn a_body_that_is_not_text_arrives(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    let body: Vec<u8> = (0..=255).collect();
    c.publish("key=q", body).await;
    c.get("q").await;
}

async fn a_body_of_exactly_a_frame_is_one_frame(s: &Scene<'_>) {
    let c = s.connect("guest", "guest", 8192).await.channel(1).await;
    c.queue("q").await;
    for size in [8183, 8184, 8185, 16_368] {
        c.publish("key=q", vec![b'x'; size]).await;
        c.get("q no-ack").await;
    }
}

async fn a_body_arrives_in_frames_of_the_receiver(s: &Scene<'_>) {
    let c = s.channel().await;
    let small = s.connect("guest", "guest", 8192).await.plain(1).await;
    let unlimited = s.connect("guest", "guest", 131_072).await.plain(1).await;
    c.queue("q").await;
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    c.publish("key=q", &body).await;
    let tag = small.get("q").await;
    small.requeue(tag).await;
    unlimited.until_count("q", 1).await;
    unlimited.get("q").await;
}

async fn a_body_in_many_small_frames_arrives(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("basic.publish routing-key=q").await;
    c.frame(HEADER, &content::encode_header(&[], 10)).await;
    for part in [&b"one"[..], b"two", b"", b"4444"] {
        c.frame(BODY, part).await;
    }
    c.get("q").await;
}

async fn contents_on_two_channels_may_be_mixed(s: &Scene<'_>) {
    let c = s.plain().await;
    let other = c.plain(2).await;
    c.queue("q").await;
    c.send("basic.publish routing-key=q").await;
    other.send("basic.publish routing-key=q").await;
    c.frame(HEADER, &content::encode_header(&[], 4)).await;
    c.frame(BODY, b"on").await;
    other.frame(HEADER, &content::encode_header(&[], 3)).await;
    other.frame(BODY, b"two").await;
    other.get("q no-ack").await;
    c.frame(BODY, b"e.").await;
    c.get("q no-ack").await;
}

async fn a_true_user_id_arrives(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.publish("key=q user-id=guest", "1").await;
    c.get("q").await;
}

async fn a_forged_user_id_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.publish("key=q user-id=someone", "1").await;
    c.closed().await;
}

async fn a_user_id_of_an_impersonator_is_refused(s: &Scene<'_>) {
    s.add_user(".*", ".*", ".*").await;
    let c = s.connect(&s.user, "secret", 131_072).await.plain(1).await;
    c.queue("q").await;
    c.publish("key=q user-id=guest", "1").await;
    c.closed().await;
    c.reopen().await;
    c.publish(&format!("key=q user-id={}", s.user), "2").await;
    c.get("q").await;
}
