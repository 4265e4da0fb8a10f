#!/usr/bin/env python3
"""Reference numbers of nn.vit: a tiny random vision transformer written out from the formulas.

Usage: vit_reference.py FILE.safetensors. Computed in float64 by plain torch operations and autograd, rounded
once to float32. Tensors: x [B,C,H,W], y [B,classes] one-hot, param.<name>; per variant <variant>.logits,
<variant>.loss (label smoothing 0.1), <variant>.eval_loss, <variant>.grad.<name>. Needs torch and safetensors.
"""
import math
import sys

import torch
from safetensors.torch import save_file

B, C, SIDE, P, D, H, FF, LAYERS, CLASSES = 3, 3, 8, 4, 12, 2, 20, 2, 7
T, HEAD = (SIDE // P) ** 2 + 1, D // H
SMOOTHING = 0.1

# normaliser, gamma, eta, gated, pre_norm, bias of query, key and value
VARIANTS = {
    "vanilla": ("softmax", 0.0, 1.0, False, True, False),
    "softmax1": ("softmax1", 0.0, 1.0, False, True, False),
    "clipped": ("softmax", -0.1, 1.05, False, True, False),
    "clipped1": ("softmax1", -0.1, 1.0, False, True, False),
    "gated": ("softmax1", 0.0, 1.0, True, True, False),
    "stock": ("softmax", 0.0, 1.0, False, False, True),
}


def make_parameters():
    g = torch.Generator().manual_seed(11)

    def normal(*shape, std=0.35, mean=0.0):
        return (torch.randn(*shape, generator=g) * std + mean).double()

    p = {"patch_embed.proj.weight": normal(D, C, P, P), "patch_embed.proj.bias": normal(D),
         "cls_token": normal(1, 1, D), "pos_embed": normal(1, T, D)}
    for name in ["norm_pre", "norm"] + [f"blocks.{i}.norm{k}" for i in range(LAYERS) for k in (1, 2)]:
        p[name + ".weight"], p[name + ".bias"] = normal(D, mean=1.0), normal(D)
    for i in range(LAYERS):
        b = f"blocks.{i}."
        for name, n_out, n_in in (("attn.qkv", 3 * D, D), ("attn.proj", D, D), ("mlp.fc1", FF, D), ("mlp.fc2", D, FF)):
            p[b + name + ".weight"], p[b + name + ".bias"] = normal(n_out, n_in), normal(n_out)
        for h in range(H):
            p[f"{b}attn.alpha.{h}.weight"], p[f"{b}attn.alpha.{h}.bias"] = normal(1, HEAD), normal(1)
    p["head.weight"], p["head.bias"] = normal(CLASSES, D), normal(CLASSES)
    return p


def layer_norm(x, p, name):
    mean = x.mean(-1, keepdim=True)
    var = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-6) * p[name + ".weight"] + p[name + ".bias"]


def normalise(s, base, gamma, eta):
    e = torch.exp(s)
    w = e / (e.sum(-1, keepdim=True) + (1.0 if base == "softmax1" else 0.0))
    return ((eta - gamma) * w + gamma).clamp(0, 1)


def split(x):
    return x.reshape(B, T, H, HEAD).transpose(1, 2)


def attention(h, p, b, variant):
    base, gamma, eta, gated, _, qkv_bias = variant
    qkv = h @ p[b + "qkv.weight"].T
    if qkv_bias:
        qkv = qkv + p[b + "qkv.bias"]
    q, k, v = (split(part) for part in qkv.split(D, -1))
    c = normalise(q @ k.transpose(-1, -2) / math.sqrt(HEAD), base, gamma, eta) @ v
    if gated:
        x = split(h)
        a = [x[:, i] @ p[f"{b}alpha.{i}.weight"][0] + p[f"{b}alpha.{i}.bias"] for i in range(H)]
        c = c * torch.sigmoid(torch.stack(a, 1)).unsqueeze(-1)
    return c.transpose(1, 2).reshape(B, T, D) @ p[b + "proj.weight"].T + p[b + "proj.bias"]


def forward(x, p, variant):
    pre_norm = variant[4]
    tokens = []
    for row in range(0, SIDE, P):
        for col in range(0, SIDE, P):
            patch = x[:, :, row:row + P, col:col + P]
            tokens.append(torch.einsum("bcij,dcij->bd", patch, p["patch_embed.proj.weight"]))
    h = torch.stack(tokens, 1)
    if not pre_norm:
        h = h + p["patch_embed.proj.bias"]
    h = torch.cat([p["cls_token"].expand(B, 1, D), h], 1) + p["pos_embed"]
    if pre_norm:
        h = layer_norm(h, p, "norm_pre")
    for i in range(LAYERS):
        b = f"blocks.{i}."
        h = h + attention(layer_norm(h, p, b + "norm1"), p, b + "attn.", variant)
        f = layer_norm(h, p, b + "norm2") @ p[b + "mlp.fc1.weight"].T + p[b + "mlp.fc1.bias"]
        f = 0.5 * f * (1 + torch.erf(f / math.sqrt(2)))
        h = h + f @ p[b + "mlp.fc2.weight"].T + p[b + "mlp.fc2.bias"]
    return layer_norm(h, p, "norm")[:, 0] @ p["head.weight"].T + p["head.bias"]


def cross_entropy(logits, y):
    return -(y * torch.log(torch.softmax(logits, -1))).sum(-1).mean()


def main():
    p = {name: t.float().double().requires_grad_() for name, t in make_parameters().items()}
    g = torch.Generator().manual_seed(12)
    x = torch.rand(B, C, SIDE, SIDE, generator=g) * 2 - 1
    y = torch.eye(CLASSES)[torch.tensor([2, 0, 6])]
    out = {"x": x, "y": y}
    out.update({"param." + name: t.detach().float() for name, t in p.items()})
    for name, variant in VARIANTS.items():
        logits = forward(x.double(), p, variant)
        loss = cross_entropy(logits, y.double() * (1 - SMOOTHING) + SMOOTHING / CLASSES)
        grads = torch.autograd.grad(loss, list(p.values()), allow_unused=True)
        out[name + ".logits"], out[name + ".loss"] = logits.detach().float(), loss.detach().float()
        out[name + ".eval_loss"] = cross_entropy(logits, y.double()).detach().float()
        for key, grad in zip(p, grads):
            if grad is not None:
                out[f"{name}.grad.{key}"] = grad.float().contiguous()
        print(name, loss.item(), logits.abs().max().item(), sum(gr is not None for gr in grads))
    save_file({k: v.contiguous() for k, v in out.items()}, sys.argv[1])


main()
