"""TRL's side of the benchmark, eager on all cores: measures the case given as JSON and prints one line of JSON."""

import contextlib
import copy
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from peer import cores, main

torch.set_num_threads(cores())
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(Path(__file__).parents[2] / "data/models/tiny-qwen2")
LETTERS = "7Q?~"  # each a token


class Clock(TrainerCallback):
    """When steps end."""

    def __init__(self):
        self.times = []

    def on_step_end(self, *args, **kwargs):
        self.times.append(time.perf_counter())


def grpo(work):
    rows = [{"prompt": LETTERS[i % 4] * work["prompt"]} for i in range(work["prompts"])]
    batch = work["prompts"] * work["generations"]
    drawing = {"num_generations": work["generations"], "max_completion_length": work["completion"]}
    args = GRPOConfig(per_device_train_batch_size=batch, **drawing, **shared(work))
    model = build(work)
    lengths = lambda completions, **_: [float(len(c)) for c in completions]  # noqa: E731
    return measured(work, model, GRPOTrainer(model, reward_funcs=lengths, args=args, train_dataset=dataset(rows, work), processing_class=tokenizer))


def dpo(work):
    text = lambda i, n: LETTERS[i % 4] * n  # noqa: E731
    rows = [
        {"prompt": text(i, work["prompt"]), "chosen": text(i + 1, work["completion"] - 1), "rejected": text(i + 2, work["completion"] - 1)}
        for i in range(work["pairs"])
    ]
    model = build(work)
    args = DPOConfig(per_device_train_batch_size=work["pairs"], **shared(work))
    reference = copy.deepcopy(model).requires_grad_(False)
    return measured(work, model, DPOTrainer(model, reference, args=args, train_dataset=dataset(rows, work), processing_class=tokenizer))


def shared(work):
    """Without gradient checkpointing, which is the faster way, and in float32."""
    return {
        "output_dir": tempfile.mkdtemp(), "max_steps": work["runs"] + 1, "learning_rate": 1e-5, "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "logging_steps": 1, "report_to": [], "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip


def dataset(rows, work):
    return Dataset.from_list(rows * (work["runs"] + 1))


def measured(work, model, trainer):
    clock = Clock()
    trainer.add_callback(clock)
    with contextlib.redirect_stdout(sys.stderr):  # what it logs
        trainer.train()
    log = [row for row in trainer.state.log_history if "loss" in row]
    assert len(log) == work["runs"] + 1 == len(clock.times), len(log)
    if work["kind"] == "grpo":
        assert all(row["completions/max_length"] == work["completion"] for row in log)
    seconds = [b - a for a, b in zip(clock.times, clock.times[1:])]
    return {"seconds": seconds, "parameters": sum(p.numel() for p in model.parameters()), "loss": log[0]["loss"]}


def build(work):
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return Qwen2ForCausalLM(Qwen2Config(**work["model"], **ends))


versions = f"TRL {trl.__version__}, PyTorch {torch.__version__}, transformers {transformers.__version__}"
main({"grpo": grpo, "dpo": dpo}, versions)
