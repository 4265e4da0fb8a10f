#!/usr/bin/env bash
# A program whose device is the emulation: what is said where there is no device, and that a training
# there is the training of the CPU, repeats and resumes to the bit.
. "$(dirname "$0")/lib.sh"
small=(run "$here/tiny.lua" --json --threads 1 -s train.max_steps=4 -s data.batch_size=1 -s data.seq_len=8
  -s model.max_len=8 -s model.width=16 -s eval.every=4 -s eval.batches=1 -s save.every=2 -s probe.every=2
  -s log.every=1)

weights() { # RUNS STEP
  cat "$1"/2*/ckpt/step-*"$2"/model.safetensors
}

losses() { # "STEP LOSS" lines of ./out, a run with --json; fast steps are not all told
  sed -n 's/.*"ev":"step","step":\([0-9]*\).*"loss":\([0-9.e+-]*\).*/\1 \2/p' out
}

near() { # SHARE: are the losses on_device those on_cpu, of which both have at least two?
  awk -v share="$1" 'NR == FNR { cpu[$1] = $2; next }
       $1 in cpu { n++; d = cpu[$1] > $2 ? cpu[$1] - $2 : $2 - cpu[$1]
         if (!(d <= share * $2)) { print "step " $1 ": " cpu[$1] " on the CPU, " $2 " on the device"; bad = 1 } }
       END { exit bad || n < 2 }' on_cpu on_device
}

has_begun() { # RUNS
  [ -e "$(echo "$1"/2*/ckpt/last)" ]
}

run 0 "$hoplab" doctor
grep -q 'gpu  *[0-9]* CUDA device' out || fail "doctor does not tell the device"
refuses 2 'auto, cpu or cuda' "$hoplab" "${small[@]}" --device gpu
refuses 4 'there is only 1' "$hoplab" "${small[@]}" --device cuda:7
refuses 4 'tf32 is of a GPU' "$hoplab" "${small[@]}" --device cpu --precision tf32
refuses 4 'fp16 is of a GPU' "$hoplab" "${small[@]}" --device cpu --precision fp16
export HOPLAB_EMULATED=0
refuses 4 'no device' "$hoplab" "${small[@]}" --device cuda
unset HOPLAB_EMULATED

run 0 "$hoplab" "${small[@]}" --device cpu
losses >on_cpu
for precision in fp32 tf32; do
  export HOPLAB_RUNS=$work/$precision
  run 0 "$hoplab" "${small[@]}" --device cuda --precision $precision
  losses >on_device
  grep -q "\"precision\":\"$precision\"" "$HOPLAB_RUNS"/2*/run.json || fail "run.json does not say $precision"
  grep -q 'emulation on the host' "$HOPLAB_RUNS"/2*/run.json || fail "run.json does not say the device"
  near 1e-4 || fail "$precision: other losses on the device"
done
export HOPLAB_RUNS=$work/fp32
weights "$HOPLAB_RUNS" 4 >whole
[ -s whole ] || fail "no checkpoint"

# the same again, through a kill: the same bits
export HOPLAB_RUNS=$work/broken
"$hoplab" "${small[@]}" --device cuda >/dev/null 2>&1 &
pid=$!
await 60 has_begun "$HOPLAB_RUNS"
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
run 0 "$hoplab" "${small[@]}" --device cuda --resume
weights "$HOPLAB_RUNS" 4 | cmp -s - whole || fail "killed and resumed: other bits"

# too little memory is told before the first step, a device that fails in mid-run by its reason; what was
# saved stands
export HOPLAB_RUNS=$work/small
HOPLAB_EMULATED_BYTES=20000 refuses 4 'not enough memory.*on the device.*Largest' "$hoplab" "${small[@]}" --device cuda
export HOPLAB_RUNS=$work/fault
HOPLAB_EMULATED_FAULT=$HOPLAB_RUNS/2*/ckpt/last run 4 "$hoplab" "${small[@]}" --device cuda
grep -q 'cuda:0: an illegal memory access.*checkpoint stands' err || fail "no word about the device"
grep -q '"reason":"device"' out || fail "the reason is not the device"
run 0 "$hoplab" "${small[@]}" --device cuda --resume
weights "$HOPLAB_RUNS" 4 | cmp -s - whole || fail "resumed after a fault: other bits"

# quantized there: the same ranges and codes, so the same losses but for the order of sums
for device in cpu cuda; do
  run 0 "$hoplab" quantize tiny --limit 1 --json --no-record --threads 1 -s quantize.batches=1 --device $device
  for way in simulated executed; do
    grep -o "\"$way\":{.*" out | grep -o '"eval_loss":[0-9.]*' | head -1 | cut -d: -f2
  done >quantized_$device
done
paste quantized_cpu quantized_cuda | awk '{ d = ($1 - $2) / $1; if (!(d < 1e-4 && d > -1e-4)) bad = 1 } END { exit bad || NR != 2 }' ||
  fail "quantized: $(cat quantized_cpu) on the CPU, $(cat quantized_cuda) on the device"
# a language model's step is captured and replayed; queued as it is, it has the same bits
export HOPLAB_RUNS=$work/queued
HOPLAB_EMULATED_CAPTURE=0 run 0 "$hoplab" "${small[@]}" --device cuda
weights "$HOPLAB_RUNS" 4 | cmp -s - whole || fail "replayed: other bits than queued"
bench=(-s data.batch_size=1 -s data.seq_len=8 -s model.max_len=8 -s model.width=16 --threads 1 --pairs 3 --device cuda)
for script in tiny masked; do
  run 0 "$hoplab" bench "$here/$script.lua" "${bench[@]}"
  grep -Eq 'device: [1-9][0-9]* steps replayed, 0 operations' out || fail "$script.lua is not captured"
done

# fp16: near the losses of fp32, the scale of the loss in the checkpoint, resumed after a fault: the same bits
export HOPLAB_RUNS=$work/fp16
run 0 "$hoplab" "${small[@]}" --device cuda --precision fp16
losses >on_device
near 0.01 || fail "fp16: other losses than fp32"
grep -q '"precision":"fp16"' "$HOPLAB_RUNS"/2*/run.json || fail "run.json does not say fp16"
weights "$HOPLAB_RUNS" 4 >whole
grep -qa 'optim.loss_scale' "$HOPLAB_RUNS"/2*/ckpt/step-*4/optim.safetensors || fail "no scale in the checkpoint"
export HOPLAB_RUNS=$work/fp16-fault
HOPLAB_EMULATED_FAULT=$HOPLAB_RUNS/2*/ckpt/last run 4 "$hoplab" "${small[@]}" --device cuda --precision fp16
run 0 "$hoplab" "${small[@]}" --device cuda --precision fp16 --resume
weights "$HOPLAB_RUNS" 4 | cmp -s - whole || fail "fp16, resumed: other bits"

# gradients that overflow halve the scale, leave the update out and are told; the scale is resumed too
cat >over.lua <<'LUA'
local hop = require "hop"
local model = hop.nn.module { name = "m",
  params = function(p) p.a, p.b = hop.nn.linear(784, 8), hop.nn.linear(8, 10) end,
  loss = function(p, batch) return hop.loss.squared_error(p.b(p.a(batch.x):tanh()), batch.y) * 1e6 end }
return hop.experiment { name = "over", seed = 1, model = model {}, optim = hop.optim.adamw { lr = 1e-3 },
  data = hop.data.images { set = "generated", generated = 40, generated_eval = 4, batch_size = 6 },
  log = { every = 1 }, save = { every = 2 }, train = { max_steps = 4 } }
LUA
overflow=(run over.lua --json --threads 1 --device cuda --precision fp16)
export HOPLAB_RUNS=$work/over
run 0 "$hoplab" "${overflow[@]}"
grep -q 'too large for fp16 at the loss scale 65536; the update was left out, the scale is 32768 now' out ||
  fail "an overflow is not told"
grep -q '"skipped":4' out || fail "overflows are not counted"
cat "$HOPLAB_RUNS"/2*/ckpt/step-*4/optim.safetensors >whole
export HOPLAB_RUNS=$work/over-fault
HOPLAB_EMULATED_FAULT=$HOPLAB_RUNS/2*/ckpt/last run 4 "$hoplab" "${overflow[@]}"
run 0 "$hoplab" "${overflow[@]}" --resume
cmp -s "$HOPLAB_RUNS"/2*/ckpt/step-*4/optim.safetensors whole || fail "resumed: another scale"

# fixed points: the losses of the CPU, the same bits queued and replayed, nothing on the host
solve() { # SOLVER METHOD
  cat >solve.lua <<LUA
local hop = require "hop"
local T, nn, deq = hop.T, hop.nn, hop.deq
local cell = deq.fn {
  params = function(p)
    p.W, p.U = p:normal({ 12, 12 }, { std = 0.2 }), p:normal({ 784, 12 }, { std = 0.02 })
  end,
  prepare = function(p, x) return x:matmul(p.U) end,
  step = function(p, z, u) return (z:matmul(p.W) + u):tanh() end }
local model = nn.module { name = "m",
  params = function(p)
    p.core = deq.layer { fn = cell, state = { 12 }, forward = { solver = "$1", max_iter = 20, tol = 1e-4,
        relative = false, memory = 4 },
      backward = { method = "$2", max_iter = 8 } }
    p.head = nn.linear(12, 10)
  end,
  loss = function(p, batch)
    local z, info = p.core(batch.x)
    return hop.loss.squared_error(p.head(z), batch.y), deq.metrics(info)
  end }
return hop.experiment { name = "solve", seed = 1, model = model {}, optim = hop.optim.adamw { lr = 1e-2 },
  data = hop.data.images { set = "generated", generated = 40, generated_eval = 4, batch_size = 6 },
  log = { every = 1 }, train = { max_steps = 4 } }
LUA
  export HOPLAB_RUNS=$work/$1-$2-cpu
  run 0 "$hoplab" run solve.lua --json --threads 1 --device cpu
  losses >on_cpu
  export HOPLAB_RUNS=$work/$1-$2
  run 0 "$hoplab" run solve.lua --json --threads 1 --device cuda
  losses >on_device
  near 1e-4 || fail "$1, $2: other losses on the device"
  weights "$HOPLAB_RUNS" 4 >replayed
  export HOPLAB_RUNS=$work/$1-$2-queued
  HOPLAB_EMULATED_CAPTURE=0 run 0 "$hoplab" run solve.lua --threads 1 --device cuda
  weights "$HOPLAB_RUNS" 4 | cmp -s - replayed || fail "$1, $2: replayed: other bits than queued"
  run 0 "$hoplab" bench solve.lua --threads 1 --pairs 1 --device cuda
  grep -Eq 'device: [1-9][0-9]* steps replayed, 0 operations' out || fail "$1, $2: not captured"
}
solve picard ift
solve anderson ift
solve broyden ift
solve anderson unroll
solve picard phantom

export HOPLAB_RUNS=$work/bf16
run 0 "$hoplab" "${small[@]}" --device cuda --precision bf16

finish
