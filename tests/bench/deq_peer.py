#!/usr/bin/env python3
"""The peer of `hoplab bench` for equilibrium models: one training step of a Hopfield network in PyTorch per
line of input.

Prints "<milliseconds> <loss>" for each line read. Usage: deq_peer.py LAYERS one_matrix|even_odd
picard|anderson [--kind ham] [--forward N] [--backward N]. The equations are those of scripts_lua/hop/
hopfield.lua (arXiv 2311.15673): forward iterations without a tape, recurrent back-propagation through Picard
iterations, Madam. One matrix is a dense product with masked entries, as in the paper's code; states are
float32, batch 64. Threads are pinned by the caller.
"""
import argparse
import sys
import time

import torch

arg = argparse.ArgumentParser()
arg.add_argument("layers", help="784-1990-10")
arg.add_argument("update", choices=["one_matrix", "even_odd"])
arg.add_argument("solver", choices=["picard", "anderson"])
arg.add_argument("--forward", type=int, default=40)
arg.add_argument("--backward", type=int, default=8)
arg.add_argument("--threads", type=int, default=0)
arg = arg.parse_args()
if arg.threads:
    torch.set_num_threads(arg.threads)

B, M = 64, 4
sizes = [int(n) for n in arg.layers.split("-")]
n0, n = sizes[0], sizes[1:]
torch.manual_seed(0)


def rho(v):
    return torch.sigmoid(4 * v - 2)


def xavier(a, b):
    return (torch.rand(a, b) * 2 - 1) * (6 / (a + b)) ** 0.5


def start(width):
    return torch.zeros(B, width)


U = xavier(n0, n[0])
if arg.update == "one_matrix":
    at = [sum(n[:i]) for i in range(len(n) + 1)]
    W = torch.zeros(at[-1], at[-1])
    for i in range(len(n) - 1):
        w = xavier(n[i], n[i + 1])
        W[at[i]:at[i + 1], at[i + 1]:at[i + 2]] = w
        W[at[i + 1]:at[i + 2], at[i]:at[i + 1]] = w.t()
    mask = (W != 0).float()
    params = [U, W, torch.randn(1, at[-1]) * 0.01]
    z0 = start(at[-1])

    def f(c, z):
        y = rho(z) @ params[1] + params[2]
        return torch.cat([y[:, :n[0]] + c, y[:, n[0]:]], 1)

    def project():
        W.grad = mask * (W.grad + W.grad.t()) / 2
else:
    even, odd = n[1::2], n[0::2]
    W, mask = torch.zeros(sum(even), sum(odd)), torch.zeros(sum(even), sum(odd))
    r = c0 = 0
    for i, e in enumerate(even):  # staircase: right, then down
        for o in (i, i + 1):
            if o < len(odd):
                c0 = sum(odd[:o])
                W[r:r + e, c0:c0 + odd[o]] = xavier(e, odd[o])
                mask[r:r + e, c0:c0 + odd[o]] = 1
        r += e
    params = [U, W, torch.randn(1, sum(even)) * 0.01, torch.randn(1, sum(odd)) * 0.01]
    z0 = start(sum(even))

    def f(c, z):
        h = rho(z) @ params[1] + params[3]
        h = torch.cat([h[:, :n[0]] + c, h[:, n[0]:]], 1)
        return rho(h) @ params[1].t() + params[2]

    def project():
        W.grad = mask * W.grad

for p in params:
    p.requires_grad_()


def picard(g, z, k):
    for _ in range(k):
        z = g(z)
    return z


def anderson(g, z, k):
    x, y = [z], [g(z)]
    x.append(y[0])
    y.append(g(x[1]))
    for i in range(2, k):
        q = min(M, i)
        xs, ys = torch.stack(x[-q:], 2), torch.stack(y[-q:], 2)
        r = ys - xs
        a = r.transpose(1, 2) @ r + 1e-10 * torch.eye(q)
        # in double: in float the reference aborts on singular systems
        b = torch.linalg.solve(a.double(), torch.ones(B, q, 1, dtype=torch.double)).float()
        new = (ys @ (b / b.sum(1, keepdim=True)))[:, :, 0]
        mixed = (y[-1] - new).norm(dim=1) / new.norm(dim=1)
        plain = (y[-1] - x[-1]).norm(dim=1) / x[-1].norm(dim=1)
        new = torch.where((mixed < plain)[:, None], new, y[-1])
        x, y = x[-M:] + [new], y[-M:] + [g(new)]
    return y[-1]


solve = picard if arg.solver == "picard" else anderson
state = [{"v": torch.zeros_like(p), "max": 1024 * p.detach().square().mean().sqrt()} for p in params]
steps = 0


def madam(lr=0.01, bound=3):
    global steps
    steps += 1
    with torch.no_grad():
        for p, s in zip(params, state):
            s["v"].mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            g = p.grad / (s["v"] / (1 - 0.999 ** steps)).sqrt()
            g = torch.nan_to_num(g, nan=0.0).clamp_(-bound, bound)
            p.mul_(torch.exp(-lr * g * torch.sign(p))).clamp_(-s["max"], s["max"])


for line in sys.stdin:
    x = torch.rand(B, n0)
    y = torch.zeros(B, n[-1])
    y[torch.arange(B), torch.randint(0, n[-1], (B,))] = 1
    begin = time.perf_counter()
    for p in params:
        p.grad = None
    with torch.no_grad():
        c = rho(x) @ U
        z = solve(lambda s: f(c, s), z0, arg.forward)
    error = z[:, -n[-1]:] - y
    g = torch.zeros_like(z)
    g[:, -n[-1]:] = error / B
    c = rho(x) @ U
    picard(lambda s: f(c, s), z, arg.backward).backward(g)
    project()
    madam()
    loss = 0.5 * error.square().sum() / B
    print(f"{(time.perf_counter() - begin) * 1e3:.3f} {loss.item():.4f}", flush=True)
