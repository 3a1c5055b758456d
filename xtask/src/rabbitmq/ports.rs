//! Free ports for a private node.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Result, bail};

/// How many nodes may run side by side.
const SLOTS: u16 = 100;
/// The first port of AMQP.
const FIRST: u16 = 5700;

/// The four ports of a private node, all below the range from which systems take ports of outgoing connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) amqp: u16,
    pub(super) management: u16,
    pub(super) distribution: u16,
    pub(super) epmd: u16,
}

impl Ports {
    /// Four free ports. A node's folder gets the same ones each time, if they are free.
    ///
    /// # Errors
    /// If something listens on every candidate.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let first = preferred_slot(folder);
        let free = (0..SLOTS)
            .map(|step| Self::of_slot((first + step) % SLOTS))
            .find(|ports| ports.are_free());
        match free {
            Some(ports) => Ok(ports),
            None => bail!("no free ports for a RabbitMQ node between 5700 and 5799"),
        }
    }

    /// The ports of a node that has this one.
    pub(super) fn of_amqp(port: u16) -> Self {
        Self::of_slot(port.saturating_sub(FIRST))
    }

    fn of_slot(slot: u16) -> Self {
        Self {
            amqp: FIRST + slot,
            management: 15700 + slot,
            distribution: 25700 + slot,
            epmd: 4400 + slot,
        }
    }

    fn are_free(self) -> bool {
        [self.amqp, self.management, self.distribution, self.epmd]
            .into_iter()
            .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    }
}

fn preferred_slot(folder: &Path) -> u16 {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    (hasher.finish() % u64::from(SLOTS)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_tells_the_others() {
        let ports = Ports::of_slot(42);
        assert_eq!(Ports::of_amqp(ports.amqp), ports);
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let checkout = Path::new("/some/checkout");
        let first = Ports::find(checkout).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.management)).unwrap();
        assert_ne!(Ports::find(checkout).unwrap(), first);
    }
}
