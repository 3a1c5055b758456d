//! A broker to run scenarios against, and what only its administrator can do.

use serde_json::json;
use tokio::task::spawn_blocking;

use crate::management::{Management, authority};

/// One of the two.
pub enum Target {
    RabbitMq(Management),
}

impl Target {
    /// Host and port.
    pub fn authority(&self) -> String {
        match self {
            Self::RabbitMq(_) => authority(),
        }
    }

    /// The first two parts of its version.
    pub async fn version(&self) -> String {
        match self {
            Self::RabbitMq(management) => {
                let management = management.clone();
                let overview = blocking(move || management.get("overview")).await;
                let version = overview["rabbitmq_version"].as_str().unwrap_or_default();
                version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
            }
        }
    }

    /// Adds a virtual host that guest may use.
    pub async fn add_vhost(&self, vhost: &str) {
        match self {
            Self::RabbitMq(management) => {
                let (management, path) = (management.clone(), format!("vhosts/{vhost}"));
                blocking(move || management.request("PUT", &path, &json!({}))).await;
                self.permit(vhost, "guest", [".*", ".*", ".*"]).await;
            }
        }
    }

    /// Adds a user.
    pub async fn add_user(&self, user: &str, password: &str) {
        match self {
            Self::RabbitMq(management) => {
                let (management, path) = (management.clone(), format!("users/{user}"));
                let body = json!({ "password": password, "tags": "" });
                blocking(move || management.request("PUT", &path, &body)).await;
            }
        }
    }

    /// Says what a user may configure, write and read.
    pub async fn permit(&self, vhost: &str, user: &str, [configure, write, read]: [&str; 3]) {
        match self {
            Self::RabbitMq(management) => {
                let (management, path) = (management.clone(), format!("permissions/{vhost}/{user}"));
                let body = json!({ "configure": configure, "write": write, "read": read });
                blocking(move || management.request("PUT", &path, &body)).await;
            }
        }
    }

    /// Removes a virtual host and a user, if they are there.
    pub async fn remove(&self, vhost: &str, user: &str) {
        match self {
            Self::RabbitMq(management) => {
                let management = management.clone();
                let paths = [format!("vhosts/{vhost}"), format!("users/{user}")];
                blocking(move || paths.iter().for_each(|path| management.delete(path))).await;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("the management API answers")
}
