#!/usr/bin/env python3
"""Evaluations until the relative residual of a sample is below 1e-4, even-odd and all at once, with the weights of
one checkpoint of scripts_lua/exp/deq_hopfield.lua (HAM, three layers), Picard from zero, in double.

Both updates are measured on the same numbers: all neurons of the network, its output layer, its hidden layer.
Usage: even_odd.py CHECKPOINT_DIR MNIST_DIR [IMAGES]. Needs numpy.
"""
import gzip
import json
import struct
import sys
from pathlib import Path

import numpy as np

MOST = 200


def weights(path):
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    table = json.loads(raw[8:8 + n])

    def get(name):
        begin, end = (8 + n + at for at in table[name]["data_offsets"])
        return np.frombuffer(raw[begin:end], "<f4").reshape(table[name]["shape"]).astype(float)
    return [get(name) for name in ("U", "W.1", "b.1", "b.2")]


U, W, b1, b2 = weights(Path(sys.argv[1]) / "model.safetensors")
n_hidden, n_out = W.shape
images = int(sys.argv[3]) if len(sys.argv) > 3 else 1024
pixels = gzip.open(Path(sys.argv[2]) / "t10k-images-idx3-ubyte.gz").read()[16:]
x = np.frombuffer(pixels, np.uint8).reshape(-1, U.shape[0])[:images] / 255


def rho(v):
    return 1 / (1 + np.exp(2 - 4 * v))


c = rho(x) @ U + b1


def all_at_once(h, o):
    return c + rho(o) @ W.T, rho(h) @ W + b2


def even_odd(h, o):
    h = c + rho(o) @ W.T
    return h, rho(h) @ W + b2


def evaluations(f):
    """Per measure, per sample."""
    h, o = np.zeros((images, n_hidden)), np.zeros((images, n_out))
    done = {name: np.full(images, MOST) for name in ("all neurons", "output layer", "hidden layer")}
    for k in range(1, MOST):
        h1, o1 = f(h, o)
        dh, do, sh, so = ((a ** 2).sum(1) for a in (h1 - h, o1 - o, h1, o1))
        for name, change, size in (("all neurons", dh + do, sh + so), ("output layer", do, so),
                                   ("hidden layer", dh, sh)):
            newly = (np.sqrt(change / size) < 1e-4) & (done[name] == MOST)
            done[name][newly] = k
        h, o = h1, o1
    return done


two, one = evaluations(even_odd), evaluations(all_at_once)
print(f"{'measured on':14}{'even-odd':>10}{'one matrix':>12}{'ratio':>8}")
for name in two:
    a, b = two[name].mean(), one[name].mean()
    print(f"{name:14}{a:10.2f}{b:12.2f}{a / b:8.2f}")
