//! Methods of exchanges, and the bindings of both exchanges and queues.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::FieldTable;

use super::ChannelKey;
use super::names::{check_not_default, check_not_reserved};
use crate::access::Right;
use crate::arguments::{kind_name, same_arguments, same_property};
use crate::error::{Objection, Outcome};
use crate::exchange::{Binding, Destination, Exchange, Kind};
use crate::table::{integer, text};
use crate::vhost::Vhost;

impl Vhost {
    pub(super) fn declare_exchange(
        &mut self,
        key: ChannelKey,
        declare: &exchange::Declare,
    ) -> Outcome<()> {
        let name = declare.exchange.as_str();
        if declare.passive {
            check_not_default(name)?;
            self.exchange(name)?;
        } else {
            self.create_exchange(key, declare)?;
        }
        if !declare.nowait {
            let ok = exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {});
            self.answer(key, AMQPClass::Exchange(ok));
        }
        Ok(())
    }

    fn create_exchange(&mut self, key: ChannelKey, declare: &exchange::Declare) -> Outcome<()> {
        let name = declare.exchange.as_str();
        let Some(kind) = Kind::of(declare.kind.as_str()) else {
            let kind = declare.kind.as_str();
            let what = if kind.is_empty() {
                "invalid"
            } else {
                "unknown"
            };
            let text = format!("{what} exchange type '{kind}'");
            return Err(Objection::command_invalid(text));
        };
        check_not_default(name)?;
        self.check_exchange(key, Right::Configure, name)?;
        if let Some(there) = self.exchanges.get(name) {
            return self.check_same_exchange(there, kind, declare);
        }
        check_not_reserved("exchange", name)?;
        let alternate = self.alternate(key, name, &declare.arguments)?;
        let mut made = Exchange::new(name.into(), kind, declare.arguments.clone());
        made.durable = declare.durable;
        made.auto_delete = declare.auto_delete;
        made.internal = declare.internal;
        made.alternate = alternate;
        self.exchanges.insert(made.name.clone(), made);
        Ok(())
    }

    fn check_same_exchange(
        &self,
        there: &Exchange,
        kind: Kind,
        declare: &exchange::Declare,
    ) -> Outcome<()> {
        let thing = self.exchange_called(&there.name);
        same_property(&thing, "type", &kind.name(), &there.kind.name())?;
        same_property(&thing, "durable", &declare.durable, &there.durable)?;
        same_property(
            &thing,
            "auto_delete",
            &declare.auto_delete,
            &there.auto_delete,
        )?;
        same_property(&thing, "internal", &declare.internal, &there.internal)?;
        let compared = ["alternate-exchange"];
        same_arguments(&thing, &compared, &declare.arguments, &there.arguments)
    }

    /// Reads the arguments of an exchange: who gets what it cannot route.
    fn alternate(
        &self,
        key: ChannelKey,
        name: &str,
        arguments: &FieldTable,
    ) -> Outcome<Option<String>> {
        for argument in arguments.inner().keys() {
            if argument.as_str().starts_with("x-") {
                return Err(Objection::not_implemented(format_args!(
                    "argument '{argument}' of {} is not known to coney-devbroker: leave it out or use RabbitMQ",
                    self.exchange_called(name)
                )));
            }
        }
        let Some(value) = arguments.inner().get("alternate-exchange") else {
            return Ok(None);
        };
        let Some(alternate) = text(value) else {
            return Err(Objection::precondition(format_args!(
                "invalid type '{}' for arg 'alternate-exchange' in {}",
                kind_name(value),
                self.exchange_called(name)
            )));
        };
        self.check_exchange(key, Right::Read, name)?;
        self.check_exchange(key, Right::Write, &alternate)?;
        Ok(Some(alternate))
    }

    pub(super) fn delete_exchange(
        &mut self,
        key: ChannelKey,
        delete: &exchange::Delete,
    ) -> Outcome<()> {
        let name = delete.exchange.as_str();
        self.check_not_system(name)?;
        self.check_exchange(key, Right::Configure, name)?;
        let used = self.exchanges.get(name).is_some_and(Exchange::is_used);
        if delete.if_unused && used {
            return Err(Objection::precondition(format_args!(
                "{} in use",
                self.exchange_called(name)
            )));
        }
        self.remove_exchange(name);
        if !delete.nowait {
            let ok = exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {});
            self.answer(key, AMQPClass::Exchange(ok));
        }
        Ok(())
    }

    /// Objects to deleting an exchange that every virtual host has.
    pub(crate) fn check_not_system(&self, exchange: &str) -> Outcome<()> {
        check_not_default(exchange)?;
        if !exchange.starts_with("amq.") {
            return Ok(());
        }
        Err(Objection::access_refused(format_args!(
            "deletion of system {} not allowed",
            self.exchange_called(exchange)
        )))
    }

    pub(super) fn bind_exchange(&mut self, key: ChannelKey, bind: exchange::Bind) -> Outcome<()> {
        let (source, destination) = (bind.source.as_str(), bind.destination.as_str());
        self.check_ends(key, source, destination)?;
        self.check_topic(key, Right::Read, source, bind.routing_key.as_str())?;
        let to = Destination::Exchange(self.exchange(destination)?.name.clone());
        self.bind(source, to, bind.routing_key.as_str(), bind.arguments)?;
        if !bind.nowait {
            let ok = exchange::AMQPMethod::BindOk(exchange::BindOk {});
            self.answer(key, AMQPClass::Exchange(ok));
        }
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &mut self,
        key: ChannelKey,
        unbind: exchange::Unbind,
    ) -> Outcome<()> {
        let (source, destination) = (unbind.source.as_str(), unbind.destination.as_str());
        self.check_ends(key, source, destination)?;
        self.check_topic(key, Right::Read, source, unbind.routing_key.as_str())?;
        let to = Destination::Exchange(destination.into());
        self.unbind(source, to, unbind.routing_key.as_str(), unbind.arguments);
        if !unbind.nowait {
            let ok = exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {});
            self.answer(key, AMQPClass::Exchange(ok));
        }
        Ok(())
    }

    /// Objects unless two exchanges may be bound.
    fn check_ends(&self, key: ChannelKey, source: &str, destination: &str) -> Outcome<()> {
        check_not_default(destination)?;
        check_not_default(source)?;
        self.check_exchange(key, Right::Write, destination)?;
        self.check_exchange(key, Right::Read, source)
    }

    pub(super) fn bind_queue(&mut self, key: ChannelKey, bind: queue::Bind) -> Outcome<()> {
        let source = bind.exchange.as_str();
        let (name, routing_key) =
            self.queue_end(key, source, bind.queue.as_str(), bind.routing_key.as_str())?;
        let id = self.usable_queue(&name, key.connection)?;
        self.bind(source, Destination::Queue(id), &routing_key, bind.arguments)?;
        if !bind.nowait {
            let ok = queue::AMQPMethod::BindOk(queue::BindOk {});
            self.answer(key, AMQPClass::Queue(ok));
        }
        Ok(())
    }

    pub(super) fn unbind_queue(&mut self, key: ChannelKey, unbind: queue::Unbind) -> Outcome<()> {
        let source = unbind.exchange.as_str();
        let routing_key = unbind.routing_key.as_str();
        let (name, routing_key) =
            self.queue_end(key, source, unbind.queue.as_str(), routing_key)?;
        if self.names.contains_key(&*name) {
            let id = self.usable_queue(&name, key.connection)?;
            self.unbind(
                source,
                Destination::Queue(id),
                &routing_key,
                unbind.arguments,
            );
        }
        let ok = queue::AMQPMethod::UnbindOk(queue::UnbindOk {});
        self.answer(key, AMQPClass::Queue(ok));
        Ok(())
    }

    /// The queue and the key of a binding that the client may make or remove: without queue and key, both are the
    /// last declared queue.
    fn queue_end(
        &self,
        key: ChannelKey,
        exchange: &str,
        queue: &str,
        routing_key: &str,
    ) -> Outcome<(String, String)> {
        let name = self.channel(key)?.named_queue(queue)?;
        let routing_key = match (queue, routing_key) {
            ("", "") => name.clone(),
            (_, routing_key) => routing_key.to_owned(),
        };
        check_not_default(exchange)?;
        self.check_queue(key, Right::Write, &name)?;
        self.check_exchange(key, Right::Read, exchange)?;
        self.check_topic(key, Right::Read, exchange, &routing_key)?;
        Ok((name, routing_key))
    }

    /// Adds a binding, unless it is there.
    pub(crate) fn bind(
        &mut self,
        source: &str,
        destination: Destination,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Outcome<()> {
        if self.exchange(source)?.kind == Kind::Headers {
            check_match(&arguments)?;
        }
        if let Some(exchange) = self.exchanges.get_mut(source) {
            exchange.bind(Binding {
                destination,
                routing_key: routing_key.to_owned(),
                arguments,
            });
        }
        Ok(())
    }

    /// Removes a binding; that there is none is no mistake.
    fn unbind(
        &mut self,
        source: &str,
        destination: Destination,
        routing_key: &str,
        arguments: FieldTable,
    ) {
        let binding = Binding {
            destination,
            routing_key: routing_key.to_owned(),
            arguments,
        };
        let exchange = self.exchanges.get_mut(source);
        let unused = exchange.is_some_and(|exchange| {
            exchange.unbind(&binding) && exchange.auto_delete && !exchange.is_used()
        });
        if unused {
            self.remove_exchange(source);
        }
    }
}

/// Objects to a way of matching headers that there is not.
fn check_match(arguments: &FieldTable) -> Outcome<()> {
    let Some(value) = arguments.inner().get("x-match") else {
        return Ok(());
    };
    let problem = match text(value).as_deref() {
        Some("all" | "any" | "all-with-x" | "any-with-x") => return Ok(()),
        Some(other) => format!(
            "Invalid x-match field value <<\"{other}\">>; expected all, any, all-with-x, or any-with-x"
        ),
        None => format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            kind_name(value),
            integer(value).map_or_else(|| "?".to_owned(), |number| number.to_string())
        ),
    };
    Err(Objection::precondition(problem))
}
