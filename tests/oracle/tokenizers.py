#!/usr/bin/env python3
"""Tokens of Hugging Face `tokenizers`, for tests/golden/tokenizers; and a comparison by hand.

  tokenizers.py make [DATA] [OUT]     the stored numbers, into OUT (tests/golden/tokenizers)
  tokenizers.py tables                code points about which utf8proc and the reference disagree
  tokenizers.py random HOPLAB SEED [MB]   random bytes, `hoplab data tokenize` against the reference

DATA is the folder with text/ and tokenizers/ (HOPLAB_DATA, else ../shared/data). The reference is given the bytes
decoded with errors="replace" and no specials are put around a text. Needs Python with transformers
and tokenizers. Exit status: 0 done, or equal; 1 different.
"""
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

sys.path.pop(0)  # this file has the name of the package that it asks

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
DATA = os.environ.get("HOPLAB_DATA") or os.path.join(TOP, "..", "shared", "data")
OUT = os.path.join(TOP, "tests", "golden", "tokenizers")
TEXTS = ["wikitext-2/test.txt", "wikitext-2/valid.txt", "tinyshakespeare/input.txt",
         "war-and-peace/input.txt"]
SPECIALS = ["[MASK]", "[CLS]", "[SEP]", "[sep]", "[PAD]", "[UNK]", "<|endoftext|>", "</s>", "<pad>",
            "<s>", "<mask>", "<unk>", "[MASK", "[MASK]]"]
HAND = [
    "", " ", "   ", "\n", "a", " a", "a ", "  a  b", "a\n\nb", "a \n b", "\t\ta", "a\r\nb\r\n",
    "Hello, World! It's we're I'LL they've he'd I'm don't ''s '", "x'S 're're", "don't",
    "12345 3.14 1,000 a1b2 \u00b2\u00bd\u2167 \u0663\u0664", "caf\u00e9 CAF\u00c9 cafe\u0301 \u00c5ngstr\u00f6m",
    "\u0130stanbul I\u0307 \u0131", "\u00df\u1e9e \ufb01 \u01c5", "\u4e2d\u6587\u5b57\u7b26 mixed\u4e2dtext \u3042\u3044\u3046",
    "\uac00\ub098\ub2e4 \u1100\u1161\u11a8", "\uf900\ufa0e\U0002f800\U0002b740\U0002b820",
    "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f \U0001f44d\U0001f3fd",
    "a\u0000b\u0001c\u007fd\u0085e\u00ade\u200bf\ufefff", "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u202fg",
    "\u0912\u0902\u0915\u093e\u0930 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627",
    "q\u0323\u0307 q\u0307\u0323 a\u0345\u0334b\u1734c\u1715\u0345", "\u16ff0\u0334 \U00016ff0\u0334 \U0001193d\u0334 \U0001d165\U0001d16d\u0334",
    "\u166d\u061d\u2e43\u2e52\U000111c9\U00010ead", "\u0890a\u08e2b\u110cdc \u07fdd\u0898\u0334e",
    "$100 + 5 = ^x` ~y|z <a@b.c> #tag ##ing ## #", "a" * 99 + " " + "b" * 100 + " " + "c" * 101,
    "ab" * 200, " " * 50 + "x", "\u00e9" * 101, "!" * 70 + "?" * 70, "\u2126\u212a\u1fef\u037e\u2000\u2329",
]
INVALID = [b"\x80", b"a\xffb", b"\xc3", b"\xc0\xaf", b"\xe2\x82", b"\xe2\x82x", b"\xe0\x80\x80",
           b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf0\x9f\x98 a", b"\xf4\x90\x80\x80", b"\xf5a",
           b"\xf0\x80\x80\x80", b"\xc3\x28", b"\xe2\x28\xa1", b"x\xbf\xbf\xbfy", b"\xff[MASK]\xff",
           b"'\xfes", b"  \xfe  \xc3"]
CORPUS = ("the cat sat on the mat and the dog ran after the cat . Lower lowest newer newest wider "
          "unhappy unhappily happiness running runner runs jumped jumping 1805 1905 2024 it's "
          "don't we're caf\u00e9 na\u00efve \u4e2d\u6587 \u4e2d\u56fd \u03b1\u03b2\u03b3 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \U0001f600\U0001f600 \u0301\u0323 \uac00\ub098 ").split(" ")


def fragments(rng):
    letters = [c for c in range(0x80, 0x20000) if unicodedata.category(chr(c))[0] == "L"]
    marks = [c for c in range(0x300, 0x1E950) if unicodedata.category(chr(c))[0] == "M"]
    other = [c for c in range(0x20, 0x20000) if unicodedata.category(chr(c))[0] in "PSZN"]

    def some(pool, most):
        return "".join(chr(rng.choice(pool)) for _ in range(rng.randrange(1, most)))

    return [
        lambda: " ".join(rng.choice(CORPUS) for _ in range(rng.randrange(1, 6))),
        lambda: some(range(0x1F300, 0x1FAFF), 4) + rng.choice(["", "\ufe0f", "\u200d", "\U0001f3fd"]),
        lambda: some(range(0x4E00, 0xA000), 8), lambda: some(range(0xF900, 0xFB00), 3),
        lambda: some(range(0xAC00, 0xD7A4), 5), lambda: some(range(0x370, 0x600), 8),
        lambda: some(letters, 8), lambda: some(other, 5), lambda: some(range(0, 0xA1), 12),
        lambda: rng.choice(CORPUS)[:3] + some(marks, 6), lambda: rng.choice(SPECIALS),
        lambda: some(range(0xE000, 0x110000), 3), lambda: some([0x20, 10, 9, 13, 0xA0, 0x3000], 5),
        lambda: chr(rng.choice(letters)) * rng.randrange(1, 130),
        lambda: rng.choice(CORPUS).upper() + "'" + rng.choice(["s", "t", "ll", "re", "D", "m"]),
        lambda: unicodedata.normalize("NFD", some(range(0xC0, 0x250), 8)),
        lambda: rng.choice(INVALID), lambda: bytes(rng.randrange(256) for _ in range(4))]


def mixed(rng, size):
    """Bytes; most of them text."""
    kinds, out = fragments(rng), bytearray()
    while len(out) < size:
        piece = rng.choice(kinds)()
        out += piece if isinstance(piece, bytes) else piece.encode("utf8")
        out += rng.choice([b" ", b" ", b"", b"\n"])
    return bytes(out)


def published(data):
    """The tokenizers of the shared folder, as `transformers` sets them up."""
    from transformers import BertTokenizerFast, GPT2TokenizerFast

    at = os.path.join(data, "tokenizers")

    def bpe(name, **specials):
        return GPT2TokenizerFast(vocab=f"{at}/{name}/vocab.json", merges=f"{at}/{name}/merges.txt",
                                 **specials)

    return {
        "bert-base-uncased/vocab.txt": BertTokenizerFast(vocab=f"{at}/bert-base-uncased/vocab.txt"),
        "gpt2/vocab.json": bpe("gpt2"),
        "opt/vocab.json": bpe("opt", bos_token="</s>", eos_token="</s>", unk_token="</s>",
                              pad_token="<pad>")}


def small():
    """Two tokenizers of a few hundred tokens, trained on made-up words and the strings above."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    text = CORPUS * 3 + [h for h in HAND if "\0" not in h]
    word = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    word.normalizer = normalizers.BertNormalizer()
    word.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    word.decoder = decoders.WordPiece()
    word.train_from_iterator(text, trainers.WordPieceTrainer(
        vocab_size=800, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    byte = Tokenizer(models.BPE())
    byte.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte.decoder = decoders.ByteLevel()
    byte.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<|endoftext|>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    byte.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<s>", rstrip=True)])
    return {"wordpiece": word, "bpe": byte}


def training():
    """A text with many ties, and the merges that are learnt from it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    rng = random.Random(3)
    text = "".join(" ".join(rng.choice(CORPUS) for _ in range(8)) + rng.choice(["\n", "\n\n", "\r\n"])
                   for _ in range(300))
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator([line + "\n" for line in text.split("\n")[:-1]],
                          trainers.BpeTrainer(vocab_size=600, min_frequency=2, show_progress=False,
                                              special_tokens=["<|endoftext|>"],
                                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(t.to_str())["model"]
    return {"text": text, "n_vocab": len(model["vocab"]),
            "merges": "#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"])}


def ids_of(tokenizer, raw):
    return tokenizer.encode(raw.decode("utf8", errors="replace"), add_special_tokens=False).ids


def fnv(ids):
    h = 0xCBF29CE484222325
    for byte in b"".join(i.to_bytes(4, "little") for i in ids):
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def make(data, out):
    import tokenizers
    import transformers

    rng, own, big = random.Random(7), small(), published(data)
    raws = [h.encode("utf8") for h in HAND + SPECIALS] + INVALID
    raws += ["".join(rng.sample(HAND, 2)).encode("utf8")[: rng.randrange(20, 60)] for _ in range(40)]
    raws += [mixed(rng, 40) for _ in range(250)]
    about = (f"made by tests/oracle/tokenizers.py with tokenizers {tokenizers.__version__}, "
             f"transformers {transformers.__version__}")
    os.makedirs(out, exist_ok=True)
    for name, t in own.items():
        with open(os.path.join(out, name + ".json"), "w") as f:
            json.dump(json.loads(t.to_str()), f, ensure_ascii=True, separators=(",", ":"))
    with open(os.path.join(out, "training.json"), "w") as f:
        json.dump(training(), f)
    cases = [{"hex": raw.hex(), **{name: ids_of(t, raw) for name, t in own.items()},
              **{name: fnv(ids_of(t.backend_tokenizer, raw)) for name, t in big.items()}} for raw in raws]
    files = []
    for text in TEXTS:
        with open(os.path.join(data, "text", text), "rb") as f:
            raw = f.read()
        for name, t in big.items():
            ids = ids_of(t.backend_tokenizer, raw)
            files.append({"text": text, "tokens": name, "n": len(ids), "fnv1a": fnv(ids)})
    with open(os.path.join(out, "strings.json"), "w") as f:
        f.write('{"about":' + json.dumps(about) + ',\n"files":[\n')
        f.write(",\n".join(json.dumps(x, separators=(",", ":")) for x in files) + '],\n"cases":[\n')
        f.write(",\n".join(json.dumps(x, separators=(",", ":")) for x in cases) + "]}\n")
    return 0


def tables():
    from tokenizers import Regex, normalizers, pre_tokenizers

    lib = ctypes.CDLL("libutf8proc.so.2")
    kinds = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs "
             "Co").split()
    bert = normalizers.BertNormalizer
    clean = bert(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    strip = bert(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    lower = bert(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=True)
    words, nfd = pre_tokenizers.BertPreTokenizer(), normalizers.NFD()
    of = {k: pre_tokenizers.Split(Regex(r"\p{%s}" % k), "removed") for k in "LN"}
    found = {}
    for c in (c for c in range(0x110000) if not 0xD800 <= c < 0xE000):
        s, kind = chr(c), kinds[lib.utf8proc_category(c)]
        is_odd = {
            "format": kind == "Cf" and clean.normalize_str(s) != "",
            "mark": nfd.normalize_str(s) == s and (kind == "Mn") != (strip.normalize_str(s) == ""),
            "punctuation": c > 0x7F and (kind[0] == "P") != (len(words.pre_tokenize_str(f"a{s}b")) == 3),
            "lower case": lower.normalize_str(s) != chr(lib.utf8proc_tolower(c)),
            "letter": (kind[0] == "L") != (not of["L"].pre_tokenize_str(s)),
            "number": (kind[0] == "N") != (not of["N"].pre_tokenize_str(s))}
        for what in (w for w, odd in is_odd.items() if odd and not (w == "punctuation" and s.isspace())):
            runs = found.setdefault(what, [])
            if runs and runs[-1][1] == c - 1:
                runs[-1][1] = c
            else:
                runs.append([c, c])
    for what, runs in found.items():
        print(what, " ".join("%04X-%04X" % tuple(r) for r in runs))
    return 0


def compare(hoplab, seed, megabytes):
    prose = " ".join(CORPUS) * 400  # the beginning of a file must look like text
    raw, status = prose.encode("utf8") + mixed(random.Random(seed), int(megabytes * 1e6)), 0
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "mixed.txt")
        with open(path, "wb") as f:
            f.write(raw)
        for name, t in published(DATA).items():
            vocab = os.path.join(DATA, "tokenizers", name)
            done = subprocess.run([hoplab, "data", "tokenize", path, "--tokens", vocab, "--ids"],
                                  check=True, stdout=subprocess.PIPE)
            ours, theirs = [int(i) for i in done.stdout.split()], ids_of(t.backend_tokenizer, raw)
            status |= ours != theirs
            print(name, len(ours), "equal" if ours == theirs else "DIFFERENT")
    return status


def main(args):
    if args[:1] == ["make"] and len(args) <= 3:
        return make(*(args[1:] + [DATA, OUT][len(args) - 1:]))
    if args == ["tables"]:
        return tables()
    if args[:1] == ["random"] and 3 <= len(args) <= 4:
        return compare(args[1], int(args[2]), float(args[3]) if len(args) > 3 else 1.0)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
