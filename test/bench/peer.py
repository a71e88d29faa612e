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
    """Measures the case in the argument and prints one line of JSON, with the largest resident memory before and after."""
    work = json.loads(sys.argv[1])
    loaded = resident()
    found = measures[work["kind"]](work)
    print(json.dumps({**found, "peakBytes": resident(), "loadedBytes": loaded, "versions": versions}))


def resident():
    """Largest resident memory of the process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
