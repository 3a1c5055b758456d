"""Chains, groups, links, maps and chunks that a client builds and a worker carries on (section 8)."""

import pytest
from celery import chain, group
from celery.exceptions import NotRegistered
from celery.result import GroupResult

from broker import SOON, step


class TestChains:
    def test_each_step_gets_the_result_of_the_one_before(self, worker):
        s = worker.s
        assert (s("add", 1, 2) | s("add", 3) | s("mul", 10)).delay().get(timeout=SOON) == 60

    def test_an_immutable_step_gets_nothing(self, worker):
        assert (worker.s("add", 1, 2) | worker.si("add", 10, 20)).delay().get(timeout=SOON) == 30

    def test_null_is_passed_on(self, worker):
        echo = (worker.s("noop") | worker.s("echo", 1)).delay().get(timeout=SOON)
        assert echo["args"] == [None, 1]

    def test_every_step_has_its_result(self, worker):
        last = (worker.s("add", 1, 2) | worker.s("add", 3) | worker.s("add", 4)).delay()
        assert last.get(timeout=SOON) == 10
        assert last.parent.get(timeout=SOON) == 6
        assert last.parent.parent.get(timeout=SOON) == 3

    def test_a_long_chain_runs_to_its_end(self, worker):
        assert chain([worker.s("add", 0, 0)] + [worker.s("add", 1)] * 60).delay().get(timeout=SOON * 2) == 60

    def test_root_and_parent_follow_the_chain(self, worker):
        last = (worker.s("ids", "a") | worker.s("ids", "b") | worker.s("ids", "c")).delay()
        third = last.get(timeout=SOON)
        second, first = third["args"][0], third["args"][0]["args"][0]
        assert first["root_id"] == second["root_id"] == third["root_id"] == first["id"]
        assert first["parent_id"] is None
        assert second["parent_id"] == first["id"] and third["parent_id"] == second["id"]

    def test_the_next_step_is_a_child(self, worker):
        last = (worker.s("add", 1, 2) | worker.s("add", 3)).delay()
        first = last.parent
        assert last.get(timeout=SOON) == 6
        first.get(timeout=SOON)
        assert [child.id for child in first.children] == [last.id]

    def test_steps_keep_their_options(self, worker):
        second = worker.s("context").set(priority=5, headers={"mine": 1}, soft_time_limit=50, time_limit=70)
        seen = (worker.s("add", 1, 2) | second).delay().get(timeout=SOON)
        assert seen["delivery_info"]["priority"] == 5
        assert seen["headers"]["mine"] == 1
        assert seen["timelimit"] == [70, 50]

    def test_a_failure_ends_every_later_step(self, worker):
        last = (worker.s("fail", "first") | worker.s("add", 1) | worker.s("add", 2)).delay()
        with pytest.raises(ValueError, match="first"):
            last.get(timeout=SOON)
        # without its parents, of which the client would raise the failure in its stead
        alone = worker.app.AsyncResult(last.id)
        with pytest.raises(ValueError, match="first"):
            alone.get(timeout=SOON)
        assert alone.state == "FAILURE" and "first" in alone.traceback
        with pytest.raises(ValueError, match="first"):
            last.parent.get(timeout=SOON)

    def test_a_failure_in_the_middle_keeps_what_was_done(self, worker):
        last = (worker.s("add", 1, 2) | worker.s("fail") | worker.s("add", 2)).delay()
        with pytest.raises(ValueError, match="3"):
            last.get(timeout=SOON)
        assert last.parent.parent.get(timeout=SOON) == 3

    def test_an_unknown_step_fails(self, worker):
        last = (worker.s("add", 1, 2) | worker.app.signature("wire.nope") | worker.s("add", 2)).delay()
        with pytest.raises(NotRegistered):
            last.parent.get(timeout=SOON)

    @pytest.mark.better("Python tells of the unknown step alone")
    def test_an_unknown_step_ends_every_later_one(self, worker):
        last = (worker.s("add", 1, 2) | worker.app.signature("wire.nope") | worker.s("add", 2)).delay()
        with pytest.raises(NotRegistered):
            worker.app.AsyncResult(last.id).get(timeout=SOON)

    def test_a_retried_step_carries_the_chain_on(self, worker):
        last = (worker.s("retry_n", 1, 0.01) | worker.s("echo")).delay()
        assert last.get(timeout=SOON)["args"][0]["retries"] == 1

    def test_a_step_in_another_queue(self, worker):
        worker.control("add_consumer", queue="second")
        second = worker.s("context").set(queue="second")
        seen = (worker.s("add", 1, 2) | second).delay().get(timeout=SOON)
        assert seen["delivery_info"]["routing_key"] == "second"
        worker.control("cancel_consumer", queue="second")

    def test_the_list_in_the_message_is_reversed(self, wire, inbox):
        steps = [
            step("wire.echo", "last", task_id="c3", reply_to=inbox.queue),
            step("wire.echo", "second", task_id="c2", reply_to=inbox.queue),
        ]
        wire.send("wire.add", [1, 1], embed={"chain": steps}, id="c1", reply_to=inbox)
        assert inbox.final("c3").json["result"]["args"][1] == "last"
        assert inbox.final("c2").json["result"]["args"] == [2, "second"]

    def test_a_failure_is_told_for_each_step_with_an_id(self, wire, inbox):
        steps = [
            step("wire.add", 1, task_id="f3", reply_to=inbox.queue),
            step("wire.add", 1),
            step("wire.add", 1, task_id="f2", reply_to=inbox.queue),
        ]
        wire.send("wire.fail", ["all"], embed={"chain": steps}, id="f1", reply_to=inbox)
        for id in ("f1", "f2", "f3"):
            message = inbox.final(id)
            assert message.json["status"] == "FAILURE" and message.properties["correlation_id"] == id
            assert message.json["result"]["exc_message"] == ["all"]
        assert len(inbox.during(0.3)) == 3

    def test_a_step_with_a_countdown_waits(self, worker):
        late = worker.s("now").set(countdown=1)
        end = (worker.s("now") | worker.s("identity") | late).delay()
        later = end.get(timeout=SOON)
        assert later - end.parent.get(timeout=SOON) >= 0.95

    def test_stamps_go_along(self, worker):
        work = worker.s("add", 1, 2) | worker.s("context")
        work.stamp(tenant="acme")
        seen = work.apply_async().get(timeout=SOON)
        assert seen["stamped_headers"] == ["tenant"]


class TestGroups:
    def test_all_members_return(self, worker):
        result = group(worker.s("add", n, n) for n in range(5)).delay()
        assert isinstance(result, GroupResult)
        assert result.get(timeout=SOON) == [0, 2, 4, 6, 8]

    def test_members_know_group_and_place(self, worker):
        result = group(worker.s("ids", n) for n in range(3)).delay()
        seen = result.get(timeout=SOON)
        assert [each["group_index"] for each in seen] == [0, 1, 2]
        assert {each["group"] for each in seen} == {result.id}
        assert all(each["root_id"] == each["id"] for each in seen)

    def test_a_failing_member_is_raised(self, worker):
        result = group(worker.s("add", 1, 1), worker.s("fail", "one of them")).delay()
        with pytest.raises(ValueError, match="one of them"):
            result.get(timeout=SOON)

    def test_a_group_of_chains(self, worker):
        s = worker.s
        work = group(s("add", 1, 1) | s("add", 1), s("add", 2, 2) | s("mul", 2))
        assert work.delay().get(timeout=SOON) == [3, 8]

    def test_a_group_ends_a_chain(self, worker):
        result = (worker.s("add", 1, 1) | group(worker.s("add", 10), worker.s("identity"))).delay()
        assert result.get(timeout=SOON) == [12, 2]

    def test_members_of_such_a_group_know_where_they_are(self, worker):
        result = (worker.s("ids") | group(worker.s("ids", 1), worker.s("ids", 2))).delay()
        seen = result.get(timeout=SOON)
        first = seen[0]["args"][0]["id"]
        assert [each["group_index"] for each in seen] == [0, 1]
        assert [each["group"] for each in seen] == [result.id] * 2
        assert all(each["parent_id"] == first and each["root_id"] == first for each in seen)

    def test_such_a_group_is_one_child(self, worker):
        result = (worker.s("add", 1, 1) | group(worker.s("add", 10), worker.s("identity"))).delay()
        result.get(timeout=SOON)
        first = result.parent
        first.get(timeout=SOON)
        (child,) = first.children
        assert child.id == result.id and [each.id for each in child.children] == [each.id for each in result.children]

    def test_immutable_members_get_nothing(self, worker):
        work = worker.s("add", 1, 1) | group(worker.si("add", 5, 5), worker.s("add", 1))
        assert work.delay().get(timeout=SOON) == [10, 3]

    def test_a_group_of_chains_ends_a_chain(self, worker):
        s = worker.s
        work = s("add", 1, 1) | group(s("add", 1) | s("mul", 2), s("add", 2) | s("mul", 3))
        assert work.delay().get(timeout=SOON) == [6, 12]

    def test_a_chord_is_refused_by_the_client(self, worker):
        with pytest.raises(NotImplementedError):
            (group(worker.s("add", 1, 1), worker.s("add", 2, 2)) | worker.s("xsum")).delay()


class TestLinks:
    """Callbacks answer to the worker unless they name a queue."""

    def to(self, worker, wire, name, *args, **options):
        inbox = wire.inbox()
        return inbox, worker.s(name, *args).set(reply_to=inbox.queue, **options)

    def test_one_callback_gets_the_result(self, worker, wire):
        inbox, link = self.to(worker, wire, "add", 10)
        result = worker.task("add").apply_async((2, 3), link=link)
        assert inbox.final().json["result"] == 15
        assert result.get(timeout=SOON) == 5
        assert len(result.children) == 1

    def test_several_callbacks_are_a_group(self, worker, wire):
        one, first = self.to(worker, wire, "ids", 1)
        two, second = self.to(worker, wire, "ids", 2)
        result = worker.task("add").apply_async((2, 3), link=[first, second])
        seen = [one.final().json["result"], two.final().json["result"]]
        assert [each["args"] for each in seen] == [[5, 1], [5, 2]]
        assert seen[0]["group"] == seen[1]["group"] is not None
        assert [each["group_index"] for each in seen] == [0, 1]
        assert all(each["parent_id"] == result.id for each in seen)
        result.get(timeout=SOON)
        (child,) = result.children
        assert isinstance(child, GroupResult) and child.id == seen[0]["group"]

    def test_an_immutable_callback_gets_nothing(self, worker, wire):
        inbox = wire.inbox()
        link = worker.si("add", 7, 7).set(reply_to=inbox.queue)
        worker.task("add").apply_async((2, 3), link=link)
        assert inbox.final().json["result"] == 14

    def test_a_callback_keeps_its_task_id(self, worker, wire):
        inbox, link = self.to(worker, wire, "add", 1, task_id="frozen callback")
        worker.task("add").apply_async((2, 3), link=link)
        assert inbox.final("frozen callback").json["result"] == 6

    def test_a_callback_may_be_a_chain(self, wire, inbox):
        tasks = [step("wire.add", 1, task_id="l1"), step("wire.mul", 2, task_id="l2", reply_to=inbox.queue)]
        embed = {"callbacks": [step("celery.chain", tasks=tasks, task_id="l2", reply_to=inbox.queue)]}
        wire.send("wire.add", [2, 3], embed=embed)
        assert inbox.final("l2").json["result"] == 12

    def test_a_callback_may_be_a_group(self, wire, inbox):
        tasks = [
            step("wire.add", n, task_id=f"g{n}", reply_to=inbox.queue, group_index=n, group_id="gg") for n in (0, 1)
        ]
        embed = {"callbacks": [step("celery.group", tasks=tasks, task_id="gg")]}
        wire.send("wire.add", [2, 3], embed=embed)
        assert inbox.final("g0").json["result"] == 5
        assert inbox.final("g1").json["result"] == 6

    def test_callbacks_and_chain_both_go_on(self, wire, inbox):
        embed = {
            "callbacks": [step("wire.add", 100, task_id="cb", reply_to=inbox.queue)],
            "chain": [step("wire.add", 1, task_id="next", reply_to=inbox.queue)],
        }
        wire.send("wire.add", [2, 3], embed=embed)
        assert inbox.final("cb").json["result"] == 105
        assert inbox.final("next").json["result"] == 6

    def test_a_failure_calls_no_callback(self, worker, wire):
        inbox, link = self.to(worker, wire, "noop")
        result = worker.task("fail").apply_async(link=link)
        with pytest.raises(ValueError):
            result.get(timeout=SOON)
        assert inbox.during(0.3) == []

    @pytest.mark.better("Python fails on a signature without args and kwargs")
    def test_a_signature_may_be_a_name_alone(self, wire, inbox):
        embed = {"callbacks": [{"task": "wire.noop"}], "errbacks": [{"task": "wire.errback"}]}
        wire.send("wire.add", [2, 3], embed=embed, id="named", reply_to=inbox)
        assert len(inbox.final("named").json["children"]) == 1

    @pytest.mark.parametrize("callback", [{"task": "wire.nope", "args": [], "kwargs": {}, "options": {}}])
    def test_an_unknown_callback_is_sent_all_the_same(self, worker, wire, inbox, callback):
        wire.send("wire.add", [2, 3], embed={"callbacks": [callback]}, reply_to=inbox)
        assert inbox.final().json["result"] == 5
        assert worker.call("add", 1, 1) == 2


class TestErrbacks:
    def test_an_errback_gets_the_id_of_the_failed_task(self, worker, wire, inbox):
        link = worker.s("errback").set(reply_to=inbox.queue)
        result = worker.task("fail").apply_async(link_error=link)
        assert inbox.final().json["result"] == f"failed:{result.id}"

    @pytest.mark.better("Python calls an errback of two arguments itself, with other ones")
    def test_its_own_arguments_come_after(self, wire, inbox):
        errback = step("wire.errback_tag", "tag", reply_to=inbox.queue, task_id="eb")
        wire.send("wire.fail", embed={"errbacks": [errback]}, id="failed one")
        assert inbox.final("eb").json["result"] == "failed:failed one:tag"

    def test_several_errbacks_are_all_sent(self, wire, inbox):
        errbacks = [step("wire.errback", reply_to=inbox.queue, task_id=f"eb{n}") for n in range(3)]
        wire.send("wire.fail", embed={"errbacks": errbacks}, id="failed two")
        for n in range(3):
            assert inbox.final(f"eb{n}").json["result"] == "failed:failed two"

    def test_what_is_sent_has_all_headers(self, worker):
        """Programs that read them by name find them, whoever sent the message."""
        wire = worker.wire()
        sink = wire.shared_inbox("sink")
        id = wire.send("wire.fail", embed={"errbacks": [step("wire.errback", queue="sink")]})
        message = sink.one(lambda m: m.headers.get("parent_id") == id)
        names = (
            "lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr kwargsrepr "
            "origin ignore_result replaced_task_nesting stamped_headers stamps"
        )
        assert set(names.split()) <= set(message.headers)
        assert message.headers["retries"] == 0 and message.headers["timelimit"] == [None, None]
        assert message.headers["group"] and message.headers["group_index"] == 0
        assert message.properties.get("priority", 0) == 0
        wire.close()

    def test_an_errback_knows_its_parent(self, wire, inbox):
        errback = step("wire.errback", reply_to=inbox.queue, task_id="eb")
        wire.send("wire.fail", embed={"errbacks": [errback]}, id="failed three")
        assert inbox.final("eb").json["parent_id"] == "failed three"

    def test_a_success_calls_no_errback(self, wire, inbox):
        errback = step("wire.errback", reply_to=inbox.queue, task_id="eb")
        wire.send("wire.add", [1, 1], embed={"errbacks": [errback]}, reply_to=inbox, id="fine")
        inbox.final("fine")
        assert len(inbox.during(0.3)) == 1

    def test_a_retry_calls_no_errback(self, wire, inbox):
        errback = step("wire.errback", reply_to=inbox.queue, task_id="eb")
        wire.send("wire.retry_n", [1, 0.3], embed={"errbacks": [errback]}, reply_to=inbox, id="again")
        inbox.final("again")
        assert [message.json["task_id"] for message in inbox.during(0.3)] == ["again", "again"]

    def test_exhausted_retries_call_it(self, wire, inbox):
        errback = step("wire.errback", reply_to=inbox.queue, task_id="eb")
        wire.send("wire.retry_limited", [1, 0.01], embed={"errbacks": [errback]}, id="spent")
        assert inbox.final("eb").json["result"] == "failed:spent"

    def test_a_hard_time_limit_calls_it(self, wire, inbox):
        errback = step("wire.errback", reply_to=inbox.queue, task_id="eb")
        wire.send("wire.sleep", [20], embed={"errbacks": [errback]}, id="cut", headers={"timelimit": [1, None]})
        assert inbox.final("eb").json["result"] == "failed:cut"

    def test_each_step_of_a_chain_has_that_of_the_chain(self, worker, wire, inbox):
        work = worker.s("add", 1, 2) | worker.s("fail") | worker.s("add", 1)
        link = worker.s("errback").set(reply_to=inbox.queue)
        result = work.apply_async(link_error=link)
        assert inbox.final().json["result"] == f"failed:{result.parent.id}"

    def test_an_unknown_errback_is_sent_to_its_queue(self, wire):
        elsewhere = wire.shared_inbox("elsewhere")
        errback = step("wire.not_here", queue="elsewhere", task_id="eb")
        wire.send("wire.fail", embed={"errbacks": [errback]}, id="failed four")
        message = elsewhere.one()
        assert message.json[0] == ["failed four"] and message.headers["id"] == "eb"


class TestMaps:
    def test_map(self, worker):
        assert worker.task("xsum").map([[1, 2], [3, [4]]]).delay().get(timeout=SOON) == [3, 7]

    def test_starmap(self, worker):
        assert worker.task("add").starmap([(1, 2), (3, 4)]).delay().get(timeout=SOON) == [3, 7]

    def test_chunks(self, worker):
        work = worker.task("add").chunks(zip(range(10), range(10)), 4)
        expected = [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]
        assert work.delay().get(timeout=SOON) == expected

    def test_a_failing_element_fails_the_map(self, worker):
        with pytest.raises(ValueError, match="second"):
            worker.task("fail").map(["second"]).delay().get(timeout=SOON)

    def test_a_map_of_an_unknown_task_fails(self, worker):
        task = {"task": "wire.nope", "args": [], "kwargs": {}, "options": {}}
        result = worker.app.send_task("celery.map", kwargs={"task": task, "it": [1]})
        with pytest.raises(Exception) as raised:
            result.get(timeout=SOON)
        assert "nope" in str(raised.value)

    def test_an_empty_map_is_empty(self, worker):
        assert worker.task("xsum").map([]).delay().get(timeout=SOON) == []

    def test_accumulate(self, worker):
        assert worker.app.send_task("celery.accumulate", (1, 2, 3)).get(timeout=SOON) == [1, 2, 3]
        assert worker.app.send_task("celery.accumulate", (1, 2, 3), {"index": 1}).get(timeout=SOON) == 2


class TestReplace:
    @pytest.mark.better("Python answers the replacing task to itself")
    def test_the_caller_gets_the_result_of_what_replaces(self, worker):
        assert worker.call("replace", 5) == 15

    @pytest.mark.better("Python answers the replacing task to itself")
    def test_what_replaces_has_the_same_id(self, wire, inbox):
        wire.send("wire.replace", [5], id="replaced", reply_to=inbox)
        assert inbox.final().json["task_id"] == "replaced"
        assert len(inbox.during(0.3)) == 1


class TestCycles:
    def test_a_long_list_of_callbacks_does_no_harm(self, worker, wire, inbox):
        callbacks = [step("wire.noop") for _ in range(300)]
        wire.send("wire.add", [1, 1], embed={"callbacks": callbacks}, reply_to=inbox)
        assert len(inbox.final(deadline=SOON * 2).json["children"][0][1]) == 300

    def test_deeply_nested_signatures_do_no_harm(self, worker, wire, inbox):
        nested = step("wire.noop")
        for _ in range(60):
            nested = step("celery.chain", tasks=[step("wire.add", 1), nested])
        wire.send("wire.add", [1, 1], embed={"callbacks": [nested]}, reply_to=inbox)
        assert inbox.final().json["status"] in ("SUCCESS", "FAILURE")
        assert worker.call("add", 1, 1) == 2
