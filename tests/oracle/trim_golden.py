#!/usr/bin/env python3
"""Copies the golden attention numbers that fit the repository's budget of 1 MB.

Usage: trim_golden.py FROM TO. One gated block of BERT and of OPT and two clipped ones of BERT are left
out; of two tiny models the parameters after the AdamW step (`step1.*`) are left out. The full set
is tested where it is found beside the repository.

Usage: trim_golden.py telemetry FROM.safetensors TO.safetensors. Of the statistics of trajectories the
states are left out, and the histogram becomes bytes.

Usage: trim_golden.py stanhop FROM TO. Weights are kept once (model_entmax; those of other modes are
equal), and gradients and trained weights of one block.
"""
import json
import os
import struct
import sys

LEAVE_OUT = ("bert_block_gated_outeffhop", "opt_block_gated_attention", "bert_block_clipped_outeffhop")
NO_STEP1 = ("tiny_opt_clm_prenorm", "tiny_opt_clm_postnorm_proj")


def copy(source, target, keep):
    data = open(source, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    out, body = {}, b""
    for name, e in header.items():
        if name == "__metadata__":
            out[name] = dict(e, format="pt")
        elif keep(name):
            a, b = e["data_offsets"]
            out[name] = dict(e, data_offsets=[len(body), len(body) + b - a])
            body += data[8 + n + a:8 + n + b]
    text = json.dumps(out, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    open(target, "wb").write(struct.pack("<Q", len(text)) + text + body)


def copy_telemetry(source, target):
    copy(source, target, lambda key: key not in ("states", "log10_rel_residual"))
    data = open(target, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + n]), data[8 + n:]
    a, b = header["histogram"]["data_offsets"]
    counts = bytes(int(v) for v in struct.unpack("<%df" % ((b - a) // 4), body[a:b]))
    body = body[:a] + counts + bytes(-len(counts) % 4) + body[b:]
    shrunk = b - a - len(counts)
    header["histogram"].update(dtype="U8", data_offsets=[a, a + len(counts)])
    for name, e in header.items():
        if name != "__metadata__" and e["data_offsets"][0] >= b:
            e["data_offsets"] = [x - shrunk for x in e["data_offsets"]]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    open(target, "wb").write(struct.pack("<Q", len(text)) + text + body)


STANHOP = {"entmax": "", "activations": "", "modules": "", "quant_softmax1": "", "outlier_softmax1": "param.",
           "train_softmax1": "init. final.", "model_entmax": "grad.", "model_softmax1": "param. act. grad.",
           "model_softmax": "param. act. grad.", "model_sparsemax": "param. act. grad.",
           "model_clip": "param. act. grad.", "model_clip_softmax1": "param. act. grad."}


def copy_stanhop(source, target):
    block = "encoder.encode_blocks.1.encode_layers.0.cross_"
    for name, drop in STANHOP.items():
        drop = tuple(drop.split())
        copy("%s/%s.safetensors" % (source, name), "%s/%s.safetensors" % (target, name),
             lambda key: not key.startswith(drop) or key.startswith(("grad." + block, "final." + block)))


if sys.argv[1] == "stanhop":
    copy_stanhop(*sys.argv[2:4])
    sys.exit()
if sys.argv[1] == "telemetry":
    copy_telemetry(*sys.argv[2:4])
    sys.exit()
source, target = sys.argv[1:3]
for name in sorted(os.listdir(source)):
    if not name.endswith(".safetensors") or any(w in name for w in LEAVE_OUT):
        continue
    small = any(name.startswith(w) for w in NO_STEP1)
    copy(os.path.join(source, name), os.path.join(target, name),
         lambda key: not (small and key.startswith("step1.")))
