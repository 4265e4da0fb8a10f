#!/usr/bin/env python3
"""Tiny random BERT and OPT models as the transformers library writes them, with their logits.

Usage: hf_models.py DIR. Makes DIR/<model>/ with config.json, the weights, and logits.safetensors:
ids [B,T] i32, mask [B,T] i32 (1: real), logits [B,T,V] f32 of the stored weights in float32.
Needs torch, safetensors and transformers; nothing is downloaded.
"""
import os
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, OPTConfig, OPTForCausalLM, OPTModel

B, T, V = 2, 7, 60

BERT = dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
            max_position_embeddings=12, initializer_range=0.3)
OPT = dict(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24,
           max_position_embeddings=12, word_embed_proj_dim=16, init_std=0.3)


def randomise(model, seed):
    """All parameters, biases and norms too: what starts at 0 or 1 hides mistakes."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return model.eval()


def write(path, model, cls, dtype=torch.float32, shard="10GB"):
    model.to(dtype).save_pretrained(path, max_shard_size=shard)
    finish(path, cls)


def finish(path, cls):
    model = cls.from_pretrained(path, torch_dtype=torch.float32, attn_implementation="eager").eval()
    g = torch.Generator().manual_seed(7)
    ids = torch.randint(3, V, (B, T), generator=g)
    mask = torch.ones(B, T, dtype=torch.long)
    mask[1, T - 2:] = 0
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    save_file({"ids": ids.int(), "mask": mask.int(), "logits": logits.contiguous()},
              os.path.join(path, "logits.safetensors"))
    extra = os.path.join(path, "generation_config.json")
    if os.path.exists(extra):
        os.remove(extra)


def old_names(path):
    """LayerNorm.gamma and .beta, the pooler, the next-sentence head, position_ids, the decoder's copy."""
    model = randomise(BertForPreTraining(BertConfig(**BERT)), 5)
    model.save_pretrained(path)
    file = os.path.join(path, "model.safetensors")
    t = {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
         for k, v in load_file(file).items()}
    del t["bert.embeddings.word_embeddings.weight"]  # its tied partner stays
    t["cls.predictions.decoder.weight"] = model.bert.embeddings.word_embeddings.weight.detach().clone()
    t["bert.embeddings.position_ids"] = torch.arange(12)[None]
    masked = BertForMaskedLM(model.config)  # the same weights under today's names, for the logits
    masked.load_state_dict(model.state_dict(), strict=False)
    masked.save_pretrained(path)
    finish(path, BertForMaskedLM)
    save_file(t, file, metadata={"format": "pt"})


def main():
    top = sys.argv[1]
    os.makedirs(top, exist_ok=True)
    at = lambda name: os.path.join(top, name)
    torch.manual_seed(1)
    write(at("bert"), randomise(BertForMaskedLM(BertConfig(**BERT)), 1), BertForMaskedLM)
    write(at("bert_bf16"), randomise(BertForMaskedLM(BertConfig(**BERT)), 2), BertForMaskedLM, torch.bfloat16)
    write(at("opt_sharded"), randomise(OPTForCausalLM(OPTConfig(**OPT)), 3), OPTForCausalLM, shard="6KB")
    post = dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=8)
    write(at("opt_post"), randomise(OPTForCausalLM(OPTConfig(**post)), 4), OPTForCausalLM)
    # without the head the names have no leading "model."
    write(at("opt_f16"), randomise(OPTModel(OPTConfig(**OPT)), 6), OPTForCausalLM, torch.float16)
    old_names(at("bert_old"))


if __name__ == "__main__":
    main()
