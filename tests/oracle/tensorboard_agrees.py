#!/usr/bin/env python3
"""Does a real TensorBoard read a run as we do?

  tensorboard_agrees.py RUN_DIR DUMP.csv        compare a finished run with our reader's dump
  tensorboard_agrees.py --live SAMPLE_RUN DIR   start `SAMPLE_RUN write DIR 4`, let TensorBoard read
                                                the run while it is written, then compare

DUMP.csv comes from `sample_run dump RUN_DIR` (app/store/sample_run.c). Needs Python with tensorboard
and numpy. Exit status: 0 every value agrees, 1 it does not, 2 wrong usage.
"""
import collections
import csv
import glob
import os
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard import context
from tensorboard.util import tensor_util

problems = []


def check(ok, *what):
    if not ok:
        problems.append(" ".join(str(w) for w in what))


def same_bits(a, b):
    """Equal, NaN included, and zeros of the same sign."""
    return struct.pack("<d", a) == struct.pack("<d", b) or (a != a and b != b)


def read_dump(path):
    """{kind: {tag: [(step, wall_us, data)]}}, in file order."""
    out = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(path, newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            out[row["kind"]][row["tag"]].append(
                (int(row["step"]), int(row["wall_us"]), row["data"]))
    return out


def compare_series(name, ours, theirs, same):
    check(len(ours) == len(theirs), name, "we have", len(ours), "TensorBoard", len(theirs))
    for (step, wall_us, data), event in zip(ours, theirs):
        check(step == event.step, name, "step", step, event.step)
        check(wall_us == round(event.wall_time * 1e6), name, "time", wall_us, event.wall_time)
        check(same(data, event), name, "step", step, "value", data[:60])


def accumulators(run_dir):
    """The classic one shows scalars and histograms as stored; the one of today's web page turns all
    into tensors, and is the one that applies a resume to tensors."""
    keep_all = {k: 0 for k in event_accumulator.DEFAULT_SIZE_GUIDANCE}
    classic = event_accumulator.EventAccumulator(run_dir, size_guidance=keep_all)
    classic.Reload()
    today = plugin_event_accumulator.EventAccumulator(
        run_dir, size_guidance={"tensors": 0},
        tensor_size_guidance={"scalars": 0, "histograms": 0, "hoplab": 0})
    today.Reload()
    return classic, today


def string_of(tensor_proto):
    return tensor_util.make_ndarray(tensor_proto).item().decode("utf-8")


def same_hist(data, event):
    ours = [float(x) for x in data.split()]
    h = event.histogram_value
    theirs = [h.min, h.max, h.num, h.sum, h.sum_squares] + list(h.bucket)
    return len(h.bucket_limit) == 64 and all(map(same_bits, ours, theirs))


def same_curve(data, event):
    theirs = tensor_util.make_ndarray(event.tensor_proto)
    words = data.split()
    shape = [int(x) for x in words.pop(0).split("x")] if words and "x" in words[0] else [-1]
    ours = np.array([float(x) for x in words], dtype=np.float32).reshape(shape)
    return theirs.dtype == np.float32 and theirs.shape == ours.shape and \
        theirs.tobytes() == ours.tobytes()


def compare_data(run_dir, dump):
    """Scalars, wide numbers, histograms, curves: through the event accumulators."""
    acc, today = accumulators(run_dir)
    tags = acc.Tags()
    check(set(tags["scalars"]) == set(dump["scalar"]), "scalar tags", tags["scalars"])
    check(set(tags["histograms"]) == set(dump["hist"]), "histogram tags", tags["histograms"])
    for tag, ours in dump["scalar"].items():
        compare_series(tag, ours, acc.Scalars(tag), lambda d, e: same_bits(float(d), e.value))
    for tag, ours in dump["hist"].items():
        compare_series(tag, ours, acc.Histograms(tag), same_hist)
    for tag, ours in dump["curve"].items():
        compare_series(tag, ours, today.Tensors(tag), same_curve)
    for tag, ours in dump["wide"].items():
        compare_series(tag, ours, today.Tensors(tag), lambda d, e: same_bits(
            float(d), tensor_util.make_ndarray(e.tensor_proto).item()))
    return today


def compare_strings(run_dir, dump, today):
    """Tables follow the resume; the chronicle (log, control, states) is kept whole by us, so it is
    compared with all records of all files."""
    Raw = collections.namedtuple("Raw", "step wall_time tensor_proto")
    raw = collections.defaultdict(list)
    content = {}
    for path in sorted(glob.glob(os.path.join(run_dir, "events.out.tfevents.*"))):
        for event in event_file_loader.LegacyEventFileLoader(path).Load():
            for value in event.summary.value:
                if value.HasField("tensor") and value.tensor.dtype == 7:
                    raw[value.tag].append(Raw(event.step, event.wall_time, value.tensor))
                    check(value.metadata.plugin_data.plugin_name == "hoplab", value.tag, "plugin")
                    content[value.tag] = value.metadata.plugin_data.content.decode()
    check(set(raw) == set(dump["json"]), "string tags", set(raw) ^ set(dump["json"]))
    for tag, ours in dump["json"].items():
        theirs = today.Tensors(tag) if content.get(tag) == "table" else raw[tag]
        compare_series(tag, ours, theirs, lambda d, e: d == string_of(e.tensor_proto))


def compare_provider(run_dir, dump):
    """What the web page asks: the data provider must offer scalars and wide numbers alike."""
    keep_all = {k: 0 for k in ("scalars", "histograms", "tensors")}
    mux = plugin_event_multiplexer.EventMultiplexer(
        size_guidance=keep_all, tensor_size_guidance={"scalars": 0, "histograms": 0, "hoplab": 0})
    mux.AddRunsFromDirectory(os.path.dirname(os.path.abspath(run_dir)))
    mux.Reload()
    provider = data_provider.MultiplexerDataProvider(mux, run_dir)
    ctx = context.RequestContext()
    run = os.path.basename(os.path.abspath(run_dir))
    scalars = provider.list_scalars(ctx, experiment_id="", plugin_name="scalars")[run]
    check(set(scalars) == set(dump["scalar"]) | set(dump["wide"]), "provider scalars", scalars)
    curves = provider.list_tensors(ctx, experiment_id="", plugin_name="hoplab")[run]
    check(set(dump["curve"]) <= set(curves), "provider tensors", curves)
    got = provider.read_scalars(ctx, experiment_id="", plugin_name="scalars", downsample=10 ** 9)[run]
    for kind in ("scalar", "wide"):
        for tag, ours in dump[kind].items():
            check(len(got[tag]) == len(ours), "provider", tag, len(got[tag]), len(ours))
            for (step, _, data), datum in zip(ours, got[tag]):
                check(step == datum.step and same_bits(float(data), datum.value), "provider", tag, step)


def compare(run_dir, dump_path):
    dump = read_dump(dump_path)
    check(dump, "the dump is empty")
    compare_strings(run_dir, dump, compare_data(run_dir, dump))
    compare_provider(run_dir, dump)
    n = sum(len(v) for tags in dump.values() for v in tags.values())
    print(f"{n} values in {sum(len(t) for t in dump.values())} series compared")


def live(sample_run, runs_dir):
    writer = subprocess.Popen([sample_run, "write", runs_dir, "4"], stdout=subprocess.PIPE, text=True)
    run_dir = writer.stdout.readline().strip()
    while not glob.glob(os.path.join(run_dir, "events.out.tfevents.*")) and writer.poll() is None:
        time.sleep(0.01)
    acc = event_accumulator.EventAccumulator(run_dir, size_guidance={"scalars": 0})
    seen = []
    while writer.poll() is None:
        acc.Reload()
        if "train/loss" in acc.Tags()["scalars"]:
            seen.append(len(acc.Scalars("train/loss")))
        time.sleep(0.05)
    check(writer.returncode == 0, "the writer ended with", writer.returncode)
    check(len(set(seen)) > 5, "TensorBoard saw too few stages while writing:", sorted(set(seen)))
    acc.Reload()
    final = [e.step for e in acc.Scalars("train/loss")]
    check(final == list(range(400)), "followed live, train/loss has other steps")
    print("live:", len(set(seen)), "stages seen, from", min(seen, default=0), "points on")
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as dump:
        subprocess.run([sample_run, "dump", run_dir], stdout=dump, check=True)
        compare(run_dir, dump.name)


def main(argv):
    if len(argv) == 4 and argv[1] == "--live":
        live(argv[2], argv[3])
    elif len(argv) == 3:
        compare(argv[1], argv[2])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    for p in problems[:20]:
        print("DIFFERS:", p)
    print("tensorboard agrees" if not problems else f"{len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
