"""What becomes of a message: acknowledged, rejected, requeued, and never lost (sections 5, 6 and 13)."""

import pickle
import zlib

import pytest

from broker import SOON, manage, until
from conftest import command
from fixture import Worker


@pytest.fixture(scope="module")
def dead(module_worker, coney):
    """What is refused: by a policy of the broker, so that the queue keeps its arguments; or by coney with a reason."""
    vhost = module_worker.vhost
    wire = module_worker.wire()
    wire.channel.exchange_declare("dead", "fanout", durable=True, auto_delete=False)
    inbox = wire.inbox("dead", "")
    if coney:
        wire.channel.queue_bind(inbox.queue, "coney.dead", "celery")
    manage(
        "PUT",
        f"policies/{vhost.path}/dead",
        **{"pattern": "^celery$", "definition": {"dead-letter-exchange": "dead"}, "apply-to": "queues"},
    )
    # the policy reaches a queue that is there a little later
    until(lambda: (vhost.queue("celery") or {}).get("policy") == "dead", "the policy is in force")
    yield inbox
    wire.close()


POISON = {
    "an empty body": (b"", {"task": "wire.add", "id": "p1"}),
    "no JSON": (b"\xff\xfe{", {"task": "wire.add", "id": "p2"}),
    "an object": (b"{}", {"task": "wire.add", "id": "p3"}),
    "a short array": (b"[[1, 2]]", {"task": "wire.add", "id": "p4"}),
    "a number": (b"5", {"task": "wire.add", "id": "p5"}),
    "arguments that are no list": (b'[5, {}, {}]', {"task": "wire.add", "id": "p6"}),
    "keyword arguments that are no object": (b'[[], [1], {}]', {"task": "wire.add", "id": "p7"}),
    "no id": (b"[[1, 2], {}, {}]", {"task": "wire.add"}),
    "an id that is a number": (b"[[1, 2], {}, {}]", {"task": "wire.add", "id": 5}),
    "a task that is a number": (b"[[1, 2], {}, {}]", {"task": 5, "id": "p8"}),
    "no headers and no task": (b'{"id": "p9"}', {}),
    "no headers and a string": (b'"hello"', {}),
    "a truncated zlib stream": (b"x\x9c\x8b", {"task": "wire.add", "id": "p10", "compression": "application/x-gzip"}),
    "an unknown compression": (b"[[], {}, {}]", {"task": "wire.noop", "id": "p11", "compression": "application/x-u"}),
    "a chain that is no list": (b'[[1, 2], {}, {"chain": 5}]', {"task": "wire.add", "id": "p12"}),
    "callbacks that are no signatures": (b'[[1, 2], {}, {"callbacks": [5]}]', {"task": "wire.add", "id": "p13"}),
    "JSON nested too deeply": (b"[" * 100_000, {"task": "wire.add", "id": "p14"}),
    "an unknown type of value": (b'[[{"__type__": "x", "__value__": 1}], {}, {}]', {"task": "wire.identity", "id": "p"}),
    "retries that are text": (b"[[1, 2], {}, {}]", {"task": "wire.add", "id": "p15", "retries": "many"}),
    "time limits that are text": (b"[[1, 2], {}, {}]", {"task": "wire.add", "id": "p16", "timelimit": "long"}),
}


@pytest.mark.better("it ends a Python worker, or at least its connection")
class TestPoison:
    @pytest.mark.parametrize("kind", POISON)
    def test_a_worker_survives(self, module_worker, kind):
        body, headers = POISON[kind]
        wire = module_worker.wire()
        wire.publish(body, headers)
        assert module_worker.call("add", 1, 1) == 2
        until(lambda: not module_worker.control("reserved"), "nothing is kept")
        wire.close()

    @pytest.mark.parametrize("kind", ["an empty body", "an object", "a short array", "no id", "no JSON"])
    def test_it_becomes_a_dead_letter(self, module_worker, dead, kind):
        body, headers = POISON[kind]
        wire = module_worker.wire()
        wire.publish(body, headers, correlation_id=kind)
        found = dead.one(lambda message: message.properties.get("correlation_id") == kind)
        assert found.bytes == body
        wire.close()

    @pytest.mark.parametrize("kind", ["an empty body", "an object", "a short array", "no JSON", "retries that are text"])
    def test_nobody_is_told(self, module_worker, kind):
        body, headers = POISON[kind]
        wire = module_worker.wire()
        inbox = wire.inbox()
        wire.publish(body, headers, reply_to=inbox.queue)
        wire.send("wire.add", [1, 1], reply_to=inbox)
        inbox.final()
        assert [message.json["status"] for message in inbox.during(0.3)] == ["SUCCESS"]
        wire.close()

    def test_a_chain_of_100000_steps_is_refused_or_run(self, module_worker):
        wire = module_worker.wire()
        inbox = wire.inbox()
        steps = [{"task": "wire.nope"}] * 100_000
        wire.send("wire.add", [1, 1], embed={"chain": steps}, reply_to=inbox)
        assert module_worker.call("add", 1, 1) == 2
        wire.close()

    def test_a_compressed_bomb_is_refused(self, module_worker):
        packer = zlib.compressobj(9)
        bomb = b"".join([packer.compress(b'[["' + b"x" * 1_000_000)] + [packer.compress(b"x" * 10_000_000)] * 200)
        wire = module_worker.wire()
        headers = {"task": "wire.length", "id": "bomb", "compression": "application/x-gzip"}
        wire.publish(bomb + packer.flush(), headers)
        assert module_worker.call("add", 1, 1) == 2
        wire.close()


class TestRefused:
    @pytest.mark.parametrize(
        "content_type, body",
        [
            ("application/x-python-serialize", pickle.dumps(([1, 2], {}, {}))),
            ("application/x-yaml", b"[[1, 2], {}, {}]"),
            ("text/plain", b"[[1, 2], {}, {}]"),
        ],
    )
    def test_other_content_types_are_dead_letters_without_a_result(self, module_worker, dead, content_type, body):
        wire = module_worker.wire()
        inbox = wire.inbox()
        wire.publish(
            body,
            {"task": "wire.add", "id": "refused"},
            content_type=content_type,
            content_encoding="binary",
            reply_to=inbox.queue,
            correlation_id=content_type,
        )
        found = dead.one(lambda message: message.properties.get("correlation_id") == content_type)
        assert found.bytes == body
        assert inbox.during(0.2) == []
        assert module_worker.call("add", 1, 1) == 2
        wire.close()

    def test_an_unknown_task_is_a_dead_letter_with_a_result(self, module_worker, dead):
        wire = module_worker.wire()
        inbox = wire.inbox()
        wire.send("wire.nope", id="unknown", reply_to=inbox)
        assert inbox.final().json["result"]["exc_type"] == "NotRegistered"
        dead.one(lambda message: message.headers.get("id") == "unknown")
        wire.close()


class TestBadArguments:
    def test_the_message_is_acknowledged(self, module_worker):
        """It failed, which is no reason for the broker to take it for a dead letter."""
        wire = module_worker.wire()
        wire.channel.exchange_declare("refused", "fanout", durable=True, auto_delete=False)
        refused = wire.inbox("refused", "")
        arguments = {"x-dead-letter-exchange": "refused"}
        wire.channel.queue_declare("guarded", durable=True, auto_delete=False, arguments=arguments)
        module_worker.control("add_consumer", queue="guarded", queue_arguments=arguments)
        inbox = wire.inbox()
        wire.send("wire.add", [1], id="no fit", reply_to=inbox, routing_key="guarded")
        assert inbox.final().json["result"]["exc_type"] == "TypeError"
        wire.send("wire.nope", id="unknown", routing_key="guarded")
        refused.one(lambda message: message.headers.get("id") == "unknown")
        assert [message.headers["id"] for message in refused.messages] == ["unknown"]
        module_worker.control("cancel_consumer", queue="guarded")
        wire.close()


class TestAcknowledged:
    def test_nothing_is_left_when_all_is_done(self, module_worker):
        for _ in range(20):
            module_worker.delay("add", 1, 1)
        with pytest.raises(ValueError):
            module_worker.call("fail")
        module_worker.idle()
        wire = module_worker.wire()
        assert wire.waiting("celery") == 0
        wire.close()

    def test_a_running_task_is_acknowledged(self, module_worker):
        result = module_worker.delay("sleep", 20)
        (task,) = until(lambda: module_worker.control("active"))
        assert task["acknowledged"] is True
        module_worker.free([result])

    def test_a_late_task_is_not_acknowledged_while_it_runs(self, module_worker):
        module_worker.idle()
        result = module_worker.delay("late", 1.5)
        (task,) = until(lambda: module_worker.control("active"))
        assert task["acknowledged"] is False
        assert result.get(timeout=SOON) == 1.5

    def test_a_late_task_of_a_killed_worker_comes_back(self, own_worker):
        """What a worker held without having acknowledged it goes to the next one."""
        result = own_worker.delay("late", 1)
        until(lambda: own_worker.control("active"))
        own_worker.kill()
        next_worker = Worker(command(), vhost=own_worker.vhost)
        try:
            assert result.get(timeout=SOON * 2) == 1
        finally:
            next_worker.end()

    def test_what_was_reserved_comes_back(self, own_worker):
        own_worker.busy()
        result = own_worker.delay("add", 1, 1)
        until(lambda: own_worker.control("reserved"))
        own_worker.kill()
        next_worker = Worker(command(), vhost=own_worker.vhost)
        try:
            next_worker.control("revoke", task_id=[task["id"] for task in next_worker.control("active")], terminate=True)
            assert result.get(timeout=SOON * 2) == 2
        finally:
            next_worker.end()
