"""Does the jobs of a queue in Python, over HTTP, with nothing but the standard library.

Each job is a number, its result the square of it. With a token, QUORATE_TOKEN has it. SIGTERM and Ctrl-C let the job end that
is under way.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

LEASE_SECONDS = 30


class Never(Exception):
    """The job will never be done."""


def square(number):
    if not isinstance(number, int):
        raise Never(f"not a whole number: {number!r}")
    return number * number


class Queue:
    """A queue of a `quorate serve`."""

    def __init__(self, server, name):
        self.url = f"{server.rstrip('/')}/v1/queues/{urllib.parse.quote(name, safe='')}"

    def call(self, verb, body):
        headers = {"content-type": "application/json"}
        if token := os.environ.get("QUORATE_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"{self.url}/{verb}", json.dumps(body).encode(), headers)
        # Longer than a claim waits.
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def claim(self):
        body = {"most": 1, "lease": f"{LEASE_SECONDS}s", "wait": "5s"}
        return self.call("claim", body)["jobs"]

    def settle(self, job, **outcome):
        """Tried again while it may be of use: a settlement that was lost costs the job an attempt."""
        ends = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                body = {"jobs": [{"receipt": job["receipt"], **outcome}]}
                return self.call("settle", body)["settled"][0]
            except urllib.error.HTTPError as error:
                if error.code < 500 or time.monotonic() > ends:
                    raise
            except OSError:
                if time.monotonic() > ends:
                    raise
            time.sleep(1)


class Heart:
    """Renews a job's lease while it is worked on. `lost` is set when somebody else may have it, or it was cancelled."""

    def __init__(self, queue, job):
        self.queue, self.job = queue, job
        self.done, self.lost = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.beat, daemon=True)

    def beat(self):
        while not self.done.wait(LEASE_SECONDS / 3):
            body = {"receipts": [self.job["receipt"]], "lease": f"{LEASE_SECONDS}s"}
            try:
                if self.queue.call("renew", body)["jobs"] != ["held"]:
                    self.lost.set()
                    return
            except OSError as error:
                print(f"cannot renew: {error}", file=sys.stderr)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()


def work(queue, job):
    # `heart.lost` is for work that takes longer: look at it now and then, and stop.
    with Heart(queue, job) as heart:
        try:
            outcome = {"outcome": "succeeded", "result": square(job["input"])}
        except Never as error:
            outcome = {"outcome": "dead", "error": str(error)}
        except Exception as error:  # again, later each time
            outcome = {"outcome": "failed", "error": repr(error)}
    if heart.lost.is_set() or not queue.settle(job, **outcome):
        print(f"lost {job['id']}", file=sys.stderr)


def main():
    server, name = sys.argv[1:]
    queue, stop = Queue(server, name), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print("ready", flush=True)
    while not stop.is_set():
        try:
            jobs = queue.claim()
        except OSError as error:
            print(f"cannot claim: {error}", file=sys.stderr)
            stop.wait(1)
            continue
        for job in jobs:
            work(queue, job)


if __name__ == "__main__":
    main()
