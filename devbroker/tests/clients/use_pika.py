"""What pika, an independent client, does with a broker: confirms, returns, headers, get, consume, acks, nacks."""

import sys

import pika
from pika.exceptions import ChannelClosedByBroker, UnroutableError

HEADERS = {
    "text": "grüße",
    "number": 2**40,
    "negative": -7,
    "yes": True,
    "nothing": None,
    "list": [1, "two", {"three": 3}],
}


def check(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def confirmed_and_fetched(channel):
    channel.queue_declare("pika.q", durable=True)
    properties = pika.BasicProperties(
        content_type="text/plain",
        delivery_mode=2,
        headers=HEADERS,
        message_id="1",
        priority=3,
        timestamp=1_700_000_000,
        type="greeting",
    )
    channel.basic_publish("", "pika.q", "hello".encode(), properties, mandatory=True)
    method, found, body = channel.basic_get("pika.q")
    check(body, b"hello")
    check(method.redelivered, False)
    check(found.headers, HEADERS)
    for name in ("content_type", "delivery_mode", "message_id", "priority", "timestamp", "type"):
        check(getattr(found, name), getattr(properties, name))
    channel.basic_nack(method.delivery_tag, requeue=True)
    method, _, body = channel.basic_get("pika.q")
    check((body, method.redelivered), (b"hello", True))
    channel.basic_ack(method.delivery_tag)
    check(channel.basic_get("pika.q"), (None, None, None))


def returned(channel):
    try:
        channel.basic_publish("", "pika.nobody", b"lost?", mandatory=True)
    except UnroutableError as error:
        check([message.body for message in error.messages], [b"lost?"])
        check(error.messages[0].method.reply_code, 312)
    else:
        raise AssertionError("an unroutable message was not returned")


def consumed(channel):
    channel.exchange_declare("pika.topic", "topic", durable=True)
    channel.queue_bind("pika.q", "pika.topic", "a.*.c")
    channel.basic_qos(prefetch_count=2)
    bodies = [b"x" * size for size in (0, 1, 300_000, 7, 8)]
    for body in bodies:
        channel.basic_publish("pika.topic", "a.b.c", body, mandatory=True)
    taken = []
    for method, _, body in channel.consume("pika.q", inactivity_timeout=10):
        assert method is not None, "no delivery within 10 seconds"
        taken.append(body)
        check(method.routing_key, "a.b.c")
        channel.basic_ack(method.delivery_tag)
        if len(taken) == len(bodies):
            break
    channel.cancel()
    check(taken, bodies)


def refused(connection):
    channel = connection.channel()
    try:
        channel.queue_declare("pika.q", durable=False)
    except ChannelClosedByBroker as error:
        check(error.reply_code, 406)
    else:
        raise AssertionError("a queue was declared again with other properties")


def main(url):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    confirmed_and_fetched(channel)
    returned(channel)
    consumed(channel)
    refused(connection)
    channel.queue_delete("pika.q")
    channel.exchange_delete("pika.topic")
    connection.close()
    print("pika is content")


main(sys.argv[1])
