"""Sends the metrics of a run's folder to your own Weights & Biases or trackio, of a finished run or, with --follow, of one that is still going.

    pip install wandb                        # or: pip install trackio
    python report_run.py runs/grpo-1 --to wandb --project my-project --follow

Metrics have the names that transformers' callbacks give them (train/loss, eval/loss); the run's config.yaml becomes the config. Each call makes a new
run there. Nothing else is sent, and rewardlab itself needs neither package. WANDB_MODE=offline writes to ./wandb instead of sending.
"""

import argparse
import importlib
import json
import time
from pathlib import Path

import yaml  # both packages bring it along

POLL_SECONDS = 5
NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def scalars(row):
    """The numbers of a row under their names there; what JSON cannot hold is stored as text."""
    for name, value in row.items():
        value = NON_FINITE.get(value, value) if isinstance(value, str) else value
        if name != "step" and isinstance(value, (int, float)):
            yield ("eval/" + name[len("eval_") :] if name.startswith("eval_") else "train/" + name), value


def rows(path, follow):
    """Rows in the order of their steps, each step once: a run that goes on from a checkpoint writes the steps after it anew. A line that is torn, or not
    yet whole, is not read."""
    last = 0
    while True:
        going = follow and (path.parent / "lock").exists()  # asked first, so that the rows of its end are not missed
        for line in path.read_text().split("\n")[:-1] if path.exists() else []:
            row = json.loads(line)
            if row.get("step", 0) > last:
                last = row["step"]
                yield row
        if not going:
            return
        time.sleep(POLL_SECONDS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder, such as runs/grpo-1")
    parser.add_argument("--to", choices=("wandb", "trackio"), required=True)
    parser.add_argument("--project", default="rewardlab")
    parser.add_argument("--name", help="of the run there; default: the folder's")
    parser.add_argument("--follow", action="store_true", help="go on until the run ends")
    args = parser.parse_args()
    config_path = args.run / "config.yaml"
    if not config_path.exists():
        parser.error(f"{args.run} has no config.yaml, needed the folder of a run.")
    service = importlib.import_module(args.to)
    config = yaml.safe_load(config_path.read_text())
    service.init(project=args.project, name=args.name or args.run.resolve().name, config=config)
    sent = 0
    try:
        for row in rows(args.run / "metrics.jsonl", args.follow):
            service.log(dict(scalars(row)), step=row["step"])
            sent += 1
    except KeyboardInterrupt:
        pass
    service.finish()
    print(f"{sent} rows of {args.run} sent to {args.to}.")


if __name__ == "__main__":
    main()
