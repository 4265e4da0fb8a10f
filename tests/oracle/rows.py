#!/usr/bin/env python3
"""Blocks of rows as language-models.md 5.2 and 5.3 describe them, for tests/golden/tokenizers/rows.json.

  rows.py [DATA] [OUT]

DATA is the folder with text/ and tokenizers/ (HOPLAB_DATA, else ../shared/data). Each row is tokenised by itself,
by the reference tokenizers, with the specials they put around it; nothing of ours is asked. Needs Python with
transformers and tokenizers.
"""
import importlib.util
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = "wikitext-2/valid.txt"
GROUP = 1000


def shared():
    """tokenizers.py beside this file, whose name is that of the package it asks."""
    spec = importlib.util.spec_from_file_location("oracle_tokenizers", os.path.join(HERE, "tokenizers.py"))
    module = importlib.util.module_from_spec(spec)
    here = sys.path.pop(0)
    sys.path.insert(0, here)  # the module takes the first away again
    spec.loader.exec_module(module)
    return module


def lines(text):
    """The rows of the published WikiText: a line with its end, blank ones empty."""
    rows = text.split("\n")
    rows = [row + "\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
    return [row if row.strip() else "" for row in rows]


def documents(text):
    rows, document = [], []
    for line in lines(text) + [""]:
        if line:
            document.append(line)
        elif document:
            rows.append("".join(document).removesuffix("\n"))
            document = []
    return rows


def blocks(rows, encode, seq_len):
    ids = []
    for first in range(0, len(rows), GROUP):
        group = [i for row in rows[first:first + GROUP] for i in encode(row)]
        ids += group[:len(group) // seq_len * seq_len]
    return ids


def main(args):
    tok = shared()
    data = args[0] if args else tok.DATA
    out = args[1] if len(args) > 1 else tok.OUT
    big = tok.published(data)
    bert, opt, gpt2 = (big[k] for k in ("bert-base-uncased/vocab.txt", "opt/vocab.json", "gpt2/vocab.json"))

    def prefixed(tokenizer, first):
        return lambda row: [first] + tokenizer.backend_tokenizer.encode(row, add_special_tokens=False).ids

    encoders = {"bert-base-uncased/vocab.txt": lambda row: bert(row)["input_ids"],
                "opt/vocab.json": prefixed(opt, 2), "gpt2/vocab.json": prefixed(gpt2, 50256)}
    assert encoders["bert-base-uncased/vocab.txt"]("") == [101, 102]
    with open(os.path.join(data, "text", TEXT), encoding="utf8", newline="") as f:
        text = f.read()
    cases = []
    for kind, cut in (("line", lines), ("document", documents)):
        rows = cut(text)
        for name, encode in encoders.items():
            memo = {}

            def once(row, encode=encode, memo=memo):
                if row not in memo:
                    memo[row] = encode(row)
                return memo[row]

            for seq_len in (128, 512):
                ids = blocks(rows, once, seq_len)
                cases.append({"text": TEXT, "tokens": name, "rows": kind, "n_rows": len(rows), "seq_len": seq_len,
                              "blocks": len(ids) // seq_len, "fnv1a": tok.fnv(ids)})
    import tokenizers
    import transformers
    with open(os.path.join(out, "rows.json"), "w") as f:
        f.write('{"about":"made by tests/oracle/rows.py with tokenizers %s, transformers %s",\n"cases":[\n'
                % (tokenizers.__version__, transformers.__version__))
        f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
