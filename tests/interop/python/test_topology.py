"""What a worker and a client declare: argument for argument as Celery does (sections 1, 12 and 14)."""

from broker import SOON, until
from fixture import client


def facts(entity):
    return {name: entity[name] for name in ("durable", "auto_delete")} | {"arguments": arguments(entity)}


def arguments(entity):
    """Those that were given: RabbitMQ 4.3 shows the type of every queue as well."""
    return {name: value for name, value in entity["arguments"].items() if (name, value) != ("x-queue-type", "classic")}


class TestWorker:
    def test_the_task_queue(self, worker):
        queue = until(lambda: worker.vhost.queue("celery"))
        assert facts(queue) == {"durable": True, "auto_delete": False, "arguments": {}}
        assert queue.get("exclusive") is not True

    def test_the_task_exchange_and_its_binding(self, worker):
        exchange = worker.vhost.exchange("celery")
        assert exchange["type"] == "direct"
        assert facts(exchange) == {"durable": True, "auto_delete": False, "arguments": {}}
        bindings = worker.vhost.bindings("celery")
        assert ("celery", "celery") in [(each["source"], each["routing_key"]) for each in bindings]

    def test_the_event_exchange(self, worker):
        exchange = worker.vhost.exchange("celeryev")
        assert exchange["type"] == "topic"
        assert facts(exchange) == {"durable": True, "auto_delete": False, "arguments": {}}

    def test_the_control_exchange(self, worker):
        exchange = worker.vhost.exchange("celery.pidbox")
        assert exchange["type"] == "fanout"
        assert facts(exchange) == {"durable": False, "auto_delete": False, "arguments": {}}

    def test_the_exchange_of_control_replies(self, worker):
        worker.control("ping")
        exchange = worker.vhost.exchange("reply.celery.pidbox")
        assert exchange["type"] == "direct" and exchange["durable"] is False

    def test_the_control_queue(self, worker):
        name = f"{worker.node}.celery.pidbox"
        queue = until(lambda: worker.vhost.queue(name))
        assert arguments(queue) == {"x-expires": 10000, "x-message-ttl": 300000}
        assert queue["durable"] is False and queue["auto_delete"] is True
        assert queue["exclusive"] is True

    def test_it_consumes_the_queue_once(self, worker, wire):
        assert wire.consumers("celery") == 1

    def test_no_queue_stands_there_that_ends_a_client(self, worker):
        # another client declares all of it again, as Celery does: the broker would refuse a difference
        with worker.app.connection_for_write() as connection:
            for queue in worker.app.amqp.queues.values():
                queue(connection.default_channel).declare()


class TestClient:
    def test_the_result_queue_is_the_clients_own(self, celery, worker):
        assert celery.tasks["wire.add"].delay(1, 1).get(timeout=SOON) == 2
        queue = until(lambda: worker.vhost.queue(celery.thread_oid))
        assert arguments(queue) == {"x-expires": 86400000} and queue["durable"] is True

    def test_a_client_of_another_age_declares_transient_ones(self, worker):
        app = client(worker.vhost.url, control_queue_exclusive=False, event_queue_exclusive=False)
        assert app.control.broadcast("ping", reply=True, limit=1, timeout=SOON)
        app.close()


class TestAddedQueues:
    def test_exchange_and_key_default_to_the_name(self, worker):
        worker.control("add_consumer", queue="added")
        until(lambda: worker.vhost.queue("added"))
        assert worker.vhost.exchange("added")["type"] == "direct"
        until(
            lambda: ("added", "added")
            in [(each["source"], each["routing_key"]) for each in worker.vhost.bindings("added")]
        )
        worker.control("cancel_consumer", queue="added")

    def test_a_queue_may_have_options(self, worker):
        worker.control(
            "add_consumer",
            queue="added.2",
            exchange="added.x",
            exchange_type="topic",
            routing_key="a.#",
            max_priority=5,
        )
        queue = until(lambda: worker.vhost.queue("added.2"))
        assert arguments(queue) == {"x-max-priority": 5}
        assert worker.vhost.exchange("added.x")["type"] == "topic"
        worker.control("cancel_consumer", queue="added.2")
