"""The fixture worker in Python: what the tests hold to be right is what this one does, running Celery itself.

Started like the Rust one: `$WIRE_BROKER` and `$WIRE_QUEUE` say where.
"""

import os
import time

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
from celery.exceptions import Ignore

QUEUE = os.environ.get("WIRE_QUEUE", "celery")

app = Celery("reference", broker=os.environ["WIRE_BROKER"], backend="rpc://")
app.conf.update(
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    task_default_queue=QUEUE,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=4,
)

# header names of Celery: what is left are the caller's own
OWN = set(
    "lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr kwargsrepr origin "
    "ignore_result replaced_task_nesting stamped_headers stamps compression args kwargs hostname delivery_info "
    "correlation_id reply_to properties callbacks errbacks chain chord called_directly is_eager headers utc loglevel "
    "logfile clock taskset priority delivery_mode expiration success".split()
)


class WireError(Exception):
    """An exception of a class that no client has."""


def task(**options):
    def register(function):
        return app.task(name=f"wire.{function.__name__}", **options)(function)

    return register


@task()
def add(x, y):
    return x + y


@task()
def mul(x, y):
    return x * y


@task()
def xsum(numbers):
    return sum(xsum(n) if isinstance(n, list) else n for n in numbers)


@task()
def identity(x):
    return x


@task()
def echo(*args, **kwargs):
    return {"args": args, "kwargs": kwargs}


@task()
def noop(*args, **kwargs):
    return None


@task()
def fail(message="boom", *args, **kwargs):
    raise ValueError(message)


@task()
def fail_custom(*args):
    raise WireError(*args)


@task()
def sleep(seconds, *args, **kwargs):
    time.sleep(seconds)
    return seconds


@task()
def soft(seconds):
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "soft"
    return "finished"


def caller_headers(request):
    """The caller's own headers, or None."""
    return {k: v for k, v in (request.headers or {}).items() if k not in OWN} or None


def named_stamps(request):
    """The stamps that count."""
    return {name: (request.stamps or {}).get(name) for name in request.stamped_headers or ()}


@task(bind=True, max_retries=None)
def retry_n(self, n, countdown=0.2):
    request = self.request
    if request.retries < n:
        raise self.retry(exc=ValueError(f"attempt {request.retries}"), countdown=countdown)
    return {
        "retries": request.retries,
        "id": request.id,
        "headers": caller_headers(request),
        "priority": request.delivery_info.get("priority"),
        "stamps": named_stamps(request),
        "root_id": request.root_id,
        "parent_id": request.parent_id,
    }


@task(bind=True)
def retry_limited(self, max_retries=1, countdown=0.1):
    raise self.retry(exc=ValueError("out of retries"), countdown=countdown, max_retries=max_retries)


@task(bind=True)
def progress(self, steps=2, pause=0.3):
    for step in range(1, steps + 1):
        self.update_state(state="PROGRESS", meta={"current": step, "total": steps})
        time.sleep(pause)
    return steps


@task(track_started=True)
def tracked(pause=0.3):
    time.sleep(pause)
    return "tracked"


@task(ignore_result=True)
def quiet(*args):
    return "unheard"


@task()
def ignore():
    raise Ignore()


@task(bind=True)
def ids(self, *args):
    request = self.request
    return {
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "group": request.group,
        "group_index": request.group_index,
        "args": args,
    }


@task(bind=True)
def context(self, *args, **kwargs):
    request = self.request
    names = (
        "id retries reply_to correlation_id eta expires timelimit stamps stamped_headers hostname origin "
        "replaced_task_nesting argsrepr"
    )
    seen = {name: getattr(request, name, None) for name in names.split()}
    info = request.delivery_info or {}
    seen["delivery_info"] = {k: info.get(k) for k in ("exchange", "routing_key", "priority", "redelivered")}
    seen["stamps"] = named_stamps(request)
    seen["headers"] = caller_headers(request)
    return seen


@task()
def big(size):
    return "x" * size


@task()
def length(text):
    return len(text)


@task()
def now(*args, **kwargs):
    return time.time()


@task(acks_late=True)
def late(seconds):
    time.sleep(seconds)
    return seconds


@task()
def errback(task_id):
    return f"failed:{task_id}"


# arity 3 would make Python call it in place; the contract sends every errback as a task
@task()
def errback_tag(task_id, tag):
    return f"failed:{task_id}:{tag}"


@task(bind=True)
def replace(self, x):
    raise self.replace(add.s(x, 10))


@task()
def spawn(x, y):
    return add.delay(x, y).id


@app.task(name="celery.ping")
def ping():
    return "pong"


if __name__ == "__main__":
    app.worker_main(
        "worker --concurrency 4 --hostname reference@wire --without-gossip --without-mingle --loglevel warning".split()
        + ["--queues", QUEUE]
    )
