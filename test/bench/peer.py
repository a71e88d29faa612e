"""What the peers' programs share."""

import json
import os
import resource
import sys
import time

CALLS = 1000


def cores():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def timed(runs, run):
    """Seconds of each run, after one that does not count."""
    run()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


def main(measures, versions):
    """Measures the case in the argument and prints one line of JSON, with the largest resident memory."""
    work = json.loads(sys.argv[1])
    found = measures[work["kind"]](work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    print(json.dumps({**found, "peakBytes": peak, "versions": versions}))
