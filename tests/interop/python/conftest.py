"""Fixtures: workers in virtual hosts of their own, and what tells coney from the reference.

`CONEY_CELERY_WORKER` and `CONEY_CELERY_PRODUCER` name the binaries under test; without them the tests try the
reference in Python, which shows that they expect what Celery does. `CONEY_URL` and `CONEY_MANAGEMENT_URL` name the
broker.
"""

import json
import os
import subprocess

import pytest
import requests

from broker import MANAGEMENT, VirtualHost, manage
from fixture import REFERENCE, REFERENCE_PRODUCER, Worker, client

WORKER = os.environ.get("CONEY_CELERY_WORKER")
PRODUCER = os.environ.get("CONEY_CELERY_PRODUCER")


def pytest_configure(config):
    config.addinivalue_line("markers", "better(why): coney does deliberately better than a worker in Python")
    config.addinivalue_line("markers", "python_only(why): how Celery in Python does it; coney has another way")


def pytest_sessionstart(session):
    try:
        manage("GET", "overview")
    except requests.RequestException as error:
        pytest.exit(f"no management API at {MANAGEMENT}, set CONEY_MANAGEMENT_URL: {error}", returncode=3)


def pytest_collection_modifyitems(config, items):
    """Deselects what is not promised by the worker under test: those tests are not run, rather than skipped."""
    unfit = "better" if WORKER is None else "python_only"
    dropped = [item for item in items if item.get_closest_marker(unfit)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def command():
    return [WORKER] if WORKER else REFERENCE


@pytest.fixture(scope="session")
def coney():
    """Whether the worker under test is the one of coney."""
    return WORKER is not None


@pytest.fixture(scope="session")
def shared_worker():
    worker = Worker(command())
    yield worker
    worker.stop()


@pytest.fixture
def worker(shared_worker):
    """The worker that most tests share; each leaves it as it was."""
    yield shared_worker
    assert shared_worker.is_running(), f"the worker ended: {shared_worker.output()}"


@pytest.fixture
def own_worker():
    """A worker that a test may change or end."""
    worker = Worker(command())
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def module_worker():
    """A worker of one file of tests."""
    worker = Worker(command())
    yield worker
    worker.stop()


@pytest.fixture
def wire(worker):
    wire = worker.wire()
    yield wire
    wire.close()


@pytest.fixture
def inbox(wire):
    """A queue for results, to be named as `reply_to`."""
    return wire.inbox()


@pytest.fixture
def celery(worker):
    """A client of the test's own, which never waited for a result before."""
    app = client(worker.vhost.url)
    yield app
    app.close()


@pytest.fixture(scope="session")
def python_worker():
    """A worker in Python, for the producer."""
    worker = Worker(REFERENCE)
    yield worker
    worker.stop()


@pytest.fixture(scope="session")
def produce(python_worker):
    """Runs the producer with one request."""

    def run(vhost=python_worker.vhost, **request):
        done = subprocess.run(
            [PRODUCER] if PRODUCER else REFERENCE_PRODUCER,
            input=json.dumps(request),
            env={**os.environ, "WIRE_BROKER": vhost.url},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def vhost():
    vhost = VirtualHost()
    yield vhost
    vhost.delete()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what the worker said in a test that failed."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for name in ("worker", "own_worker", "module_worker", "python_worker"):
            if name in item.funcargs:
                report.sections.append((f"output of {name}", item.funcargs[name].output()))
