//! A part of RabbitMQ's management API over HTTP: enough to look around, and to set up and break what tests need.
//!
//! Paths, methods and fields are RabbitMQ's; there are fewer of them, and no statistics. What is not there is answered
//! by 404 or 405 with a text that says so. Users with the tag `administrator` may do everything, others nothing.

mod changes;
mod json;
mod look;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::error::Objection;
use crate::server::Broker;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);

/// How long to wait before accepting again when that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Answers requests until the broker stops.
pub(crate) async fn serve(broker: Arc<Broker>, listener: TcpListener) {
    let api = api(broker.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = broker.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let talking = broker.stop.clone();
                let talk = talk(stream, api.clone());
                let talk = async move { talking.run_until_cancelled(talk).await };
                broker.tasks.spawn(talk);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the management API could not be accepted");
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, api: Router) {
    let talking = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(api));
    if let Err(error) = talking.await {
        tracing::debug!(%error, "a connection to the management API broke");
    }
}

fn api(broker: Arc<Broker>) -> Router {
    let paths = Router::new()
        .route("/overview", get(look::overview))
        .route("/whoami", get(look::whoami))
        .route("/vhosts", get(look::vhosts))
        .route(
            "/vhosts/{vhost}",
            get(look::vhost)
                .put(changes::put_vhost)
                .delete(changes::delete_vhost),
        )
        .route("/vhosts/{vhost}/connections", get(look::vhost_connections))
        .route("/vhosts/{vhost}/permissions", get(look::vhost_permissions))
        .route("/users", get(look::users))
        .route(
            "/users/{user}",
            get(look::user)
                .put(changes::put_user)
                .delete(changes::delete_user),
        )
        .route("/permissions", get(look::permissions))
        .route(
            "/permissions/{vhost}/{user}",
            get(look::permission)
                .put(changes::put_permission)
                .delete(changes::delete_permission),
        )
        .route(
            "/topic-permissions/{vhost}/{user}",
            put(changes::put_topic_permission),
        )
        .route("/exchanges", get(look::exchanges))
        .route("/exchanges/{vhost}", get(look::vhost_exchanges))
        .route(
            "/exchanges/{vhost}/{exchange}",
            get(look::exchange).delete(changes::delete_exchange),
        )
        .route("/queues", get(look::queues))
        .route("/queues/{vhost}", get(look::vhost_queues))
        .route(
            "/queues/{vhost}/{queue}",
            get(look::queue)
                .put(changes::put_queue)
                .delete(changes::delete_queue),
        )
        .route(
            "/queues/{vhost}/{queue}/contents",
            axum::routing::delete(changes::purge_queue),
        )
        .route("/bindings", get(look::bindings))
        .route("/bindings/{vhost}", get(look::vhost_bindings))
        .route(
            "/bindings/{vhost}/e/{source}/q/{queue}",
            post(changes::bind_queue),
        )
        .route("/connections", get(look::connections))
        .route(
            "/connections/{connection}",
            get(look::connection).delete(changes::close_connection),
        )
        .route("/channels", get(look::channels))
        .route("/consumers", get(look::consumers))
        .route("/consumers/{vhost}", get(look::vhost_consumers));
    Router::new()
        .nest("/api", paths)
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(broker.clone(), admit))
        .with_state(broker)
}

/// Who asks.
#[derive(Clone, Debug)]
struct Asking(String);

/// Lets administrators pass.
async fn admit(State(broker): State<Arc<Broker>>, mut request: Request, next: Next) -> Response {
    let Some((user, password)) = login(request.headers()) else {
        return Refusal::Login("Login failed").into_response();
    };
    if !broker.knows(&user, &password) {
        return Refusal::Login("Login failed").into_response();
    }
    if !broker.is_administrator(&user) {
        return Refusal::Login("Not management user").into_response();
    }
    request.extensions_mut().insert(Asking(user));
    next.run(request).await
}

/// User and password of basic authentication.
fn login(headers: &HeaderMap) -> Option<(String, String)> {
    let given = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = given.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

async fn unknown_path(method: Method, uri: Uri) -> Refusal {
    Refusal::Unknown(StatusCode::NOT_FOUND, method, uri)
}

async fn unknown_method(method: Method, uri: Uri) -> Refusal {
    Refusal::Unknown(StatusCode::METHOD_NOT_ALLOWED, method, uri)
}

/// A request that comes to nothing.
#[derive(Debug)]
enum Refusal {
    Login(&'static str),
    /// There is no such thing.
    Missing,
    /// There is no such request.
    Unknown(StatusCode, Method, Uri),
    Bad(String),
    Objection(Objection),
}

impl From<Objection> for Refusal {
    fn from(objection: Objection) -> Self {
        Self::Objection(objection)
    }
}

/// Status, error and reason of an objection, as RabbitMQ answers requests that come to it.
fn objected(objection: &Objection) -> (StatusCode, &'static str, String) {
    let text = &*objection.text;
    // over HTTP it leaves the name of the code out
    let text = text.split_once(" - ").map_or(text, |(_, text)| text);
    let (status, error) = match objection.code {
        403 => (StatusCode::UNAUTHORIZED, "not_authorised"),
        404 => (StatusCode::NOT_FOUND, "not_found"),
        _ => (StatusCode::BAD_REQUEST, "bad_request"),
    };
    (status, error, text.to_owned())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, reason) = match self {
            Self::Login(reason) => (
                StatusCode::UNAUTHORIZED,
                "not_authorized",
                reason.to_owned(),
            ),
            Self::Missing => (
                StatusCode::NOT_FOUND,
                "Object Not Found",
                "Not Found".to_owned(),
            ),
            Self::Unknown(status, method, uri) => (
                status,
                "Not supported",
                format!(
                    "{method} {} is not in the management API of coney-devbroker, a broker for development: use \
                     RabbitMQ for it",
                    uri.path()
                ),
            ),
            Self::Bad(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason),
            Self::Objection(objection) => objected(&objection),
        };
        let body = axum::Json(json!({"error": error, "reason": reason}));
        let mut response = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let realm = axum::http::HeaderValue::from_static("Basic realm=\"coney-devbroker\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        }
        response
    }
}

/// The body of a request, whatever its content type claims; an empty one is an empty object.
fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Refusal::Bad(format!("bad body: {error}")))
}
