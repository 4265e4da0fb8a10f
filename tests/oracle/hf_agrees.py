#!/usr/bin/env python3
"""An export of ours against the transformers library: loads without remark, the same bytes, the same
logits.

Usage: hf_agrees.py HOPLAB DIR, DIR made by `hoplab export RUN --hf DIR`. Needs torch, safetensors and
transformers; nothing is downloaded. The model should normalise with plain softmax and have no gates:
a stock loader runs it so. Prints the largest difference of the logits; fails above 1e-4.
"""
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, BertForMaskedLM, OPTForCausalLM

LUA = """
local hop = require "hop"
local T = hop.T
local model = hop.nn.from_hf(arg[1])
model:eval()
local batch = hop.load(arg[2])
hop.save(arg[3], { logits = model(batch.ids, T.cast(batch.mask, "bool")) * 1 })
"""


def main():
    hoplab, path = sys.argv[1:3]
    config = AutoConfig.from_pretrained(path)
    cls = {"bert": BertForMaskedLM, "opt": OPTForCausalLM}[config.model_type]
    model, info = cls.from_pretrained(path, output_loading_info=True, attn_implementation="eager")
    remarks = {k: sorted(v) for k, v in info.items() if v}
    model.eval()
    g = torch.Generator().manual_seed(11)
    t = min(24, config.max_position_embeddings)
    ids = torch.randint(3, config.vocab_size, (3, t), generator=g)
    mask = torch.ones_like(ids)
    mask[2, t - 5:] = 0
    with torch.no_grad():
        want = model(input_ids=ids, attention_mask=mask).logits
    with tempfile.TemporaryDirectory() as tmp:
        at = lambda name: os.path.join(tmp, name)
        save_file({"ids": ids.int(), "mask": mask.int()}, at("batch.safetensors"))
        with open(at("logits.lua"), "w") as f:
            f.write(LUA)
        subprocess.run([hoplab, "lua", at("logits.lua"), path, at("batch.safetensors"), at("out.safetensors")],
                       check=True)
        got = load_file(at("out.safetensors"))["logits"]
        model.save_pretrained(at("again"), safe_serialization=True)
        ours, theirs = load_file(os.path.join(path, "model.safetensors")), load_file(at("again/model.safetensors"))
    real = mask.bool()
    diff = (got - want)[real].abs().max().item()
    same = sorted(ours) == sorted(theirs) and all(
        ours[k].dtype == theirs[k].dtype and ours[k].numpy().tobytes() == theirs[k].numpy().tobytes() for k in ours)
    print("%s: %d tensors, bytes %s, logits differ by at most %.3g of %.3g; remarks: %s" %
          (config.model_type, len(ours), "equal" if same else "DIFFER", diff, want[real].abs().max(), remarks or "none"))
    return 0 if same and diff <= 1e-4 and not remarks else 1


if __name__ == "__main__":
    sys.exit(main())
