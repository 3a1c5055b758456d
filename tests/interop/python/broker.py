"""The broker of the tests: virtual hosts through its management API, messages byte by byte through py-amqp."""

import json
import os
import socket
import time
import uuid
from urllib.parse import quote, urlsplit

import amqp
import requests
from kombu import Connection

URL = os.environ.get("CONEY_URL") or "amqp://guest:guest@127.0.0.1:5672"
MANAGEMENT = os.environ.get("CONEY_MANAGEMENT_URL") or "http://127.0.0.1:15672"
# how long anything may take that should happen at once, on a busy machine
SOON = 15.0


def login():
    parts = urlsplit(URL)
    return parts.username or "guest", parts.password or "guest"


def manage(method, path, **body):
    """One request to the management API."""
    reply = requests.request(
        method, f"{MANAGEMENT.rstrip('/')}/api/{path}", auth=login(), timeout=30, json=body or None
    )
    reply.raise_for_status()
    return reply.json() if reply.content else None


class VirtualHost:
    """A virtual host of a test's own."""

    def __init__(self, name=None):
        self.name = name or f"interop-{uuid.uuid4().hex[:12]}"
        self.path = quote(self.name, safe="")
        manage("PUT", f"vhosts/{self.path}")
        manage("PUT", f"permissions/{self.path}/{login()[0]}", configure=".*", write=".*", read=".*")
        self.url = f"{URL.rstrip('/').split('?')[0]}/{self.name}"

    def delete(self):
        """Deletes it once no worker of coney is connected, which may be declaring: RabbitMQ 4.3.6 takes it badly that a
        quorum queue goes while it comes up."""
        until(lambda: not any(map(is_of_coney, self.connections())), "workers are gone")
        manage("DELETE", f"vhosts/{self.path}")

    def connections(self):
        return manage("GET", f"vhosts/{self.path}/connections")

    def queue(self, name):
        """What the broker knows of a queue, or None."""
        try:
            return manage("GET", f"queues/{self.path}/{quote(name, safe='')}")
        except requests.HTTPError as error:
            if error.response.status_code == 404:
                return None
            raise

    def queues(self):
        return {queue["name"]: queue for queue in manage("GET", f"queues/{self.path}")}

    def exchange(self, name):
        return manage("GET", f"exchanges/{self.path}/{quote(name, safe='')}")

    def bindings(self, queue):
        return manage("GET", f"queues/{self.path}/{quote(queue, safe='')}/bindings")


def is_of_coney(connection):
    return connection.get("client_properties", {}).get("connection_name", "").startswith("coney")


def until(condition, what="", deadline=SOON):
    """The first true value of `condition`."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"still not so after {deadline} s: {what or condition}"
        time.sleep(0.03)


def step(task, *args, kwargs=None, immutable=False, tasks=None, **options):
    """A signature as it lies in a message; `tasks` makes it a chain or a group."""
    kind = task.removeprefix("celery.") if tasks is not None else None
    return {
        "task": task,
        "args": list(args),
        "kwargs": {"tasks": tasks} if tasks is not None else kwargs or {},
        "options": options,
        "subtask_type": kind,
        "immutable": immutable,
    }


class Message:
    """A message as it arrived."""

    def __init__(self, message):
        self.exchange = message.delivery_info["exchange"]
        self.routing_key = message.delivery_info["routing_key"]
        self.properties = dict(message.properties)
        self.headers = self.properties.pop("application_headers", None) or {}
        body = message.body
        self.bytes = body.encode() if isinstance(body, str) else bytes(body)

    @property
    def json(self):
        return json.loads(self.bytes)

    def __repr__(self):
        return f"<{self.routing_key} {self.properties} {self.headers} {self.bytes[:300]!r}>"


class Inbox:
    """Everything that arrives in a queue, in order."""

    def __init__(self, wire, queue):
        self.wire, self.queue, self.messages = wire, queue, []
        wire.channel.basic_consume(queue, no_ack=True, callback=lambda m: self.messages.append(Message(m)))

    def wait(self, count=1, where=lambda message: True, deadline=SOON):
        """The messages for which `where` holds, as soon as there are `count`."""
        end = time.monotonic() + deadline
        while True:
            found = [message for message in self.messages if where(message)]
            if len(found) >= count:
                return found
            assert self.wire.drain(end - time.monotonic()), (
                f"{len(found)} of {count} messages in {self.queue} after {deadline} s; all: {self.messages}"
            )

    def one(self, where=lambda message: True, deadline=SOON):
        return self.wait(1, where, deadline)[0]

    def during(self, seconds):
        """What there is after some time: for tests that nothing, or nothing else, comes."""
        end = time.monotonic() + seconds
        while self.wire.drain(end - time.monotonic()):
            pass
        return self.messages

    def final(self, task_id=None, deadline=SOON):
        """The first result in a final state."""
        return self.one(
            lambda m: m.json["status"] in ("SUCCESS", "FAILURE", "REVOKED")
            and task_id in (None, m.json["task_id"]),
            deadline,
        )


class Wire:
    """A channel on which to send what no client would."""

    def __init__(self, url):
        self.connection = Connection(url)
        self.connection.connect()
        self.channel = self.connection.default_channel

    def close(self):
        self.connection.close()

    def drain(self, seconds):
        """Waits for something to arrive; false if nothing did."""
        if seconds <= 0:
            return False
        try:
            self.connection.drain_events(timeout=seconds)
        except (socket.timeout, TimeoutError):
            return False
        return True

    def inbox(self, exchange=None, routing_key="#", name=None, arguments=None):
        """A new queue of this connection, bound if an exchange is named."""
        queue, _, _ = self.channel.queue_declare(
            name or f"inbox.{uuid.uuid4()}", exclusive=True, auto_delete=True, arguments=arguments
        )
        if exchange is not None:
            self.channel.queue_bind(queue, exchange, routing_key)
        return Inbox(self, queue)

    def shared_inbox(self, name):
        """A queue as Celery declares one that it finds in no configuration."""
        self.channel.exchange_declare(name, "direct", durable=True, auto_delete=False)
        self.channel.queue_declare(name, durable=True, auto_delete=False)
        self.channel.queue_bind(name, name, name)
        return Inbox(self, name)

    def waiting(self, queue):
        """How many messages are ready in a queue."""
        return self.channel.queue_declare(queue, passive=True).message_count

    def consumers(self, queue):
        """How many consume from a queue."""
        return self.channel.queue_declare(queue, passive=True).consumer_count

    def publish(self, body, headers=None, exchange="", routing_key="celery", **properties):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        properties.setdefault("content_type", "application/json")
        properties.setdefault("content_encoding", "utf-8")
        message = amqp.Message(body, application_headers=headers or {}, **properties)
        self.channel.basic_publish(message, exchange, routing_key)

    def send(self, task, args=(), kwargs=None, embed=None, *, id=None, reply_to=None, headers=None, **properties):
        """A task message with the least that a worker must accept; returns its id."""
        id = id or str(uuid.uuid4())
        body = [list(args), kwargs or {}, embed or {}]
        if reply_to is not None:
            properties["reply_to"] = reply_to.queue if isinstance(reply_to, Inbox) else reply_to
        self.publish(body, {"task": task, "id": id, **(headers or {})}, **properties)
        return id
