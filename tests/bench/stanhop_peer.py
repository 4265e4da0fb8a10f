#!/usr/bin/env python3
"""STanHop-Net in plain PyTorch, as its reference code computes it: training steps on random windows.

Usage: stanhop_peer.py softmax1|softmax|sparsemax|entmax [--layers N] [--batch B] [--steps N] [--threads N] [--lean].
ETTh1 168 -> 24 with segments of 6, width 256, dropout 0.5, Adam, gradients clipped to norm 5. --lean leaves out
what the reference computes needlessly (keys projected twice, patterns for every row of a batch). Prints
"<milliseconds> <milliseconds of processor time> <loss>" per step.
"""
import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

arg = argparse.ArgumentParser()
arg.add_argument("mode", choices=["softmax1", "softmax", "sparsemax", "entmax"])
arg.add_argument("--layers", type=int, default=11)
arg.add_argument("--batch", type=int, default=128)
arg.add_argument("--steps", type=int, default=3)
arg.add_argument("--threads", type=int, default=2)
arg.add_argument("--lean", action="store_true")
arg = arg.parse_args()
torch.set_num_threads(arg.threads)

T, IN, OUT, SEG, D, FF, H, C, P = 7, 168, 24, 6, 256, 512, 4, 10, 0.5


class Entmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, alpha):
        b = alpha - 1
        x = b * z
        top = x.max(-1, keepdim=True).values
        lo, hi = top - 1, top - (1 / z.shape[-1]) ** b
        delta = hi - lo
        f_lo = torch.clamp(x - lo, min=0).pow(1 / b).sum(-1, keepdim=True) - 1
        for _ in range(50):
            delta = delta / 2
            tau = lo + delta
            p = torch.clamp(x - tau, min=0).pow(1 / b)
            f = p.sum(-1, keepdim=True) - 1
            lo = torch.where(f * f_lo >= 0, tau, lo)
        y = p / p.sum(-1, keepdim=True)
        ctx.save_for_backward(y, alpha)
        return y

    @staticmethod
    def backward(ctx, v):
        y, alpha = ctx.saved_tensors
        b = alpha - 1
        g = torch.where(y > 0, y.pow(2 - alpha), torch.zeros_like(y))
        total = g.sum(-1, keepdim=True)
        dz = v * g - g * ((v * g).sum(-1, keepdim=True) / total)
        s, l = g / total, torch.where(y > 0, y * torch.log(y), torch.zeros_like(y))
        da = (v * ((y - s) / b ** 2 - (l - s * l.sum(-1, keepdim=True)) / b)).sum()
        return dz, da.reshape(alpha.shape)


def sparsemax(z):
    z = z - z.max(-1, keepdim=True).values
    s = z.sort(-1, descending=True).values
    k = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    sums = s.cumsum(-1)
    n = (1 + k * s > sums).sum(-1, keepdim=True)
    return torch.clamp(z - (sums.gather(-1, n - 1) - 1) / n, min=0)


class Hopfield(nn.Module):
    def __init__(self, patterns=0):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
        if patterns:
            self.key = nn.Parameter(0.02 * torch.randn(1, patterns, D))
        if arg.mode == "entmax":
            self.alpha = nn.Parameter(torch.randn(1))

    def weights(self, s):
        if arg.mode == "softmax":
            return torch.softmax(s, -1)
        if arg.mode == "sparsemax":
            return sparsemax(s)
        if arg.mode == "entmax":
            return Entmax.apply(s, 1 + 2 * torch.sigmoid(self.alpha))
        m = s.max(-1, keepdim=True).values
        e = torch.exp(s - m)
        return e / (e.sum(-1, keepdim=True) + torch.exp(-m))

    def forward(self, x, z=None):
        b, l, _ = x.shape
        if z is None:
            z = self.key if arg.lean else self.key.expand(b, -1, -1)
        q, k = self.q(x), self.k(z)
        v = self.v(k if arg.lean else self.k(z))
        q, k, v = (t.view(t.shape[0], t.shape[1], H, D // H) for t in (q, k, v))
        if k.shape[0] != b:
            k, v = k.expand(b, -1, -1, -1), v.expand(b, -1, -1, -1)
        s = torch.einsum("blhe,bshe->bhls", q, k)
        a = F.dropout(self.weights(s * (D // H) ** -0.5), P)
        c = torch.einsum("bhls,bshd->bhld", a, v).contiguous()
        return self.o(c.view(b, l, D))


def mlp():
    return nn.Sequential(nn.Linear(D, FF), nn.GELU(), nn.Linear(FF, D))


class STHM(nn.Module):
    def __init__(self):
        super().__init__()
        self.time, self.series, self.hop = Hopfield(), Hopfield(C), Hopfield()
        self.norm, self.m1, self.m2 = nn.LayerNorm(D), mlp(), mlp()

    def forward(self, x):
        b, t, s, _ = x.shape
        u = x.reshape(b * t, s, D)
        u = u + F.dropout(self.time(u, u), P)
        u = u + F.dropout(self.m1(u), P)
        u = u.view(b, t, s, D).transpose(1, 2).reshape(b * s, t, D)
        g = self.series(u)
        e = self.norm(g + F.dropout(self.hop(u, u), P))
        e = e + F.dropout(self.m2(e), P)
        return e.view(b, s, t, D).transpose(1, 2).contiguous()


class DecoderLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.sthm, self.hop = STHM(), Hopfield()
        self.n1, self.n2, self.f1, self.f2 = nn.LayerNorm(D), nn.LayerNorm(D), nn.Linear(D, D), nn.Linear(D, D)
        self.pred = nn.Linear(D, SEG)

    def forward(self, x, state):
        b, t, s, _ = x.shape
        x = self.sthm(x).reshape(b * t, s, D)
        x = self.n1(x + F.dropout(self.hop(x, state.reshape(b * t, -1, D)), P))
        d = self.n2(x + self.f2(F.gelu(self.f1(x))))
        return d.view(b, t, s, D), self.pred(d).view(b, t, s, SEG)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.norm = nn.Linear(SEG, D), nn.LayerNorm(D)
        self.enc_pos, self.dec_pos = (nn.Parameter(torch.randn(1, T, n // SEG, D)) for n in (IN, OUT))
        self.enc = nn.ModuleList(STHM() for _ in range(arg.layers))
        self.dec = nn.ModuleList(DecoderLayer() for _ in range(arg.layers + 1))

    def forward(self, x):
        b = x.shape[0]
        e = self.emb(x.view(b, IN // SEG, SEG, T).permute(0, 3, 1, 2))
        states = [self.norm(e + self.enc_pos)]
        for f in self.enc:
            states.append(f(states[-1]))
        d, total = self.dec_pos.expand(b, -1, -1, -1), 0
        for f, s in zip(self.dec, states):
            d, y = f(d, s)
            total = total + y
        return total.permute(0, 2, 3, 1).reshape(b, OUT, T)


torch.manual_seed(0)
net = Net()
opt = torch.optim.Adam(net.parameters(), lr=1e-4, foreach=True)
x, y = torch.randn(arg.batch, IN, T), torch.randn(arg.batch, OUT, T)
for _ in range(arg.steps):
    wall, cpu = time.perf_counter(), time.process_time()
    opt.zero_grad(set_to_none=True)
    loss = F.mse_loss(net(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 5)
    opt.step()
    print("%.1f %.1f %.6f" % (1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu), loss.item()), flush=True)
