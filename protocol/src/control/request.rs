//! A request to workers: what is asked, of whom, and where the reply goes.

use std::time::SystemTime;

use serde_json::{Map, Value as Json, json};
use thiserror::Error;

use crate::codec::JSON;
use crate::control::address::{Addressees, Matcher};
use crate::control::{clock, properties};
use crate::property::{Properties, Table};

/// The most bytes of a request that are read.
pub const MOST_BYTES: usize = 1024 * 1024;

/// A request to workers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// What to do.
    pub method: String,
    /// With what: an object, unless somebody got it wrong.
    pub arguments: Json,
    /// Whom it is for.
    pub to: Addressees,
    /// Where the reply goes, if one is wanted.
    pub reply_to: Option<ReplyTo>,
}

/// Where a reply goes, and what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyTo {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// What the reply refers to.
    pub ticket: Option<String>,
}

impl ReplyTo {
    /// A reply to this place that refers to this ticket.
    #[must_use]
    pub fn new(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        ticket: Option<String>,
    ) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            ticket,
        }
    }
}

/// Why a message is no request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not JSON by its own word.
    #[error("its content type is `{0}`, not JSON")]
    ContentType(String),
    /// It is larger than any request is.
    #[error("it has {0} bytes, more than any request needs")]
    TooLarge(usize),
    /// It is not a JSON object.
    #[error("it is not a JSON object")]
    Json(#[source] serde_json::Error),
    /// A member is missing or of another type.
    #[error("its member `{0}` is missing or of the wrong type")]
    Member(&'static str),
    /// Nobody knows how to read its pattern.
    #[error("there is no matcher `{0}`")]
    Matcher(String),
}

impl Request {
    /// A request to all workers, without a reply.
    #[must_use]
    pub fn new(method: impl Into<String>, arguments: Json) -> Self {
        Self {
            method: method.into(),
            arguments,
            to: Addressees::All,
            reply_to: None,
        }
    }

    /// Reads a message; unknown members are ignored.
    ///
    /// # Errors
    ///
    /// [`RequestError`], after which there is nobody to answer.
    pub fn decode(properties: &Properties, body: &[u8]) -> Result<Self, RequestError> {
        match properties.content_type.as_deref() {
            None | Some(JSON) => {}
            Some(other) => return Err(RequestError::ContentType(other.to_owned())),
        }
        if body.len() > MOST_BYTES {
            return Err(RequestError::TooLarge(body.len()));
        }
        let mut members: Map<String, Json> =
            serde_json::from_slice(body).map_err(RequestError::Json)?;
        let Some(Json::String(method)) = members.remove("method") else {
            return Err(RequestError::Member("method"));
        };
        let arguments = match members.remove("arguments") {
            None | Some(Json::Null) => Json::Object(Map::new()),
            Some(arguments) => arguments,
        };
        let to = addressees(&mut members)?;
        let reply_to = reply_to(&mut members)?;
        Ok(Self {
            method,
            arguments,
            to,
            reply_to,
        })
    }

    /// Properties and body of the message that travels. `expires` tells when nobody waits for replies any more.
    #[must_use]
    pub fn encode(&self, time: u64, expires: Option<SystemTime>) -> (Properties, Vec<u8>) {
        let expires = expires
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(0.0, |at| at.as_secs_f64());
        let headers = Table::new()
            .with("clock", clock(time))
            .with("expires", expires);
        let (mut destination, mut pattern, mut matcher) = (Json::Null, Json::Null, Json::Null);
        match &self.to {
            Addressees::All => {}
            Addressees::Named(names) => destination = json!(names),
            Addressees::Matching {
                pattern: text,
                matcher: how,
            } => (pattern, matcher) = (json!(text), json!(how.name())),
        }
        let mut members = Map::new();
        members.insert("method".to_owned(), json!(self.method));
        members.insert("arguments".to_owned(), self.arguments.clone());
        members.insert("destination".to_owned(), destination);
        members.insert("pattern".to_owned(), pattern);
        members.insert("matcher".to_owned(), matcher);
        if let Some(reply_to) = &self.reply_to {
            let place = json!({"exchange": reply_to.exchange, "routing_key": reply_to.routing_key});
            members.insert("ticket".to_owned(), json!(reply_to.ticket));
            members.insert("reply_to".to_owned(), place);
        }
        let body = Json::Object(members).to_string().into_bytes();
        (properties(true, headers), body)
    }
}

/// A destination wins over a pattern, and without either all are meant; a pattern counts with a matcher only.
fn addressees(members: &mut Map<String, Json>) -> Result<Addressees, RequestError> {
    match members.remove("destination") {
        None | Some(Json::Null) => {}
        Some(Json::Array(names)) if names.is_empty() => {}
        Some(Json::Array(names)) => {
            let names = names.into_iter().filter_map(|name| match name {
                Json::String(name) => Some(name),
                _ => None,
            });
            return Ok(Addressees::Named(names.collect()));
        }
        Some(Json::String(name)) if name.is_empty() => {}
        Some(Json::String(name)) => return Ok(Addressees::Named(vec![name])),
        Some(_) => return Err(RequestError::Member("destination")),
    }
    let pattern = some_text(members, "pattern")?;
    let matcher = some_text(members, "matcher")?;
    match (pattern, matcher) {
        (Some(pattern), Some(matcher)) => match Matcher::of(&matcher) {
            Some(matcher) => Ok(Addressees::Matching { pattern, matcher }),
            None => Err(RequestError::Matcher(matcher)),
        },
        _ => Ok(Addressees::All),
    }
}

fn some_text(
    members: &mut Map<String, Json>,
    name: &'static str,
) -> Result<Option<String>, RequestError> {
    match members.remove(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(_) => Err(RequestError::Member(name)),
    }
}

fn reply_to(members: &mut Map<String, Json>) -> Result<Option<ReplyTo>, RequestError> {
    let ticket = match members.remove("ticket") {
        None | Some(Json::Null) => None,
        Some(Json::String(ticket)) => Some(ticket),
        Some(other) => Some(other.to_string()),
    };
    let place = match members.remove("reply_to") {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Object(place)) if place.is_empty() => return Ok(None),
        Some(Json::Object(place)) => place,
        Some(_) => return Err(RequestError::Member("reply_to")),
    };
    let part = |name| place.get(name).and_then(Json::as_str).map(str::to_owned);
    match (part("exchange"), part("routing_key")) {
        (Some(exchange), Some(routing_key)) => Ok(Some(ReplyTo {
            exchange,
            routing_key,
            ticket,
        })),
        _ => Err(RequestError::Member("reply_to")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<Request, RequestError> {
        Request::decode(&Properties::default(), body.as_bytes())
    }

    #[test]
    fn a_request_comes_back_as_it_was() {
        let mut request = Request::new("ping", json!({"a": [1]}));
        let ticket = Some("t".to_owned());
        request.reply_to = Some(ReplyTo::new("e", "k", ticket));
        for to in [
            Addressees::All,
            Addressees::Named(vec!["w1@host".to_owned()]),
            Addressees::Matching {
                pattern: "w*".to_owned(),
                matcher: Matcher::Glob,
            },
        ] {
            request.to = to;
            let (properties, body) = request.encode(7, None);
            let again = Request::decode(&properties, &body).expect("a request");
            assert_eq!(again, request);
        }
    }

    #[test]
    fn what_is_left_out_counts_as_null() {
        let request = decode(r#"{"method": "ping", "later": 1}"#).expect("a request");
        assert_eq!(request, Request::new("ping", json!({})));
        let request = decode(
            r#"{"method": "ping", "arguments": null, "destination": [], "pattern": "w*", "matcher": null,
                "reply_to": {}}"#,
        );
        assert_eq!(request.expect("a request").to, Addressees::All);
    }

    #[test]
    fn a_destination_wins_over_a_pattern() {
        let body =
            r#"{"method": "ping", "destination": ["a", 1], "pattern": "*", "matcher": "glob"}"#;
        let named = Addressees::Named(vec!["a".to_owned()]);
        assert_eq!(decode(body).expect("a request").to, named);
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for body in [
            "",
            "[]",
            "1",
            "{}",
            r#"{"method": 1}"#,
            r#"{"method": "ping", "destination": 1}"#,
            r#"{"method": "ping", "pattern": "*", "matcher": "magic"}"#,
            r#"{"method": "ping", "pattern": 1, "matcher": "glob"}"#,
            r#"{"method": "ping", "reply_to": "me"}"#,
            r#"{"method": "ping", "reply_to": {"exchange": "e"}}"#,
        ] {
            assert!(decode(body).is_err(), "{body}");
        }
        let deep = format!(
            r#"{{"method": "ping", "arguments": {}}}"#,
            "[".repeat(100_000)
        );
        assert!(decode(&deep).is_err());
        let pickled = Properties {
            content_type: Some("application/x-python-serialize".into()),
            ..Properties::default()
        };
        assert!(Request::decode(&pickled, br#"{"method": "ping"}"#).is_err());
    }
}
