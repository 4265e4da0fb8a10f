#!/usr/bin/env python3
"""How far PyTorch's autocast to bf16 is from double, for tests/lua/bf16_test.lua.

Usage: bf16_autocast.py tests/golden/hf > tests/lua/bf16_autocast.lua. For tiny models of tests/golden/hf: the loss and,
per parameter, the 2-norm of its gradient in double and of autocast's error. Tokens and labels are
the formulas below. Needs torch and transformers; nothing is downloaded.
"""
import sys

sys.path.pop(0)  # tokenizers.py beside this file is not the package
import torch
from transformers import BertForMaskedLM, OPTForCausalLM

MODELS = [("bert", BertForMaskedLM), ("opt_sharded", OPTForCausalLM)]
B, T, V = 4, 10, 60


def batch():
    ids = torch.tensor([[3 + (7 * t * t + 11 * b + 5 * t * b) % (V - 3) for t in range(T)] for b in range(B)])
    labels = torch.tensor([[(13 * t + 17 * b + t * t * b) % V for t in range(T)] for b in range(B)])
    labels[:, 3] = -100
    return ids, labels


def gradients(model, autocast):
    ids, labels = batch()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(input_ids=ids).logits
    loss = torch.nn.functional.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)).view(-1, V), labels.view(-1),
                                             ignore_index=-100)
    loss.backward()
    return loss.item(), {n: p.grad.double().clone() for n, p in model.named_parameters() if p.grad is not None}


def main():
    print("-- Written by tests/oracle/bf16_autocast.py with torch " + torch.__version__.split("+")[0])
    print("return {")
    for name, cls in MODELS:
        model = cls.from_pretrained(f"{sys.argv[1]}/{name}", torch_dtype=torch.float32,
                                    attn_implementation="eager").eval()
        low_loss, low = gradients(model, True)
        loss, exact = gradients(model.double(), False)
        print(f"  {name} = {{ loss = {loss:.9g}, autocast_loss = {low_loss:.9g}, gradients = {{")
        for n, g in exact.items():
            print(f'    ["{n}"] = {{ norm = {g.norm().item():.6g}, autocast_error = {(low[n] - g).norm().item():.4g} }},')
        print("  } },")
    print("}")


main()
