//! The handshake: versions, mechanisms, logins, tuning, virtual hosts.

use crate::client::Channel;
use crate::scenarios;
use crate::scene::{CAPABILITIES, Scene};

scenarios![
    a_client_is_greeted_and_let_in,
    a_frame_before_the_protocol_header_is_no_protocol,
    a_header_of_another_version_is_answered_with_the_right_one,
    a_heartbeat_is_taken_from_the_client,
    a_method_before_its_turn_is_refused,
    a_missing_virtual_host_is_not_allowed,
    a_nameless_user_is_refused,
    a_tune_beyond_the_limit_is_refused,
    a_tune_of_channel_max_holds,
    a_tune_of_frame_max_too_small_is_refused,
    a_virtual_host_without_permission_is_refused,
    a_wrong_password_is_refused,
    a_wrong_password_without_the_capability_ends_the_socket,
    amqplain_is_understood,
    an_unknown_mechanism_is_refused,
    closing_is_answered_and_ends_the_socket,
    no_other_version_than_0_9_1_is_spoken,
    the_client_may_leave_tuning_to_the_broker,
    the_client_may_close_before_it_opens,
];

const PLAIN: &str = "mechanism=PLAIN response=\"\\0guest\\0guest\" locale=en_US";
const TUNE: &str = "channel-max=2047 frame-max=131072 heartbeat=0";

async fn greeted(s: &Scene<'_>) -> Channel {
    let c = s.raw().await;
    c.bytes(b"AMQP\0\0\x09\x01").await;
    c.expect("connection.start").await;
    c
}

/// Logs in and takes the tune.
async fn tuned(s: &Scene<'_>, tune: &str) -> Channel {
    let c = greeted(s).await;
    c.send(&format!("connection.start-ok {PLAIN} {CAPABILITIES}"))
        .await;
    c.expect("connection.tune").await;
    c.send(&format!("connection.tune-ok {tune}")).await;
    c
}

async fn opened(s: &Scene<'_>, tune: &str) -> Channel {
    let c = tuned(s, tune).await;
    c.call(&format!("connection.open virtual-host={}", s.vhost))
        .await;
    c
}

async fn a_client_is_greeted_and_let_in(s: &Scene<'_>) {
    let c = opened(s, TUNE).await;
    let c = c.unopened(1);
    c.call("channel.open").await;
    c.queue("q").await;
}

async fn a_header_of_another_version_is_answered_with_the_right_one(s: &Scene<'_>) {
    let c = s.raw().await;
    c.bytes(b"AMQP\0\0\x08\0").await;
    c.frames(1).await;
    c.ended().await;
}

async fn no_other_version_than_0_9_1_is_spoken(s: &Scene<'_>) {
    let c = s.raw().await;
    c.bytes(b"HTTP/1.1").await;
    c.frames(1).await;
    c.ended().await;
}

async fn a_frame_before_the_protocol_header_is_no_protocol(s: &Scene<'_>) {
    let c = s.raw().await;
    c.bytes(&[8, 0, 0, 0, 0, 0, 0, 0xCE]).await;
    c.frames(1).await;
    c.ended().await;
}

async fn a_wrong_password_is_refused(s: &Scene<'_>) {
    let c = greeted(s).await;
    let wrong = "mechanism=PLAIN response=\"\\0guest\\0wrong\" locale=en_US";
    c.send(&format!("connection.start-ok {wrong} {CAPABILITIES}"))
        .await;
    c.closed().await;
    c.ended().await;
}

async fn a_wrong_password_without_the_capability_ends_the_socket(s: &Scene<'_>) {
    let c = greeted(s).await;
    c.send("connection.start-ok mechanism=PLAIN response=\"\\0guest\\0wrong\" locale=en_US")
        .await;
    c.closed().await;
}

async fn a_nameless_user_is_refused(s: &Scene<'_>) {
    let c = greeted(s).await;
    let nobody = "mechanism=PLAIN response=\"\\0nobody\\0guest\" locale=en_US";
    c.send(&format!("connection.start-ok {nobody} {CAPABILITIES}"))
        .await;
    c.closed().await;
}

async fn an_unknown_mechanism_is_refused(s: &Scene<'_>) {
    let c = greeted(s).await;
    c.send(&format!(
        "connection.start-ok mechanism=MAGIC response=x locale=en_US {CAPABILITIES}"
    ))
    .await;
    c.closed().await;
}

async fn amqplain_is_understood(s: &Scene<'_>) {
    let c = greeted(s).await;
    let login = "\\5LOGINS\\0\\0\\0\\5guest\\8PASSWORDS\\0\\0\\0\\5guest";
    let login = login.replace("\\5", "\u{5}").replace("\\8", "\u{8}");
    c.send(&format!(
        "connection.start-ok mechanism=AMQPLAIN response=\"{login}\" locale=en_US {CAPABILITIES}"
    ))
    .await;
    c.expect("connection.tune").await;
    c.send(&format!("connection.tune-ok {TUNE}")).await;
    c.call(&format!("connection.open virtual-host={}", s.vhost))
        .await;
}

async fn the_client_may_leave_tuning_to_the_broker(s: &Scene<'_>) {
    let c = opened(s, "channel-max=0 frame-max=0 heartbeat=0").await;
    let last = c.unopened(65_535);
    last.call("channel.open").await;
    let c = c.unopened(1);
    c.call("channel.open").await;
    c.queue("q").await;
}

async fn a_tune_of_channel_max_holds(s: &Scene<'_>) {
    let c = opened(s, "channel-max=2 frame-max=131072 heartbeat=0").await;
    let second = c.unopened(2);
    second.call("channel.open").await;
    let third = c.unopened(3);
    third.call("channel.open").await;
}

async fn a_tune_beyond_the_limit_is_refused(s: &Scene<'_>) {
    let c = tuned(s, "channel-max=2047 frame-max=262144 heartbeat=0").await;
    c.closed().await;
}

async fn a_tune_of_frame_max_too_small_is_refused(s: &Scene<'_>) {
    let c = tuned(s, "channel-max=2047 frame-max=1000 heartbeat=0").await;
    c.closed().await;
}

async fn a_heartbeat_is_taken_from_the_client(s: &Scene<'_>) {
    let c = opened(s, "channel-max=2047 frame-max=131072 heartbeat=600").await;
    c.frame(8, b"").await;
    let c = c.unopened(1);
    c.call("channel.open").await;
    c.frame(8, b"").await;
    c.queue("q").await;
}

async fn a_missing_virtual_host_is_not_allowed(s: &Scene<'_>) {
    let c = tuned(s, TUNE).await;
    c.call("connection.open virtual-host=nowhere").await;
    c.ended().await;
}

async fn a_virtual_host_without_permission_is_refused(s: &Scene<'_>) {
    s.add_user_without_permissions().await;
    let c = greeted(s).await;
    let login = format!(
        "mechanism=PLAIN response=\"\\0{}\\0secret\" locale=en_US",
        s.user
    );
    c.send(&format!("connection.start-ok {login} {CAPABILITIES}"))
        .await;
    c.expect("connection.tune").await;
    c.send(&format!("connection.tune-ok {TUNE}")).await;
    c.call(&format!("connection.open virtual-host={}", s.vhost))
        .await;
    c.ended().await;
}

async fn a_method_before_its_turn_is_refused(s: &Scene<'_>) {
    let c = greeted(s).await;
    c.call("channel.open").await;
    c.ended().await;
}

async fn the_client_may_close_before_it_opens(s: &Scene<'_>) {
    let c = tuned(s, TUNE).await;
    c.call("connection.close reply-code=200 reply-text=bye")
        .await;
}

async fn closing_is_answered_and_ends_the_socket(s: &Scene<'_>) {
    let c = opened(s, TUNE).await;
    let channel = c.unopened(1);
    channel.call("channel.open").await;
    c.call("connection.close reply-code=200 reply-text=bye")
        .await;
}
