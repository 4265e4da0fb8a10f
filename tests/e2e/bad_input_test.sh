#!/usr/bin/env bash
# Bad input: a message that names the file and the remedy, the right status, nothing lost.
. "$(dirname "$0")/lib.sh"
tiny=$here/tiny.lua

# --- command line: 2 ---
refuses 2 "did you mean '--steps'" "$hoplab" run "$tiny" --stesp 3
refuses 2 "no option 'lrr' \(did you mean 'lr'\?\)" "$hoplab" run "$tiny" -s optim.lrr=3
refuses 2 "no command 'trian'" "$hoplab" trian
refuses 2 "argument is missing" "$hoplab" run
refuses 2 "needs a terminal.*hoplab ls" "$hoplab"
refuses 2 "needs a terminal.*hoplab ls" "$hoplab" watch
refuses 2 "needs a terminal.*hoplab ls" "$hoplab" run "$tiny" --tui
refuses 2 "80x24, not '80xZ'" "$hoplab" watch --dump 80xZ
refuses 2 "no key is called <Nokey>" "$hoplab" watch --dump 80x24 --keys '<Nokey>'
refuses 2 "goes with --dump" "$hoplab" watch --keys j
refuses 3 "no run 'nosuch'|there are no runs" "$hoplab" watch nosuch
refuses 2 "missing|argument" "$hoplab" ctl

# --- option values, scripts: 3 ---
refuses 3 "optim.lr: 'fast' is no number" "$hoplab" run "$tiny" -s optim.lr=fast
refuses 3 "'layers' must be integer, not 2.5" "$hoplab" run "$tiny" -s model.layers=2.5
refuses 3 "must be at least 1" "$hoplab" run "$tiny" -s train.max_steps=-1
refuses 3 "'softmx1' is no normaliser" "$hoplab" run "$tiny" -s model.attention.softmax=softmx1
refuses 3 "33 is not a multiple of 2 heads" "$hoplab" run "$tiny" -s model.width=33
refuses 3 "nofile.lua: no such file" "$hoplab" run nofile.lua
printf 'local hop = require "hop"\nreturn hop.experiment {\n  name = \n}\n' >syntax.lua
refuses 3 "syntax.lua:4: unexpected symbol near '}'" "$hoplab" run syntax.lua
printf 'local x\nprint(x.y)\n' >nil.lua
refuses 3 "nil.lua:2: attempt to index a nil value" "$hoplab" run nil.lua
printf 'return require("hop").experiment { nam = "x" }\n' >unknown.lua
refuses 3 "unknown.lua: .*unknown option 'nam' \(did you mean 'name'\?\)" "$hoplab" run unknown.lua
printf 'return 3\n' >three.lua
refuses 3 "three.lua: .*returns no experiment" "$hoplab" run three.lua
experiment() { # name, data and train sections
  printf 'local hop = require "hop"\nreturn hop.experiment { name = "%s", model = hop.nn.opt { layers = 1,
    width = 8, heads = 1, max_len = 8 }, optim = hop.optim.adamw { lr = 1 }, data = %s, train = %s }\n' "$@" >"$1.lua"
}
experiment endless 'hop.data.clm { train = "generated", seq_len = 8 }' '{}'
refuses 3 "endless.lua: .*train.max_steps .*is missing" "$hoplab" run endless.lua
experiment nodata 'hop.optim.adamw { lr = 1 }' '{ max_steps = 1 }'
refuses 3 "nodata.lua: .*optim.adamw cannot be 'data'" "$hoplab" run nodata.lua
printf '\x1bLua' >binary.lua
refuses 3 "binary.lua is not a Lua script" "$hoplab" run binary.lua

# --- texts: 3 ---
refuses 3 "no text file 'missing.txt'" "$hoplab" run "$tiny" -s data.train=missing.txt
head -c 50000 /dev/urandom >binary.txt
refuses 3 "'binary.txt' looks binary" "$hoplab" run "$tiny" -s data.train=binary.txt
: >empty.txt
refuses 3 "'empty.txt' is empty" "$hoplab" run "$tiny" -s data.train=empty.txt
mkdir folder.txt
refuses 3 "'folder.txt' is a directory" "$hoplab" run "$tiny" -s data.train=folder.txt
echo hello >short.txt
refuses 3 "short.txt.*leaves no text for evaluation" "$hoplab" run "$tiny" -s data.train=short.txt
[ ! -d "$HOPLAB_RUNS" ] || fail "a run that never started left $(ls "$HOPLAB_RUNS")"

# --- memory, device: 4 ---
refuses 4 "not enough memory: a tensor .* needs .* is available" \
  "$hoplab" run "$tiny" -s model.width=400000
if [ "$(awk '/MemTotal/ { print $2 }' /proc/meminfo)" -lt 500000000 ]; then
  refuses 4 "the run needs .* is available; make the batch" \
    "$hoplab" run "$tiny" -s data.batch_size=1000000 -s data.seq_len=32
fi
refuses 4 "no CUDA|no GPU|cuda" "$hoplab" run "$tiny" --device cuda:77

if [ -n "${HOPLAB_SANITIZED:-}" ]; then
  echo "SKIPPED: the interpreter's own limit is 13 s of shadow memory"
elif [ "$(awk '/MemAvailable/ { print $2 }' /proc/meminfo)" -gt 6000000 ]; then
  refuses 1 "own memory is at its limit of 2.0 GiB" \
    "$hoplab" lua -e 'local t = {} for i = 1, 3 do t[i] = ("x"):rep((1 << 30) - i) end'
else
  echo "SKIPPED: the interpreter's own limit needs 6 GB to be reached"
fi
refuses 3 "error\(\) was called with a table" "$hoplab" lua -e 'error({})'
refuses 3 ": mine" "$hoplab" lua -e 'error(setmetatable({}, { __tostring = function() return "mine" end }))'

# --- where runs go: 1 ---
refuses 1 "cannot create .*/proc/none.*--runs" "$hoplab" run "$tiny" --runs /proc/none
if mkdir rom && mount -t tmpfs -o ro tmpfs rom 2>/dev/null; then
  refuses 1 "read-only; choose another place" "$hoplab" run "$tiny" --runs rom
  umount rom
else
  echo "SKIPPED: a read-only file system needs the right to mount"
fi

# --- a disk that fills: the run goes on, says so, keeps what it had ---
if mkdir full && mount -t tmpfs -o size=600k tmpfs full 2>/dev/null; then
  run 1 "$hoplab" run "$tiny" --runs full -s train.max_steps=100
  grep -q "step 100" err || fail "a full disk stopped the run"
  grep -q "full.*the disk is full" err || fail "a full disk was not told: $(tail -1 err)"
  [ -f full/2*/ckpt/step-*/DONE ] || ls full/2*/ckpt/step-*/DONE >/dev/null || fail "no checkpoint kept"
  run 0 "$hoplab" ls --runs full
  umount full
else
  echo "SKIPPED: a full disk needs the right to mount"
fi

# --- NaN: the three policies ---
nan=("$hoplab" run "$tiny" -s optim.lr=1e30 -s schedule.warmup=1 -s train.max_steps=20)
refuses 1 "step [0-9]+: loss nan, gradient norm nan; the update was left out" "${nan[@]}" -s on_nan=stop
run 0 "$hoplab" show last
grep -q diverged out || fail "the run's state is not 'diverged'"
run 0 "${nan[@]}" -s on_nan=skip
run 0 "${nan[@]}" -s on_nan=ignore

# --- two writers, and a damaged checkpoint ---
long=(run "$tiny" -q -s train.max_steps=2000000)
"$hoplab" "${long[@]}" >/dev/null 2>&1 &
pid=$!
live() { "$hoplab" ctl last status && has_checkpoints 3; }
await 10 live
refuses 3 "being written by a live worker; stop it first" "$hoplab" "${long[@]}" --resume
refuses 3 "being written by a live worker; stop it first" "$hoplab" "${long[@]}" --resume auto
refuses 1 "being written by process $pid" "$hoplab" rm last --yes
refuses 1 "no knob 'foo'; knobs: lr" "$hoplab" ctl last set foo=1
refuses 2 "'abc' is not a number" "$hoplab" ctl last set lr=abc
run 0 "$hoplab" ctl last set lr=0.5
run 0 "$hoplab" ctl last stop
wait "$pid" || fail "a stop on request is no failure"
run 0 "$hoplab" fsck last
newest=$(ls -d "$(run_dir)"/ckpt/step-* | tail -1)
older=$(ls -d "$(run_dir)"/ckpt/step-* | tail -2 | head -1)
cp "$newest/model.safetensors" good
for at in 3 9 40; do
  cp good "$newest/model.safetensors"
  printf '\xff' | dd of="$newest/model.safetensors" bs=1 seek=$at conv=notrunc 2>/dev/null
  refuses 3 "$(basename "$newest")/model.safetensors is damaged.*use an earlier checkpoint" \
    "$hoplab" "${long[@]}" --resume --checkpoint "$(basename "$newest")"
done
run 1 "$hoplab" fsck last
grep -q "DAMAGED.*model.safetensors" out || fail "fsck does not see the damage"
"$hoplab" run "$tiny" -s train.max_steps=2000000 --resume >log 2>&1 &
pid=$!
await 10 grep -q "resuming at step" log
grep -q "damaged.*taking $(basename "$older")" log || fail "resume took no older checkpoint: $(cat log)"
kill -TERM "$pid"
wait "$pid"
[ $? -eq 143 ] || fail "SIGTERM must end the run with 143"
refuses 3 "no run 'nothing'" "$hoplab" show nothing
finish
