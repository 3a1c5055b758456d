"""What an ordinary Celery client does with a worker that runs: results, retries, failures, groups, control."""

from celery import group

from tasks import add, app, broken, second_time_lucky

WAIT = 30


def check(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def main():
    check(add.delay(2, 3).get(timeout=WAIT), 5)
    check(second_time_lucky.delay().get(timeout=WAIT), 1)
    check(add.apply_async((1, 1), countdown=1).get(timeout=WAIT), 2)
    try:
        broken.delay().get(timeout=WAIT)
    except ValueError as error:
        check(str(error), "as it should be")
    else:
        raise AssertionError("a failure came back as a result")
    sums = group(add.s(n, n) for n in range(20)).apply_async()
    check(sums.get(timeout=WAIT), [2 * n for n in range(20)])
    check(len(app.control.ping(timeout=5)), 1)
    print("celery is content")


if __name__ == "__main__":
    main()
