"""Trains a sweep on a Ray cluster: one task a trial, each a rewardlab process, and ends with the same table as `rewardlab sweep`.

    pip install ray                          # on every node, beside rewardlab
    python sweep_ray.py sweep.yaml --num_gpus 1

Every node needs this working directory under the same path on a shared file system: configs, data and the folder of the sweep lie there. Ray gives each
task its devices. A trial whose node dies goes on elsewhere from its last checkpoint; one that fails is named at the end and stops no other. Call it
again to go on with what is left. Linux alone: a trial's process ends with Ray's worker.
"""

import argparse
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PR_SET_PDEATHSIG = 1  # sys/prctl.h
LET_GO_SECONDS = 60


def end_with_parent():
    """A worker that Ray ends, or loses, takes its trial along: no two processes train it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def runs_here(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def released(run):
    """Whether nobody trains a run, whose lock is taken away then: rewardlab itself can only tell about processes of its own machine."""
    lock = run / "lock"
    try:
        owner = json.loads(lock.read_text())
    except FileNotFoundError:
        return True
    for node in ray.nodes():
        if node["Alive"] and node["NodeManagerHostname"] == owner["host"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            if ray.get(ray.remote(num_cpus=0, scheduling_strategy=there)(runs_here).remote(owner["pid"])):
                return False
    lock.unlink(missing_ok=True)
    return True


def train(command, trial, directory):
    """Trains a trial to its end.

    Returns whether it has come there; its log says what happened.
    """
    run = Path(directory, trial["dir"])
    for _ in range(LET_GO_SECONDS):
        if released(run):
            break
        time.sleep(1)  # a worker that lost its node is about to end
    with open(f"{run}.log", "w") as log:
        arguments = [*command, "train", f"{trial['dir']}.yaml", "--resume"]
        done = subprocess.run(
            arguments, cwd=directory, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=end_with_parent
        )
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="SWEEP.yaml, see rewardlab sweep --help")
    parser.add_argument("--address", default="auto", help="of the cluster; default: the one that runs here")
    parser.add_argument("--num_cpus", type=float, default=1, help="of a trial")
    parser.add_argument("--num_gpus", type=float, default=0, help="of a trial")
    parser.add_argument("--max_retries", type=int, default=3, help="how often a trial goes on whose node has died")
    parser.add_argument("--rewardlab", default="npx rewardlab", help="the command on every node")
    args = parser.parse_args()
    command = shlex.split(args.rewardlab)

    def standing(*options):
        told = subprocess.run([*command, "sweep", args.sweep, "--dry_run", *options], stdout=subprocess.PIPE, text=True)
        if told.returncode != 0:
            sys.exit(told.returncode)  # it has said why
        return told.stdout

    ray.init(address=args.address, logging_level="warning")
    resources = {"num_cpus": args.num_cpus, "num_gpus": args.num_gpus, "max_retries": args.max_retries}
    remote = ray.remote(**resources)(train)
    trials = [trial for trial in json.loads(standing("--json"))["trials"] if trial["state"] != "done"]
    names = {remote.remote(command, trial, os.getcwd()): trial["name"] for trial in trials}
    waiting = list(names)
    while waiting:
        [ended], waiting = ray.wait(waiting)
        try:
            verdict = "done" if ray.get(ended) else "failed"
        except ray.exceptions.RayError as error:  # its nodes died too often
            verdict = f"lost ({type(error).__name__})"
        print(f"{len(trials) - len(waiting)}/{len(trials)} {names[ended]}: {verdict}", file=sys.stderr, flush=True)
    print(standing())
    left = [trial["name"] for trial in json.loads(standing("--json"))["trials"] if trial["state"] != "done"]
    sys.exit(f"{len(left)} trials are not done. The same command goes on." if left else 0)


if __name__ == "__main__":
    main()
