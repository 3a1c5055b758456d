//! The management API shows what is there, and changes it, as RabbitMQ's does.

use coney_devbroker::DevBroker;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, long};

async fn start() -> DevBroker {
    let starting = DevBroker::builder().management(0).start();
    starting.await.expect("free ports")
}

/// `Basic` authentication of `guest:guest`.
const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// Status and body of an answer, asked for with these headers beside the usual.
async fn ask_with(
    broker: &DevBroker,
    request: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (u16, Value) {
    let url = broker.management_url().expect("asked for");
    let mut stream = TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .expect("it listens");
    let (method, path) = request.split_once(' ').expect("method and path");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut text = format!("{method} /api/{path} HTTP/1.0\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (
        status.expect("a status"),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

async fn ask(broker: &DevBroker, request: &str, body: &Value) -> (u16, Value) {
    ask_with(broker, request, &[("Authorization", GUEST)], body).await
}

async fn get(broker: &DevBroker, path: &str) -> Value {
    let (status, answer) = ask(broker, &format!("GET {path}"), &Value::Null).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

#[tokio::test]
async fn what_a_client_does_is_shown() {
    let broker = start().await;
    let mut client = Client::new(&broker).await;
    client
        .declare("q", &[("x-queue-type", long("quorum"))])
        .await;
    client.publish("q", b"one").await;
    client.publish("q", b"two").await;
    client.consume("q", "tag", false).await;
    client.delivery().await;
    client.delivery().await;

    let queue = get(&broker, "queues/%2f/q").await;
    assert_eq!(queue["type"], "quorum");
    assert_eq!(queue["arguments"], json!({"x-queue-type": "quorum"}));
    assert_eq!(queue["messages_unacknowledged"], 2);
    assert_eq!(queue["consumer_details"][0]["consumer_tag"], "tag");
    let connections = get(&broker, "connections").await;
    let name = connections[0]["name"].as_str().unwrap();
    assert_eq!(
        (&connections[0]["user"], &connections[0]["channels"]),
        (&json!("guest"), &json!(1))
    );
    let consumers = get(&broker, "consumers/%2f").await;
    assert_eq!(consumers[0]["channel_details"]["connection_name"], name);
    assert_eq!(
        get(&broker, "channels").await[0]["messages_unacknowledged"],
        2
    );
    assert_eq!(
        get(&broker, "queues?columns=name,messages").await,
        json!([{"name": "q", "messages": 2}])
    );
    let bindings = get(&broker, "bindings/%2f").await;
    assert_eq!(
        (&bindings[0]["source"], &bindings[0]["routing_key"]),
        (&json!(""), &json!("q"))
    );
    let overview = get(&broker, "overview").await;
    assert_eq!(overview["product_name"], "coney-devbroker");
    assert_eq!(overview["queue_totals"]["messages"], 2);
}

#[tokio::test]
async fn what_is_put_is_there_until_it_is_deleted() {
    let broker = start().await;
    let all = json!({"configure": ".*", "write": "^a", "read": ""});
    let user = json!({"password": "secret", "tags": "monitoring"});
    for (request, body) in [
        ("vhosts/new%20one", &json!({})),
        ("users/me", &user),
        ("permissions/new%20one/me", &all),
        (
            "queues/new%20one/q",
            &json!({"arguments": {"x-max-length": 5}}),
        ),
    ] {
        let put = format!("PUT {request}");
        assert_eq!(ask(&broker, &put, body).await.0, 201, "{put}");
        assert_eq!(ask(&broker, &put, body).await.0, 204, "{put} again");
        get(&broker, request).await;
    }
    let shown = get(&broker, "permissions/new%20one/me").await;
    assert_eq!(shown["write"], "^a");
    let bind = "POST bindings/new%20one/e/amq.topic/q/q";
    let (status, _) = ask(&broker, bind, &json!({"routing_key": "a.*"})).await;
    assert_eq!(status, 201);
    let bindings = get(&broker, "bindings/new%20one").await;
    assert_eq!(bindings[1]["routing_key"], "a.*");
    for path in [
        "queues/new%20one/q",
        "permissions/new%20one/me",
        "users/me",
        "vhosts/new%20one",
    ] {
        let delete = format!("DELETE {path}");
        assert_eq!(ask(&broker, &delete, &Value::Null).await.0, 204, "{path}");
        assert_eq!(ask(&broker, &delete, &Value::Null).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_connection_is_closed_for_the_reason_given() {
    let broker = start().await;
    let mut client = Client::new(&broker).await;
    let name = broker.snapshot().connections[0].name.clone();
    let path = name.replace(' ', "%20").replace('>', "%3E");
    let headers = [("Authorization", GUEST), ("X-Reason", "enough")];
    let close = format!("DELETE connections/{path}");
    let (status, _) = ask_with(&broker, &close, &headers, &Value::Null).await;
    assert_eq!(status, 204);
    let told = format!("{:?}", client.method().await);
    assert!(told.contains("\"CONNECTION_FORCED - enough\""), "{told}");
}

#[tokio::test]
async fn only_administrators_are_let_in() {
    let broker = start().await;
    broker.add_user("me", "secret");
    for headers in [
        &[][..],
        // guest:wrong, then me:secret
        &[("Authorization", "Basic Z3Vlc3Q6d3Jvbmc=")],
        &[("Authorization", "Basic bWU6c2VjcmV0")],
        &[("Authorization", "Bearer x")],
    ] {
        let (status, answer) = ask_with(&broker, "GET overview", headers, &Value::Null).await;
        assert_eq!(
            (status, &answer["error"]),
            (401, &json!("not_authorized")),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn what_it_does_not_have_it_says() {
    let broker = start().await;
    for (request, expected) in [
        ("GET nodes", 404),
        ("POST queues/%2f/q/get", 404),
        ("PUT queues/%2f", 405),
        ("PUT overview", 405),
    ] {
        let (status, answer) = ask(&broker, request, &Value::Null).await;
        assert_eq!(status, expected, "{request}");
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.contains("coney-devbroker"), "{reason}");
    }
    let (status, answer) = ask(&broker, "GET queues/%2f/none", &Value::Null).await;
    assert_eq!(
        (status, &answer["error"]),
        (404, &json!("Object Not Found"))
    );
    let (status, _) = ask(&broker, "PUT users/x", &json!("not an object")).await;
    assert_eq!(status, 400);
}
