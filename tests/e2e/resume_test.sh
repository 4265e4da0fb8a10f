#!/usr/bin/env bash
# kill -9 at random moments (second argument: how many; third: steps), then --resume: weights, optimiser
# and event values end equal in every bit to an uninterrupted run's.
. "$(dirname "$0")/lib.sh"
kills=${2:-20}
steps=${3:-6000}
train=(run "$here/tiny.lua" -q -s train.max_steps="$steps")

started=$(date +%s%N)
run 0 "$hoplab" "${train[@]}"
took_ms=$((($(date +%s%N) - started) / 1000000))
whole=$(run_dir)
last=$(printf 'step-%010d' "$steps")
export HOPLAB_RUNS=$work/killed
RANDOM=${HOPLAB_TEST_SEED:-11}
killed=0
for ((i = 0; i < 50 && killed < kills; i++)); do
  "$hoplab" "${train[@]}" --resume auto >>log 2>&1 &
  pid=$!
  ms=$((RANDOM % (took_ms * 2 / (kills + 1) + 1) + 30))
  sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
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
