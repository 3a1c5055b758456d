"""Events of tasks and workers, and how monitors read them (section 10)."""

import time

import pytest
from celery.events.state import State

from broker import SOON, Wire, until
from conftest import command
from fixture import Worker, client

COMMON = {"type", "hostname", "utcoffset", "pid", "clock", "timestamp"}


class Events:
    """All events in the virtual host, one by one."""

    def __init__(self, worker):
        self.worker = worker
        self.wire = worker.wire()
        self.inbox = self.wire.inbox("celeryev", "#", arguments={"x-expires": 60000, "x-message-ttl": 5000})

    def all(self):
        found = []
        for message in self.inbox.messages:
            body = message.json
            found.extend(body if isinstance(body, list) else [body])
        return found

    def of(self, uuid, *types, deadline=SOON):
        """The events of one task once all of these types came."""
        end = time.monotonic() + deadline
        while True:
            found = [event for event in self.all() if event.get("uuid") == uuid]
            if set(types) <= {event["type"] for event in found}:
                return found
            assert self.wire.drain(end - time.monotonic()), f"only {found}"

    def of_type(self, type, deadline=SOON):
        end = time.monotonic() + deadline
        while True:
            found = [event for event in self.all() if event["type"] == type]
            if found:
                return found
            assert self.wire.drain(end - time.monotonic()), f"no {type}"


@pytest.fixture
def events(worker):
    """Events of tasks are on, and heard."""
    worker.control("enable_events")
    events = Events(worker)
    yield events
    worker.control("disable_events")
    events.wire.close()


def types(events):
    return [event["type"] for event in events]


class TestTasks:
    def test_a_success(self, worker, events):
        result = worker.task("add").apply_async((2, 3))
        found = events.of(result.id, "task-received", "task-started", "task-succeeded")
        assert types(found) == ["task-received", "task-started", "task-succeeded"]
        received, started, succeeded = found
        for event in found:
            assert COMMON <= set(event)
            assert event["hostname"] == worker.node and event["utcoffset"] == 0
            assert isinstance(event["pid"], int) and isinstance(event["clock"], int)
            assert abs(event["timestamp"] - time.time()) < 60
        assert {k: v for k, v in received.items() if k not in COMMON} == {
            "uuid": result.id,
            "name": "wire.add",
            "args": "(2, 3)",
            "kwargs": "{}",
            "root_id": result.id,
            "parent_id": None,
            "retries": 0,
            "eta": None,
            "expires": None,
        }
        assert set(started) - COMMON == {"uuid"}
        assert set(succeeded) - COMMON == {"uuid", "result", "runtime"}
        assert succeeded["result"] == "5" and 0 <= succeeded["runtime"] < 5

    @pytest.mark.parametrize(
        "value, text",
        [
            ("x", "'x'"),
            (None, "None"),
            ([1, True], "[1, True]"),
            ({"a": None}, "{'a': None}"),
            (1.5, "1.5"),
        ],
    )
    def test_results_are_written_as_python_does(self, worker, events, value, text):
        result = worker.delay("identity", value)
        succeeded = events.of(result.id, "task-succeeded")[-1]
        assert succeeded["result"] == text

    def test_arguments_are_taken_from_the_message(self, worker, events):
        result = worker.delay("echo", "ü", (1,), k=None)
        received = events.of(result.id, "task-received")[0]
        assert received["args"] == "('ü', (1,))" and received["kwargs"] == "{'k': None}"

    def test_a_failure(self, worker, events):
        result = worker.delay("fail", "boom")
        found = events.of(result.id, "task-failed")
        assert types(found) == ["task-received", "task-started", "task-failed"]
        assert found[-1]["exception"] == "ValueError('boom')"
        assert "ValueError" in found[-1]["traceback"]

    def test_arguments_that_do_not_fit(self, worker, events):
        result = worker.delay("add", 1)
        found = events.of(result.id, "task-failed")
        assert types(found) == ["task-received", "task-started", "task-failed"]
        assert found[-1]["exception"].startswith("TypeError(")

    def test_a_retry(self, worker, events):
        result = worker.delay("retry_n", 1, 0.01)
        found = events.of(result.id, "task-succeeded")
        assert sorted(types(found)) == sorted(
            ["task-received", "task-started", "task-retried", "task-received", "task-started", "task-succeeded"]
        )
        (retried,) = [event for event in found if event["type"] == "task-retried"]
        assert retried["exception"] == "ValueError('attempt 0')" and "traceback" in retried
        again = [event for event in found if event["type"] == "task-received"][1]
        assert again["retries"] == 1 and again["parent_id"] == result.id and again["eta"]

    def test_a_revoked_task(self, worker, events):
        worker.control("revoke", task_id="e-revoked")
        events.wire.send("wire.add", [1, 1], id="e-revoked")
        revoked = events.of("e-revoked", "task-revoked")[-1]
        assert revoked["terminated"] is False and revoked["expired"] is False and revoked["signum"] is None

    def test_an_expired_task(self, worker, events):
        events.wire.send("wire.add", [1, 1], id="e-old", headers={"expires": "2020-01-01T00:00:00+00:00"})
        revoked = events.of("e-old", "task-revoked")[-1]
        assert revoked["expired"] is True and revoked["terminated"] is False

    def test_a_terminated_task(self, worker, events):
        (result,) = worker.busy(count=1)
        worker.control("revoke", task_id=result.id, terminate=True, signal="SIGTERM")
        revoked = events.of(result.id, "task-revoked")[-1]
        assert revoked["terminated"] is True and revoked["expired"] is False
        assert revoked["signum"] in (15, "SIGTERM", "15")

    def test_a_hard_limit_is_a_failure(self, worker, events):
        result = worker.task("sleep").apply_async((30,), time_limit=1)
        failed = events.of(result.id, "task-failed")[-1]
        # Python wraps it and shows the wrapper
        assert "TimeLimitExceeded" in failed["exception"] or failed["exception"] == "ExceptionWithTraceback()"

    def test_an_unknown_task_only_fails(self, worker, events):
        events.wire.send("wire.nope", id="e-unknown")
        found = events.of("e-unknown", "task-failed")
        assert types(found) == ["task-failed"]
        assert found[0]["exception"] == "NotRegistered('wire.nope')" and "traceback" not in found[0]

    def test_a_shadow_name_is_shown(self, worker, events):
        result = worker.task("add").apply_async((1, 1), shadow="shown")
        assert events.of(result.id, "task-received")[0]["name"] == "shown"

    def test_the_chain_is_followed(self, worker, events):
        last = (worker.s("add", 1, 1) | worker.s("add", 1)).delay()
        received = events.of(last.id, "task-received")[0]
        assert received["parent_id"] == received["root_id"] == last.parent.id

    def test_a_delayed_task_is_received_when_it_comes(self, worker, events):
        result = worker.task("add").apply_async((1, 1), countdown=1)
        begin = time.monotonic()
        received = events.of(result.id, "task-received")[0]
        assert time.monotonic() - begin < 0.9 and received["eta"]
        assert len(types(events.of(result.id, "task-succeeded"))) == 3

    def test_they_come_in_batches(self, worker, events):
        result = worker.delay("add", 1, 1)
        events.of(result.id, "task-succeeded")
        messages = [m for m in events.inbox.messages if m.routing_key.startswith("task.")]
        assert messages
        for message in messages:
            assert message.routing_key == "task.multi" and isinstance(message.json, list)
            assert len(message.json) <= 24
            assert message.headers["hostname"] == worker.node
            assert message.properties["delivery_mode"] == 1

    def test_many_tasks_lose_no_event(self, worker, events):
        results = [worker.delay("add", n, n) for n in range(100)]
        for result in results:
            found = events.of(result.id, "task-received", "task-started", "task-succeeded")
            assert types(found) == ["task-received", "task-started", "task-succeeded"]

    def test_the_clock_never_goes_back(self, worker, events):
        results = [worker.delay("add", n, n) for n in range(20)]
        for result in results:
            events.of(result.id, "task-succeeded")
        clocks = [event["clock"] for event in events.all() if event["hostname"] == worker.node]
        assert clocks == sorted(clocks) and len(set(clocks)) == len(clocks)


class TestSwitch:
    def test_they_are_off_until_enabled(self, worker):
        events = Events(worker)
        result = worker.delay("add", 1, 1)
        result.get(timeout=SOON)
        events.inbox.during(0.4)
        assert not [event for event in events.all() if event["type"].startswith("task-")]
        events.wire.close()

    def test_on_and_off_are_told(self, worker):
        assert worker.control("enable_events") == {"ok": "task events enabled"}
        assert worker.control("enable_events") == {"ok": "task events already enabled"}
        assert worker.control("disable_events") == {"ok": "task events disabled"}
        assert worker.control("disable_events") == {"ok": "task events already disabled"}


class TestWorkers:
    @pytest.fixture(scope="class")
    def heard(self, shared_worker):
        events = Events(shared_worker)
        end = time.monotonic() + 5
        while time.monotonic() < end and len(events.inbox.messages) < 3:
            events.wire.drain(end - time.monotonic())
        yield events
        events.wire.close()

    def test_a_heartbeat_every_two_seconds(self, shared_worker, heard):
        beats = [event for event in heard.all() if event["type"] == "worker-heartbeat"]
        assert len(beats) >= 2
        gaps = [b["timestamp"] - a["timestamp"] for a, b in zip(beats, beats[1:])]
        assert all(1.0 < gap < 4.0 for gap in gaps)

    def test_what_a_heartbeat_tells(self, shared_worker, heard):
        beat = heard.of_type("worker-heartbeat")[0]
        assert set(beat) >= COMMON | {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"}
        assert beat["freq"] == 2.0 and beat["hostname"] == shared_worker.node
        assert isinstance(beat["active"], int) and isinstance(beat["processed"], int)
        assert len(beat["loadavg"]) == 3

    def test_its_message(self, shared_worker, heard):
        message = [m for m in heard.inbox.messages if m.routing_key == "worker.heartbeat"][0]
        assert isinstance(message.json, dict)
        assert message.headers["hostname"] == shared_worker.node
        assert message.properties["delivery_mode"] == 1

    def test_one_at_once_on_request(self, worker, heard):
        before = len([event for event in heard.all() if event["type"] == "worker-heartbeat"])
        worker.app.control.broadcast("heartbeat")
        until(
            lambda: heard.wire.drain(0.05)
            or len([event for event in heard.all() if event["type"] == "worker-heartbeat"]) > before
        )

    def test_processed_counts(self, worker, heard):
        first = [event["processed"] for event in heard.of_type("worker-heartbeat") if "processed" in event][-1]
        for _ in range(3):
            worker.call("add", 1, 1)
        until(lambda: heard.wire.drain(2.5) and heard.of_type("worker-heartbeat")[-1].get("processed", 0) >= first + 3)

    def test_online_and_offline(self, vhost):
        wire = Wire(vhost.url)
        wire.channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        inbox = wire.inbox("celeryev", "worker.#")
        worker = Worker(command(), vhost=vhost)
        online = inbox.one(lambda m: m.routing_key == "worker.online").json
        assert online["hostname"] == worker.node and online["freq"] == 2.0
        worker.app.control.shutdown()
        offline = inbox.one(lambda m: m.routing_key == "worker.offline").json
        assert offline["hostname"] == worker.node and "processed" in offline
        until(lambda: not worker.is_running())
        worker.end()
        wire.close()


class TestMonitors:
    def test_the_state_of_a_snapshot(self, worker, events):
        state = State()
        with worker.app.connection_for_read() as connection:
            receiver = worker.app.events.Receiver(connection, handlers={"*": state.event})
            with receiver.consumer_context() as (connection, _, _):
                good, bad = worker.delay("add", 2, 3), worker.delay("fail", "seen")

                def heard():
                    connection.drain_events(timeout=SOON)
                    states = [state.tasks[each.id].state for each in (good, bad) if each.id in state.tasks]
                    return states == ["SUCCESS", "FAILURE"] and worker.node in state.workers

                until(heard, "both tasks and a heartbeat")
        task = state.tasks[good.id]
        assert task.name == "wire.add" and task.args == "(2, 3)" and task.result == "5"
        assert task.runtime >= 0 and task.worker.hostname == worker.node
        assert state.tasks[bad.id].exception == "ValueError('seen')"
        seen = state.workers[worker.node]
        assert seen.alive and seen.freq in (2.0, 5) and seen.sw_ident
        assert {"wire.add", "wire.fail"} <= set(state.task_types())

    def test_task_sent_of_a_client_that_sends_it(self, worker, events):
        app = client(worker.vhost.url, task_send_sent_event=True)
        result = app.tasks["wire.add"].delay(1, 1)
        found = events.of(result.id, "task-sent", "task-succeeded")
        sent = [event for event in found if event["type"] == "task-sent"][0]
        assert sent["name"] == "wire.add" and sent["queue"] == "celery"
        app.close()

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b"nonsense", b'[{"type": 5}]', b'{"type": "worker-heartbeat", "clock": "x"}']
    )
    def test_malformed_events_do_no_harm(self, worker, wire, body):
        wire.publish(body, {}, "celeryev", "worker.heartbeat")
        wire.publish(body, {}, "celeryev", "task.multi")
        assert worker.call("add", 1, 1) == 2
