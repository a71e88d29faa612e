"""Executes a notebook with the rewardlab kernel in the notebook's own folder, as JupyterLab does, and prints each cell's time.

Usage: execute_notebook.py INPUT OUTPUT. The outputs reached are written in any case; a failing cell gives exit code 1.
"""

import atexit
import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def execute(source: Path, target: Path) -> int:
    notebook = nbformat.read(source, as_version=4)
    cells = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    for index in cells:
        notebook.cells[index].update(outputs=[], execution_count=None)  # none of an earlier run stay after a failure
    started = {}

    def on_execute(cell, cell_index):
        started[cell_index] = time.monotonic()
        print(f"cell {cells.index(cell_index) + 1} of {len(cells)} …", end=" ", flush=True)

    def on_executed(cell, cell_index, execute_reply):
        print(f"{time.monotonic() - started[cell_index]:.1f} s", flush=True)

    client = NotebookClient(
        notebook,
        kernel_name="rewardlab",
        timeout=None,
        record_timing=False,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_execute=on_execute,
        on_cell_executed=on_executed,
    )
    began = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\n{error}\nrewardlab: a cell of {source.name} failed (above). Outputs so far: {target}", file=sys.stderr)
        return 1
    except (RuntimeError, AssertionError):
        atexit.unregister(client._cleanup_kernel)  # it asserts when the kernel never answered
        print(f"\nrewardlab: the kernel ended while running {source.name}: interrupted, or see above. Outputs so far: {target}", file=sys.stderr)
        return 1
    finally:
        keep_shown_widgets(notebook)
        write(notebook, target)
    print(f"{len(cells)} cells in {time.monotonic() - began:.0f} s: {target}")
    return 0


def keep_shown_widgets(notebook: nbformat.NotebookNode) -> None:
    """Drops the state of widgets that no output shows any more: nbclient keeps those that were closed."""
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json")
    if widgets is None:
        return
    shown, ahead = {}, re.findall(r'"model_id": "(\w+)"', json.dumps(notebook.cells))
    while ahead:
        model = ahead.pop()
        if model in widgets.state and model not in shown:
            shown[model] = widgets.state[model]
            ahead += re.findall(r"IPY_MODEL_(\w+)", json.dumps(shown[model]))
    widgets.state = shown
    if not shown:
        del notebook.metadata["widgets"]


def write(notebook: nbformat.NotebookNode, target: Path) -> None:
    """Replaces the file as a whole, so that an interrupted write leaves the old one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    nbformat.write(notebook, partial)
    os.replace(partial, target)


if __name__ == "__main__":
    sys.exit(execute(Path(sys.argv[1]), Path(sys.argv[2])))
