#!/usr/bin/env bash
# Sweeps: a grid is trained once, what is interrupted or killed goes on, what fails is named.
# Second argument: steps of the trials that are killed.
. "$(dirname "$0")/lib.sh"
tiny=$here/tiny.lua
steps=${2:-600}
quick=(-s eval.batches=1 -s eval.every=0 -s probe.every=0)

count() { ls -d "$HOPLAB_RUNS"/2* 2>/dev/null | wc -l; }
says() { grep -Eq -- "$1" out || { fail "no '$1' in:"; sed 's/^/    /' out | tail -12; }; }
n_with() { grep -Ec -- "$1" out; }

# --- a grid of 2 x 2; the second start trains nothing ---
grid=(sweep "$tiny" "${quick[@]}" -s train.max_steps=12 -s optim.lr=1e-3,1e-2
  -s model.attention.softmax=vanilla,softmax1)
run 0 "$hoplab" "${grid[@]}" --dry-run
says 'sweep tiny: 4 trials: 4 new'
[ "$(count)" -eq 0 ] || fail "--dry-run trained something"
run 0 "$hoplab" "${grid[@]}" --jobs 2
says 'tiny:lr=0.001,softmax=vanilla'
says '^0.01  +softmax1 +1 '
[ "$(count)" -eq 4 ] || fail "$(count) runs of 4"
run 0 "$hoplab" "${grid[@]}"
says '4 trials: 4 done'
[ "$(count)" -eq 4 ] || fail "the second start trained something"
run 0 "$hoplab" "${grid[@]}" --json
[ "$(grep -o '"state":"done"' out | wc -l)" -eq 4 ] || fail "--json lists other trials"
grep -q '"rows":\[{"values":{"optim.lr":0.001,"model.attention.softmax":"vanilla"},"n":1,"metrics":{' out ||
  fail "--json has other rows"
run 0 "$hoplab" ls sweep:tiny
[ "$(n_with done)" -eq 4 ] || fail "the tag sweep:tiny does not find the trials"
# more of them: only what is missing
run 0 "$hoplab" "${grid[@]}" --repeat 2
says '8 trials: 4 done, 4 new|8 trials: 8 new|8 trials: 4 new, 4 done'
says '^0.001  +vanilla +2 +[0-9.]+ \('

# --- a sweep of a script: where, seeds folded ---
export HOPLAB_RUNS=$work/script
run 0 "$hoplab" sweep "$here/sweep.lua" -s seed=2
says 'sweep grid: 1 trials: 1 new'
run 0 "$hoplab" sweep "$here/sweep.lua"
says 'sweep grid: 3 trials: 2 new, 1 done' # what a part of the sweep has trained
says '^0.001 +2 +[0-9.]+ \('
says '^0.01 +1 '
run 0 "$hoplab" sweep "$here/sweep.lua" --dry-run
says '3 trials: 3 done'

# --- a trial that fails is named, and not repeated unless asked for ---
run 1 "$hoplab" sweep "$here/sweep.lua" -s optim.lr=1e-3,1e6 -s on_nan=ignore
grep -q 'lr=1e[+]06.* failed: .*it fails here.*stdout.log' err || { fail "the failure is not named"; cat err; }
log=$(sed -n 's/.*log: \(.*stdout.log\).*/\1/p' err | head -1)
grep -q 'it fails here' "$log" || fail "its log does not tell"
before=$(count)
run 1 "$hoplab" sweep "$here/sweep.lua" -s optim.lr=1e-3,1e6 -s on_nan=ignore
[ "$(count)" -eq "$before" ] || fail "what failed was repeated unasked"
run 1 "$hoplab" sweep "$here/sweep.lua" -s optim.lr=1e-3,1e6 -s on_nan=ignore --rerun failed
[ "$(count)" -eq $((before + 2)) ] || fail "--rerun failed made $(($(count) - before)) runs, not 2"
run 1 "$hoplab" sweep "$here/sweep.lua" --name lost -s data.train=nowhere.txt -s seed=1,2
grep -q 'nowhere.txt' err || fail "what fails before the first step is not told"

# --- refused ---
refuses 2 "no option 'lrr'" "$hoplab" sweep "$tiny" -s optim.lrr=1,2
refuses 2 'is empty' "$hoplab" sweep "$tiny" -s optim.lr=1,,2
refuses 2 'is there twice' "$hoplab" sweep "$tiny" -s optim.lr=1,1.0
refuses 2 'path=value' "$hoplab" sweep "$tiny" -s optim.lr
refuses 2 "takes 'failed'" "$hoplab" sweep "$tiny" --rerun all
refuses 2 'jobs' "$hoplab" sweep "$tiny" --jobs 0
refuses 2 'device' "$hoplab" sweep "$tiny" --device tpu
refuses 3 'nowhere.lua' "$hoplab" sweep nowhere.lua
printf 'return 3\n' >three.lua
refuses 3 'neither an experiment nor a sweep' "$hoplab" sweep three.lua

# --- killed and interrupted: the next start goes on, to the same weights ---
last=$(printf 'step-%010d' "$steps")
long=(-s train.max_steps="$steps" -s save.every=$((steps / 30)) -s optim.lr=1e-3,1e-2)
export HOPLAB_RUNS=$work/whole
run 0 "$hoplab" sweep "$tiny" "${quick[@]}" "${long[@]}" --threads 1
weights() { for f in "$HOPLAB_RUNS"/2*/ckpt/"$last"/model.safetensors; do cksum <"$f"; done | sort; }
whole=$(weights)
worker() { grep -ho '"pid":[0-9]*' "$HOPLAB_RUNS"/2*/lock 2>/dev/null | tail -1 | cut -d: -f2; }
has_done() { ls "$HOPLAB_RUNS"/2*/ckpt/step-*/DONE; }

export HOPLAB_RUNS=$work/killed
"$hoplab" sweep "$tiny" "${quick[@]}" "${long[@]}" --threads 1 >out 2>err </dev/null &
pid=$!
await 60 has_done
"$hoplab" ls --filter 'status:queued tag:"sweep:"' | grep -q 'queued' || fail "what waits is not listed"
"$hoplab" watch --dump 80x24 --keys ":sort state<Enter>gg2" 2>&1 | grep -q 'waits in the sweep' || fail "a run that waits has no picture"
kill -9 $pid # the sweep alone: its worker goes on, and is taken over
wait $pid 2>/dev/null
run 0 "$hoplab" sweep "$tiny" "${quick[@]}" "${long[@]}" --threads 1
[ "$(count)" -eq 2 ] || fail "a worker that went on was not taken over: $(count) runs"
[ "$(weights)" = "$whole" ] || fail "other weights after a kill of the sweep"

for signal in KILL TERM INT; do
  export HOPLAB_RUNS=$work/$signal
  env --default-signal=INT "$hoplab" sweep "$tiny" "${quick[@]}" "${long[@]}" --threads 1 >out 2>err </dev/null &
  pid=$!
  await 60 has_done
  if [ $signal = KILL ]; then
    kill -9 $pid "$(worker)"
  else
    kill -$signal $pid
  fi
  wait $pid 2>/dev/null
  got=$?
  case $signal in
  KILL) ;;
  TERM) [ $got -eq 143 ] || fail "SIGTERM ended the sweep with $got" ;;
  INT) [ $got -eq 130 ] || fail "SIGINT ended the sweep with $got" ;;
  esac
  [ -z "$(worker)" ] || [ $signal = KILL ] || fail "SIG$signal left a worker behind"
  run 0 "$hoplab" sweep "$tiny" "${quick[@]}" "${long[@]}" --threads 1
  [ "$(count)" -eq 2 ] || fail "SIG$signal: $(count) runs, not 2"
  [ "$(weights)" = "$whole" ] || fail "SIG$signal: other weights"
done

finish
