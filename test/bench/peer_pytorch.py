"""PyTorch's side of the benchmark, eager on all cores: measures the case given as JSON and prints one line of JSON."""

import torch
import torch.nn.functional as F
import transformers
from transformers import Qwen2Config, Qwen2ForCausalLM

from peer import CALLS, cores, main, timed

torch.set_num_threads(cores())
torch.manual_seed(0)
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def copy(work):
    source = torch.zeros(work["megabytes"] * 2**18)
    target = torch.empty_like(source)
    return {"seconds": timed(work["runs"], lambda: target.copy_(source))}


def matmul(work):
    a, b = (torch.randn(work["size"], work["size"]).to(TYPES[work["type"]]) for _ in range(2))
    return {"seconds": timed(work["runs"], lambda: a @ b)}


def call(work):
    def run():
        x = torch.zeros(8)
        for _ in range(CALLS):
            x = x + 1

    return {"seconds": [s / CALLS for s in timed(work["runs"], run)]}


def chain(work):
    first, one = torch.zeros(8), torch.ones(8)

    def run():
        x = first
        for _ in range(work["operations"]):
            x = x + one

    return {"seconds": [s / work["operations"] for s in timed(work["runs"], run)]}


def train(work):
    autocast = work["type"] == "autocast"
    model = build(work, torch.float32 if autocast else TYPES[work["type"]]).train()
    ids = torch.randint(0, model.config.vocab_size, (work["rows"], work["tokens"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    losses = []

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())

    return {"seconds": timed(work["runs"], step), "parameters": count(model), "loss": losses[0]}


@torch.no_grad()
def decode(work):
    model = build(work, TYPES[work["type"]]).eval()
    ids = torch.randint(0, model.config.vocab_size, (work["rows"], work["prompt"]))
    mask = torch.ones_like(ids)
    options = {"do_sample": not work["greedy"], "max_new_tokens": work["tokens"], "pad_token_id": 0, "eos_token_id": None}
    if not work["greedy"]:
        options |= {"top_k": 0, "top_p": 1.0, "temperature": 1.0}

    def run():
        drawn = model.generate(ids, attention_mask=mask, **options)
        assert drawn.shape == (work["rows"], work["prompt"] + work["tokens"]), drawn.shape

    return {"seconds": timed(work["runs"], run), "parameters": count(model)}


def build(work, dtype):
    return Qwen2ForCausalLM(Qwen2Config(**work["model"], bos_token_id=None, eos_token_id=None)).to(dtype)


def count(model):
    return sum(p.numel() for p in model.parameters())


versions = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
main({"copy": copy, "matmul": matmul, "call": call, "chain": chain, "train": train, "decode": decode}, versions)
