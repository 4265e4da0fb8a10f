#!/usr/bin/env bash
# --precision bf16: runs repeat and resume to the bit, checkpoints are fp32, and what it does not do is
# said.
. "$(dirname "$0")/lib.sh"
tiny=$here/tiny.lua
steps=60
train=(run "$tiny" -q --precision bf16 --threads 1 -s train.max_steps=$steps -s eval.every=0 -s save.every=30)

weights() { # RUNS
  cat "$1"/2*/ckpt/step-*$steps/model.safetensors
}

has_begun() { # RUNS
  [ -e "$(echo "$1"/2*/ckpt/last)" ]
}

run 0 "$hoplab" "${train[@]}"
weights "$HOPLAB_RUNS" >whole
[ -s whole ] || fail "no checkpoint"
grep -q '"precision":"bf16"' "$HOPLAB_RUNS"/2*/run.json || fail "run.json does not say bf16"
grep -aq '"dtype":"F32"' whole || fail "the checkpoint is not fp32"
grep -aq '"dtype":"BF16"' whole && fail "the checkpoint has bf16"
run 0 "$hoplab" eval last --limit 2
refuses 2 'evaluated in fp32' "$hoplab" eval last --precision bf16
refuses 2 'evaluated in fp32' "$hoplab" quantize last --precision bf16

# the same again, and through an interruption
export HOPLAB_RUNS=$work/again
run 0 "$hoplab" "${train[@]}"
weights "$HOPLAB_RUNS" | cmp -s - whole || fail "twice the same run: other bits"
export HOPLAB_RUNS=$work/broken
"$hoplab" "${train[@]}" -s save.every=1 >/dev/null 2>&1 &
pid=$!
await 20 has_begun "$HOPLAB_RUNS"
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
refuses 3 'computed in bf16.*--precision bf16' "$hoplab" "${train[@]}" -s save.every=1 --precision fp32 --resume
run 0 "$hoplab" "${train[@]}" -s save.every=1 --resume
weights "$HOPLAB_RUNS" | cmp -s - whole || fail "killed and resumed: other bits"

refuses 4 'fp16 is of a GPU' "$hoplab" run "$tiny" --device cpu --precision fp16
export HOPLAB_RUNS=$work/deq
run 0 "$hoplab" run "$here/equilibrium.lua" --precision bf16 --threads 1 -s train.max_steps=1
grep -aq "fixed points are iterated in fp32" "$HOPLAB_RUNS"/2*/events* || fail "nothing is said of fixed points"
printf '%s\n' 'local m = hop.nn.opt { layers = 1, width = 8, heads = 2, vocab = 5, max_len = 4 }
local ids = hop.T.cast(hop.T.from { { 1, 2, 3, 4 } }, "i32")
hop.train_step { model = m, optim = hop.optim.sgd { lr = 1 }, precision = "bf16" } { ids = ids, labels = ids }' >loop.lua
run 0 "$hoplab" lua -e "$(cat loop.lua)"
refuses 3 'session of doubles' "$hoplab" lua --precision fp64 -e "$(cat loop.lua)"
finish
