"""Remote control: every command, its reply, and who answers at all (section 11)."""

import re
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from broker import SOON, until

TASK_INFO = {
    "id",
    "name",
    "args",
    "kwargs",
    "type",
    "hostname",
    "time_start",
    "acknowledged",
    "delivery_info",
    "worker_pid",
}


@pytest.fixture
def ask(worker, wire):
    """Sends a raw request, returns what comes within a short time."""
    inbox = wire.inbox()
    wire.channel.exchange_declare("reply.celery.pidbox", "direct", durable=False, auto_delete=False)
    wire.channel.queue_bind(inbox.queue, "reply.celery.pidbox", inbox.queue)

    def ask(method, arguments=None, silence=False, **fields):
        ticket = str(uuid.uuid4())
        body = {
            "method": method,
            "arguments": arguments or {},
            "destination": None,
            "pattern": None,
            "matcher": None,
            "ticket": ticket,
            "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": inbox.queue},
            **fields,
        }
        wire.publish(body, {"clock": 1, "expires": 0.0}, "celery.pidbox", "", delivery_mode=2)
        if silence:
            return [m for m in inbox.during(0.4) if m.headers.get("ticket") == ticket]
        return inbox.one(lambda m: m.headers.get("ticket") == ticket)

    return ask


@pytest.fixture(scope="module")
def waiting(module_worker):
    """All slots busy, some tasks reserved and one scheduled."""
    worker = module_worker
    running = worker.busy(60)
    reserved = [worker.task("sleep").apply_async((0.1,), {"k": n}, priority=3) for n in range(2)]
    eta = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=90)
    scheduled = worker.task("echo").apply_async((1, "x"), {"k": [1, None]}, eta=eta)
    until(lambda: len(worker.control("reserved")) == 2 and len(worker.control("scheduled")) == 1, "all are there")
    yield {"running": running, "reserved": reserved, "scheduled": scheduled, "eta": eta.isoformat()}


class TestReplies:
    def test_the_message_is_that_of_celery(self, worker, ask):
        reply = ask("ping")
        assert reply.json == {worker.node: {"ok": "pong"}}
        assert reply.exchange == "reply.celery.pidbox"
        assert reply.properties["delivery_mode"] == 1
        assert reply.properties["content_type"] == "application/json"
        assert isinstance(reply.headers["clock"], int)

    def test_without_reply_to_nothing_is_answered(self, worker, ask):
        assert ask("ping", silence=True, reply_to=None) == []
        assert worker.control("ping") == {"ok": "pong"}

    def test_an_unknown_command_is_an_error(self, worker):
        assert worker.control("frobnicate") == {"error": "KeyError('frobnicate')"}

    @pytest.mark.parametrize(
        "method", ["rate_limit", "revoke", "add_consumer", "cancel_consumer", "terminate"]
    )
    def test_missing_arguments_are_an_error(self, worker, method):
        assert worker.control(method)["error"].startswith("TypeError(")

    def test_missing_arguments_are_named(self, worker):
        error = worker.control("rate_limit")["error"]
        assert "task_name" in error and "rate_limit" in error

    def test_further_arguments_do_no_harm(self, worker):
        assert worker.control("ping", what=1) == {"ok": "pong"}

    @pytest.mark.parametrize(
        "method, arguments",
        [
            ("pool_grow", {"n": "many"}),
            ("rate_limit", {"task_name": 5, "rate_limit": []}),
            ("revoke", {"task_id": {"a": 1}}),
            ("query_task", {"ids": 5}),
            ("add_consumer", {"queue": 5, "exchange_type": "nonsense"}),
            ("time_limit", {"task_name": "wire.add", "soft": "x"}),
            ("registered", {"taskinfoitems": 5}),
        ],
    )
    @pytest.mark.better("some of these end a Python worker")
    def test_arguments_of_a_wrong_type_are_answered(self, worker, method, arguments):
        worker.control(method, **arguments)
        assert worker.control("ping") == {"ok": "pong"}
        assert worker.call("add", 1, 1) == 2

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", b"[]", b"nonsense", b'{"method": 5}', b'{"method": "ping", "arguments": 5, "reply_to": 7}'],
    )
    @pytest.mark.better("not all of these leave a Python worker alone")
    def test_malformed_requests_do_no_harm(self, worker, wire, body):
        wire.publish(body, {}, "celery.pidbox", "")
        assert worker.control("ping") == {"ok": "pong"}

    def test_replies_come_at_once_while_all_slots_are_busy(self, module_worker, waiting):
        for _ in range(5):
            begin = time.monotonic()
            module_worker.control("ping")
            module_worker.control("stats")
            assert time.monotonic() - begin < 1.0


class TestAddresses:
    def test_a_destination(self, worker, ask):
        assert ask("ping", destination=[worker.node, "other@x"]).json == {worker.node: {"ok": "pong"}}
        assert ask("ping", destination=["other@x"], silence=True) == []

    def test_an_empty_destination_is_everybody(self, worker, ask):
        assert ask("ping", destination=[]).json

    def test_a_glob(self, worker, ask):
        assert ask("ping", pattern="r*@w?re", matcher="glob").json
        assert ask("ping", pattern="x*", matcher="glob", silence=True) == []

    def test_a_regular_expression_from_the_start(self, worker, ask):
        assert ask("ping", pattern="[pr].*@", matcher="pcre").json
        assert ask("ping", pattern="wire", matcher="pcre", silence=True) == []

    def test_a_pattern_without_a_matcher_is_everybody(self, worker, ask):
        assert ask("ping", pattern="x*").json

    def test_the_clients_own_calls(self, worker):
        replies = worker.app.control.broadcast("ping", reply=True, pattern="r*", matcher="glob", limit=1, timeout=SOON)
        assert replies == [{worker.node: {"ok": "pong"}}]


class TestInspect:
    def test_active(self, module_worker, waiting):
        tasks = module_worker.control("active")
        assert {task["id"] for task in tasks} == {result.id for result in waiting["running"]}
        for task in tasks:
            assert TASK_INFO <= set(task)
            assert task["name"] == task["type"] == "wire.sleep"
            assert task["args"] == [60] and task["kwargs"] == {}
            assert task["hostname"] == module_worker.node
            assert abs(task["time_start"] - time.time()) < 600
            assert isinstance(task["worker_pid"], int)
            assert task["delivery_info"] == {
                "exchange": "",
                "routing_key": "celery",
                "priority": 0,
                "redelivered": False,
            }

    def test_active_in_the_form_that_flower_asks_for(self, module_worker, waiting):
        task = module_worker.control("active", safe=True)[0]
        assert task["args"] == "(60,)" and task["kwargs"] == "{}"

    def test_reserved(self, module_worker, waiting):
        tasks = module_worker.control("reserved")
        assert {task["id"] for task in tasks} == {result.id for result in waiting["reserved"]}
        for task in tasks:
            assert task["time_start"] is None and task["worker_pid"] is None and task["acknowledged"] is False
            assert task["delivery_info"]["priority"] == 3

    def test_scheduled(self, module_worker, waiting):
        (entry,) = module_worker.control("scheduled")
        assert set(entry) == {"eta", "priority", "request"}
        assert entry["eta"] == waiting["eta"]
        assert entry["priority"] == 6
        assert entry["request"]["id"] == waiting["scheduled"].id
        assert entry["request"]["args"] == [1, "x"] and entry["request"]["kwargs"] == {"k": [1, None]}

    def test_query_task(self, module_worker, waiting):
        running, reserved, scheduled = (
            waiting["running"][0].id,
            waiting["reserved"][0].id,
            waiting["scheduled"].id,
        )
        found = module_worker.control("query_task", ids=[running, reserved, scheduled, "unknown"])
        assert found[running][0] == "active" and found[running][1]["id"] == running
        assert found[reserved][0] == "reserved"
        # Python counts what is scheduled among the reserved
        assert found[scheduled][0] in ("scheduled", "reserved")
        assert "unknown" not in found

    def test_query_one_task(self, module_worker, waiting):
        assert list(module_worker.control("query_task", ids=waiting["running"][0].id)) == [waiting["running"][0].id]

    def test_registered(self, worker):
        names = worker.control("registered")
        assert names == sorted(names)
        assert {"wire.add", "wire.xsum", "wire.errback_tag"} <= set(names)
        assert not [name for name in names if name.startswith("celery.")]

    def test_registered_with_attributes(self, worker):
        names = worker.control("registered", taskinfoitems=["rate_limit", "max_retries"])
        assert "wire.add [max_retries=3]" in names

    def test_registered_with_builtins(self, worker):
        assert "celery.map" in worker.control("registered", builtins=True)

    def test_active_queues(self, worker):
        (queue,) = [each for each in worker.control("active_queues") if each["name"] == "celery"]
        assert queue == {
            "name": "celery",
            "exchange": {
                "name": "celery",
                "type": "direct",
                "arguments": None,
                "durable": True,
                "passive": False,
                "auto_delete": False,
                "delivery_mode": None,
                "no_declare": False,
            },
            "routing_key": "celery",
            "queue_arguments": None,
            "binding_arguments": None,
            "consumer_arguments": None,
            "durable": True,
            "exclusive": False,
            "auto_delete": False,
            "no_ack": False,
            "alias": None,
            "bindings": [],
            "no_declare": None,
            "expires": None,
            "message_ttl": None,
            "max_length": None,
            "max_length_bytes": None,
            "max_priority": None,
        }

    def test_stats(self, worker):
        worker.call("add", 1, 1)
        stats = worker.control("stats")
        assert stats["total"]["wire.add"] >= 1
        assert stats["pid"] and isinstance(stats["clock"], str) and int(stats["clock"]) >= 0
        assert stats["uptime"] >= 0
        pool = stats["pool"]
        assert pool["max-concurrency"] == 4 and isinstance(pool["processes"], list)
        assert pool["timeouts"] == [0, 0] and {"implementation", "max-tasks-per-child", "writes"} <= set(pool)
        broker = stats["broker"]
        assert broker["transport"] == "amqp" and broker["virtual_host"] == worker.vhost.name
        assert broker["hostname"] and broker["port"] and broker["userid"]
        assert "password" not in broker
        assert stats["prefetch_count"] == 16
        assert stats["rusage"] == "N/A" or "maxrss" in stats["rusage"]

    def test_conf_masks_the_password(self, worker):
        conf = worker.control("conf")
        assert "********" in conf["broker_url"] and "result_backend" in conf

    def test_conf_with_defaults_is_longer(self, worker):
        assert len(worker.control("conf", with_defaults=True)) >= len(worker.control("conf"))

    def test_report(self, worker):
        text = worker.control("report")["ok"]
        assert "software" in text and "platform" in text and "broker_url" in text
        assert "********" in text

    def test_clock_goes_on(self, worker):
        first = worker.control("clock")["clock"]
        worker.control("ping")
        assert worker.control("clock")["clock"] > first

    def test_memsample(self, worker):
        # the first one of a process may have nothing to tell yet
        sample = until(lambda: worker.control("memsample"))
        assert re.fullmatch(r"[\d.]+\s?[KMG]?B", sample)

    def test_hello_exchanges_revoked_tasks(self, worker):
        worker.control("revoke", task_id="mine")
        reply = worker.control("hello", from_node="other@x", revoked=["theirs"])
        assert {"mine", "theirs"} <= set(reply["revoked"]) and isinstance(reply["clock"], int)
        assert "theirs" in worker.control("revoked")

    def test_the_old_names(self, worker):
        assert worker.control("dump_tasks") == worker.control("registered")
        for name in ("dump_active", "dump_reserved", "dump_schedule", "dump_revoked"):
            assert isinstance(worker.control(name), list)
        assert "broker_url" in worker.control("dump_conf")

    def test_celerys_own_inspection(self, worker):
        inspect = worker.app.control.inspect(destination=[worker.node], timeout=SOON)
        for method in ("active", "reserved", "scheduled", "stats", "registered", "active_queues", "revoked", "conf"):
            assert list(getattr(inspect, method)()) == [worker.node], method
        assert inspect.ping() == {worker.node: {"ok": "pong"}}


class TestRevoke:
    def test_the_reply_names_the_task(self, worker):
        assert worker.control("revoke", task_id="r1") == {"ok": "tasks {'r1'} flagged as revoked"}

    def test_several_tasks(self, worker):
        text = worker.control("revoke", task_id=["r2", "r3"])["ok"]
        assert text in ("tasks {'r2', 'r3'} flagged as revoked", "tasks {'r3', 'r2'} flagged as revoked")
        assert {"r2", "r3"} <= set(worker.control("revoked"))

    def test_what_was_revoked_before_it_came_is_not_run(self, worker, wire, inbox):
        worker.control("revoke", task_id="never")
        wire.send("wire.add", [1, 1], id="never", reply_to=inbox)
        assert inbox.final().json["status"] == "REVOKED"

    def test_a_reserved_task_is_not_run(self, worker):
        busy = worker.busy()
        result = worker.delay("add", 1, 1)
        until(lambda: worker.control("reserved"))
        result.revoke()
        worker.free(busy)
        with pytest.raises(Exception, match="revoked"):
            result.get(timeout=SOON)

    def test_terminate_ends_a_running_task(self, worker):
        (result,) = worker.busy(count=1)
        reply = worker.control("revoke", task_id=result.id, terminate=True, signal="SIGTERM")
        assert reply == {"ok": f"terminate: {result.id}"}
        with pytest.raises(Exception, match="terminated"):
            result.get(timeout=SOON)
        assert result.state == "REVOKED"

    @pytest.mark.parametrize("signal", ["SIGKILL", "KILL", "TERM", 15])
    def test_any_signal_ends_it(self, worker, signal):
        (result,) = worker.busy(count=1)
        worker.control("terminate", task_id=result.id, signal=signal)
        with pytest.raises(Exception, match="terminated"):
            result.get(timeout=SOON)

    def test_terminating_an_unknown_task(self, worker):
        reply = worker.control("terminate", task_id="nope", signal="SIGTERM")
        assert reply == {"ok": "terminate: tasks unknown"}

    def test_a_revoked_task_calls_no_errback(self, worker, wire, inbox):
        worker.control("revoke", task_id="revoked2")
        errback = {"task": "wire.errback", "args": [], "kwargs": {}, "options": {"reply_to": inbox.queue}}
        wire.send("wire.add", [1, 1], embed={"errbacks": [errback]}, id="revoked2", reply_to=inbox)
        inbox.final()
        assert len(inbox.during(0.3)) == 1

    def test_by_stamp(self, worker):
        reply = worker.control("revoke_by_stamped_headers", headers={"tenant": "gone"})
        assert "flagged as revoked" in reply["ok"] or "revoked" in reply["ok"]
        signature = worker.s("add", 1, 1)
        signature.stamp(tenant="gone")
        with pytest.raises(Exception, match="revoked"):
            signature.apply_async().get(timeout=SOON)
        other = worker.s("add", 1, 1)
        other.stamp(tenant="here")
        assert other.apply_async().get(timeout=SOON) == 2

    def test_the_clients_own_calls(self, worker):
        result = worker.task("add").apply_async((1, 1), countdown=1)
        result.revoke()
        with pytest.raises(Exception, match="revoked"):
            result.get(timeout=SOON)


class TestLimits:
    @pytest.mark.parametrize("rate", ["10/s", "10/m", "100/h", 5, "7", 2.5])
    def test_rates(self, worker, rate):
        try:
            reply = worker.control("rate_limit", task_name="wire.big", rate_limit=rate)
            assert reply == {"ok": "new rate limit set successfully"}
        finally:
            worker.control("rate_limit", task_name="wire.big", rate_limit=0)

    def test_a_rate_is_shown(self, worker):
        worker.control("rate_limit", task_name="wire.big", rate_limit="10/m")
        assert any(name.startswith("wire.big [rate_limit=10/m") for name in worker.control("registered"))
        worker.control("rate_limit", task_name="wire.big", rate_limit=0)
        assert not any(name.startswith("wire.big [rate_limit=10/m") for name in worker.control("registered"))

    def test_no_rate(self, worker):
        reply = worker.control("rate_limit", task_name="wire.big", rate_limit=0)
        assert reply == {"ok": "rate limit disabled successfully"}

    def test_an_unreadable_rate(self, worker):
        error = worker.control("rate_limit", task_name="wire.big", rate_limit="often")["error"]
        assert error.startswith("Invalid rate limit string: ")

    @pytest.mark.parametrize(
        "method, arguments",
        [("rate_limit", {"rate_limit": "1/s"}), ("time_limit", {"soft": 1, "hard": 2})],
    )
    def test_an_unknown_task(self, worker, method, arguments):
        assert worker.control(method, task_name="wire.nope", **arguments) == {"error": "unknown task"}


class TestPool:
    def test_it_grows_and_shrinks(self, own_worker, coney):
        def size():
            pool = own_worker.control("stats")["pool"]
            # Python goes on telling what it started with
            return pool["max-concurrency"] if coney else len(pool["processes"])

        assert own_worker.control("pool_grow", n=2) == {"ok": "pool will grow"}
        until(lambda: size() == 6)
        assert own_worker.control("stats")["prefetch_count"] == 24
        busy = own_worker.busy(count=6)
        own_worker.free(busy)
        assert own_worker.control("pool_shrink", n=5) == {"ok": "pool will shrink"}
        until(lambda: size() == 1)
        busy = own_worker.busy(count=1)
        other = own_worker.delay("sleep", 0.1)
        until(lambda: own_worker.control("reserved"))
        assert len(own_worker.control("active")) == 1
        own_worker.free(busy)
        assert other.get(timeout=SOON) == 0.1

    def test_autoscale_is_off(self, worker):
        assert worker.control("autoscale", max=4, min=2) == {"error": "ValueError('Autoscale not enabled')"}

    def test_restarts_are_off(self, worker):
        assert worker.control("pool_restart", reload=False) == {"error": "ValueError('Pool restarts not enabled')"}


class TestQueues:
    def test_a_queue_is_consumed_and_left(self, worker, wire):
        assert worker.control("add_consumer", queue="extra") == {"ok": "add consumer extra"}
        until(lambda: "extra" in [queue["name"] for queue in worker.control("active_queues")])
        assert worker.task("add").apply_async((1, 2), queue="extra").get(timeout=SOON) == 3
        assert worker.control("cancel_consumer", queue="extra") == {"ok": "no longer consuming from extra"}
        until(lambda: wire.consumers("extra") == 0)
        assert "extra" not in [queue["name"] for queue in worker.control("active_queues")]
        result = worker.task("add").apply_async((1, 2), queue="extra")
        until(lambda: wire.waiting("extra") == 1)
        worker.control("add_consumer", queue="extra")
        assert result.get(timeout=SOON) == 3
        worker.control("cancel_consumer", queue="extra")

    def test_adding_it_again_changes_nothing(self, worker, wire):
        worker.control("add_consumer", queue="twice")
        worker.control("add_consumer", queue="twice")
        until(lambda: wire.consumers("twice"))
        assert wire.consumers("twice") == 1
        worker.control("cancel_consumer", queue="twice")

    def test_leaving_an_unknown_queue(self, worker):
        assert worker.control("cancel_consumer", queue="nope") == {"ok": "no longer consuming from nope"}


class TestElection:
    @pytest.mark.better("a lone Python worker ends")
    def test_an_election_does_no_harm(self, worker, ask):
        ask("election", {"id": "e", "topic": "task", "action": None}, silence=True)
        assert worker.control("ping") == {"ok": "pong"}


class TestShutdown:
    def test_it_is_warm(self, own_worker):
        running = own_worker.delay("sleep", 1.5)
        until(lambda: own_worker.control("active"))
        own_worker.app.control.shutdown(destination=[own_worker.node])
        assert running.get(timeout=SOON) == 1.5
        until(lambda: not own_worker.is_running(), "it ends", deadline=SOON * 2)
        assert own_worker.process.returncode == 0

    def test_reserved_tasks_go_back(self, own_worker):
        busy = own_worker.busy(2)
        later = own_worker.delay("add", 1, 1)
        until(lambda: own_worker.control("reserved"))
        own_worker.app.control.shutdown()
        until(lambda: not own_worker.is_running(), "it ends", deadline=SOON * 2)
        wire = own_worker.wire()
        assert wire.waiting("celery") == 1
        assert later.id and len(busy) == 4
        wire.close()

    def test_a_signal_is_warm_too(self, own_worker):
        running = own_worker.delay("sleep", 1)
        until(lambda: own_worker.control("active"))
        own_worker.process.terminate()
        assert running.get(timeout=SOON) == 1
        until(lambda: not own_worker.is_running(), "it ends", deadline=SOON * 2)
        assert own_worker.process.returncode == 0
