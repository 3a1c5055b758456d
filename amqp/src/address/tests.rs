use proptest::prelude::*;

use super::*;
use crate::error::ConnectErrorKind;

/// Percent-encodes everything that could mean something in a URL.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02x}"),
        })
        .collect()
}

fn parsed(text: &str) -> Address {
    Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn urls_that_mean_something() {
    // url, user, password, host, port, vhost
    let cases = [
        ("amqp://localhost", "guest", "guest", "localhost", 5672, "/"),
        (
            "amqp://localhost/",
            "guest",
            "guest",
            "localhost",
            5672,
            "/",
        ),
        (
            "amqp://localhost/%2f",
            "guest",
            "guest",
            "localhost",
            5672,
            "/",
        ),
        (
            "amqp://localhost/%2F",
            "guest",
            "guest",
            "localhost",
            5672,
            "/",
        ),
        ("amqp://h:1/shop", "guest", "guest", "h", 1, "shop"),
        ("amqp://ann@h/a%2fb", "ann", "guest", "h", 5672, "a/b"),
        ("amqp://ann:@h", "ann", "guest", "h", 5672, "/"),
        ("amqp://a%40b:p%3aw%2f@h", "a@b", "p:w/", "h", 5672, "/"),
        ("amqp://[::1]:5673/v", "guest", "guest", "::1", 5673, "v"),
        ("amqp://10.0.0.7/", "guest", "guest", "10.0.0.7", 5672, "/"),
        ("amqp://h/%2e", "guest", "guest", "h", 5672, "."),
        ("amqp://h/..?heartbeat=5", "guest", "guest", "h", 5672, ".."),
        (
            "amqp://h/gr%C3%BC%C3%9Fe",
            "guest",
            "guest",
            "h",
            5672,
            "grüße",
        ),
    ];
    for (url, user, password, host, port, vhost) in cases {
        let address = parsed(url);
        assert_eq!(
            (
                address.user(),
                address.password(),
                address.host(),
                address.port(),
                address.vhost(),
                address.is_tls()
            ),
            (user, password, host, port, vhost, false),
            "{url}"
        );
    }
}

#[test]
fn the_query_is_read() {
    let query =
        parsed("amqp://h/?heartbeat=7&connection_timeout=1500&frame_max=16384&channel_max=12")
            .query();
    assert_eq!(query.heartbeat, Some(Duration::from_secs(7)));
    assert_eq!(query.connection_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(query.frame_max, Some(16384));
    assert_eq!(query.channel_max, Some(12));
}

#[test]
fn urls_that_cannot_be_meant_are_refused_with_a_reason() {
    let long = format!("amqp://{}@h", "u".repeat(256));
    let cases = [
        ("localhost", "cannot be read"),
        ("http://localhost", "`http` is not an AMQP scheme"),
        ("amqp://", "names no host"),
        ("amqp:///vhost", "names no host"),
        ("amqp://h:0", "port 0"),
        ("amqp://h:70000", "cannot be read"),
        ("amqp://h/a/b", "%2f"),
        ("amqp://h/%2", "percent"),
        ("amqp://h/%zz", "percent"),
        ("amqp://a%ffb@h", "percent"),
        ("amqp://h/?heartbeat=soon", "`heartbeat`"),
        ("amqp://h/?heartbeats=5", "`heartbeats`"),
        ("amqp://h/?frame_max=-1", "`frame_max`"),
        ("amqp://h/?auth_mechanism=plain", "`auth_mechanism`"),
        (&long, "256 bytes"),
        ("amqp://u%00:p@h", "NUL"),
    ];
    for (url, part) in cases {
        let error = Address::parse(url).expect_err(url);
        assert_eq!(error.kind(), ConnectErrorKind::Url, "{url}");
        assert!(error.to_string().contains(part), "{url}: {error}");
        assert!(!error.is_transient());
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn amqps_without_tls_says_which_feature_is_missing() {
    let error = Address::parse("amqps://h").expect_err("no TLS");
    assert!(error.to_string().contains("feature `tls`"), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn amqps_has_its_own_port() {
    let address = parsed("amqps://h");
    assert!(address.is_tls());
    assert_eq!(address.port(), 5671);
}

#[test]
fn the_password_is_never_shown() {
    let address = parsed("amqp://ann:hunter2@h/shop");
    assert_eq!(address.to_string(), "amqp://ann@h:5672/shop");
    assert!(!format!("{address:?}").contains("hunter2"));
    for url in [
        "amqp://ann:hunter2@h:0/",
        "amqp://ann:hunter2@h:99999/",
        "amqp://ann:hunter2@h/?x=1",
        "amqp://ann:hunter2@/",
        "amq://ann:hunter2@h/",
    ] {
        let error = Address::parse(url).expect_err(url);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_password_cut_short_is_not_shown_as_something_else() {
    for url in [
        "amqp://ann:12?x=s3cret@host",
        "amqp://ann:12?heartbeat=s3cret@host",
        "amqp://ann:12?s3cret@host/vhost",
        "amqp://ann:123/s3cret@host",
        "amqp://ann:123/s3/cret@host",
        "amqp://ann:123#s3cret@host",
        "amqp://ann:/s3cret@host",
        "amqp://ann:s3cret@12/s3cret@host",
    ] {
        let error = Address::parse(url).expect_err(url);
        assert_eq!(error.kind(), ConnectErrorKind::Url, "{url}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("cret"), "{url}: {shown}");
        assert!(
            shown.contains("percent-encode the password"),
            "{url}: {shown}"
        );
    }
    // what was cut where no port is possible has not been read at all
    for url in ["amqp://ann:s3cret/x@host", "amqp://ann:s3cret?x@host"] {
        let error = Address::parse(url).expect_err(url);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("cret"), "{url}: {shown}");
    }
    assert_eq!(parsed("amqp://h/a%40b").vhost(), "a@b");
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(user in "[^\0]{1,40}", password in "[^\0]{1,40}", vhost in "[^\0]{1,40}") {
        let url = format!("amqp://{}:{}@h/{}", encode(&user), encode(&password), encode(&vhost));
        let address = parsed(&url);
        prop_assert_eq!(address.user(), user);
        prop_assert_eq!(address.password(), password);
        prop_assert_eq!(address.vhost(), vhost);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = Address::parse(&text);
        let _ = Address::parse(&format!("amqp://{text}"));
    }
}
