"""The workers under test and the clients that talk to them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery

from broker import SOON, VirtualHost, Wire, until

HERE = Path(__file__).parent
REFERENCE = [sys.executable, str(HERE / "reference.py")]
REFERENCE_PRODUCER = [sys.executable, str(HERE / "reference_producer.py")]

TASKS = (
    "add mul xsum identity echo noop fail fail_custom sleep soft retry_n retry_limited progress tracked quiet ignore ids "
    "context big length now late errback errback_tag replace spawn"
).split()


def client(url, **settings):
    """A Celery application that knows the tasks by name, as a client's does."""
    app = Celery("client", broker=url, backend="rpc://", set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, **settings)
    for name in TASKS:
        app.task(elsewhere, name=f"wire.{name}", typing=False)
    return app


def elsewhere(*args, **kwargs):
    """Stands for the body of a task: it is the worker's."""


class Worker:
    """A worker process in a virtual host of its own."""

    def __init__(self, command, vhost=None, **environment):
        self.vhost = vhost or VirtualHost()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            cwd=HERE,
            env={**os.environ, "WIRE_BROKER": self.vhost.url, "WIRE_QUEUE": "celery", **environment},
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.app = client(self.vhost.url)
        try:
            self.node = self.first_answer()
        except BaseException:
            self.stop()
            raise

    def first_answer(self):
        end = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, f"the worker ended: {self.output()}"
            assert time.monotonic() < end, f"the worker does not answer: {self.output()}"
            replies = self.app.control.broadcast("ping", reply=True, limit=1, timeout=0.5)
            if replies:
                return next(iter(replies[0]))

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-3000:]

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        """Ends the process at once, with its children."""
        if self.is_running():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end(self):
        """Ends all but the virtual host."""
        self.kill()
        self.app.close()

    def stop(self):
        """Ends all."""
        self.end()
        self.vhost.delete()

    def task(self, name):
        return self.app.tasks[f"wire.{name}"]

    def s(self, name, *args, **kwargs):
        return self.task(name).s(*args, **kwargs)

    def si(self, name, *args, **kwargs):
        return self.task(name).si(*args, **kwargs)

    def delay(self, name, *args, **kwargs):
        return self.task(name).delay(*args, **kwargs)

    def call(self, name, *args, **kwargs):
        """Its result, through Celery."""
        return self.delay(name, *args, **kwargs).get(timeout=SOON)

    def control(self, method, timeout=SOON, **arguments):
        """The reply of this node to one command."""
        replies = self.app.control.broadcast(
            method, arguments=arguments, reply=True, limit=1, timeout=timeout, destination=[self.node]
        )
        assert replies, f"no reply to {method}"
        assert list(replies[0]) == [self.node]
        return replies[0][self.node]

    def wire(self):
        return Wire(self.vhost.url)

    def idle(self):
        """Waits until nothing runs or waits to run."""
        until(lambda: not self.control("active") and not self.control("reserved"), "idle")

    def busy(self, seconds=30, count=None):
        """Fills slots with sleeping tasks, returns their results when all run."""
        if count is None:
            count = self.control("stats")["pool"]["max-concurrency"]
        results = [self.delay("sleep", seconds) for _ in range(count)]
        ids = {result.id for result in results}
        until(lambda: ids <= {task["id"] for task in self.control("active")}, "all slots busy")
        return results

    def free(self, results):
        """Ends what `busy` started."""
        self.control("revoke", task_id=[result.id for result in results], terminate=True, signal="SIGTERM")
        self.idle()
