#!/usr/bin/env bash
# Interrupts: scripts that loop end at once, runs end after a checkpoint, workers obey their socket.
. "$(dirname "$0")/lib.sh"
tiny=$here/tiny.lua

# interrupts SECONDS_ALLOWED SCRIPT: hoplab lua SCRIPT ends with 130 soon after SIGINT
interrupts() {
  printf '%s\n' "$1" >loop.lua
  env --default-signal=INT "$hoplab" lua loop.lua >out 2>err </dev/null &
  local pid=$! began
  sleep 0.3
  kill -0 $pid 2>/dev/null || { fail "ended by itself: $1: $(cat err)"; return; }
  began=$(date +%s%N)
  kill -INT $pid
  await 5 gone $pid
  kill -9 $pid 2>/dev/null && fail "not interrupted: $1"
  wait $pid
  local got=$?
  [ $got -eq 130 ] || fail "status $got, not 130: $1: $(cat err)"
  [ $((($(date +%s%N) - began) / 1000000)) -lt 3000 ] || fail "slow to interrupt: $1"
}

# a background job of a shell that is not interactive ignores SIGINT, and hoplab respects that
interrupts 'while true do end'
interrupts 'while true do pcall(function() while true do end end) end'
interrupts 'while true do xpcall(function() while true do end end, function(e) return e end) end'
interrupts 'local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end'
interrupts 'local c = coroutine.wrap(function() while true do end end) while true do pcall(c) end'
interrupts 'local t = setmetatable({}, { __index = function(t, k) while true do end end }) print(t.x)'
interrupts 'local function f() return f() end f()'
interrupts 'local s = "" while true do s = (s .. "x"):sub(-100) end'
interrupts 'local T = require("hop").T local t = T.zeros { 64, 64 } while true do t = t:matmul(t) + 1 t:sum():item() end'
interrupts 'local t = setmetatable({}, { __close = function() while true do end end }) do local x <close> = t end'

# --- a run: SIGINT and SIGTERM write a checkpoint, then 130 and 143; it can be resumed ---
for signal in INT TERM; do
  export HOPLAB_RUNS=$work/runs-$signal
  env --default-signal=INT "$hoplab" run "$tiny" -q -s train.max_steps=1000000 -s save.every=0 >out 2>err &
  pid=$!
  await 5 "$hoplab" ctl last status
  sleep 0.3
  kill -$signal $pid
  wait $pid
  got=$?
  want=$([ $signal = INT ] && echo 130 || echo 143)
  [ $got -eq "$want" ] || fail "SIG$signal ended the run with $got, not $want"
  run 0 "$hoplab" show last
  grep -q interrupted out || fail "SIG$signal: the state is not 'interrupted'"
  has_whole_checkpoint >/dev/null 2>&1 || fail "SIG$signal wrote no checkpoint"
done

# --- SIGUSR1 writes one and goes on; a hang-up does not end a run; detach and ctl ---
export HOPLAB_RUNS=$work/detached
run 0 "$hoplab" run "$tiny" --detach -s train.max_steps=1000000 -s save.every=0
id=$(basename "$(run_dir)")
grep -q "$id" out err || fail "--detach does not say which run it started"
run 0 "$hoplab" ctl "$id" status
pid=$(grep -o '"pid":[0-9]*' "$(run_dir)/lock" | cut -d: -f2)
kill -HUP "$pid"
kill -USR1 "$pid"
await 5 has_whole_checkpoint || fail "SIGUSR1 wrote no checkpoint"
run 0 "$hoplab" ctl last pause
shows_pause() { "$hoplab" ls >listed && grep -q paused listed; }
await 5 shows_pause
run 0 "$hoplab" ls
grep -q paused out || fail "ls does not show the pause: $(cat out)"
asks() { # STATUS ANSWER TEXT: what the run says to a text
  run "$1" "$hoplab" ctl last lua "$3"
  grep -qF -- "$2" out err || fail "lua $3: $(cat out err)"
}
asks 0 applied 'hop.global("n", 40)'
asks 0 said 'n = n + 1 print("said", n)'
asks 0 41 n
asks 1 'unexpected symbol' '1 +'
asks 1 'by hand' 'n = n + 1 error "by hand"'
asks 1 'stopped: more than' 'while true do end'
is_touched() { "$hoplab" ls --filter touched >listed && grep -q tiny listed; }
await 20 is_touched || fail "evaluations are no touch: $(cat listed)"
run 0 "$hoplab" ctl last set lr=0.001
run 0 "$hoplab" ctl last eval
run 0 "$hoplab" ctl last checkpoint
run 0 "$hoplab" ctl last resume
run 0 "$hoplab" ctl last set lr=linear:peak=0.002,steps=1000

# --- paused for long: the process goes behind a checkpoint, and another one goes on with its knobs ---
run 0 "$hoplab" ctl last pause --release
await 20 gone "$pid" || fail "pause --release keeps the process"
run 0 "$hoplab" ls --filter 'status:paused touched'
grep -q tiny out || fail "released, it is: $("$hoplab" ls)"
refuses 3 'not running|no live|live' "$hoplab" ctl last checkpoint
run 0 "$hoplab" ctl last resume
run 0 "$hoplab" ctl last knobs
grep -q '^lr .*linear:peak=0.002,steps=1000' out || fail "the schedule is gone: $(cat out)"
pid=$(grep -o '"pid":[0-9]*' "$(run_dir)/lock" | cut -d: -f2)
run 0 "$hoplab" ctl last stop
await 20 gone "$pid" || fail "the detached worker did not stop"
[ "$(ls "$HOPLAB_RUNS" | grep -c '^2')" -eq 1 ] || fail "resuming made another run"

# --- again with the same changes of knobs, at the same steps ---
turned() { "$hoplab" show "$1" | grep -o 'step [0-9]* .*"cmd":"lr".*"status":"applied"' | sed 's/{.*"value"://'; }
turned "$id" >first
[ "$(wc -l <first)" -eq 2 ] || fail "changes of knobs: $(cat first)"
steps=$(($(tail -1 first | cut -d' ' -f2) + 5))
run 0 "$hoplab" run "$tiny" -q --name again --replay "$id" -s train.max_steps=$steps -s save.every=0
turned again >second
same first second
evaluated() { "$hoplab" show "$1" | grep -o 'step [0-9]* .*"cmd":"lua".*"status":"[af].*' | sed 's/{.*"value"://'; }
evaluated "$id" >first
evaluated again >second
same first second
[ "$(wc -l <first)" -eq 5 ] || fail "evaluations: $(cat first)"
grep -q '"n".*"status":"applied","answer":"41"' first || fail "no answer in the record: $(cat first)"
grep -q 'error .*"status":"failed","reason":"console:1: by hand"' first || fail "no reason: $(cat first)"
refuses 3 'no run' "$hoplab" run "$tiny" -q --replay nobody -s train.max_steps=2
rm "$HOPLAB_RUNS"/2*/summary.json
run 0 "$hoplab" ls --filter touched
grep -q again out || fail "touched is not in the events: $(cat out)"
run 0 "$hoplab" rm again --yes
run 0 "$hoplab" show "$id"
grep -q "stopped" out || fail "state after stop: $(grep state out)"
run 0 "$hoplab" rm "$id" --yes
[ -z "$(ls "$HOPLAB_RUNS" | grep '^2')" ] || fail "rm left something"
finish
