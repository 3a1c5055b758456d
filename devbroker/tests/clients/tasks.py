"""The tasks of an ordinary Celery application; its broker is the one of the environment."""

import os

from celery import Celery

app = Celery("tasks", broker=os.environ["CLIENTS_URL"], backend="rpc://")
app.conf.broker_connection_retry_on_startup = True


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=3)
def second_time_lucky(self):
    if self.request.retries == 0:
        raise self.retry(countdown=1)
    return self.request.retries


@app.task
def broken():
    raise ValueError("as it should be")
