#!/usr/bin/env bash
# kill -9 at random moments (second argument: how many; third: steps), then --resume: weights, optimiser
# and event values end equal in every bit to an uninterrupted run's.
. "$(dirname "$0")/lib.sh"
kills=${2:-20}
steps=${3:-6000}
train=(run "$here/tiny.lua" -q -s train.max_steps="$steps")

run 0 "$hoplab" "${train[@]}"
whole=$(run_dir)
last=$(printf 'step-%010d' "$steps")
export HOPLAB_RUNS=$work/killed
RANDOM=${HOPLAB_TEST_SEED:-11}

reached() { # the step of the newest checkpoint; 0 without one
  local name
  name=$(ls -d "$HOPLAB_RUNS"/2*/ckpt/step-* 2>/dev/null | tail -1)
  echo $((10#0${name##*step-}))
}
is_past() { # PID STEP: it got there, or ended
  gone "$1" || [ "$(reached)" -ge "$2" ]
}

# Each time it gets some way, at a random one of its checkpoints and a random moment behind it. By
# steps, not by time: a machine is busy in one minute and idle in the next.
killed=0
for ((i = 0; i < kills; i++)); do
  "$hoplab" "${train[@]}" --resume auto >>log 2>&1 &
  pid=$!
  await 120 is_past $pid $(($(reached) + RANDOM % (steps * 3 / (kills * 2) + 1) + 1))
  sleep "0.0$((RANDOM % 90 + 10))"
  kill -9 "$pid" 2>/dev/null && killed=$((killed + 1))
  wait "$pid" 2>/dev/null
  [ -d "$HOPLAB_RUNS"/2*/ckpt/"$last" ] 2>/dev/null && break
done
# On a machine that got faster meanwhile it may be done already; then auto would begin another one.
"$hoplab" show last | grep '^state' | grep -q done || run 0 "$hoplab" "${train[@]}" --resume auto
[ "$(ls -d "$HOPLAB_RUNS"/2* | wc -l)" -eq 1 ] || fail "resuming made another run"
again=$(run_dir)
for file in model.safetensors optim.safetensors; do
  same "$whole/ckpt/$last/$file" "$again/ckpt/$last/$file"
done
for tag in train/loss eval/loss outliers/final.norm/kurtosis; do
  scalar() { grep -o "\"$tag\":{[^}]*}" "$1/summary.json"; }
  [ -n "$(scalar "$whole")" ] || fail "no $tag in the summary"
  [ "$(scalar "$whole")" = "$(scalar "$again")" ] || fail "$tag: $(scalar "$whole") and $(scalar "$again")"
done
run 0 "$hoplab" fsck last
printf '%d kills over %d segments\n' "$killed" "$(ls "$again"/events* | wc -l)"
[ "$killed" -ge $(((kills + 1) / 2)) ] || fail "only $killed of $kills runs could be killed in time"
finish
