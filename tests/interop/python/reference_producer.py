"""The fixture producer in Python: reads one JSON request from standard input, prints one JSON answer."""

import json
import os
import sys

from celery import Celery, chain, group
from celery.exceptions import TaskRevokedError, TimeoutError

app = Celery("producer", broker=os.environ["WIRE_BROKER"], backend="rpc://")
app.conf.task_default_queue = os.environ.get("WIRE_QUEUE", "celery")

OPTIONS = (
    "queue exchange routing_key countdown expires priority time_limit soft_time_limit ignore_result task_id compression"
)


def signature(step, **options):
    return app.signature(
        step["task"],
        args=tuple(step.get("args", ())),
        kwargs=step.get("kwargs", {}),
        immutable=step.get("immutable", False),
        options=options,
        app=app,
    )


def control(request):
    wait = request.get("timeout")
    replies = app.control.broadcast(
        request["control"],
        arguments=request.get("arguments") or {},
        destination=request.get("destination"),
        reply=wait is not None,
        timeout=wait or 1,
    )
    return {"replies": replies or []}


def send(request):
    options = {name: request[name] for name in OPTIONS.split() if name in request}
    for name in ("link", "link_error"):
        if name in request:
            options[name] = [signature(step) for step in request[name]]
    if "chain" in request or "group" in request:
        # every member goes to the queue named
        place = {k: v for k, v in options.items() if k in ("queue", "exchange", "routing_key")}
        members = [signature(step, **place) for step in request.get("chain") or request["group"]]
        work = chain(members, app=app) if "chain" in request else group(members, app=app)
    else:
        work = signature(request)
    return work.apply_async(**options)


def outcome(result, wait):
    try:
        return {"state": "SUCCESS", "result": result.get(timeout=wait)}
    except TimeoutError:
        return {"state": "PENDING"}
    except TaskRevokedError as error:
        state = "REVOKED"
        failure = error
    except Exception as error:
        state = "FAILURE"
        failure = error
    return {"state": state, "exc_type": type(failure).__name__, "exc_message": list(failure.args)}


def main():
    request = json.load(sys.stdin)
    if "control" in request:
        answer = control(request)
    else:
        result = send(request)
        answer = {"id": result.id}
        if "wait" in request:
            answer.update(outcome(result, request["wait"]))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
