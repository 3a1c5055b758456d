//! Publishing: confirms, returns, transactions.

use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_confirmed_message_may_go_nowhere,
    a_confirm_channel_confirms_every_publish,
    a_confirm_channel_may_be_selected_twice,
    a_durable_message_is_confirmed,
    a_mandatory_message_with_a_route_is_not_returned,
    a_mandatory_message_without_a_route_comes_back_before_its_confirm,
    a_mandatory_message_without_confirms_comes_back,
    a_nacked_publish_keeps_its_number,
    a_returned_message_is_whole,
    an_immediate_publish_is_not_known,
    confirming_without_an_answer_confirms,
    numbers_begin_again_on_a_new_channel,
    transactions_and_confirms_exclude_each_other,
    transactions_commit_and_roll_back,
    transactions_need_selecting,
    what_is_published_before_confirms_is_not_counted,
];

async fn a_confirm_channel_confirms_every_publish(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.confirm().await;
    c.fill("q", &["1", "2", "3", "4", "5"]).await;
    c.confirms(5).await;
    c.counts("q").await;
}

async fn a_confirm_channel_may_be_selected_twice(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.confirm().await;
    c.fill("q", &["1"]).await;
    c.confirms(1).await;
    c.confirm().await;
    c.fill("q", &["2"]).await;
    c.confirms(2).await;
}

async fn confirming_without_an_answer_confirms(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.send("confirm.select no-wait").await;
    c.fill("q", &["1"]).await;
    c.frames(1).await;
}

async fn what_is_published_before_confirms_is_not_counted(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.fill("q", &["1"]).await;
    c.confirm().await;
    c.fill("q", &["2"]).await;
    c.confirms(1).await;
    c.until_count("q", 2).await;
}

async fn numbers_begin_again_on_a_new_channel(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.confirm().await;
    c.fill("q", &["1"]).await;
    c.confirms(1).await;
    c.call("channel.close reply-code=200").await;
    c.reopen().await;
    c.confirm().await;
    c.fill("q", &["2"]).await;
    c.confirms(1).await;
}

async fn a_durable_message_is_confirmed(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q durable").await;
    c.confirm().await;
    c.publish("key=q delivery-mode=2", "kept").await;
    c.frames(1).await;
    c.get("q").await;
}

async fn a_confirmed_message_may_go_nowhere(s: &Scene<'_>) {
    let c = s.plain().await;
    c.confirm().await;
    c.publish("key=nowhere", "lost").await;
    c.frames(1).await;
}

async fn a_mandatory_message_without_a_route_comes_back_before_its_confirm(s: &Scene<'_>) {
    let c = s.plain().await;
    c.confirm().await;
    c.publish("exchange=amq.topic key=no.where mandatory", "back")
        .await;
    c.frames(2).await;
    c.publish("key=nowhere mandatory", "back").await;
    c.frames(2).await;
}

async fn a_mandatory_message_without_confirms_comes_back(s: &Scene<'_>) {
    let c = s.plain().await;
    c.publish("exchange=amq.fanout key=k mandatory", "back")
        .await;
    c.frames(1).await;
}

async fn a_mandatory_message_with_a_route_is_not_returned(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.confirm().await;
    c.publish("key=q mandatory", "kept").await;
    c.frames(1).await;
}

async fn a_returned_message_is_whole(s: &Scene<'_>) {
    let c = s.plain().await;
    let properties =
        "content-type=text/plain delivery-mode=2 priority=3 message-id=m h.a=1 h.b=two";
    c.publish(&format!("key=nowhere mandatory {properties}"), "all of it")
        .await;
    c.frames(1).await;
    c.publish("key=nowhere mandatory", "").await;
    c.frames(1).await;
}

async fn an_immediate_publish_is_not_known(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.publish("key=q immediate", "now").await;
    c.closed().await;
    c.ended().await;
}

async fn a_nacked_publish_keeps_its_number(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q x-max-length=1 x-overflow=reject-publish").await;
    c.confirm().await;
    c.fill("q", &["1", "2", "3"]).await;
    c.confirms(3).await;
    c.get("q no-ack").await;
    c.fill("q", &["4"]).await;
    c.confirms(4).await;
}

async fn transactions_commit_and_roll_back(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.call("tx.select").await;
    c.fill("q", &["1"]).await;
    c.call("tx.commit").await;
    c.fill("q", &["2"]).await;
    c.call("tx.rollback").await;
    c.get("q").await;
    c.get("q").await;
}

async fn transactions_need_selecting(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("tx.commit").await;
    c.reopen().await;
    c.call("tx.rollback").await;
}

async fn transactions_and_confirms_exclude_each_other(s: &Scene<'_>) {
    let c = s.plain().await;
    c.confirm().await;
    c.call("tx.select").await;
    c.reopen().await;
    c.call("tx.select").await;
    c.confirm().await;
}
