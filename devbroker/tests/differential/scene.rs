//! What a scenario has: a virtual host of its own on one broker, and connections to it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::Channel;
use crate::connection::Connection;
use crate::target::Target;
use crate::transcript::Transcript;

/// What clients of these scenarios can do.
pub const CAPABILITIES: &str = "capabilities={publisher_confirms=true,consumer_cancel_notify=true,basic.nack=true,\
                                connection.blocked=true,authentication_failure_close=true}";

/// How many there were.
static SCENES: AtomicU32 = AtomicU32::new(0);

/// One run of a scenario against one broker.
pub struct Scene<'a> {
    target: &'a Target,
    /// The virtual host, `V` in the transcript.
    pub vhost: String,
    /// A user that [`Scene::add_user`] makes, `U` in the transcript; its password is `secret`.
    pub user: String,
    transcript: Transcript,
    connections: Mutex<Vec<Channel>>,
}

impl<'a> Scene<'a> {
    /// A scene on a new virtual host.
    pub async fn new(target: &'a Target) -> Self {
        // names of equal length, for brokers cut long texts off
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let vhost = format!("differential-{:010}-{number:04}", std::process::id());
        let user = format!("user-{vhost}");
        target.add_vhost(&vhost).await;
        Self {
            target,
            transcript: Transcript::new(&[(&user, "U"), (&vhost, "V")]),
            vhost,
            user,
            connections: Mutex::default(),
        }
    }

    /// Channel 1 of a new connection of guest, whose publishes wait for their confirms.
    pub async fn channel(&self) -> Channel {
        self.plain().await.waiting().await
    }

    /// Channel 1 of a new connection of guest.
    pub async fn plain(&self) -> Channel {
        self.connect("guest", "guest", 131_072).await.plain(1).await
    }

    /// Channel 0 of a new connection of this user whose frames have at most `frame_max` bytes.
    pub async fn connect(&self, user: &str, password: &str, frame_max: usize) -> Channel {
        let connection = self.raw().await.with_frame_max(frame_max);
        connection
            .shake_hands(&self.vhost, user, password, CAPABILITIES)
            .await;
        connection
    }

    /// Channel 0 of a new connection on which nothing has been said.
    pub async fn raw(&self) -> Channel {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len() as u8;
        connections += b'a';
        let connection = Connection::to(&self.target.authority(), connections.into()).await;
        let channel = Channel::new(Arc::new(connection), self.transcript.clone());
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connections.push(channel.clone());
        channel
    }

    /// Makes the scene's user, with patterns of what it may configure, write and read.
    pub async fn add_user(&self, configure: &str, write: &str, read: &str) {
        self.target.add_user(&self.user, "secret").await;
        self.target
            .permit(&self.vhost, &self.user, [configure, write, read])
            .await;
    }

    /// Makes the scene's user, who may not even open the virtual host.
    pub async fn add_user_without_permissions(&self) {
        self.target.add_user(&self.user, "secret").await;
    }

    /// Adds what arrived and nobody asked for, removes the virtual host, and returns the transcript.
    pub async fn finish(self) -> Vec<String> {
        let connections = self
            .connections
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for connection in &connections {
            connection.record_rest().await;
        }
        drop(connections);
        self.target.remove(&self.vhost, &self.user).await;
        self.transcript.lines()
    }
}
