"""PyTorch's side of the benchmark, eager on all cores: measures the case given as JSON and prints one line of JSON."""

import math
import time
from pathlib import Path

import diffusers
import torch
import torch.nn.functional as F
import transformers
from diffusers import FluxKontextPipeline
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


def edit(work):
    pipe = FluxKontextPipeline.from_pretrained(Path(__file__).parents[2] / "data/models/tiny-kontext")
    transformer = pipe.transformer.train()
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=1e-4, fused=True)
    group, steps, window, eta = work["group"], work["steps"], work["window"], 0.7
    prompts = ["make the red circle blue"] * (work["rows"] // group)
    images, targets = torch.rand(len(prompts), 3, 32, 32), torch.rand(work["rows"], 3, 32, 32)
    shift, scale = pipe.vae.config.shift_factor, pipe.vae.config.scaling_factor
    ids = torch.cat([pipe._prepare_latent_image_ids(1, 4, 4, "cpu", torch.float32) for _ in range(2)])
    ids[16:, 0] = 1
    sigmas = torch.linspace(1, 0, steps + 1)
    parts = []

    def velocity(x, sigma, conditions):
        text, pooled, text_ids, reference = conditions
        return transformer(
            hidden_states=torch.cat([x, reference], 1), timestep=sigma, pooled_projections=pooled,
            encoder_hidden_states=text, txt_ids=text_ids, img_ids=ids, return_dict=False,
        )[0][:, : x.shape[1]]  # fmt: skip

    def sde(x, v, sigma, sigma_next):
        dt = sigma_next - sigma
        s = eta * torch.sqrt(sigma / (1 - torch.where(sigma == 1, sigma_next, sigma)))
        mean = x * (1 + s**2 / (2 * sigma) * dt) + v * (1 + s**2 * (1 - sigma) / (2 * sigma)) * dt
        return mean, s * torch.sqrt(-dt)

    def log_prob(x, mean, std):
        return (-((x - mean) ** 2) / (2 * std**2) - torch.log(std) - math.log(math.sqrt(2 * math.pi))).mean((1, 2))

    @torch.no_grad()
    def sample():
        text, pooled, text_ids = pipe.encode_prompt(prompt=prompts, prompt_2=None, device="cpu", max_sequence_length=12)
        encoded = (pipe.vae.encode(2 * images - 1).latent_dist.mode() - shift) * scale
        reference = pipe._pack_latents(encoded, len(prompts), 6, 8, 8)
        conditions = [c.repeat_interleave(group, 0) for c in (text, pooled)] + [text_ids, reference.repeat_interleave(group, 0)]
        x = torch.randn(reference.shape).repeat_interleave(group, 0)
        taken = []
        for i in range(steps):
            v = velocity(x, sigmas[i].expand(len(x)), conditions)
            if i < window:
                mean, std = sde(x, v, sigmas[i], sigmas[i + 1])
                following = mean + std * torch.randn_like(x)
                taken.append((x, following, log_prob(following, mean, std)))
                x = following
            else:
                x = x + (sigmas[i + 1] - sigmas[i]) * v
        latents = pipe._unpack_latents(x, 32, 32, pipe.vae_scale_factor)
        pictures = (pipe.vae.decode(latents / scale + shift).sample / 2 + 0.5).clamp(0, 1).mul(255).round()
        return conditions, taken, pictures

    @torch.no_grad()
    def score(x, y):
        mean = lambda t: F.avg_pool2d(t, 7, 1)  # noqa: E731
        x, y = x.double(), 255 * y.double()
        norm, c1, c2 = 49 / 48, (0.01 * 255) ** 2, (0.03 * 255) ** 2
        ux, uy = mean(x), mean(y)
        vx, vy, vxy = norm * (mean(x * x) - ux * ux), norm * (mean(y * y) - uy * uy), norm * (mean(x * y) - ux * uy)
        return ((2 * ux * uy + c1) * (2 * vxy + c2) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))).mean((1, 2, 3)).float()

    def update(conditions, taken, rewards):
        grouped = rewards.reshape(-1, group)
        advantages = ((grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)).reshape(-1, 1)
        # All trained steps of all rows in one batch.
        text, pooled, text_ids, reference = conditions
        wide = [c.repeat(window, 1, 1) for c in (text, reference)]
        x, following = (torch.cat([step[k] for step in taken]) for k in (0, 1))
        at, to = (s.repeat_interleave(len(text))[:, None, None] for s in (sigmas[:window], sigmas[1 : window + 1]))
        v = velocity(x, at.flatten(), (wide[0], pooled.repeat(window, 1), text_ids, wide[1]))
        new = log_prob(following, *sde(x, v, at, to)).reshape(window, -1).T
        old = torch.stack([step[2] for step in taken], 1)
        ratio = torch.exp(new - old)
        loss = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    def run():
        times = [time.perf_counter()]
        conditions, taken, pictures = sample()
        times.append(time.perf_counter())
        rewards = score(pictures, targets)
        times.append(time.perf_counter())
        update(conditions, taken, rewards)
        times.append(time.perf_counter())
        parts.append([b - a for a, b in zip(times, times[1:])])

    seconds = timed(work["runs"], run)
    best = parts[1:][seconds.index(min(seconds))]
    note = ", ".join(f"{name} {s:.2f}" for name, s in zip(("sampling", "scoring", "training"), best))
    return {"seconds": seconds, "parameters": count(transformer), "note": note}


def build(work, dtype):
    return Qwen2ForCausalLM(Qwen2Config(**work["model"], bos_token_id=None, eos_token_id=None)).to(dtype)


def count(model):
    return sum(p.numel() for p in model.parameters())


versions = f"PyTorch {torch.__version__}, transformers {transformers.__version__}, diffusers {diffusers.__version__}"
main({"copy": copy, "matmul": matmul, "call": call, "chain": chain, "train": train, "decode": decode, "edit": edit}, versions)
