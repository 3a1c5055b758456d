"""Delays, expiry, retries, limits of time and rate (section 9)."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.exceptions import TaskRevokedError

from broker import SOON, until


def in_seconds(seconds):
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


class TestDelays:
    def test_a_countdown_is_waited_for(self, worker):
        sent = time.time()
        ran = worker.task("now").apply_async(countdown=1).get(timeout=SOON)
        assert 0.99 <= ran - sent < 6

    @pytest.mark.parametrize(
        "eta",
        [
            lambda: in_seconds(0.5),
            lambda: in_seconds(0.5).astimezone(timezone(timedelta(hours=5, minutes=30))),
            lambda: in_seconds(0.5).replace(tzinfo=None),
        ],
        ids=["utc", "offset", "naive"],
    )
    def test_an_eta_is_waited_for(self, worker, eta):
        sent = time.time()
        assert worker.task("now").apply_async(eta=eta()).get(timeout=SOON) - sent >= 0.49

    @pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%f+00:00"])
    def test_every_form_of_time_is_read(self, wire, inbox, form):
        sent = time.time()
        wire.send("wire.now", reply_to=inbox, headers={"eta": in_seconds(1).strftime(form)})
        assert inbox.final().json["result"] >= int(sent + 1) - 0.02

    def test_a_time_that_has_passed_is_now(self, worker):
        assert worker.task("add").apply_async((1, 1), eta=in_seconds(-60)).get(timeout=SOON) == 2

    def test_delayed_tasks_take_no_slots(self, worker):
        later = [worker.task("add").apply_async((1, 1), countdown=2) for _ in range(40)]
        assert worker.call("add", 2, 2) == 4
        assert [result.get(timeout=SOON) for result in later] == [2] * 40

    def test_many_delayed_tasks_do_not_hold_up_others(self, worker):
        later = [worker.task("noop").apply_async(countdown=60) for _ in range(60)]
        assert worker.call("add", 2, 2) == 4
        worker.control("revoke", task_id=[result.id for result in later])

    def test_a_natively_delayed_message_is_not_run_too_early(self, wire, inbox):
        # as it arrives after whole seconds in the broker: key of 28 digits, the rest of the eta still to come
        wire.channel.exchange_declare("celery_delayed_delivery", "topic", durable=True, auto_delete=False)
        wire.channel.queue_bind("celery", "celery_delayed_delivery", "#.celery")
        sent = time.time()
        wire.send(
            "wire.now",
            reply_to=inbox,
            headers={"eta": in_seconds(0.8).isoformat()},
            exchange="celery_delayed_delivery",
            routing_key=".".join("0" * 27 + "1") + ".celery",
        )
        assert inbox.final().json["result"] - sent >= 0.79

    def test_an_unreadable_eta_does_no_harm(self, worker, wire, inbox):
        wire.send("wire.add", [1, 1], reply_to=inbox, headers={"eta": "tomorrow"})
        assert worker.call("add", 2, 2) == 4
        assert [message for message in inbox.during(0.3) if message.json["status"] == "SUCCESS"] == []


class TestExpiry:
    def test_what_has_expired_is_revoked(self, wire, inbox):
        wire.send("wire.add", [1, 1], reply_to=inbox, headers={"expires": in_seconds(-1).isoformat()})
        body = inbox.final().json
        assert body["status"] == "REVOKED"
        assert body["result"] == {
            "exc_type": "TaskRevokedError",
            "exc_message": ["expired"],
            "exc_module": "celery.exceptions",
        }

    def test_what_expires_before_its_eta_is_revoked(self, worker):
        result = worker.task("add").apply_async((1, 1), countdown=1, expires=in_seconds(0.5))
        with pytest.raises(TaskRevokedError, match="expired"):
            # the broker may drop it before the worker sees it: then nobody answers
            result.get(timeout=SOON)

    def test_what_has_not_expired_runs(self, worker):
        assert worker.task("add").apply_async((1, 1), expires=60).get(timeout=SOON) == 2

    def test_a_running_task_does_not_expire(self, worker):
        assert worker.task("sleep").apply_async((0.6,), expires=0.4).get(timeout=SOON) == 0.6


class TestRetries:
    def test_it_is_run_again_until_it_succeeds(self, worker):
        result = worker.delay("retry_n", 2, 0.01)
        seen = result.get(timeout=SOON)
        assert seen["retries"] == 2 and seen["id"] == result.id

    def test_each_retry_is_told_with_its_cause(self, wire, inbox):
        # long enough that the processes of a Python worker keep the order
        wire.send("wire.retry_n", [2, 0.3], reply_to=inbox, id="r")
        inbox.final()
        bodies = [message.json for message in inbox.messages]
        assert [body["status"] for body in bodies] == ["RETRY", "RETRY", "SUCCESS"]
        error = bodies[0]["result"]
        assert error == {"exc_type": "ValueError", "exc_message": ["attempt 0"], "exc_module": "builtins"}
        assert "attempt 0" in bodies[0]["traceback"] and bodies[0]["date_done"] is None
        assert bodies[0]["children"] == [[["r", None], None]]

    def test_its_parent_is_then_itself(self, worker):
        result = worker.delay("retry_n", 1, 0.01)
        seen = result.get(timeout=SOON)
        assert seen["parent_id"] == seen["root_id"] == result.id

    def test_headers_stamps_and_priority_are_kept(self, worker):
        signature = worker.s("retry_n", 2, 0.01)
        signature.stamp(tenant="acme")
        headers = {"text": "ü", "nested": {"list": [1, 2**40, "a", None, True, 0.5], "deep": {"x": {}}}}
        seen = signature.apply_async(headers=headers, priority=4).get(timeout=SOON)
        assert {name: seen["headers"][name] for name in headers} == headers
        assert seen["priority"] == 4
        assert list(seen["stamps"]) == ["tenant"]

    def test_the_countdown_is_waited_for(self, worker):
        begin = time.monotonic()
        worker.call("retry_n", 1, 0.7)
        assert time.monotonic() - begin >= 0.69

    def test_a_retry_that_waits_is_scheduled(self, worker):
        result = worker.delay("retry_n", 1, 3)
        ours = lambda: [e for e in worker.control("scheduled") if e["request"]["id"] == result.id]
        (entry,) = until(ours, "the next attempt is scheduled", deadline=2.5)
        assert entry["request"]["type"] == "wire.retry_n" and entry["request"]["args"] == [1, 3]
        assert result.get(timeout=SOON)["retries"] == 1
        assert not ours()

    def test_a_retry_without_delay(self, worker):
        assert worker.call("retry_n", 3, 0)["retries"] == 3

    def test_when_spent_the_cause_is_raised(self, worker):
        with pytest.raises(ValueError, match="^out of retries$"):
            worker.call("retry_limited", 2, 0.01)

    def test_as_many_attempts_as_allowed(self, wire, inbox):
        wire.send("wire.retry_limited", [2, 0.3], reply_to=inbox)
        inbox.final()
        assert [message.json["status"] for message in inbox.messages] == ["RETRY", "RETRY", "FAILURE"]

    def test_callbacks_wait_for_the_success(self, worker, wire, inbox):
        link = worker.s("echo").set(reply_to=inbox.queue)
        worker.task("retry_n").apply_async((1, 0.01), link=link)
        assert inbox.final().json["result"]["args"][0]["retries"] == 1
        assert len(inbox.during(0.3)) == 1

    def test_group_and_place_are_kept(self, wire, inbox):
        wire.send("wire.retry_n", [1, 0.01], reply_to=inbox, headers={"group": "g", "group_index": 7})
        assert inbox.final().json["group_id"] == "g"

    def test_it_returns_to_the_queue_it_came_from(self, worker):
        worker.control("add_consumer", queue="its.own")
        seen = worker.task("retry_n").apply_async((1, 0.01), queue="its.own").get(timeout=SOON)
        assert seen["retries"] == 1
        worker.control("cancel_consumer", queue="its.own")


class TestTimeLimits:
    def test_a_hard_limit_ends_the_task(self, worker):
        begin = time.monotonic()
        result = worker.task("sleep").apply_async((30,), time_limit=1)
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=SOON)
        assert time.monotonic() - begin < 10
        assert result.result.args == (1,)

    def test_a_hard_limit_from_the_message_may_be_a_float(self, wire, inbox):
        wire.send("wire.sleep", [30], reply_to=inbox, headers={"timelimit": [0.5, None]})
        error = inbox.final().json["result"]
        assert error["exc_type"] == "TimeLimitExceeded" and error["exc_message"] == [0.5]
        assert error["exc_module"] == "billiard.exceptions"

    def test_a_soft_limit_is_raised_in_the_task(self, worker):
        assert worker.task("soft").apply_async((20,), soft_time_limit=1).get(timeout=SOON) == "soft"

    def test_a_soft_limit_that_is_not_caught_fails_it(self, worker):
        with pytest.raises(SoftTimeLimitExceeded):
            worker.task("sleep").apply_async((20,), soft_time_limit=1).get(timeout=SOON)

    def test_what_is_quick_enough_is_not_touched(self, worker):
        result = worker.task("soft").apply_async((0.1,), soft_time_limit=20, time_limit=30)
        assert result.get(timeout=SOON) == "finished"

    @pytest.mark.better("Python sends the failure twice")
    def test_a_hard_limit_is_told_once(self, wire, inbox):
        wire.send("wire.sleep", [30], reply_to=inbox, headers={"timelimit": [0.5, None]})
        inbox.final()
        assert len(inbox.during(0.5)) == 1

    def test_slots_are_free_again(self, worker):
        results = [worker.task("sleep").apply_async((30,), time_limit=1) for _ in range(4)]
        for result in results:
            with pytest.raises(TimeLimitExceeded):
                result.get(timeout=SOON)
        assert worker.call("add", 1, 1) == 2

    def test_limits_set_by_control_are_accepted(self, worker):
        try:
            reply = worker.control("time_limit", task_name="wire.soft", soft=20, hard=30)
            assert reply == {"ok": "time limits set successfully"}
        finally:
            worker.control("time_limit", task_name="wire.soft", soft=None, hard=None)

    @pytest.mark.better("Python applies them after a reconnect only")
    def test_limits_set_by_control_count_at_once(self, own_worker):
        own_worker.control("time_limit", task_name="wire.soft", soft=1, hard=20)
        assert own_worker.delay("soft", 20).get(timeout=SOON) == "soft"
        own_worker.control("time_limit", task_name="wire.sleep", hard=1)
        with pytest.raises(TimeLimitExceeded):
            own_worker.delay("sleep", 20).get(timeout=SOON)


class TestRates:
    def test_a_rate_slows_its_task_down(self, own_worker):
        reply = own_worker.control("rate_limit", task_name="wire.now", rate_limit="4/s")
        assert reply == {"ok": "new rate limit set successfully"}
        times = sorted(r.get(timeout=SOON) for r in [own_worker.delay("now") for _ in range(6)])
        assert times[-1] - times[0] >= 1.0
        # off again: at once
        assert own_worker.control("rate_limit", task_name="wire.now", rate_limit=0)["ok"]
        times = sorted(r.get(timeout=SOON) for r in [own_worker.delay("now") for _ in range(6)])
        assert times[-1] - times[0] < 1.0

    @pytest.mark.better("in Python they fill the prefetch window")
    def test_waiting_for_a_rate_holds_up_no_other_task(self, own_worker):
        own_worker.control("rate_limit", task_name="wire.noop", rate_limit="1/m")
        for _ in range(60):
            own_worker.delay("noop")
        for _ in range(5):
            assert own_worker.call("add", 1, 1) == 2
        assert until(lambda: own_worker.control("ping") == {"ok": "pong"})
