"""What a worker accepts: task messages of both protocols, their options, headers and bodies (sections 2 to 5)."""

import uuid
import zlib
from datetime import date, datetime, time, timezone
from decimal import Decimal

import pytest
from kombu import Exchange, Queue

from broker import SOON, step, until
from fixture import client


class TestCalls:
    def test_arguments_go_by_position(self, worker):
        assert worker.call("add", 2, 3) == 5

    def test_arguments_go_by_name(self, worker):
        assert worker.call("add", x=2, y=3) == 5

    def test_arguments_go_both_ways(self, worker):
        assert worker.call("mul", 4, y=5) == 20

    def test_all_arguments_arrive(self, worker):
        assert worker.call("echo", 1, "two", [3], a=None, b={"c": True}) == {
            "args": [1, "two", [3]],
            "kwargs": {"a": None, "b": {"c": True}},
        }

    def test_a_task_may_return_nothing(self, worker):
        assert worker.call("noop", 1, x=2) is None

    def test_send_task_needs_no_registered_task(self, worker):
        assert worker.app.send_task("wire.xsum", ([1, [2, 3], 4.5],)).get(timeout=SOON) == 10.5

    def test_a_large_result_arrives_whole(self, worker):
        assert worker.call("big", 3_000_000) == "x" * 3_000_000

    def test_a_large_argument_arrives_whole(self, worker):
        assert worker.call("length", "ü" * 1_000_000) == 1_000_000

    def test_a_typed_client_sends_an_explicit_task_id(self, worker):
        result = worker.task("ids").apply_async((1,), task_id="my own id")
        assert result.get(timeout=SOON)["id"] == "my own id"

    def test_many_calls_at_once_all_return(self, worker):
        results = [worker.delay("add", n, n) for n in range(200)]
        assert [result.get(timeout=SOON) for result in results] == [2 * n for n in range(200)]

    def test_a_transient_message_is_run(self, worker):
        assert worker.task("add").apply_async((1, 1), delivery_mode=1).get(timeout=SOON) == 2

    def test_the_task_ping_of_celery_answers(self, worker):
        assert worker.app.send_task("celery.ping").get(timeout=SOON) == "pong"


class TestContext:
    def context(self, worker, *args, **options):
        return worker.task("context").apply_async(args, **options).get(timeout=SOON)

    def test_a_task_sees_its_request(self, worker):
        result = worker.task("context").apply_async((1, "a"))
        seen = result.get(timeout=SOON)
        assert seen["id"] == seen["correlation_id"] == result.id
        assert seen["retries"] == 0 and seen["replaced_task_nesting"] == 0
        assert seen["eta"] is None and seen["expires"] is None
        assert seen["timelimit"] == [None, None]
        assert seen["reply_to"] == worker.app.thread_oid
        assert seen["hostname"] == worker.node
        assert seen["origin"].startswith("gen")
        assert seen["argsrepr"] == "(1, 'a')"
        assert seen["delivery_info"] == {
            "exchange": "",
            "routing_key": "celery",
            "priority": 0,
            "redelivered": False,
        }

    def test_time_limits_are_hard_then_soft(self, worker):
        assert self.context(worker, time_limit=60, soft_time_limit=30)["timelimit"] == [60, 30]

    def test_a_priority_is_seen(self, worker):
        assert self.context(worker, priority=7)["delivery_info"]["priority"] == 7

    def test_headers_of_the_caller_are_seen(self, worker):
        headers = {"tenant": "acme", "nested": {"a": [1, "x", None, True]}}
        seen = self.context(worker, headers=headers)["headers"]
        assert {name: seen[name] for name in headers} == headers

    def test_stamps_are_seen(self, worker):
        signature = worker.s("context")
        signature.stamp(tenant="acme", batch=["b1", "b2"])
        seen = signature.apply_async().get(timeout=SOON)
        assert sorted(seen["stamped_headers"]) == ["batch", "tenant"]
        assert seen["stamps"]["batch"] == ["b1", "b2"]
        assert seen["stamps"]["tenant"] in ("acme", ["acme"])

    def test_a_shadow_name_does_not_choose_the_task(self, worker):
        assert worker.task("add").apply_async((1, 2), shadow="wire.fail").get(timeout=SOON) == 3

    def test_a_message_may_come_through_the_task_exchange(self, worker):
        seen = self.context(worker, exchange="celery", routing_key="celery")
        assert seen["delivery_info"]["exchange"] == "celery"

    def test_ids_of_a_single_task(self, worker):
        seen = worker.call("ids", "a")
        assert seen["root_id"] == seen["id"]
        assert seen["parent_id"] is None and seen["group"] is None and seen["group_index"] is None
        assert seen["args"] == ["a"]


class TestTolerance:
    """The least that a message may hold."""

    def test_headers_task_and_id_are_enough(self, wire, inbox):
        wire.send("wire.add", [2, 3], reply_to=inbox)
        assert inbox.final().json["result"] == 5

    def test_without_correlation_id_the_result_carries_the_task_id(self, wire, inbox):
        id = wire.send("wire.add", [2, 3], reply_to=inbox)
        result = inbox.final()
        assert result.properties["correlation_id"] == id and result.json["task_id"] == id

    def test_another_correlation_id_is_kept(self, wire, inbox):
        id = wire.send("wire.add", [2, 3], reply_to=inbox, correlation_id="other")
        result = inbox.final()
        assert result.properties["correlation_id"] == "other" and result.json["task_id"] == id

    @pytest.mark.parametrize(
        "name",
        "lang shadow eta expires group group_index retries timelimit root_id parent_id argsrepr kwargsrepr origin "
        "ignore_result replaced_task_nesting stamped_headers stamps".split(),
    )
    def test_a_header_may_be_null(self, wire, inbox, name):
        wire.send("wire.add", [2, 3], reply_to=inbox, headers={name: None})
        assert inbox.final().json["result"] == 5

    def test_all_headers_may_be_null_at_once(self, wire, inbox):
        names = "lang shadow eta expires group retries timelimit root_id parent_id argsrepr origin stamps".split()
        wire.send("wire.add", [2, 3], reply_to=inbox, headers=dict.fromkeys(names))
        assert inbox.final().json["result"] == 5

    @pytest.mark.better("Python adds one to None")
    def test_retries_that_are_null_count_from_zero(self, wire, inbox):
        wire.send("wire.retry_n", [1, 0.01], reply_to=inbox, headers={"retries": None})
        assert inbox.final().json["result"]["retries"] == 1

    def test_time_limits_may_be_floats_and_half_null(self, wire, inbox):
        wire.send("wire.context", reply_to=inbox, headers={"timelimit": [60.5, None]})
        assert inbox.final().json["result"]["timelimit"] == [60.5, None]

    def test_unknown_headers_and_embedded_keys_do_no_harm(self, wire, inbox):
        wire.send("wire.add", [1, 1], embed={"new": [1]}, reply_to=inbox, headers={"x-unknown": {"a": 1}})
        assert inbox.final().json["result"] == 2

    def test_embedded_lists_may_be_empty(self, wire, inbox):
        embed = {"callbacks": [], "errbacks": [], "chain": [], "chord": None}
        wire.send("wire.add", [1, 1], embed=embed, reply_to=inbox)
        assert inbox.final().json["result"] == 2

    def test_stamps_that_are_not_named_do_not_count(self, wire, inbox):
        headers = {"stamped_headers": ["a"], "stamps": {"a": "1", "b": "2"}}
        wire.send("wire.retry_n", [0], reply_to=inbox, headers=headers)
        assert inbox.final().json["result"]["stamps"] == {"a": "1"}

    @pytest.mark.parametrize("reply_to", [None, "", "no such queue"])
    def test_without_a_place_for_the_result_the_task_still_runs(self, worker, wire, inbox, reply_to):
        callback = step("wire.add", 1, reply_to=inbox.queue)
        wire.send("wire.add", [1, 1], embed={"callbacks": [callback]}, reply_to=reply_to)
        assert inbox.final().json["result"] == 3

    def test_an_id_may_be_any_text(self, wire, inbox):
        wire.send("wire.add", [1, 1], id="wörk/1 \N{SNOWMAN}", reply_to=inbox)
        assert inbox.final().json["task_id"] == "wörk/1 \N{SNOWMAN}"

    def test_the_priority_may_be_absent(self, wire, inbox):
        wire.send("wire.context", reply_to=inbox)
        assert inbox.final().json["result"]["delivery_info"]["priority"] is None

    def test_the_content_encoding_may_be_absent(self, wire, inbox):
        wire.send("wire.add", [1, 1], reply_to=inbox, content_encoding="")
        assert inbox.final().json["result"] == 2


class TestProtocol1:
    def test_a_client_with_protocol_1(self, worker):
        app = client(worker.vhost.url, task_protocol=1)
        assert app.send_task("wire.add", (2, 3)).get(timeout=SOON) == 5
        assert app.send_task("wire.echo", (1,), {"k": 2}).get(timeout=SOON)["kwargs"] == {"k": 2}
        app.close()

    def test_the_least_message(self, wire, inbox):
        wire.publish({"task": "wire.add", "id": "one", "args": [2, 3], "kwargs": {}}, reply_to=inbox.queue)
        assert inbox.final().json["result"] == 5

    def test_arguments_may_be_left_out(self, wire, inbox):
        wire.publish({"task": "wire.noop", "id": "two"}, reply_to=inbox.queue)
        assert inbox.final().json["status"] == "SUCCESS"

    @pytest.mark.better("Python forgets it when the message has args")
    def test_taskset_is_the_old_name_of_group(self, wire, inbox):
        body = {"task": "wire.ids", "id": "three", "args": [], "kwargs": {}, "taskset": "g1", "group": None}
        wire.publish(body, reply_to=inbox.queue)
        assert inbox.final().json["result"]["group"] == "g1"

    def test_callbacks_and_errbacks_are_sent(self, wire, inbox):
        callback = step("wire.add", 1, reply_to=inbox.queue, task_id="after")
        body = {"task": "wire.add", "id": "four", "args": [2, 3], "kwargs": {}, "callbacks": [callback]}
        wire.publish(body)
        assert inbox.final("after").json["result"] == 6
        errback = step("wire.errback", reply_to=inbox.queue, task_id="failed")
        wire.publish({"task": "wire.fail", "id": "five", "args": [], "kwargs": {}, "errbacks": [errback]})
        assert inbox.final("failed").json["result"] == "failed:five"

    def test_a_retry_of_it_comes_back(self, wire, inbox):
        wire.publish({"task": "wire.retry_n", "id": "six", "args": [1, 0.01], "kwargs": {}}, reply_to=inbox.queue)
        assert inbox.final().json["result"]["retries"] == 1

    def test_a_hybrid_is_read_like_protocol_1(self, wire, inbox):
        body = {"task": "wire.add", "id": "seven", "args": [2, 3], "kwargs": {}}
        wire.publish(body, {"task": "wire.add", "id": "seven"}, reply_to=inbox.queue)
        assert inbox.final().json["result"] == 5


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            -1.5e-300,
            "",
            "\N{SNOWMAN}\U0001f407\x00\\\"",
            [],
            {},
            [[[1]], {"a": {"b": []}}],
            2**53 + 1,
            2**63 - 1,
            -(2**63),
            {"": 1, "ü": 2},
        ],
    )
    def test_json_comes_back_as_it_went(self, worker, value):
        back = worker.call("identity", value)
        assert back == value and type(back) is type(value)

    @pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1, 10**60], ids=str)
    def test_integers_have_no_bound(self, worker, value):
        assert worker.call("identity", value) == value

    @pytest.mark.parametrize(
        "value",
        [
            datetime(2026, 11, 20, 10, 0, 1, 5),
            datetime(2026, 11, 20, 10, 0, tzinfo=timezone.utc),
            date(2026, 11, 20),
            time(10, 11, 12),
            Decimal("0.10"),
            uuid.UUID("12345678123456781234567812345678"),
            b"text",
            b"\xff\x00\xfe",
        ],
        ids=repr,
    )
    def test_typed_values_come_back_as_they_went(self, worker, value):
        back = worker.call("identity", [value, {"k": value}])
        assert back == [value, {"k": value}] and type(back[0]) is type(value)

    def test_an_object_with_more_keys_is_no_typed_value(self, wire, inbox):
        value = {"__type__": "date", "__value__": "x", "more": 1}
        wire.send("wire.identity", [value], reply_to=inbox)
        assert inbox.final().json["result"] == value

    def test_bodies_may_be_raw_utf8(self, wire, inbox):
        body = '[["\N{SNOWMAN} \U0001f407"], {}, {}]'.encode()
        wire.publish(body, {"task": "wire.identity", "id": "raw"}, reply_to=inbox.queue)
        assert inbox.final().json["result"] == "\N{SNOWMAN} \U0001f407"

    @pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
    def test_floats_without_a_number_end_with_a_result(self, worker, wire, inbox, word):
        body = f"[[{word}], {{}}, {{}}]".encode()
        wire.publish(body, {"task": "wire.noop", "id": word}, reply_to=inbox.queue)
        assert inbox.final().json["status"] in ("SUCCESS", "FAILURE")
        assert worker.call("add", 1, 1) == 2

    def test_tuples_arrive_as_lists(self, worker):
        assert worker.call("identity", (1, (2,))) == [1, [2]]


class TestCompression:
    @pytest.mark.parametrize("name", ["zlib", "gzip", "bzip2"])
    def test_compressed_arguments_are_read(self, worker, name):
        text = "compress me " * 500
        assert worker.task("length").apply_async((text,), compression=name).get(timeout=SOON) == len(text)

    def test_gzip_means_a_zlib_stream(self, wire, inbox):
        headers = {"task": "wire.add", "id": "z", "compression": "application/x-gzip"}
        wire.publish(zlib.compress(b"[[2, 3], {}, {}]"), headers, reply_to=inbox.queue)
        assert inbox.final().json["result"] == 5

    def test_results_are_not_compressed(self, wire, inbox):
        headers = {"task": "wire.big", "id": "z", "compression": "application/x-gzip"}
        wire.publish(zlib.compress(b"[[9999], {}, {}]"), headers, reply_to=inbox.queue)
        result = inbox.final()
        assert result.json["result"] == "x" * 9999 and not result.headers.get("compression")

    def test_a_compressed_task_is_retried(self, worker):
        result = worker.task("retry_n").apply_async((1, 0.01), compression="zlib")
        assert result.get(timeout=SOON)["retries"] == 1


class TestRouting:
    def test_a_queue_of_another_name_is_added_at_run_time(self, worker):
        assert worker.control("add_consumer", queue="other")["ok"] == "add consumer other"
        try:
            assert worker.task("add").apply_async((1, 2), queue="other").get(timeout=SOON) == 3
        finally:
            worker.control("cancel_consumer", queue="other")

    def test_a_topic_exchange_routes_to_the_queue(self, worker):
        worker.control(
            "add_consumer", queue="by.topic", exchange="topics", exchange_type="topic", routing_key="jobs.#"
        )
        try:
            app = client(
                worker.vhost.url,
                task_queues=[
                    Queue("celery", Exchange("celery"), routing_key="celery"),
                    Queue("by.topic", Exchange("topics", type="topic"), routing_key="jobs.#"),
                ],
            )
            seen = app.send_task("wire.context", exchange="topics", routing_key="jobs.now.1").get(timeout=SOON)
            assert seen["delivery_info"]["exchange"] == "topics"
            assert seen["delivery_info"]["routing_key"] == "jobs.now.1"
            app.close()
        finally:
            worker.control("cancel_consumer", queue="by.topic")

    def test_higher_priorities_run_first(self, own_worker):
        worker = own_worker
        wire = worker.wire()
        wire.channel.queue_declare("ranked", durable=True, auto_delete=False, arguments={"x-max-priority": 10})
        app = client(
            worker.vhost.url, task_queues=[Queue("ranked", Exchange("ranked"), "ranked", max_priority=10)]
        )
        results = {
            priority: app.send_task("wire.now", queue="ranked", priority=priority) for priority in (1, 9, 5)
        }
        until(lambda: wire.waiting("ranked") == 3, "all are in the queue")
        worker.busy(count=3)
        worker.control("add_consumer", queue="ranked", max_priority=10)
        times = {priority: result.get(timeout=SOON) for priority, result in results.items()}
        assert times[9] < times[5] < times[1]
        wire.close()
        app.close()
