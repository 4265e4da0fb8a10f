#!/usr/bin/env python3
"""tests/golden/quantization/methods.safetensors, from the formulas of the papers (quantization.md, appendix A).

  quant_methods.py [OUT]

Nothing of ours is asked: plain numpy in float64, and torch for the casts to FP8. Matrices are small, their inputs
correlated, with a channel of outliers. GPTQ is written with explicit inverses, as the paper's equations 2 and 3 have
it (remove a column, update the inverse), not with the Cholesky form that programs use. Needs numpy, safetensors
and torch >= 2.1. Prints the hashes of casts that engine/quant/method_test.c knows.
"""
import os
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "quantization", "methods.safetensors")
TOKENS, K, N = 48, 20, 6
GROUP, BITS = 8, 4  # 20 columns: the last group has 4
SEED = 11


def matrices():
    """Multiples of 1/64 and 1/256, so that they are the same numbers in float32."""
    rng = np.random.default_rng(SEED)
    mix = rng.normal(size=(K, K)) * 0.4 + np.eye(K)
    x = rng.normal(size=(TOKENS, K)) @ mix * 0.5
    x[:, 3] = x[:, 3] * 9 + 4  # outliers
    x[:, 7] = 0  # a dead column
    w = rng.normal(size=(N, K)) * 0.3
    return np.round(x * 64) / 64, np.round(w * 256) / 256


def grid(values, bits=BITS):
    """Scale and zero point of asymmetric codes 0 .. 2^bits - 1 over the values and 0."""
    lo, hi = min(values.min(), 0.0), max(values.max(), 1e-8)
    s = np.float32(np.float32(hi) - np.float32(lo)) / np.float32(2**bits - 1)
    z = np.clip(np.rint(np.float32(-lo) / s), 0, 2**bits - 1)
    return float(s), float(z)


def on_grid(v, s, z, bits=BITS):
    q = np.clip(np.rint(np.float32(v) / np.float32(s)) + z, 0, 2**bits - 1)
    return (q - z) * s


def rtn(w, group=GROUP, bits=BITS):
    y = np.zeros_like(w)
    for r in range(w.shape[0]):
        for c in range(0, w.shape[1], group):
            part = w[r, c:c + group]
            y[r, c:c + group] = on_grid(part, *grid(part, bits), bits)
    return y


def error(x, w, y):
    return float((((w - y) @ x.T) ** 2).sum())


def gptq(x, w, damping=0.01, group=GROUP):
    h = 2 * x.T @ x
    h += damping * np.diag(h).mean() * np.eye(K)
    y, w = np.zeros_like(w), w.copy()
    left = list(range(K))  # columns that are not rounded yet
    inv = np.linalg.inv(h)
    s = [None] * N
    for j in range(K):
        if j % group == 0:
            s = [grid(w[r, j:j + group]) for r in range(N)]
        y[:, j] = [on_grid(w[r, j], *s[r]) for r in range(N)]
        delta = (w[:, j] - y[:, j]) / inv[0, 0]
        w[:, left] -= np.outer(delta, inv[0])  # eq. 2
        inv = (inv - np.outer(inv[:, 0], inv[0]) / inv[0, 0])[1:, 1:]  # eq. 3
        left = left[1:]
    return y


def awq(x, w, group=GROUP):
    mean = np.abs(x).mean(0)
    mean = np.maximum(mean / mean.mean(), 1e-4)
    best = None
    for step in range(21):
        s = mean ** (step / 20)
        s = s / np.sqrt(s.max() * s.min())
        y = rtn(w * s, group) / s
        e = error(x, w, y)
        if best is None or e < best[0]:
            best = (e, step / 20, y)
    return best


def smooth(x, w, alpha=0.5):
    return np.maximum(np.abs(x).max(0), 1e-5) ** alpha / np.maximum(np.abs(w).max(0), 1e-5) ** (1 - alpha)


def symmetric(v, qmax=127):
    s = np.maximum(np.abs(v).max(1, keepdims=True) / qmax, 1e-8).astype(np.float32)
    return np.rint(v.astype(np.float32) / s).astype(np.float64) * s


def llm_int8(x, w, threshold):
    outlier = np.abs(x).max(0) >= threshold
    a, b = x[:, ~outlier], w[:, ~outlier]
    y = x[:, outlier].astype(np.float16).astype(np.float64) @ w[:, outlier].astype(np.float16).astype(np.float64).T
    if a.shape[1]:
        y = y + symmetric(a) @ symmetric(b).T
    return y, int(outlier.sum())


def fp8(v, dtype):
    t = torch.tensor(v, dtype=torch.float32)
    s = t.abs().max() / torch.finfo(dtype).max
    return (t / s).to(dtype).to(torch.float32).double().numpy() * float(s)


def cast_hash(dtype):
    """FNV-1a over the float32 bits of the casts of all finite bfloat16 numbers, saturated first; zeros without sign."""
    bits = torch.arange(65536, dtype=torch.int32).to(torch.int16)
    x = bits.view(torch.bfloat16).to(torch.float32)
    x = x[torch.isfinite(x)]
    most = torch.finfo(dtype).max
    y = x.clamp(-most, most).to(dtype).to(torch.float32)
    h = 0xCBF29CE484222325
    for b in (y.numpy() + np.float32(0)).astype("<f4").tobytes():
        h = ((h ^ b) * 0x100000001B3) % 2**64
    return "%016x" % h


def layernorm(x, gain, bias, eps=1e-5):
    mean = x.mean(1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + eps) * gain + bias


def smoothed(x, w):
    """Behind a normalisation: its gain and bias, the range of what comes out of it and the scale of w, smoothed."""
    gain = np.round(np.random.default_rng(SEED + 1).normal(size=K) * 64 + 64) / 64
    gain[5] *= 16
    bias = np.roll(gain, 3) / 4
    h = layernorm(x, gain, bias)
    out = {"gain": gain, "bias": bias, "h": h}
    for alpha in (0.5, 0.8):
        s = smooth(h, w, alpha)
        out["smooth_%g" % alpha] = np.array([(h / s).min(), (h / s).max(), np.abs(w * s).max() / 127])
    return out


def main(args):
    x, w = matrices()
    a = awq(x, w)
    out = {"x": x, "w": w, "rtn": x @ rtn(w).T, "rtn_0": x @ rtn(w, K).T, "gptq": x @ gptq(x, w).T,
           "gptq_0": x @ gptq(x, w, group=K).T, "awq": x @ a[2].T, "per_token": symmetric(x) @ symmetric(w).T}
    out.update(smoothed(x, w))
    n_outliers = {}
    for t in (6, 0, 1e9):
        out["llm_int8_%g" % t], n_outliers[t] = llm_int8(x, w, t)
    for name, dtype in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        out["fp8_" + name] = fp8(x, dtype) @ fp8(w, dtype).T
        print("cast", name, cast_hash(dtype))
    said = {"group": GROUP, "bits": BITS, "seed": SEED, "numpy": np.__version__, "torch": torch.__version__,
            "awq_alpha": a[1], "awq_error": a[0], "rtn_error": error(x, w, rtn(w)),
            "gptq_error": error(x, w, gptq(x, w)), "outliers": n_outliers[6]}
    print(said)
    save_file({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in out.items()}, args[0] if args else OUT,
              metadata={k: str(v) for k, v in said.items()})


if __name__ == "__main__":
    main(sys.argv[1:])
