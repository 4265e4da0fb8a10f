#!/usr/bin/env python3
"""The peer of `hoplab bench`: the same model in PyTorch, one training step per line of input.

Prints "<milliseconds> <loss>" for each line read. Usage: peer.py bert|opt [--base] [--full-head]
[--plain-attention] [--compile] [--bf16] [--eval | --int8 dynamic|static] [--threads N], or peer.py layers, which
reads lines "M N K" and runs the INT8 layer of that shape from codes to codes. --int8 is PyTorch's own
INT8 of linear layers (torch.ao, its x86 engine), in evaluation, the head in float: dynamic finds each
input's range as it goes, static has fixed ones. --bf16 is autocast in training. The model, batch and optimiser are those of
scripts_lua/exp/bert_small.lua and opt_small.lua, with --base BERT-base at 4 x 128 and OPT-125m at 2 x 512; data
are random ids, which costs the same. PyTorch at its best reasonable settings: fused
AdamW, its own fused attention, threads pinned by the caller.
"""
import argparse
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

arg = argparse.ArgumentParser()
arg.add_argument("model", choices=["bert", "opt", "layers"])
arg.add_argument("--base", action="store_true", help="BERT-base at 4 x 128, OPT-125m at 2 x 512")
arg.add_argument("--full-head", action="store_true", help="BERT: logits of every position, as eager code does")
arg.add_argument("--plain-attention", action="store_true", help="whole score matrices instead of the fused kernel")
arg.add_argument("--compile", action="store_true")
arg.add_argument("--bf16", action="store_true", help="training under autocast to bf16")
arg.add_argument("--eval", action="store_true", help="evaluation in float instead of training steps")
arg.add_argument("--int8", choices=["dynamic", "static"], help="evaluation with linear layers in INT8")
arg.add_argument("--threads", type=int, default=0)
arg = arg.parse_args()
if arg.threads:
    torch.set_num_threads(arg.threads)

if arg.model == "layers" or arg.int8:
    import warnings

    warnings.filterwarnings("ignore")  # torch.ao says that it will move
    torch.backends.quantized.engine = "x86"


class StaticLinear(nn.Module):
    """A linear layer from codes to codes between a quantizer and its inverse, with fixed ranges."""

    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.detach().abs().max().item() / 127
        weight = torch.quantize_per_tensor(linear.weight.detach(), scale, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(weight, linear.bias.detach())

    def codes(self, x):
        return torch.ops.quantized.linear(x, self.packed, 0.04, 128)

    def forward(self, x):
        return self.codes(torch.quantize_per_tensor(x, 0.04, 128, torch.quint8)).dequantize()


def serve_layers():
    layers = {}
    for line in sys.stdin:
        m, n, k = (int(x) for x in line.split())
        if (m, n, k) not in layers:
            x = torch.quantize_per_tensor(torch.randn(m, k), 0.04, 128, torch.quint8)
            layers[m, n, k] = StaticLinear(nn.Linear(k, n)), x
        layer, x = layers[m, n, k]
        with torch.inference_mode():
            start = time.perf_counter()
            layer.codes(x)
        print(f"{(time.perf_counter() - start) * 1e3:.4f} 0", flush=True)
    sys.exit()


if arg.model == "layers":
    serve_layers()
BERT = arg.model == "bert"
V, L = (8192, 6) if BERT else (256, 4)
D, H, FF, T, B, P = 256, 4, 1024, 128, 16, 0.1
if arg.base:
    V, L, D, H, FF = 30522 if BERT else 50272, 12, 768, 12, 3072
    T, B = (128, 4) if BERT else (512, 2)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
        self.f1, self.f2 = nn.Linear(D, FF), nn.Linear(FF, D)
        self.n1, self.n2 = nn.LayerNorm(D), nn.LayerNorm(D)

    def attention(self, h):
        b, t, _ = h.shape
        q, k, v = (f(h).view(b, t, H, D // H).transpose(1, 2) for f in (self.q, self.k, self.v))
        p = P if BERT else 0.0
        if not arg.plain_attention:
            c = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=not BERT)
        else:
            s = q @ k.transpose(-1, -2) / math.sqrt(D // H)
            if not BERT:
                s = s + MASK
            c = F.dropout(torch.softmax(s, -1), p) @ v
        return self.o(c.transpose(1, 2).reshape(b, t, D))

    def forward(self, x):
        if BERT:
            x = self.n1(F.dropout(self.attention(x), P) + x)
            return self.n2(F.dropout(self.f2(F.gelu(self.f1(x))), P) + x)
        x = x + F.dropout(self.attention(self.n1(x)), P)
        return x + F.dropout(self.f2(F.relu(self.f1(self.n2(x)))), P)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.pos = nn.Embedding(V, D), nn.Embedding(514, D)
        # as the models start; with N(0, 1) the softmax is full of denormal numbers, which take ten times as long
        nn.init.normal_(self.word.weight, std=0.02)
        nn.init.normal_(self.pos.weight, std=0.02)
        self.layers = nn.ModuleList(Layer() for _ in range(L))
        self.norm = nn.LayerNorm(D)
        if BERT:
            self.token_type, self.head, self.head_norm = nn.Embedding(2, D), nn.Linear(D, D), nn.LayerNorm(D)
            self.bias = nn.Parameter(torch.zeros(V))

    def forward(self, ids, labels):
        h = self.word(ids) + self.pos.weight[:T]
        if BERT:
            h = F.dropout(self.norm(h + self.token_type.weight[0]), P)
        for layer in self.layers:
            h = layer(h)
        if not BERT:
            logits = F.linear(self.norm(h), self.word.weight)
            return F.cross_entropy(logits[:, :-1].reshape(-1, V), ids[:, 1:].reshape(-1))
        h, labels = h.view(-1, D), labels.view(-1)
        if not arg.full_head:
            keep = labels != -100
            h, labels = h[keep], labels[keep]
        z = self.head_norm(F.gelu(self.head(h)))
        return F.cross_entropy(F.linear(z, self.word.weight, self.bias), labels, ignore_index=-100)


MASK = torch.full((T, T), -1e30).triu(1)
torch.manual_seed(0)
model = Model()
optimiser = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
if arg.int8 == "dynamic":
    model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
elif arg.int8:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, StaticLinear(child))
evaluates = arg.eval or arg.int8 is not None
model.train(not evaluates)
if evaluates:
    P = 0.0
run = torch.compile(model) if arg.compile else model
for line in sys.stdin:
    ids = torch.randint(5, V, (B, T))
    labels = torch.where(torch.rand(B, T) < 0.15, ids, torch.full_like(ids, -100))
    start = time.perf_counter()
    if evaluates:
        with torch.inference_mode():
            loss = run(ids, labels)
        print(f"{(time.perf_counter() - start) * 1e3:.3f} {loss.item():.4f}", flush=True)
        continue
    with torch.autocast("cpu", torch.bfloat16, enabled=arg.bf16):
        loss = run(ids, labels)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    print(f"{(time.perf_counter() - start) * 1e3:.3f} {loss.item():.4f}", flush=True)
