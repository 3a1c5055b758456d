//! Dead-lettering: reasons, x-death, first-death headers, routes, circles.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_circle_with_a_rejection_goes_on,
    a_circle_without_a_rejection_ends,
    a_dead_letter_exchange_that_is_missing_loses_the_message,
    a_dead_letter_exchange_without_a_route_loses_the_message,
    a_dead_letter_keeps_its_properties,
    a_dead_letter_loses_its_expiration,
    a_dead_letter_takes_its_own_key_by_default,
    a_dead_letter_to_another_exchange_is_routed_there,
    a_key_without_an_exchange_is_refused,
    a_nacked_message_is_dead_lettered,
    a_purged_message_is_no_dead_letter,
    a_rejected_message_is_dead_lettered,
    a_second_death_is_counted,
    an_acknowledged_message_is_no_dead_letter,
    cc_headers_are_remembered_and_followed,
    deaths_in_two_queues_are_two_entries,
    messages_that_are_too_many_are_dead_lettered,
    multiple_nacks_are_dead_lettered_in_order,
    x_death_of_the_client_is_kept,
    x_death_of_the_client_that_is_no_list_is_replaced,
];

const DEAD: &str = "x-dead-letter-exchange= x-dead-letter-routing-key=dead";

/// A queue `dead`, and a queue `q` that dead-letters into it.
async fn set_up(s: &Scene<'_>) -> Channel {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q {DEAD}")).await;
    c
}

/// Waits for one message, and takes it.
async fn take(c: &Channel, queue: &str) -> u64 {
    c.until_count(queue, 1).await;
    c.get(queue).await
}

async fn a_rejected_message_is_dead_lettered(s: &Scene<'_>) {
    let c = set_up(s).await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
}

async fn a_nacked_message_is_dead_lettered(s: &Scene<'_>) {
    let c = set_up(s).await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.send(&format!("basic.nack delivery-tag={tag}")).await;
    take(&c, "dead").await;
}

async fn multiple_nacks_are_dead_lettered_in_order(s: &Scene<'_>) {
    let c = set_up(s).await;
    c.fill("q", &["1", "2", "3"]).await;
    c.consume("q consumer-tag=t").await;
    c.deliveries(3).await;
    c.send("basic.nack delivery-tag=3 multiple").await;
    c.consume("dead consumer-tag=d").await;
    c.deliveries(3).await;
}

async fn messages_that_are_too_many_are_dead_lettered(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.queue(&format!("q x-max-length=1 {DEAD}")).await;
    c.fill("q", &["1", "2"]).await;
    take(&c, "dead").await;
    c.get("q").await;
}

async fn an_acknowledged_message_is_no_dead_letter(s: &Scene<'_>) {
    let c = set_up(s).await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.ack(tag).await;
    c.fill("q", &["2"]).await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
}

async fn a_purged_message_is_no_dead_letter(s: &Scene<'_>) {
    let c = set_up(s).await;
    c.fill("q", &["1"]).await;
    c.call("queue.purge queue=q").await;
    c.fill("q", &["2"]).await;
    c.call("queue.delete queue=q").await;
    c.counts("dead").await;
}

async fn a_dead_letter_takes_its_own_key_by_default(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead").await;
    c.call("queue.bind queue=dead exchange=amq.topic routing-key=a.*")
        .await;
    c.queue("q x-dead-letter-exchange=amq.topic").await;
    c.call("queue.bind queue=q exchange=amq.direct routing-key=a.b")
        .await;
    c.publish("exchange=amq.direct key=a.b", "1").await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
}

async fn a_dead_letter_to_another_exchange_is_routed_there(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("one").await;
    c.queue("two").await;
    for queue in ["one", "two"] {
        c.call(&format!("queue.bind queue={queue} exchange=amq.fanout"))
            .await;
    }
    c.queue("q x-dead-letter-exchange=amq.fanout x-dead-letter-routing-key=died")
        .await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "one").await;
    take(&c, "two").await;
}

async fn a_dead_letter_exchange_that_is_missing_loses_the_message(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-dead-letter-exchange=missing").await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    c.fill("q", &["2"]).await;
    c.get("q").await;
}

async fn a_dead_letter_exchange_without_a_route_loses_the_message(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q x-dead-letter-exchange=amq.direct").await;
    c.fill("q", &["1"]).await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    c.fill("q", &["2"]).await;
    c.get("q").await;
}

async fn a_key_without_an_exchange_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-dead-letter-routing-key=dead").await;
}

async fn a_dead_letter_keeps_its_properties(s: &Scene<'_>) {
    let c = set_up(s).await;
    let properties = "content-type=text/plain content-encoding=utf-8 delivery-mode=2 priority=4 correlation-id=c \
                      reply-to=r message-id=m timestamp=77 type=t app-id=a h.a=1 h.b={c=[1,two]}";
    c.publish(&format!("key=q {properties}"), "1").await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
}

async fn a_dead_letter_loses_its_expiration(s: &Scene<'_>) {
    let c = set_up(s).await;
    c.publish("key=q expiration=60000", "rejected").await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
    c.publish("key=q expiration=10", "expired").await;
    take(&c, "dead").await;
}

async fn a_second_death_is_counted(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead x-dead-letter-exchange= x-dead-letter-routing-key=q")
        .await;
    c.queue(&format!("q {DEAD}")).await;
    c.fill("q", &["1"]).await;
    for queue in ["q", "dead", "q", "dead"] {
        let tag = take(&c, queue).await;
        c.reject(tag).await;
    }
    take(&c, "q").await;
}

async fn deaths_in_two_queues_are_two_entries(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("end").await;
    c.queue("dead x-message-ttl=10 x-dead-letter-exchange= x-dead-letter-routing-key=end")
        .await;
    c.queue(&format!("q {DEAD}")).await;
    c.publish("key=q expiration=10", "1").await;
    take(&c, "end").await;
}

async fn a_circle_without_a_rejection_ends(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("dead x-message-ttl=10 x-dead-letter-exchange= x-dead-letter-routing-key=q")
        .await;
    c.queue(&format!("q x-message-ttl=10 {DEAD}")).await;
    c.fill("q", &["circles"]).await;
    c.queue("end").await;
    c.queue("clock x-dead-letter-exchange= x-dead-letter-routing-key=end")
        .await;
    c.publish("key=clock expiration=200", "time has gone by")
        .await;
    take(&c, "end").await;
    c.counts("q").await;
    c.counts("dead").await;
}

async fn a_circle_with_a_rejection_goes_on(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("wait x-message-ttl=10 x-dead-letter-exchange= x-dead-letter-routing-key=q")
        .await;
    c.queue("q x-dead-letter-exchange= x-dead-letter-routing-key=wait")
        .await;
    c.consume("q consumer-tag=t").await;
    c.fill("q", &["retried"]).await;
    for _ in 0..3 {
        let tag = c.delivery().await;
        c.reject(tag).await;
    }
    c.delivery().await;
}

async fn x_death_of_the_client_is_kept(s: &Scene<'_>) {
    let c = set_up(s).await;
    let entry = "{count=7l,exchange=e,queue=other,reason=expired,routing-keys=[k],time=5T}";
    c.publish(
        &format!("key=q h.x-death=[{entry}] h.x-first-death-queue=other"),
        "1",
    )
    .await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
    let entry = "{count=7l,exchange=e,queue=q,reason=rejected,routing-keys=[k],time=5T}";
    c.publish(&format!("key=q h.x-death=[{entry}]"), "2").await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
}

async fn x_death_of_the_client_that_is_no_list_is_replaced(s: &Scene<'_>) {
    let c = set_up(s).await;
    c.publish("key=q h.x-death=nonsense", "1").await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "dead").await;
}

async fn cc_headers_are_remembered_and_followed(s: &Scene<'_>) {
    let c = s.channel().await;
    for queue in ["own", "copy", "dead"] {
        c.queue(queue).await;
        c.call(&format!(
            "queue.bind queue={queue} exchange=amq.direct routing-key={queue}"
        ))
        .await;
    }
    c.queue("q x-dead-letter-exchange=amq.direct").await;
    c.call("queue.bind queue=q exchange=amq.topic routing-key=own")
        .await;
    c.publish("exchange=amq.topic key=own h.CC=[copy] h.BCC=[hidden]", "1")
        .await;
    let tag = c.get("q").await;
    c.reject(tag).await;
    take(&c, "own").await;
    take(&c, "copy").await;
    c.queue("p x-dead-letter-exchange=amq.direct x-dead-letter-routing-key=dead")
        .await;
    c.publish("key=p h.CC=[nowhere]", "2").await;
    let tag = c.get("p").await;
    c.reject(tag).await;
    take(&c, "dead").await;
}
