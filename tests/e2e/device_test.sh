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

has_begun() { # RUNS
  [ -e "$(echo "$1"/2*/ckpt/last)" ]
}

run 0 "$hoplab" doctor
grep -q 'gpu  *[0-9]* CUDA device' out || fail "doctor does not tell the device"
refuses 2 'auto, cpu or cuda' "$hoplab" "${small[@]}" --device gpu
refuses 4 'there is only 1' "$hoplab" "${small[@]}" --device cuda:7
refuses 4 'tf32 is of a GPU' "$hoplab" "${small[@]}" --device cpu --precision tf32
refuses 4 'fp16 does not run' "$hoplab" "${small[@]}" --device cuda --precision fp16
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
  awk 'NR == FNR { cpu[$1] = $2; next }
       $1 in cpu { n++; d = cpu[$1] > $2 ? cpu[$1] - $2 : $2 - cpu[$1]
         if (!(d <= 1e-4 * $2)) { print "step " $1 ": " cpu[$1] " on the CPU, " $2 " on the device"; bad = 1 } }
       END { exit bad || n < 2 }' on_cpu on_device || fail "$precision: other losses on the device"
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

export HOPLAB_RUNS=$work/bf16
run 0 "$hoplab" "${small[@]}" --device cuda --precision bf16
finish
