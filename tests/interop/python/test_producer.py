"""Clients of coney and workers in Python: the fixture producer sends, Celery runs."""

import re
import time

import pytest

from broker import SOON, Inbox, Wire, until


class TestCalls:
    def test_a_call_is_run(self, produce):
        answer = produce(task="wire.add", args=[2, 3], wait=SOON)
        assert answer["state"] == "SUCCESS" and answer["result"] == 5 and answer["id"]

    def test_by_name_and_position(self, produce):
        answer = produce(task="wire.echo", args=[1, "ü"], kwargs={"k": [None, 1.5]}, wait=SOON)
        assert answer["result"] == {"args": [1, "ü"], "kwargs": {"k": [None, 1.5]}}

    def test_without_waiting_only_the_id_is_told(self, produce):
        assert set(produce(task="wire.noop")) == {"id"}

    def test_a_failure_is_told(self, produce):
        answer = produce(task="wire.fail", args=["no good"], wait=SOON)
        assert answer["state"] == "FAILURE" and answer["exc_type"] == "ValueError"
        assert answer["exc_message"] in (["no good"], "no good")

    def test_an_unknown_class_is_told(self, produce):
        answer = produce(task="wire.fail_custom", args=["a", 1], wait=SOON)
        assert answer["exc_type"] == "WireError"

    def test_an_unknown_task_is_told(self, produce):
        answer = produce(task="wire.nope", wait=SOON)
        assert answer["state"] == "FAILURE" and answer["exc_type"] == "NotRegistered"

    def test_retries_are_waited_for(self, produce):
        assert produce(task="wire.retry_n", args=[2, 0.01], wait=SOON)["result"]["retries"] == 2

    def test_progress_is_passed_over(self, produce):
        assert produce(task="wire.progress", args=[2, 0.01], wait=SOON)["result"] == 2

    def test_a_task_id_may_be_given(self, produce):
        answer = produce(task="wire.ids", task_id="0190a5f0-0000-7000-8000-000000000001", wait=SOON)
        assert answer["id"] == answer["result"]["id"] == "0190a5f0-0000-7000-8000-000000000001"

    def test_the_request_that_python_sees(self, produce):
        seen = produce(
            task="wire.context", args=[1], priority=5, time_limit=60, soft_time_limit=30, expires=600, wait=SOON
        )["result"]
        assert seen["delivery_info"]["priority"] == 5 and seen["timelimit"] == [60, 30]
        assert seen["expires"] and seen["eta"] is None and seen["retries"] == 0
        assert seen["correlation_id"] == seen["id"] and seen["reply_to"]
        assert re.fullmatch(r"gen\d+@.+", seen["origin"])
        assert seen["delivery_info"]["routing_key"] == "celery"

    def test_a_countdown(self, produce):
        begin = time.time()
        assert produce(task="wire.now", countdown=1, wait=SOON)["result"] - begin >= 0.99

    @pytest.mark.parametrize("compression", ["zlib", "bzip2"])
    def test_compression(self, produce, compression):
        text = "again and again " * 1000
        assert produce(task="wire.length", args=[text], compression=compression, wait=SOON)["result"] == len(text)

    def test_a_large_result(self, produce):
        assert produce(task="wire.big", args=[2_000_000], wait=SOON)["result"] == "x" * 2_000_000

    def test_a_hard_limit(self, produce):
        answer = produce(task="wire.sleep", args=[30], time_limit=1, wait=SOON)
        assert answer["exc_type"] == "TimeLimitExceeded"


class TestWorkflows:
    def test_a_chain(self, produce):
        steps = [{"task": "wire.add", "args": [1, 2]}, {"task": "wire.add", "args": [3]}, {"task": "wire.mul", "args": [10]}]
        assert produce(chain=steps, wait=SOON)["result"] == 60

    def test_an_immutable_step(self, produce):
        steps = [{"task": "wire.add", "args": [1, 2]}, {"task": "wire.add", "args": [5, 5], "immutable": True}]
        assert produce(chain=steps, wait=SOON)["result"] == 10

    def test_a_failing_chain(self, produce):
        steps = [{"task": "wire.fail", "args": ["first"]}, {"task": "wire.add", "args": [1]}]
        answer = produce(chain=steps, wait=SOON)
        assert answer["state"] == "FAILURE" and answer["exc_type"] == "ValueError"

    def test_a_group(self, produce):
        members = [{"task": "wire.add", "args": [n, n]} for n in range(4)]
        assert produce(group=members, wait=SOON)["result"] == [0, 2, 4, 6]

    def test_members_know_group_and_place(self, produce):
        seen = produce(group=[{"task": "wire.ids", "args": [n]} for n in range(3)], wait=SOON)["result"]
        assert [each["group_index"] for each in seen] == [0, 1, 2]
        assert len({each["group"] for each in seen}) == 1 and seen[0]["group"]

    def test_the_id_of_a_workflow_may_be_given(self, produce):
        last = produce(chain=[{"task": "wire.ids"}, {"task": "wire.ids"}], task_id="the last one", wait=SOON)
        assert last["id"] == last["result"]["id"] == "the last one"
        several = produce(group=[{"task": "wire.ids"}, {"task": "wire.ids"}], task_id="the group", wait=SOON)
        assert several["id"] == "the group" and {each["group"] for each in several["result"]} == {"the group"}

    def test_ids_along_a_chain(self, produce):
        last = produce(chain=[{"task": "wire.ids"}, {"task": "wire.ids"}], wait=SOON)["result"]
        first = last["args"][0]
        assert last["root_id"] == first["root_id"] == first["id"] == last["parent_id"]

    def test_links(self, produce, python_worker):
        python_worker.control("enable_events")
        answer = produce(task="wire.add", args=[1, 2], link=[{"task": "wire.ids", "args": ["linked"]}], wait=SOON)
        assert answer["result"] == 3
        until(lambda: python_worker.control("stats")["total"].get("wire.ids"))

    def test_error_links(self, produce, python_worker):
        before = python_worker.control("stats")["total"].get("wire.errback", 0)
        produce(task="wire.fail", link_error=[{"task": "wire.errback"}], wait=SOON)
        until(lambda: python_worker.control("stats")["total"].get("wire.errback", 0) > before)

    def test_a_chain_in_a_queue_of_its_own(self, produce, python_worker):
        python_worker.control("add_consumer", queue="chained")
        steps = [{"task": "wire.context"}, {"task": "wire.echo"}, {"task": "wire.context"}]
        seen = produce(chain=steps, queue="chained", wait=SOON)["result"]
        assert seen["delivery_info"]["routing_key"] == "chained"
        python_worker.control("cancel_consumer", queue="chained")


class TestMessages:
    """What lies in the queue: nobody consumes in this virtual host."""

    @pytest.fixture
    def sent(self, produce, vhost):
        wire = Wire(vhost.url)

        def sent(**request):
            answer = produce(vhost=vhost, **request)
            inbox = sent.inbox = sent.inbox or Inbox(wire, "celery")
            message = inbox.one(lambda m: m.headers.get("id") == answer["id"] or m.headers.get("root_id"))
            return answer, message

        sent.inbox = None
        yield sent
        wire.close()

    def test_headers_and_body(self, sent):
        answer, message = sent(task="wire.add", args=[2, 3], kwargs={"k": None})
        headers = message.headers
        names = (
            "lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr kwargsrepr "
            "origin ignore_result replaced_task_nesting stamped_headers stamps"
        )
        assert set(names.split()) <= set(headers)
        assert headers["task"] == "wire.add" and headers["id"] == headers["root_id"] == answer["id"]
        assert headers["retries"] == 0 and headers["timelimit"] == [None, None] and headers["parent_id"] is None
        assert headers["argsrepr"] in ("(2, 3)", "[2, 3]") and headers["kwargsrepr"] == "{'k': None}"
        args, kwargs, embed = message.json
        assert args == [2, 3] and kwargs == {"k": None}
        assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

    def test_properties(self, sent):
        answer, message = sent(task="wire.add", args=[2, 3])
        properties = message.properties
        assert properties["content_type"] == "application/json" and properties["content_encoding"] == "utf-8"
        assert properties["delivery_mode"] == 2 and properties["correlation_id"] == answer["id"]
        assert properties["priority"] == 0
        assert message.exchange == "" or message.exchange == "celery"

    def test_expires_is_a_header(self, sent):
        _, message = sent(task="wire.add", args=[2, 3], expires=600)
        assert message.headers["expires"]

    @pytest.mark.better("the broker drops nothing that somebody waits for: workers answer for what is too late")
    def test_expires_is_no_property(self, sent):
        _, message = sent(task="wire.add", args=[2, 3], expires=600)
        assert "expiration" not in message.properties

    def test_ignore_result(self, sent):
        _, message = sent(task="wire.add", args=[2, 3], ignore_result=True)
        assert message.headers["ignore_result"] is True

    def test_a_chain_is_embedded_in_reverse(self, sent):
        _, message = sent(chain=[{"task": "wire.noop"}, {"task": "wire.add", "args": [1]}, {"task": "wire.mul"}])
        assert [step["task"] for step in message.json[2]["chain"]] == ["wire.mul", "wire.add"]
        for step in message.json[2]["chain"]:
            assert step["options"]["task_id"] and step["options"]["reply_to"] == message.properties["reply_to"]


    def test_links_of_a_chain_are_those_of_its_steps(self, sent):
        links = {"link": [{"task": "wire.echo"}], "link_error": [{"task": "wire.errback"}]}
        _, message = sent(chain=[{"task": "wire.noop"}, {"task": "wire.mul", "args": [1]}], **links)
        embed = message.json[2]
        (last,) = embed["chain"]
        assert not embed["callbacks"]
        assert [each["task"] for each in last["options"]["link"]] == ["wire.echo"]
        for errbacks in (embed["errbacks"], last["options"]["link_error"]):
            assert [each["task"] for each in errbacks] == ["wire.errback"]


class TestControl:
    def test_replies_are_collected(self, produce, python_worker):
        answer = produce(control="ping", timeout=1)
        assert answer == {"replies": [{python_worker.node: {"ok": "pong"}}]}

    def test_arguments_and_destination(self, produce, python_worker):
        arguments = {"task_name": "wire.big", "rate_limit": "often"}
        answer = produce(control="rate_limit", arguments=arguments, destination=[python_worker.node], timeout=1)
        assert "Invalid rate limit" in answer["replies"][0][python_worker.node]["error"]
        assert produce(control="ping", destination=["nobody@x"], timeout=0.3) == {"replies": []}

    def test_without_a_timeout_nothing_is_waited_for(self, produce, python_worker):
        assert produce(control="revoke", arguments={"task_id": "from the producer"}) == {"replies": []}
        until(lambda: "from the producer" in python_worker.control("revoked"))
