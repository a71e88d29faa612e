"""JAX's side of the benchmark: measures the case given as JSON and prints one line of JSON.

The train step is the one of rewardlab.ts, written plainly: Qwen2 unrolled over its layers without rematerialisation, weights in the
case's type, moments, softmax and logits in float32, one jitted program with a donated state.
"""

import time

import jax
import jax.numpy as jnp

from peer import CALLS, main, timed

TYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16}
RATE, BETA1, BETA2, EPSILON, DECAY, CLIP = 1e-4, 0.9, 0.999, 1e-8, 0.01, 1.0


def copy(work):
    source = jnp.zeros(work["megabytes"] * 2**18)
    duplicate = jax.jit(jnp.copy)
    return {"seconds": timed(work["runs"], lambda: duplicate(source).block_until_ready())}


def matmul(work):
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (work["size"], work["size"])).astype(TYPES[work["type"]]) for key in keys)
    product = jax.jit(jnp.matmul)
    return {"seconds": timed(work["runs"], lambda: product(a, b).block_until_ready())}


def call(work):
    following = jax.jit(lambda x: x + 1)

    def run():
        x = jnp.zeros(8)
        for _ in range(CALLS):
            x = following(x)
        x.block_until_ready()

    return {"seconds": [s / CALLS for s in timed(work["runs"], run)]}


def chain(work):
    first, one = jnp.zeros(8), jnp.ones(8)

    def run():
        x = first
        for _ in range(work["operations"]):
            x = x + one
        x.block_until_ready()

    return {"seconds": [s / work["operations"] for s in timed(work["runs"], run)]}


def step(work):
    shape = (work["size"], work["size"])
    weights = [jax.random.normal(jax.random.key(i), shape) for i in range(work["parameters"])]
    update = jax.jit(lambda state: adamw(state, state["weights"]), donate_argnums=0)
    state = update(fresh(weights))
    seconds = []
    for i in range(work["runs"] + 1):
        jax.block_until_ready(state)
        began = time.perf_counter()
        state = update(state)
        if i > 0:
            seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "note": f"{len(jax.tree.leaves(state))} tensors in and out"}


def trace(work):
    width, heads = work["width"], work["heads"]
    model = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": work["layers"], "vocab_size": 64}
    model |= {"num_attention_heads": heads, "num_key_value_heads": heads, "rms_norm_eps": 1e-6, "rope_theta": 10000}
    weights = init(model | {"initializer_range": 0.02}, jax.random.key(0))
    ids = jnp.zeros((work["rows"], work["tokens"]), jnp.int32)
    seconds = []
    for i in range(work["runs"] + 1):
        jax.clear_caches()
        gradients = jax.jit(jax.grad(lambda weights: hidden(weights, ids, model).sum()))
        began = time.perf_counter()
        lowered = gradients.lower(weights)
        if i > 0:
            seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "note": f"{lowered.as_text().count(' = ')} operations"}


def train(work):
    model = work["model"]
    kept, used = {"f32": (jnp.float32,) * 2, "bf16": (jnp.bfloat16,) * 2, "autocast": (jnp.float32, jnp.bfloat16)}[work["type"]]
    weights = astype(init(model, jax.random.key(0)), kept)
    ids = jax.random.randint(jax.random.key(1), (work["rows"], work["tokens"]), 0, model["vocab_size"])

    def update(state, ids):
        value, grads = jax.value_and_grad(lambda w: loss(astype(w, used), ids, model))(state["weights"])
        return adamw(state, grads), value

    state = fresh(weights)
    count = sum(w.size for w in jax.tree.leaves(weights))
    began = time.perf_counter()
    lowered = jax.jit(update, donate_argnums=0).lower(state, ids)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    losses = []

    def run():
        nonlocal state
        state, value = compiled(state, ids)
        losses.append(float(value))

    seconds = timed(work["runs"], run)
    times = {"traceSeconds": traced - began, "compileSeconds": done - traced}
    return {"seconds": seconds, "parameters": count, "loss": losses[0], **times}


def astype(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype), tree)


def loss(weights, ids, model):
    """Mean cross-entropy of each token given those before it."""
    states = hidden(weights, ids, model)[:, :-1]  # [B, T−1, C]
    logits = (states @ weights["embed_tokens"].T).astype(jnp.float32)  # [B, T−1, V]
    chosen = jnp.take_along_axis(logits, ids[:, 1:, None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)


def hidden(weights, ids, model):
    """Qwen2 up to its last norm [B, T, C]."""
    H, K, eps = model["num_attention_heads"], model["num_key_value_heads"], model["rms_norm_eps"]
    D = model["hidden_size"] // H
    B, T = ids.shape
    frequencies = model["rope_theta"] ** (-jnp.arange(0, D, 2) / D)
    angles = jnp.arange(T)[:, None, None] * frequencies  # [T, 1, D/2]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    causal = jnp.tril(jnp.ones((T, T), bool))

    def rotate(x):  # [B, T, n, D]
        a, b = jnp.split(x.astype(jnp.float32), 2, -1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)

    x = weights["embed_tokens"][ids]
    for w in weights["layers"]:
        normed = rms_norm(x, w["input_layernorm"], eps)
        q = rotate((normed @ w["q"].T + w["q_bias"]).reshape(B, T, H, D)).reshape(B, T, K, H // K, D)
        k = rotate((normed @ w["k"].T + w["k_bias"]).reshape(B, T, K, D))
        v = (normed @ w["v"].T + w["v_bias"]).reshape(B, T, K, D)
        scores = jnp.einsum("btkgd,bskd->bkgts", q, k).astype(jnp.float32) * D**-0.5
        attended = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), -1).astype(x.dtype)
        x = x + jnp.einsum("bkgts,bskd->btkgd", attended, v).reshape(B, T, H * D) @ w["o"].T
        normed = rms_norm(x, w["post_attention_layernorm"], eps)
        x = x + (jax.nn.silu(normed @ w["gate"].T) * (normed @ w["up"].T)) @ w["down"].T
    return rms_norm(x, weights["norm"], eps)


def rms_norm(x, weight, eps):
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + eps)).astype(x.dtype) * weight


def init(model, key):
    C, I, V = model["hidden_size"], model["intermediate_size"], model["vocab_size"]
    kv = C // model["num_attention_heads"] * model["num_key_value_heads"]
    shapes = {"q": (C, C), "k": (kv, C), "v": (kv, C), "o": (C, C), "gate": (I, C), "up": (I, C), "down": (C, I)}
    keys = iter(jax.random.split(key, 1 + model["num_hidden_layers"] * len(shapes)))

    def normal(shape):
        return model["initializer_range"] * jax.random.normal(next(keys), shape)

    def layer():
        norms = {"input_layernorm": jnp.ones(C), "post_attention_layernorm": jnp.ones(C)}
        biases = {"q_bias": jnp.zeros(C), "k_bias": jnp.zeros(kv), "v_bias": jnp.zeros(kv)}
        return {**{name: normal(shape) for name, shape in shapes.items()}, **norms, **biases}

    layers = [layer() for _ in range(model["num_hidden_layers"])]
    return {"embed_tokens": normal((V, C)), "layers": layers, "norm": jnp.ones(C)}


def fresh(weights):
    """The state of a training run before its first step."""
    zeros = lambda: jax.tree.map(lambda w: jnp.zeros(w.shape), weights)
    return {"weights": weights, "m": zeros(), "v": zeros(), "step": jnp.int32(0)}


def adamw(state, grads):
    """AdamW after clipping by the global norm, as src/optimizers/adamw.ts."""
    step = state["step"] + 1
    grads = jax.tree.map(lambda g: g.astype(jnp.float32), grads)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    clip = jnp.minimum(CLIP / (norm + 1e-6), 1)
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * clip * g, state["m"], grads)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * (clip * g) ** 2, state["v"], grads)
    first, second = 1 - BETA1**step, 1 - BETA2**step

    def moved(w, m, v):
        return (w - RATE * (m / first / (jnp.sqrt(v / second) + EPSILON) + DECAY * w)).astype(w.dtype)

    return {"weights": jax.tree.map(moved, state["weights"], m, v), "m": m, "v": v, "step": step}


measures = {"copy": copy, "matmul": matmul, "call": call, "chain": chain, "step": step, "trace": trace, "train": train}
main(measures, f"JAX {jax.__version__}")
