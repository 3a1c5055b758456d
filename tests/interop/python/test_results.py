"""Results, exceptions and states as a client sees them (section 7)."""

import re

import pytest
from celery.exceptions import NotRegistered, TaskRevokedError, TimeoutError

from broker import SOON, until


class TestSuccess:
    def test_the_message_is_that_of_celery(self, wire, inbox):
        id = wire.send("wire.add", [2, 3], reply_to=inbox, headers={"root_id": "r"})
        message = inbox.final()
        assert message.exchange == "" and message.routing_key == inbox.queue
        assert message.properties["correlation_id"] == id
        assert message.properties["content_type"] == "application/json"
        assert message.properties["content_encoding"] == "utf-8"
        assert message.properties["delivery_mode"] == 1
        assert message.properties["priority"] == 0
        body = message.json
        date = body.pop("date_done")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", date)
        assert body == {"status": "SUCCESS", "result": 5, "traceback": None, "children": [], "task_id": id}

    def test_group_and_parent_are_named(self, wire, inbox):
        wire.send("wire.add", [2, 3], reply_to=inbox, headers={"group": "g", "parent_id": "p"})
        body = inbox.final().json
        assert body["group_id"] == "g" and body["parent_id"] == "p"

    @pytest.mark.parametrize("name", ["add", "fail", "tracked", "progress", "mul"])
    def test_every_state_names_group_and_parent(self, wire, inbox, name):
        args = {"add": [1], "tracked": [0], "progress": [1, 0], "mul": [2, 2]}.get(name, [])
        headers = {"group": "g", "group_index": 0, "parent_id": "p"}
        wire.send(f"wire.{name}", args, reply_to=inbox, headers=headers)
        inbox.final()
        for message in inbox.messages:
            assert (message.json["group_id"], message.json["parent_id"]) == ("g", "p"), message

    def test_extended_fields_are_off(self, wire, inbox):
        wire.send("wire.add", [2, 3], reply_to=inbox)
        assert not {"name", "args", "kwargs", "worker", "retries", "queue"} & set(inbox.final().json)

    def test_a_client_sees_state_and_date(self, worker):
        result = worker.delay("add", 2, 3)
        assert result.get(timeout=SOON) == 5
        assert result.state == "SUCCESS" and result.successful() and result.ready()
        assert result.date_done is not None and result.traceback is None

    def test_exactly_one_result_comes(self, wire, inbox):
        wire.send("wire.add", [2, 3], reply_to=inbox)
        inbox.final()
        assert len(inbox.during(0.3)) == 1

    def test_the_worker_declares_no_result_queue(self, worker, wire, inbox):
        wire.send("wire.add", [2, 3], reply_to="not.there")
        wire.send("wire.add", [2, 3], reply_to=inbox)
        inbox.final()
        assert worker.vhost.queue("not.there") is None

    def test_children_are_listed(self, worker):
        result = worker.delay("spawn", 2, 3)
        child = result.get(timeout=SOON)
        assert [each.id for each in result.children] == [child]

    def test_a_child_knows_its_parent_and_root(self, worker, wire, inbox):
        wire.send("wire.spawn", [1, 2], id="parent", reply_to=inbox)
        body = inbox.final().json
        assert body["children"] == [[[body["result"], None], None]]


class TestFailure:
    def test_a_builtin_exception_is_raised_again(self, worker):
        with pytest.raises(ValueError) as raised:
            worker.call("fail", "no good")
        assert type(raised.value) is ValueError and raised.value.args == ("no good",)

    def test_further_arguments_are_taken(self, worker):
        with pytest.raises(ValueError, match="^boom$"):
            worker.call("fail", "boom", 1, token="y")

    def test_the_default_message(self, worker):
        with pytest.raises(ValueError, match="^boom$"):
            worker.call("fail")

    def test_the_message_is_that_of_celery(self, wire, inbox):
        id = wire.send("wire.fail", ["x"], reply_to=inbox)
        body = inbox.final().json
        assert body["status"] == "FAILURE" and body["task_id"] == id and body["children"] == []
        assert body["result"] == {"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"}
        assert body["date_done"]

    def test_the_traceback_is_text_that_names_the_exception(self, worker):
        result = worker.delay("fail", "look here")
        with pytest.raises(ValueError):
            result.get(timeout=SOON)
        assert result.state == "FAILURE" and result.failed()
        assert "ValueError" in result.traceback and "look here" in result.traceback

    def test_an_unknown_class_is_made_by_the_client(self, worker):
        with pytest.raises(Exception) as raised:
            worker.call("fail_custom", "a", 1, None)
        assert type(raised.value).__name__ == "WireError"
        assert raised.value.args == ("a", 1, None)

    def test_a_missing_argument_is_a_type_error(self, worker):
        with pytest.raises(TypeError, match="y"):
            worker.call("add", 1)

    @pytest.mark.parametrize("args, kwargs", [((1, 2, 3), {}), ((1, 2), {"z": 3}), ((), {})])
    def test_wrong_arguments_are_a_type_error(self, worker, args, kwargs):
        with pytest.raises(TypeError):
            worker.call("add", *args, **kwargs)

    def test_arguments_of_a_wrong_type_fail(self, worker):
        with pytest.raises(Exception) as raised:
            worker.call("add", 1, {"a": []})
        assert not isinstance(raised.value, TimeoutError)

    def test_an_unknown_task_is_not_registered(self, worker):
        result = worker.app.send_task("wire.nope")
        with pytest.raises(NotRegistered):
            result.get(timeout=SOON)

    def test_not_registered_names_the_task(self, wire, inbox):
        wire.send("wire.nope", reply_to=inbox)
        error = inbox.final().json["result"]
        assert error["exc_type"] == "NotRegistered" and error["exc_module"] == "celery.exceptions"
        assert "wire.nope" in error["exc_message"][0]

    def test_propagate_may_be_off(self, worker):
        error = worker.delay("fail", "kept").get(timeout=SOON, propagate=False)
        assert isinstance(error, ValueError) and error.args == ("kept",)


class TestNoResult:
    def silent(self, wire, inbox, task, *args, **headers):
        """The task and then another one: only the second answers."""
        wire.send(task, args, id="silent", reply_to=inbox, headers=headers)
        wire.send("wire.add", [1, 1], id="loud", reply_to=inbox)
        inbox.final("loud")
        messages = inbox.during(0.4)
        assert [message.json["task_id"] for message in messages] == ["loud"]

    def test_the_caller_may_ignore_it(self, wire, inbox):
        self.silent(wire, inbox, "wire.add", 1, 1, ignore_result=True)

    def test_the_task_may_ignore_it(self, wire, inbox):
        self.silent(wire, inbox, "wire.quiet")

    def test_a_null_header_leaves_it_to_the_task(self, wire, inbox):
        self.silent(wire, inbox, "wire.quiet", ignore_result=None)

    def test_failures_are_ignored_too(self, wire, inbox):
        self.silent(wire, inbox, "wire.fail", ignore_result=True)

    def test_a_task_may_end_without_a_result(self, wire, inbox):
        self.silent(wire, inbox, "wire.ignore")

    def test_a_false_header_asks_for_the_result(self, wire, inbox):
        wire.send("wire.quiet", reply_to=inbox, headers={"ignore_result": False})
        assert inbox.final().json["status"] == "SUCCESS"


class TestStates:
    def test_progress_comes_in_order(self, wire, inbox):
        wire.send("wire.progress", [3, 0.01], reply_to=inbox)
        inbox.final()
        bodies = [message.json for message in inbox.messages]
        assert [body["status"] for body in bodies] == ["PROGRESS"] * 3 + ["SUCCESS"]
        assert [body["result"] for body in bodies] == [{"current": n, "total": 3} for n in (1, 2, 3)] + [3]
        assert all(body["date_done"] is None for body in bodies[:3])

    def test_a_client_polls_progress(self, celery):
        result = celery.tasks["wire.progress"].delay(1, 1.0)
        until(lambda: result.state == "PROGRESS", "in progress")
        assert result.info == {"current": 1, "total": 1}
        until(lambda: result.state == "SUCCESS", "done")
        assert result.result == 1

    def test_a_callback_of_the_client_sees_every_state(self, worker):
        seen = []
        result = worker.delay("progress", 2, 0.01)
        assert result.get(timeout=SOON, on_message=lambda body: seen.append(body["status"])) == 2
        assert seen == ["PROGRESS", "PROGRESS", "SUCCESS"]

    def test_started_is_sent_by_tasks_that_track_it(self, worker, wire, inbox):
        wire.send("wire.tracked", [0.01], reply_to=inbox)
        inbox.final()
        started, done = [message.json for message in inbox.messages]
        assert started["status"] == "STARTED" and started["date_done"] is None
        assert isinstance(started["result"]["pid"], int)
        assert started["result"]["hostname"] == worker.node
        assert done["result"] == "tracked"

    def test_other_tasks_send_no_started(self, wire, inbox):
        wire.send("wire.add", [1, 1], reply_to=inbox)
        inbox.final()
        assert len(inbox.messages) == 1


class TestExceptionsOfCelery:
    def test_revoked(self, worker):
        result = worker.task("add").apply_async((1, 1), countdown=1)
        worker.control("revoke", task_id=result.id)
        with pytest.raises(TaskRevokedError, match="revoked"):
            result.get(timeout=SOON)
        assert result.state == "REVOKED"

    def test_the_object_names_module_and_reason(self, worker, wire, inbox):
        worker.control("revoke", task_id="to be revoked")
        wire.send("wire.add", [1, 1], id="to be revoked", reply_to=inbox)
        body = inbox.final().json
        assert body["status"] == "REVOKED" and body["traceback"] is None
        assert body["result"] == {
            "exc_type": "TaskRevokedError",
            "exc_message": ["revoked"],
            "exc_module": "celery.exceptions",
        }
