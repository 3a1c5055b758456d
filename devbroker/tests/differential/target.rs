//! A broker to run scenarios against, and what only its administrator can do.

use coney_devbroker::{DevBroker, Permissions};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::management::Management;
use crate::place::place;

/// One of the two brokers.
pub enum Target {
    RabbitMq(Management),
    Development(DevBroker),
}

impl Target {
    /// The RabbitMQ that the environment names.
    pub fn rabbitmq() -> Option<Self> {
        std::env::var_os("CONEY_URL").map(|_| Self::RabbitMq(Management::new()))
    }

    /// A development broker of its own.
    pub async fn development() -> Self {
        Self::Development(DevBroker::start().await.expect("a free port"))
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        match self {
            Self::RabbitMq(_) => place().amqp.clone(),
            Self::Development(broker) => broker.address().to_string(),
        }
    }

    /// The first two parts of RabbitMQ's version.
    pub async fn version(&self) -> String {
        let Self::RabbitMq(management) = self else {
            return "development".to_owned();
        };
        let overview = with(management, |management| management.get("overview")).await;
        let version = overview["rabbitmq_version"].as_str().unwrap_or_default();
        version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
    }

    /// Adds a virtual host that guest may use.
    pub async fn add_vhost(&self, vhost: &str) {
        match self {
            Self::RabbitMq(management) => {
                let path = format!("vhosts/{vhost}");
                with(management, move |management| {
                    management.request("PUT", &path, &json!({}))
                })
                .await;
                self.permit(vhost, "guest", [".*", ".*", ".*"]).await;
            }
            Self::Development(broker) => broker.add_vhost(vhost),
        }
    }

    /// Adds a user.
    pub async fn add_user(&self, user: &str, password: &str) {
        match self {
            Self::RabbitMq(management) => {
                let path = format!("users/{user}");
                let body = json!({ "password": password, "tags": "" });
                with(management, move |management| {
                    management.request("PUT", &path, &body)
                })
                .await;
            }
            Self::Development(broker) => broker.add_user(user, password),
        }
    }

    /// Says what a user may configure, write and read.
    pub async fn permit(&self, vhost: &str, user: &str, [configure, write, read]: [&str; 3]) {
        match self {
            Self::RabbitMq(management) => {
                let path = format!("permissions/{vhost}/{user}");
                let body = json!({ "configure": configure, "write": write, "read": read });
                with(management, move |management| {
                    management.request("PUT", &path, &body)
                })
                .await;
            }
            Self::Development(broker) => {
                let permissions = Permissions {
                    configure: configure.to_owned(),
                    write: write.to_owned(),
                    read: read.to_owned(),
                };
                let set = broker.set_permissions(vhost, user, &permissions);
                assert!(set.expect("regular expressions"), "no virtual host {vhost}");
            }
        }
    }

    /// Removes a virtual host and a user, if they are there.
    pub async fn remove(&self, vhost: &str, user: &str) {
        match self {
            Self::RabbitMq(management) => {
                let paths = [format!("vhosts/{vhost}"), format!("users/{user}")];
                with(management, move |management| {
                    paths.iter().for_each(|path| management.delete(path));
                })
                .await;
            }
            Self::Development(broker) => {
                broker.remove_vhost(vhost);
                broker.remove_user(user);
            }
        }
    }
}

/// The management client blocks.
async fn with<T: Send + 'static>(
    management: &Management,
    ask: impl FnOnce(&Management) -> T + Send + 'static,
) -> T {
    let management = management.clone();
    spawn_blocking(move || ask(&management))
        .await
        .expect("the management API answers")
}
