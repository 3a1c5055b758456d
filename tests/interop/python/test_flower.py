"""Flower shows the worker and its tasks, and its buttons work (section 15)."""

import os
import re
import socket
import subprocess
import sys

import pytest
import requests

from broker import MANAGEMENT, SOON, login, until
from fixture import HERE


class Flower:
    """A Flower process that watches one virtual host."""

    def __init__(self, worker):
        self.worker = worker
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        user, password = login()
        api = MANAGEMENT.rstrip("/").replace("://", f"://{user}:{password}@") + "/api/"
        words = f"-A monitor flower --broker_api={api} --address=127.0.0.1 --port={self.port} --inspect_timeout=3000 --logging=warning"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", *words.split()],
            cwd=HERE,
            env={**os.environ, "WIRE_BROKER": worker.vhost.url, "FLOWER_UNAUTHENTICATED_API": "true"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self.answers, "Flower serves", deadline=60)

    def answers(self):
        assert self.process.poll() is None, "Flower ended"
        try:
            return self.get("healthcheck").ok
        except requests.ConnectionError:
            return False

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}"

    def get(self, path, **parameters):
        return requests.get(self.url(path), params=parameters, timeout=30)

    def post(self, path, **parameters):
        reply = requests.post(self.url(path), data=parameters, timeout=30)
        assert reply.ok, f"{reply.status_code} {reply.text}"
        return reply.json()["message"]

    def refused(self, path, **parameters):
        reply = requests.post(self.url(path), data=parameters, timeout=30)
        assert reply.status_code in (403, 500), reply.text
        return reply.text

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def flower(module_worker):
    flower = Flower(module_worker)
    # its receiver is there once it has switched on the events of tasks
    until(lambda: module_worker.control("enable_events")["ok"] == "task events already enabled", "Flower listens")
    yield flower
    flower.stop()


@pytest.fixture(scope="module")
def seen(flower):
    """Tasks that ran while Flower looked on."""
    worker = flower.worker
    results = {
        "good": worker.delay("add", 2, y=3),
        "bad": worker.delay("fail", "shown"),
        "again": worker.delay("retry_n", 1, 0.01),
    }

    def all_seen():
        tasks = flower.get("api/tasks").json()
        states = [tasks.get(results[name].id, {}).get("state") for name in results]
        return states == ["SUCCESS", "FAILURE", "SUCCESS"] and tasks

    return results, until(all_seen, "Flower knows the tasks")


class TestWorkers:
    def test_the_api_lists_it(self, flower):
        node = flower.worker.node
        worker = until(lambda: flower.get("api/workers", refresh=1).json().get(node))
        assert "wire.add" in worker["registered"]
        assert worker["stats"]["pool"]["max-concurrency"] == 4
        assert [queue["name"] for queue in worker["active_queues"]] == ["celery"]
        assert "broker_url" in worker["conf"]

    def test_it_is_online(self, flower):
        assert until(lambda: flower.get("api/workers", status=1).json().get(flower.worker.node)) is True

    def test_one_worker_with_all_that_it_holds(self, flower):
        worker = flower.get("api/workers", refresh=1, workername=flower.worker.node).json()[flower.worker.node]
        assert {"stats", "active_queues", "registered", "conf", "scheduled", "active", "reserved", "revoked"} <= set(worker)

    def test_the_page_of_all_workers(self, flower):
        until(lambda: flower.worker.node in flower.get("workers").text)

    def test_the_page_of_one_worker(self, flower):
        page = flower.get(f"worker/{flower.worker.node}")
        assert page.ok and "wire.add" in page.text and flower.worker.node in page.text
        assert "concurrency" in page.text.lower()

    def test_the_table_of_workers_has_numbers(self, flower, seen):
        data = flower.get("workers", json=1).json()["data"]
        (row,) = [row for row in data if row["hostname"] == flower.worker.node]
        assert row["status"] is True
        assert row["task-received"] >= 3 and row["task-succeeded"] >= 2 and row["task-failed"] >= 1

    def test_metrics(self, flower, seen):
        text = flower.get("metrics").text
        node = re.escape(flower.worker.node)
        assert re.search(rf'flower_worker_online\{{worker="{node}"\}} 1\.0', text)
        assert re.search(rf'flower_events_total\{{task="wire.add",type="task-succeeded",worker="{node}"\}}', text)


class TestTasks:
    def test_a_success(self, flower, seen):
        results, tasks = seen
        task = tasks[results["good"].id]
        assert task["name"] == "wire.add" and task["args"] == "(2,)" and task["kwargs"] == "{'y': 3}"
        assert task["result"] == "5" and task["runtime"] >= 0 and task["worker"] == flower.worker.node
        assert task["received"] and task["started"] and task["succeeded"]

    def test_a_failure(self, flower, seen):
        results, tasks = seen
        task = tasks[results["bad"].id]
        assert task["exception"] == "ValueError('shown')" and "ValueError" in task["traceback"]

    def test_a_retry(self, flower, seen):
        results, tasks = seen
        assert tasks[results["again"].id]["retried"]

    def test_one_task(self, flower, seen):
        results, _ = seen
        task = flower.get(f"api/task/info/{results['good'].id}").json()
        assert task["state"] == "SUCCESS"

    def test_the_page_of_a_task(self, flower, seen):
        results, _ = seen
        page = flower.get(f"task/{results['bad'].id}")
        assert page.ok and "wire.fail" in page.text and "shown" in page.text

    def test_types(self, flower, seen):
        assert {"wire.add", "wire.fail"} <= set(flower.get("api/task/types").json()["task-types"])

    def test_the_length_of_the_queue(self, flower, seen):
        until(lambda: ["celery"] == [each["name"] for each in flower.get("api/queues/length").json()["active_queues"]])


class TestButtons:
    def path(self, flower, action):
        return f"api/worker/{action}/{flower.worker.node}"

    def test_grow_and_shrink(self, flower):
        assert "Growing" in flower.post(self.path(flower, "pool/grow"), n=1)
        assert "Shrinking" in flower.post(self.path(flower, "pool/shrink"), n=1)

    def test_autoscale_is_refused_with_its_reason(self, flower):
        assert "Autoscale not enabled" in flower.refused(self.path(flower, "pool/autoscale"), min=2, max=4)

    def test_restart_is_refused_with_its_reason(self, flower):
        assert "Pool restarts not enabled" in flower.refused(self.path(flower, "pool/restart"))

    def test_queues_are_added_and_cancelled(self, flower):
        assert flower.post(self.path(flower, "queue/add-consumer"), queue="pressed") == "add consumer pressed"
        until(lambda: "pressed" in [queue["name"] for queue in flower.worker.control("active_queues")])
        assert "no longer" in flower.post(self.path(flower, "queue/cancel-consumer"), queue="pressed")

    def test_limits(self, flower):
        node = flower.worker.node
        assert "successfully" in flower.post("api/task/timeout/wire.mul", workername=node, soft=10, hard=20)
        assert "successfully" in flower.post("api/task/rate-limit/wire.mul", workername=node, ratelimit="100/s")

    def test_revoke_with_terminate(self, flower):
        (result,) = flower.worker.busy(count=1)
        flower.post(f"api/task/revoke/{result.id}", terminate="true", signal="SIGTERM")
        with pytest.raises(Exception, match="terminated"):
            result.get(timeout=SOON)
        until(lambda: flower.get(f"api/task/info/{result.id}").json()["state"] == "REVOKED")

    def test_a_task_is_applied(self, flower):
        reply = requests.post(flower.url("api/task/send-task/wire.add"), json={"args": [4, 5]}, timeout=30).json()
        task = until(
            lambda: (t := flower.get("api/tasks").json().get(reply["task-id"], {})).get("state") == "SUCCESS" and t
        )
        assert task["result"] == "9"

    def test_shutdown(self, flower):
        flower.post(self.path(flower, "shutdown"))
        until(lambda: not flower.worker.is_running(), "it ends", deadline=30)
        until(lambda: flower.get("api/workers", status=1).json().get(flower.worker.node) is False, "shown offline")
