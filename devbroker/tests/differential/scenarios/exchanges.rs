//! Exchanges: declaring, deleting, equivalence, reserved names, bindings as such.

use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_binding_that_is_not_there_may_be_removed,
    a_binding_to_a_missing_exchange_is_not_found,
    a_binding_to_a_missing_queue_is_not_found,
    a_binding_twice_is_one_binding,
    a_client_cannot_publish_to_an_internal_exchange,
    a_deleted_exchange_takes_its_bindings_along,
    a_missing_exchange_may_be_deleted,
    a_name_may_have_255_bytes,
    a_passive_declare_of_a_missing_exchange_is_not_found,
    a_passive_declare_takes_any_type,
    a_reserved_exchange_cannot_be_declared,
    a_reserved_exchange_cannot_be_deleted,
    a_reserved_exchange_may_be_declared_as_it_is,
    an_alternate_exchange_must_be_a_name,
    an_auto_delete_exchange_goes_with_its_last_binding,
    an_exchange_declared_again_differently_is_refused,
    an_exchange_declared_again_the_same_is_accepted,
    an_exchange_in_use_is_kept_if_unused,
    an_exchange_is_declared_without_an_answer,
    an_exchange_without_a_type_is_refused,
    an_unknown_exchange_type_is_refused,
    an_unused_exchange_is_deleted_if_unused,
    the_default_exchange_cannot_be_bound,
    the_default_exchange_cannot_be_declared,
    the_default_exchange_cannot_be_deleted,
    the_default_exchange_cannot_be_unbound,
    the_standard_exchanges_are_there,
    two_arguments_make_two_bindings,
];

async fn the_standard_exchanges_are_there(s: &Scene<'_>) {
    let c = s.plain().await;
    for exchange in [
        "amq.direct",
        "amq.fanout",
        "amq.topic",
        "amq.headers",
        "amq.match",
    ] {
        c.call(&format!("exchange.declare exchange={exchange} passive"))
            .await;
    }
}

async fn a_passive_declare_of_a_missing_exchange_is_not_found(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=direct passive")
        .await;
}

async fn a_passive_declare_takes_any_type(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=direct").await;
    c.call("exchange.declare exchange=e type=topic durable passive")
        .await;
    c.call("exchange.declare exchange=e type=nonsense passive")
        .await;
}

async fn an_exchange_declared_again_the_same_is_accepted(s: &Scene<'_>) {
    let c = s.plain().await;
    for _ in 0..2 {
        c.call("exchange.declare exchange=e type=topic durable auto-delete internal alternate-exchange=a").await;
    }
}

async fn an_exchange_declared_again_differently_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=direct").await;
    for other in [
        "type=topic",
        "type=direct durable",
        "type=direct auto-delete",
        "type=direct internal",
        "type=direct alternate-exchange=a",
    ] {
        c.call(&format!("exchange.declare exchange=e {other}"))
            .await;
        c.reopen().await;
    }
    c.call("exchange.declare exchange=e type=direct unknown=1")
        .await;
}

async fn an_exchange_is_declared_without_an_answer(s: &Scene<'_>) {
    let c = s.plain().await;
    c.send("exchange.declare exchange=e type=direct no-wait")
        .await;
    c.call("exchange.declare exchange=e passive").await;
    c.send("exchange.delete exchange=e no-wait").await;
    c.call("exchange.declare exchange=e passive").await;
}

async fn an_unknown_exchange_type_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=nonsense").await;
    c.ended().await;
}

async fn an_exchange_without_a_type_is_refused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e").await;
}

async fn a_reserved_exchange_cannot_be_declared(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=amq.mine type=direct")
        .await;
}

async fn a_reserved_exchange_may_be_declared_as_it_is(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=amq.direct type=direct durable")
        .await;
    c.call("exchange.declare exchange=amq.direct type=topic durable")
        .await;
}

async fn a_reserved_exchange_cannot_be_deleted(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.delete exchange=amq.direct").await;
}

async fn the_default_exchange_cannot_be_declared(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange= type=direct durable")
        .await;
    c.reopen().await;
    c.call("exchange.declare exchange= passive").await;
}

async fn the_default_exchange_cannot_be_deleted(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.delete exchange=").await;
}

async fn the_default_exchange_cannot_be_bound(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.call("queue.bind queue=q exchange= routing-key=k").await;
    c.reopen().await;
    c.call("exchange.bind destination=amq.fanout source= routing-key=k")
        .await;
}

async fn the_default_exchange_cannot_be_unbound(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.call("queue.unbind queue=q exchange= routing-key=q").await;
}

async fn a_missing_exchange_may_be_deleted(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.delete exchange=missing").await;
    c.call("exchange.delete exchange=missing if-unused").await;
}

async fn an_exchange_in_use_is_kept_if_unused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=direct").await;
    c.queue("q").await;
    c.call("queue.bind queue=q exchange=e routing-key=k").await;
    c.call("exchange.delete exchange=e if-unused").await;
    c.reopen().await;
    c.call("exchange.delete exchange=e").await;
}

async fn an_unused_exchange_is_deleted_if_unused(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=direct").await;
    c.call("exchange.delete exchange=e if-unused").await;
    c.call("exchange.declare exchange=e passive").await;
}

async fn a_deleted_exchange_takes_its_bindings_along(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.call("exchange.declare exchange=e type=direct").await;
    c.call("queue.bind queue=q exchange=e routing-key=k").await;
    c.call("exchange.delete exchange=e").await;
    c.call("exchange.declare exchange=e type=direct").await;
    c.publish("exchange=e key=k mandatory", "lost").await;
    c.expect("basic.return").await;
}

async fn an_auto_delete_exchange_goes_with_its_last_binding(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=direct auto-delete")
        .await;
    c.queue("q").await;
    c.call("queue.bind queue=q exchange=e routing-key=1").await;
    c.call("queue.bind queue=q exchange=e routing-key=2").await;
    c.call("queue.unbind queue=q exchange=e routing-key=1")
        .await;
    c.call("exchange.declare exchange=e passive").await;
    c.call("queue.delete queue=q").await;
    c.call("exchange.declare exchange=e passive").await;
}

async fn a_client_cannot_publish_to_an_internal_exchange(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=fanout internal")
        .await;
    c.publish("exchange=e", "1").await;
    c.closed().await;
}

async fn an_alternate_exchange_must_be_a_name(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("exchange.declare exchange=e type=fanout alternate-exchange=5")
        .await;
}

async fn a_binding_twice_is_one_binding(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    for _ in 0..2 {
        c.call("queue.bind queue=q exchange=amq.direct routing-key=k")
            .await;
    }
    c.publish("exchange=amq.direct key=k", "1").await;
    c.counts("q").await;
    c.call("queue.unbind queue=q exchange=amq.direct routing-key=k")
        .await;
    c.publish("exchange=amq.direct key=k", "2").await;
    c.counts("q").await;
}

async fn two_arguments_make_two_bindings(s: &Scene<'_>) {
    let c = s.channel().await;
    c.queue("q").await;
    c.call("queue.bind queue=q exchange=amq.direct routing-key=k a=1")
        .await;
    c.call("queue.bind queue=q exchange=amq.direct routing-key=k a=2")
        .await;
    c.call("queue.unbind queue=q exchange=amq.direct routing-key=k a=1")
        .await;
    c.publish("exchange=amq.direct key=k", "1").await;
    c.counts("q").await;
}

async fn a_binding_to_a_missing_queue_is_not_found(s: &Scene<'_>) {
    let c = s.plain().await;
    c.call("queue.bind queue=missing exchange=amq.direct routing-key=k")
        .await;
    c.reopen().await;
    c.call("queue.unbind queue=missing exchange=amq.direct routing-key=k")
        .await;
}

async fn a_binding_to_a_missing_exchange_is_not_found(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.call("queue.bind queue=q exchange=missing routing-key=k")
        .await;
    c.reopen().await;
    c.call("exchange.bind destination=amq.direct source=missing")
        .await;
    c.reopen().await;
    c.call("exchange.bind destination=missing source=amq.direct")
        .await;
    c.reopen().await;
    c.call("queue.unbind queue=q exchange=missing routing-key=k")
        .await;
}

async fn a_binding_that_is_not_there_may_be_removed(s: &Scene<'_>) {
    let c = s.plain().await;
    c.queue("q").await;
    c.call("queue.unbind queue=q exchange=amq.direct routing-key=k")
        .await;
    c.call("exchange.unbind destination=amq.fanout source=amq.direct routing-key=k")
        .await;
}

async fn a_name_may_have_255_bytes(s: &Scene<'_>) {
    let c = s.plain().await;
    let name = "n".repeat(255);
    c.call(&format!("exchange.declare exchange={name} type=direct"))
        .await;
    c.call(&format!("exchange.declare exchange={name} passive"))
        .await;
    c.queue(&name).await;
}
