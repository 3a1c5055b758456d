"""`celery inspect`, `control` and `status` print for the worker what they print for one in Python."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker import until
from conftest import command
from fixture import Worker

INSPECT = "active reserved scheduled registered stats active_queues revoked conf report ping clock".split()

AS_JSON = "active stats registered".split()


def celery(worker, *words, status=0):
    """The output of one command."""
    command = [sys.executable, "-m", "celery", "-b", worker.vhost.url, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL
    )
    assert done.returncode == status, done.stdout + done.stderr
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


@pytest.fixture(scope="module")
def work(module_worker):
    """A running, a reserved, a scheduled and a revoked task."""
    worker = module_worker
    running = worker.busy(60)
    reserved = worker.delay("echo", "waits")
    scheduled = worker.task("echo").apply_async(("later",), countdown=90)
    worker.control("revoke", task_id="revoked-one")
    until(lambda: worker.control("reserved") and worker.control("scheduled"))
    return {"running": running[0].id, "reserved": reserved.id, "scheduled": scheduled.id}


@pytest.fixture(scope="module")
def printed(module_worker, work):
    """What each inspect command prints, as text and as JSON."""
    calls = {name: ("inspect", "-d", module_worker.node, "-t", "5", name) for name in INSPECT}
    calls.update({f"{name} json": (*calls[name][:-1], "--json", name) for name in AS_JSON})
    calls["status"] = ("status", "-t", "3")
    calls["query_task"] = ("inspect", "-d", module_worker.node, "query_task", work["running"], work["reserved"])
    with ThreadPoolExecutor(3) as pool:
        return dict(zip(calls, pool.map(lambda words: celery(module_worker, *words), calls.values())))


class TestInspect:
    @pytest.mark.parametrize("name", INSPECT)
    def test_the_node_answers(self, module_worker, printed, name):
        lines = printed[name].splitlines()
        assert lines[0] == f"->  {module_worker.node}: OK"
        assert lines[-1] == "1 node online."

    @pytest.mark.parametrize("name", AS_JSON)
    def test_as_json(self, module_worker, printed, name):
        answer = json.loads(printed[f"{name} json"].splitlines()[0])
        assert list(answer) == [module_worker.node]

    @pytest.mark.parametrize(
        "name, text",
        [
            ("active", "'name': 'wire.sleep'"),
            ("reserved", "'name': 'wire.echo'"),
            ("scheduled", "'eta':"),
            ("registered", "    * wire.add\n"),
            ("stats", '"max-concurrency": 4'),
            ("active_queues", "'name': 'celery'"),
            ("revoked", "    * revoked-one\n"),
            ("conf", '"broker_url": "amqp://'),
            ("report", "software -> "),
            ("ping", "        pong\n"),
        ],
    )
    def test_what_is_printed(self, printed, name, text):
        assert text in printed[name]

    def test_the_tasks_are_named(self, printed, work):
        assert work["running"] in printed["active"]
        assert work["reserved"] in printed["reserved"]
        assert work["scheduled"] in printed["scheduled"]
        assert work["running"] in printed["query_task"] and work["reserved"] in printed["query_task"]

    def test_passwords_are_not_printed(self, printed):
        for name in ("conf", "report", "stats"):
            assert "guest:guest@" not in printed[name]

    def test_status(self, module_worker, printed):
        lines = printed["status"].splitlines()
        assert lines[0] == f"->  {module_worker.node}: OK" and lines[-1] == "1 node online."


class TestControl:
    @pytest.mark.parametrize(
        "words, text",
        [
            (("enable_events",), "task events enabled"),
            (("rate_limit", "wire.add", "100/s"), "new rate limit set successfully"),
            (("time_limit", "wire.add", "10", "20"), "time limits set successfully"),
            (("add_consumer", "from.cli"), "add consumer from.cli"),
            (("cancel_consumer", "from.cli"), "no longer consuming from from.cli"),
            (("pool_grow", "1"), "pool will grow"),
            (("pool_shrink", "1"), "pool will shrink"),
            (("revoke", "some-id"), "flagged as revoked"),
            (("terminate", "SIGTERM", "some-other-id"), "terminate: tasks unknown"),
        ],
        ids=lambda words: words[0] if isinstance(words, tuple) else "",
    )
    def test_a_command(self, own_cli_worker, words, text):
        output = celery(own_cli_worker, "control", "-d", own_cli_worker.node, "-t", "5", *words)
        assert f"->  {own_cli_worker.node}: OK" in output and text in output

    def test_shutdown(self, own_cli_worker):
        # nobody answers, which the command takes for a failure
        celery(own_cli_worker, "control", "-t", "0.2", "shutdown", status=69)
        until(lambda: not own_cli_worker.is_running(), "it ends", deadline=30)

    @pytest.fixture(scope="class")
    def own_cli_worker(self):
        worker = Worker(command())
        yield worker
        worker.stop()
