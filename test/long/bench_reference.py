"""The workloads of bench.ts in PyTorch and transformers: eager float32, all cores.

Reads workloads as JSON from the argument; prints seconds of each run and CPU seconds as JSON.
"""

import json
import os
import sys
import time

import torch
import transformers
from transformers import Qwen2Config, Qwen2ForCausalLM

torch.set_num_threads(os.cpu_count())
torch.manual_seed(0)


def timed(run, runs):
    run()  # warm-up
    result = []
    for _ in range(runs):
        began, cpu = time.perf_counter(), time.process_time()
        run()
        result.append({"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu})
    return result


def train(model, rows, tokens):
    ids = torch.randint(0, model.config.vocab_size, (rows, tokens))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def sample(model, rows, prompt, tokens):
    ids = torch.randint(0, model.config.vocab_size, (rows, prompt))
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": tokens, "min_new_tokens": tokens, "pad_token_id": 0}
    return lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options)


def main():
    results = []
    for work in json.loads(sys.argv[1]):
        model = Qwen2ForCausalLM(Qwen2Config(**work["config"]))
        shape = work["train"]
        trained = timed(train(model, shape["rows"], shape["tokens"]), work["runs"])
        shape = work["sample"]
        with torch.no_grad():
            sampled = timed(sample(model.eval(), shape["rows"], shape["prompt"], shape["tokens"]), work["runs"])
        results.append({"train": trained, "sample": sampled})
    versions = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
    print(json.dumps({"versions": versions, "results": results}))


main()
