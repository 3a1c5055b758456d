//! One letter for each method that a client can send, and its arguments.

use amq_protocol::protocol::{
    AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx,
};

use crate::names;
use crate::parts::Parts;
use crate::script::handshake;

const TAGS: [u64; 12] = [1, 2, 3, 4, 5, 0, 6, 7, 8, 20, u64::MAX, 1 << 40];

/// The method of a letter, and whether it belongs on a channel.
pub(crate) fn read(letter: u8, parts: &mut Parts<'_>) -> Option<(bool, AMQPClass)> {
    let of_connection = handshake(letter, parts).or_else(|| connection(letter));
    if let Some(method) = of_connection {
        return Some((false, method));
    }
    let method = channel(letter, parts)
        .or_else(|| exchange(letter, parts).map(AMQPClass::Exchange))
        .or_else(|| queue(letter, parts).map(AMQPClass::Queue))
        .or_else(|| basic(letter, parts).map(AMQPClass::Basic));
    method.map(|method| (true, method))
}

fn connection(letter: u8) -> Option<AMQPClass> {
    use connection::AMQPMethod::{Close, CloseOk, UpdateSecret};
    Some(AMQPClass::Connection(match letter {
        b'Z' => Close(connection::Close::default()),
        b'z' => CloseOk(connection::CloseOk {}),
        b'u' => UpdateSecret(connection::UpdateSecret::default()),
        _ => return None,
    }))
}

fn channel(letter: u8, parts: &mut Parts<'_>) -> Option<AMQPClass> {
    use channel::AMQPMethod::{Close, CloseOk, Flow, Open};
    Some(AMQPClass::Channel(match letter {
        b'O' => Open(channel::Open {}),
        b'C' => Close(channel::Close::default()),
        b'o' => CloseOk(channel::CloseOk {}),
        b'F' => Flow(channel::Flow {
            active: !parts.flag(),
        }),
        b'Y' => {
            let nowait = parts.flag();
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait });
            return Some(AMQPClass::Confirm(select));
        }
        b'a' => {
            let request = access::AMQPMethod::Request(access::Request::default());
            return Some(AMQPClass::Access(request));
        }
        b'T' => return Some(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))),
        _ => return None,
    }))
}

fn exchange(letter: u8, parts: &mut Parts<'_>) -> Option<exchange::AMQPMethod> {
    use exchange::AMQPMethod as Method;
    let flags = |parts: &mut Parts<'_>, bit: u8| parts.peek() >> bit & 1 > 0;
    Some(match letter {
        b'X' => {
            let exchange = names::exchange(parts).into();
            let kind = names::kind(parts).into();
            let declare = exchange::Declare {
                exchange,
                kind,
                durable: flags(parts, 0),
                auto_delete: flags(parts, 1),
                internal: flags(parts, 2),
                passive: flags(parts, 3),
                nowait: flags(parts, 4),
                arguments: names::flagged_table(parts),
            };
            Method::Declare(declare)
        }
        b'x' => Method::Delete(exchange::Delete {
            exchange: names::exchange(parts).into(),
            if_unused: flags(parts, 0),
            nowait: parts.number() >> 1 & 1 > 0,
        }),
        b'E' => Method::Bind(exchange::Bind {
            source: names::exchange(parts).into(),
            destination: names::exchange(parts).into(),
            routing_key: names::key(parts).into(),
            nowait: flags(parts, 0),
            arguments: names::flagged_table(parts),
        }),
        b'e' => Method::Unbind(exchange::Unbind {
            source: names::exchange(parts).into(),
            destination: names::exchange(parts).into(),
            routing_key: names::key(parts).into(),
            nowait: flags(parts, 0),
            arguments: names::flagged_table(parts),
        }),
        _ => return None,
    })
}

fn queue(letter: u8, parts: &mut Parts<'_>) -> Option<queue::AMQPMethod> {
    use queue::AMQPMethod as Method;
    let flags = |parts: &mut Parts<'_>, bit: u8| parts.peek() >> bit & 1 > 0;
    Some(match letter {
        b'Q' => Method::Declare(queue::Declare {
            queue: names::queue(parts).into(),
            durable: !flags(parts, 0),
            exclusive: flags(parts, 1),
            auto_delete: flags(parts, 2),
            passive: flags(parts, 3),
            nowait: flags(parts, 4),
            arguments: names::flagged_table(parts),
        }),
        b'D' => Method::Delete(queue::Delete {
            queue: names::queue(parts).into(),
            if_unused: flags(parts, 0),
            if_empty: flags(parts, 1),
            nowait: parts.number() >> 2 & 1 > 0,
        }),
        b'U' => Method::Purge(queue::Purge {
            queue: names::queue(parts).into(),
            nowait: parts.flag(),
        }),
        b'B' => Method::Bind(queue::Bind {
            queue: names::queue(parts).into(),
            exchange: names::exchange(parts).into(),
            routing_key: names::key(parts).into(),
            nowait: flags(parts, 0),
            arguments: names::flagged_table(parts),
        }),
        b'b' => Method::Unbind(queue::Unbind {
            queue: names::queue(parts).into(),
            exchange: names::exchange(parts).into(),
            routing_key: names::key(parts).into(),
            arguments: names::flagged_table(parts),
        }),
        _ => return None,
    })
}

fn basic(letter: u8, parts: &mut Parts<'_>) -> Option<basic::AMQPMethod> {
    use basic::AMQPMethod as Method;
    let flags = |parts: &mut Parts<'_>, bit: u8| parts.peek() >> bit & 1 > 0;
    Some(match letter {
        b'N' => Method::Consume(basic::Consume {
            queue: names::queue(parts).into(),
            consumer_tag: names::tag(parts).into(),
            no_ack: flags(parts, 0),
            exclusive: flags(parts, 1),
            no_local: flags(parts, 2),
            nowait: flags(parts, 3),
            arguments: names::flagged_table(parts),
        }),
        b'n' => Method::Cancel(basic::Cancel {
            consumer_tag: names::tag(parts).into(),
            nowait: parts.flag(),
        }),
        b'G' => Method::Get(basic::Get {
            queue: names::queue(parts).into(),
            no_ack: parts.flag(),
        }),
        b'A' => Method::Ack(basic::Ack {
            delivery_tag: parts.one_of(&TAGS),
            multiple: parts.flag(),
        }),
        b'K' => Method::Nack(basic::Nack {
            delivery_tag: parts.one_of(&TAGS),
            multiple: flags(parts, 0),
            requeue: parts.number() >> 1 & 1 > 0,
        }),
        b'J' => Method::Reject(basic::Reject {
            delivery_tag: parts.one_of(&TAGS),
            requeue: parts.flag(),
        }),
        b'W' => Method::Qos(basic::Qos {
            prefetch_count: parts.one_of(&[0, 1, 2, 10, u16::MAX]),
            global: parts.flag(),
        }),
        b'V' => Method::Recover(basic::Recover {
            requeue: !parts.flag(),
        }),
        b'v' => Method::RecoverAsync(basic::RecoverAsync {
            requeue: !parts.flag(),
        }),
        _ => return None,
    })
}
