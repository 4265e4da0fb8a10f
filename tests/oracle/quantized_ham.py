#!/usr/bin/env python3
"""Reference numbers of a quantized Hopfield network (HAM), from its definition; numpy alone.

Usage: quantized_ham.py > ../lua/quantized_ham.lua

Layers s_1 .. s_P behind an input x; rho(v) = sigmoid(4 (v - 1/2)); c = Q(rho(x)) Q(U) joins layer 1.
One matrix: every s_l becomes b_l (+ c) + Q(rho(s_l-1)) Q(W_l-1) + Q(rho(s_l+1)) Q(W_l)^T, all at once.
Even-odd: first the odd layers so, from the even ones, then the even layers from the new odd ones.
Q of a matrix: symmetric, scale max|w| / 127. Q of rho: asymmetric, codes 0 .. 255, lo = min(0, least), zero
point rint(-lo / scale). Ranges: extremes over every evaluation of the solve of a batch, then the running
average 0.1 batch + 0.9 kept, the first batch being the average. While a range is estimated it is used with the
extremes seen so far. Picard from 0, a fixed number of evaluations; loss: half the squared error per sample.

Codes are found in float32, everything else is float64. `margin` is how near the quotient of an activation came to
a tie: with sums of another rounding codes are the same as long as it is well above 1e-5 (255 times an error of
a few units of 2^-24).
"""
import numpy as np

N_ITER = 10
CASES = [("even_odd", [5, 6, 4]), ("one_matrix", [5, 6, 4]), ("even_odd", [4, 5, 3, 5, 2]), ("one_matrix", [4, 5, 3, 5, 2])]
margin = 1.0


def rational(n, m, k):
    """[n, m] of multiples of 1/42 in [-0.5, 0.5], the same in the Lua suite."""
    i, j = np.meshgrid(np.arange(1, n + 1), np.arange(1, m + 1), indexing="ij")
    return ((i * 37 + j * 11 + i * j * 7 + k * 5) % 43 - 21) / 42


def rho(v):
    return 1 / (1 + np.exp(-4 * (v - 0.5)))


def codes(x, scale):
    return np.rint(np.asarray(x, np.float32) / np.float32(scale)).astype(np.float64)


def quantized_matrix(w):
    scale = np.float32(np.abs(w).max()) / np.float32(127)
    return float(scale) * codes(w, scale)


class Act:
    """A quantizer of activations and its range."""

    def __init__(self):
        self.kept, self.batch, self.now = None, None, None

    def begin(self):
        if self.now is not None:
            self.kept = self.now
        self.batch = None

    def observe(self, x):
        lo, hi = float(np.float32(x.min())), float(np.float32(x.max()))
        self.batch = (lo, hi) if self.batch is None else (min(lo, self.batch[0]), max(hi, self.batch[1]))
        self.now = self.batch if self.kept is None else tuple(0.1 * b + 0.9 * k for b, k in zip(self.batch, self.kept))

    def __call__(self, x):
        lo, hi = min(self.now[0], 0.0), max(self.now[1], 1e-8)
        delta = np.float32((np.float32(hi) - np.float32(lo)) / np.float32(255))
        zero = np.rint(np.float32(-lo) / delta)
        global margin
        u = x / float(delta)
        margin = min(margin, np.abs(u - np.floor(u) - 0.5).min())
        q = np.clip(codes(x, delta) + zero, 0, 255)
        return float(delta) * (q - zero)


class Ham:
    def __init__(self, update, layers):
        self.update, self.sizes = update, layers[1:]
        self.n = len(self.sizes)
        self.U = rational(layers[0], layers[1], 1)
        self.b = [rational(1, n, 2 + l)[0] / 10 for l, n in enumerate(self.sizes, 1)]
        self.W = [rational(self.sizes[l - 1], self.sizes[l], 10 + l) for l in range(1, self.n)]
        self.acts = [Act() for _ in range(self.n + 1)]

    def solve(self, x, y, mode):
        """mode: float, observe, run. The loss and the layers' states."""
        matrix = (lambda w: w) if mode == "float" else quantized_matrix
        used = set()

        def act(l, v):
            r = rho(v)
            if mode == "float":
                return r
            if mode == "observe":
                if l not in used:
                    self.acts[l].begin()
                    used.add(l)
                self.acts[l].observe(r)
            return self.acts[l](r)

        U, W = matrix(self.U), [matrix(w) for w in self.W]
        c = act(0, x) @ U

        def receive(l, r):
            total = self.b[l - 1] + (c if l == 1 else 0)
            if l - 1 in r:
                total = total + r[l - 1] @ W[l - 2]
            if l + 1 in r:
                total = total + r[l + 1] @ W[l - 1].T
            return total

        s = {l: np.zeros((len(x), n)) for l, n in enumerate(self.sizes, 1)}
        for _ in range(N_ITER):
            if self.update == "one_matrix":
                r = {l: act(l, s[l]) for l in s}
                s = {l: receive(l, r) for l in s}
                continue
            r = {l: act(l, s[l]) for l in s if l % 2 == 0}
            odd = {l: act(l, receive(l, r)) for l in s if l % 2 == 1}
            s.update({l: receive(l, odd) for l in s if l % 2 == 0})
        return 0.5 * ((s[self.n] - y) ** 2).sum() / len(x), s


def row(name, numbers):
    words = [f"{v:.9f}" for v in numbers]
    lines = [", ".join(words[i : i + 6]) for i in range(0, len(words), 6)]
    return f"    {name} = {{ " + ",\n      ".join(lines) + " },"


def main():
    print("-- Written by tests/oracle/quantized_ham.py: losses and ranges of small networks from the definition.")
    print("return {")
    for update, layers in CASES:
        m = Ham(update, layers)
        batches = [(rational(3, layers[0], 20 + k) * 2 + 0.5, rational(3, layers[-1], 30 + k) + 0.5) for k in (1, 2)]
        text = ", ".join(str(n) for n in layers)
        print(f'  {{ update = "{update}", layers = {{ {text} }},')
        print(f"    float = {m.solve(*batches[0], 'float')[0]:.9f},")
        print(row("observed", [m.solve(*b, "observe")[0] for b in batches]))
        loss, s = m.solve(*batches[0], "run")
        print(f"    simulated = {loss:.9f},")
        print(row("output", s[m.n].ravel()))
        print(row("lo", [a.now[0] for a in m.acts]))
        print(row("hi", [a.now[1] for a in m.acts]) + " },")
    print("}")
    assert margin > 1e-4, margin


main()
