"""A Ray cluster of two nodes on this machine that runs scripts/sweep_ray.py, and loses one of them while it trains: see sweep.ts."""

import os
import subprocess
import sys
import time
from pathlib import Path

os.environ["RAY_agent_register_timeout_ms"] = "300000"  # this machine may be busy
from ray.cluster_utils import Cluster  # noqa: E402, which reads it

script, sweep, folder, command = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
node = cluster.add_node(num_cpus=1, include_dashboard=False)
arguments = [sys.executable, script, sweep, "--address", cluster.address, "--rewardlab", command]
sweeping = subprocess.Popen(arguments)


def count(pattern):
    return len(list(Path(folder).glob(pattern)))


while sweeping.poll() is None and (count("*/result.json") < 3 or count("*/lock") < 2 or count("*/checkpoint-2") < 5):
    time.sleep(0.05)
cluster.remove_node(node, allow_graceful=False)
print(f"node killed after {count('*/result.json')} trials", flush=True)
code = sweeping.wait()
cluster.shutdown()
sys.exit(code)
