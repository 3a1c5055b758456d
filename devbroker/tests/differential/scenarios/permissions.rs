//! What a user may configure, write and read.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::Scene;

scenarios![
    a_dead_letter_exchange_must_be_writable,
    a_passive_declare_needs_no_permission,
    an_alternate_exchange_must_be_writable,
    an_exchange_of_others_cannot_be_configured,
    binding_needs_to_write_the_queue_and_read_the_exchange,
    binding_exchanges_needs_to_write_one_and_read_the_other,
    consuming_needs_to_read,
    deleting_needs_to_configure,
    patterns_match_anywhere,
    publishing_needs_to_write,
    publishing_to_the_default_exchange_needs_to_write_amq_default,
    purging_needs_to_read,
    a_server_named_queue_may_be_declared_with_its_pattern,
];

/// Channels of guest and of a user with these permissions; guest has queues and exchanges called `mine` and `theirs`.
async fn set_up(s: &Scene<'_>, configure: &str, write: &str, read: &str) -> (Channel, Channel) {
    let c = s.channel().await;
    for name in ["mine", "theirs"] {
        c.queue(name).await;
        c.call(&format!("exchange.declare exchange={name} type=topic"))
            .await;
    }
    s.add_user(configure, write, read).await;
    (
        c,
        s.connect(&s.user, "secret", 131_072).await.plain(1).await,
    )
}

/// Calls each of them; what is refused closes the channel, which is opened again.
async fn try_each(u: &Channel, lines: &[&str]) {
    for line in lines {
        u.call(line).await;
        u.reopen().await;
    }
}

async fn an_exchange_of_others_cannot_be_configured(s: &Scene<'_>) {
    let (_, u) = set_up(s, "^mine", "", "").await;
    let lines = [
        "exchange.declare exchange=mine type=topic",
        "exchange.declare exchange=mine.too type=direct",
        "exchange.declare exchange=theirs type=topic",
        "exchange.declare exchange=new type=direct",
        "queue.declare queue=mine",
        "queue.declare queue=theirs",
        "queue.declare queue=new",
    ];
    try_each(&u, &lines).await;
}

async fn a_passive_declare_needs_no_permission(s: &Scene<'_>) {
    let (_, u) = set_up(s, "", "", "").await;
    try_each(
        &u,
        &[
            "exchange.declare exchange=theirs passive",
            "queue.declare queue=theirs passive",
        ],
    )
    .await;
}

async fn deleting_needs_to_configure(s: &Scene<'_>) {
    let (_, u) = set_up(s, "^mine$", ".*", ".*").await;
    for name in ["theirs", "mine"] {
        let lines = [
            format!("queue.delete queue={name}"),
            format!("exchange.delete exchange={name}"),
        ];
        try_each(&u, &[&lines[0], &lines[1]]).await;
    }
}

async fn publishing_needs_to_write(s: &Scene<'_>) {
    let (_, u) = set_up(s, "", "^mine$", "").await;
    u.publish("exchange=mine key=k mandatory", "1").await;
    u.expect("basic.return").await;
    u.publish("exchange=theirs key=k mandatory", "2").await;
    u.closed().await;
}

async fn publishing_to_the_default_exchange_needs_to_write_amq_default(s: &Scene<'_>) {
    let (_, u) = set_up(s, "", "^mine$", "").await;
    u.publish("key=mine", "1").await;
    u.closed().await;
}

async fn consuming_needs_to_read(s: &Scene<'_>) {
    let (_, u) = set_up(s, "", "", "^mine$").await;
    try_each(
        &u,
        &[
            "basic.consume queue=mine consumer-tag=t",
            "basic.consume queue=theirs consumer-tag=u",
        ],
    )
    .await;
    u.get("mine").await;
    u.get("theirs").await;
}

async fn purging_needs_to_read(s: &Scene<'_>) {
    let (_, u) = set_up(s, "", "", "^mine$").await;
    try_each(&u, &["queue.purge queue=mine", "queue.purge queue=theirs"]).await;
}

async fn binding_needs_to_write_the_queue_and_read_the_exchange(s: &Scene<'_>) {
    let (_, u) = set_up(s, "", "^mine$", "^theirs$").await;
    let lines = [
        "queue.bind queue=mine exchange=theirs routing-key=k",
        "queue.bind queue=theirs exchange=theirs routing-key=k",
        "queue.bind queue=mine exchange=mine routing-key=k",
        "queue.unbind queue=mine exchange=theirs routing-key=k",
        "queue.unbind queue=theirs exchange=theirs routing-key=k",
    ];
    try_each(&u, &lines).await;
}

async fn binding_exchanges_needs_to_write_one_and_read_the_other(s: &Scene<'_>) {
    let (_, u) = set_up(s, "", "^mine$", "^theirs$").await;
    let lines = [
        "exchange.bind destination=mine source=theirs routing-key=k",
        "exchange.bind destination=theirs source=mine routing-key=k",
        "exchange.bind destination=mine source=mine routing-key=k",
        "exchange.unbind destination=theirs source=theirs routing-key=k",
    ];
    try_each(&u, &lines).await;
}

async fn a_dead_letter_exchange_must_be_writable(s: &Scene<'_>) {
    let (_, u) = set_up(s, ".*", "^mine$", ".*").await;
    let lines = [
        "queue.declare queue=one x-dead-letter-exchange=mine",
        "queue.declare queue=two x-dead-letter-exchange=theirs",
    ];
    try_each(&u, &lines).await;
}

async fn an_alternate_exchange_must_be_writable(s: &Scene<'_>) {
    let (_, u) = set_up(s, ".*", "^mine$", ".*").await;
    let lines = [
        "exchange.declare exchange=one type=direct alternate-exchange=mine",
        "exchange.declare exchange=two type=direct alternate-exchange=theirs",
    ];
    try_each(&u, &lines).await;
}

async fn patterns_match_anywhere(s: &Scene<'_>) {
    let (_, u) = set_up(s, "x", "", "").await;
    try_each(
        &u,
        &["queue.declare queue=a.x.b", "queue.declare queue=a.b"],
    )
    .await;
}

async fn a_server_named_queue_may_be_declared_with_its_pattern(s: &Scene<'_>) {
    let (_, u) = set_up(s, "^amq\\.gen.*", "", "").await;
    try_each(
        &u,
        &[
            "queue.declare queue= exclusive",
            "queue.declare queue=other exclusive",
        ],
    )
    .await;
}
