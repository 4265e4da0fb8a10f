#!/usr/bin/env bash
# Every command as its user meets it: what it prints, what it leaves.
. "$(dirname "$0")/lib.sh"
tiny=$here/tiny.lua

says() { grep -Eq -- "$1" out || fail "'$1' is not in: $(head -c 400 out)"; }

run 0 "$hoplab" --help
says 'run +train an experiment'
run 0 "$hoplab" --version
says '[0-9]+\.[0-9]+'
for command in run check demo ls show compare ctl flag rm fsck graph data bench lua meta doctor; do
  run 0 "$hoplab" $command --help
  says "^Usage: hoplab $command"
done
run 0 "$hoplab" doctor
grep -q "^bf16 " out || fail "doctor does not say how bf16 runs"
says 'kernels: '

# --- before training ---
run 0 "$hoplab" check "$tiny"
says 'is fine'
run 0 "$hoplab" check "$tiny" --resolved --json
says '"weight_decay"'
run 0 "$hoplab" graph "$tiny"
says '= attention '
[ ! -e "$HOPLAB_RUNS" ] || fail "looking at a script made a run"

# --- tokenizers ---
text=$here/../../README.md
run 0 "$hoplab" data tokenize "$text"
says 'bytes, 256 tokens'
for kind in bpe wordpiece; do
  run 0 "$hoplab" data tokenize "$text" --train $kind --vocab 600 -o learnt-$kind
  says "$kind, 600 tokens, in learnt-$kind"
  says 'unknown +0 '
  n=$(sed -n 's/^tokens *\([0-9]*\),.*/\1/p' out)
  run 0 "$hoplab" data tokenize "$text" --tokens learnt-$kind --ids
  [ "$(wc -l <out)" -eq "$n" ] || fail "learnt and opened, $kind gives other numbers of tokens"
done
run 3 "$hoplab" data tokenize "$text" --tokens ./learnt-nothing
run 0 "$hoplab" run "$tiny" -q --runs tok-runs --steps 2 -s data.tokens=./learnt-bpe
run 3 "$hoplab" run "$tiny" -q --runs tok-runs --steps 2 -s data.tokens=wrods
grep -q "did you mean 'words'" err || fail "no advice for a misspelt tokenizer"
run 2 "$hoplab" data tokenize "$text" --train bpe
run 2 "$hoplab" data fetsch

# --- tokens kept as files ---
run 0 "$hoplab" check "$tiny" -s data.cache=./kept
kept=$(echo kept/*.tokens)
[ -s "$kept" ] || fail "no file of tokens in kept/: $(ls kept)"
before=$(stat -c %i "$kept")
run 0 "$hoplab" check "$tiny" -s data.cache=./kept
[ ! -s err ] && [ "$(stat -c %i "$kept")" = "$before" ] || fail "a file of tokens was made twice"
truncate -s 5000 "$kept"
run 0 "$hoplab" check "$tiny" -s data.cache=./kept
grep -q 'hoplab check: .*size is not what its header says; it is made again' err ||
  fail "no notice about a damaged file of tokens: $(cat err)"
[ "$(stat -c %s "$kept")" -eq 4000128 ] || fail "a damaged file of tokens was not made again"
refuses 3 "names no directory|cannot|not a directory" "$hoplab" check "$tiny" -s data.cache=./out/x

# --- training ---
run 0 "$hoplab" run "$tiny" --name first
says 'bits per byte'
grep -q 'memory .* step' err || fail "the memory plan is not told before the first step"
dir=$(run_dir)
for file in config.json run.json summary.json script lock ckpt/last; do
  [ -e "$dir/$file" ] || fail "no $file in the run directory"
done
run 0 "$hoplab" run "$tiny" --json -q --steps 50 -s model.attention.softmax=vanilla -s model.norm=post
[ "$(grep -c '^{.*}$' out)" -eq "$(wc -l <out)" ] || fail "--json prints more than JSON"
says '"state":"done"'
run 0 "$hoplab" run "$here/../../scripts_lua/exp/bert_small.lua" --steps 3 -s model.layers=1 -s model.width=32 \
  -s data.batch_size=2 -s eval.batches=1
says 'perplexity'

# --- looking at runs ---
run 0 "$hoplab" ls
says 'first'
[ "$(grep -c done out)" -eq 3 ] || fail "ls does not show three finished runs"
run 0 "$hoplab" ls --json
says '"name":"first"'
run 0 "$hoplab" show first
says 'state +done'
run 0 "$hoplab" show first --config
says 'model.attention.softmax = "?softmax1'
run 0 "$hoplab" show last --json
run 0 "$hoplab" compare first last
says '^model.layers +2 +1$'
says '^eval/loss +[0-9.]+ +[0-9.]+ \([+-][0-9.]+ %\)$'
grep -q '^train.max_grad_norm' out && fail "compare shows an option that is equal"
run 0 "$hoplab" compare first last --json
says '"model.layers":\[2,1\]'
run 0 "$hoplab" compare first last --best --markdown -
says '^\| run \|.*model.layers'
run 0 "$hoplab" compare first last --all
says '^sys/forward_ms +[0-9.]+'
says '^sys/rss_bytes +[0-9.e+]+'
run 0 "$hoplab" compare first first --script
says '^the scripts are the same$'
run 0 "$hoplab" compare first last --why eval/loss
says '^100.0 %  model.layers  2 values'
run 2 "$hoplab" compare first last --best --at 3
run 0 "$hoplab" compare first first
says 'no option differs'
run 3 "$hoplab" compare first nothing
run 0 "$hoplab" fsck first
says 'no damage'

# peak memory was known before the first step
awk -F'[:,]' '/planned_bytes/ { for (i = 1; i < NF; i++) { if ($i ~ /planned_bytes/) p = $(i + 1); if ($i ~ /peak_bytes/) m = $(i + 1) } }
  END { exit !(p > 0 && m > 0) }' "$dir/summary.json" || fail "no planned and peak memory in the summary"
if [ -z "${HOPLAB_SANITIZED:-}" ]; then # shadow memory: no memory plan holds
  run 0 "$hoplab" run "$tiny" -q --steps 4 -s model.width=512 -s model.heads=8 -s model.layers=4 -s data.batch_size=16
  plan=$(grep -o '"planned_bytes":[0-9]*' "$(run_dir)/summary.json" | cut -d: -f2)
  peak=$(grep -o '"peak_bytes":[0-9]*' "$(run_dir)/summary.json" | cut -d: -f2)
  if [ $((peak * 100)) -gt $((plan * 105)) ] || [ $((peak * 100)) -lt $((plan * 95)) ]; then
    fail "planned $plan bytes, peak was $peak: more than 5 % apart"
  fi
fi

# --- callbacks: every hook, acting on the run, state over a resume ---
run 0 "$hoplab" run "$here/callbacks.lua"
for hook in start log eval save stop control; do
  grep -q "hook $hook at step" out err || fail "no hook $hook"
done
grep -q 'counted 2[0-9]' out err || fail "the callback's state: $(cat out err | grep counted)"
run 0 "$hoplab" show last
says 'step +25/60'
says 'seen enough|stopped'
says '^table quantize/W8A8, 2 batches'
run 0 "$hoplab" show last --json
grep -q 'mine/answer' "$(run_dir)/summary.json" || fail "run:log left nothing"
grep -qa '{"mine/answer":"km"}' "$(run_dir)"/events.* || fail "run:log left no unit"
grep -qa '"batch":' "$(run_dir)"/events.* || fail "the order of the data is not recorded"
run 0 "$hoplab" plot "$(basename "$(run_dir)")" --tag mine/answer --size 80x16
grep -q 'km' out || fail "plot shows no unit"
run 0 "$hoplab" run "$here/callbacks.lua" --resume
run 0 "$hoplab" show last
says 'step +60/60'

# --- the console and scripts ---
printf '1 + 1\nx = T.ones{2}\nx:sum():item() + 5\n' >lines
"$hoplab" lua <lines >out 2>err || fail "console"
grep -qx 2 out && grep -Eqx '7(.0)?' out || fail "the console says: $(cat out)"
run 0 "$hoplab" lua -e 'print((T.ones{3} * 2):sum():item())'
says '^6'
printf 'print("hi", ...)\nprint(arg[1])' >hi.lua
run 0 "$hoplab" lua hi.lua one
says '^hi.one'
printf 'require("hop").exit(7)' >seven.lua
run 7 "$hoplab" lua seven.lua
printf 'print(io, os.execute, os.remove, loadfile)' >box.lua
run 3 "$hoplab" lua --sandbox box.lua
run 0 "$hoplab" meta --form stubs
says '@class hop.Tensor'
for page in ops:ops lua-api:markdown keys:keys; do # ./lab docs writes them
  "$hoplab" meta --form "${page#*:}" >out
  same out "$here/../../docs/${page%:*}.md"
done

# --- the demo ---
small=(-s train.max_steps=6)
[ -n "${HOPLAB_SANITIZED:-}" ] && small=(-s train.max_steps=2 -s data.batch_size=2) # seconds each there
run 0 "$hoplab" demo -q --generated "${small[@]}" -s eval.batches=1 -s probe.every=2 -s quantize.batches=1
says '^ +vanilla +[0-9.]+ '
says '^ +softmax1 +[0-9.]+ '
grep -q 'generated corpus' out || fail "the demo does not say that its text is generated"

# --- removing ---
run 0 "$hoplab" rm first --yes
run 3 "$hoplab" show first
# --- the project file names the store ---
mkdir -p project/below
cat >project/hoplab.lua <<'END'
local hop = require "hop"
hop.ui.set { fps = 5 + 1 }
hop.ui.theme { name = "x" .. hop.ui.what(), colours = { 1 } }
hop.store "kept/runs"
END
in_project() { (cd project/below && env -u HOPLAB_RUNS "$hoplab" "$@"); }
run 0 in_project run "$tiny" -q -s train.max_steps=3 --name there
ls -d project/kept/runs/2* >/dev/null || fail "the project's store is not used: $(find project)"
run 0 in_project ls
says there
run 0 in_project doctor
says 'runs +.*project/kept/runs \(hoplab.lua\)'
run 0 in_project ls --runs nothing
! grep -q there out || fail "--runs does not win"
run 0 env "$hoplab" ls
! grep -q there out || fail "HOPLAB_RUNS does not win"
for bad in 'while true do end' 'local t = {} while true do t[#t + 1] = ("x"):rep(1e5) end' 'io.open("x")' \
  'require("hop").store(7)' 'os.execute("touch ../../pwned")'; do
  echo "$bad" >project/hoplab.lua
  run 0 in_project ls
  grep -q 'hoplab.lua:1:\|not enough memory' err || fail "nothing is said about $bad: $(cat err)"
done
[ ! -e pwned ] || fail "the project file ran a program"

# --- lines of the log and metrics near a step, without a screen; a plot that follows ---
export HOPLAB_RUNS=$work/headless
run 0 "$hoplab" run "$tiny" -q -s train.max_steps=40 -s eval.every=20 -s log.every=1
run 0 "$hoplab" tail last
says ' S [0-9]+ done'
run 0 "$hoplab" tail last -n 1 --follow --json
says '^\{"time":".*","step":[0-9]+,"level":"S","text":"done"\}$'
[ "$(wc -l <out)" -eq 1 ] || fail "tail -n 1 prints $(wc -l <out) lines"
run 0 "$hoplab" metrics last --around 21 --window 2 --tsv
[ "$(grep '^train/loss' out | cut -f2,6)" = "21	5" ] || fail "around 21: $(grep train/loss out)"
[ "$(grep '^eval/loss	' out | cut -f2,6)" = "20	1" ] || fail "around 21: $(grep eval/loss out)"
run 0 "$hoplab" metrics last train/ --csv
[ "$(cut -d/ -f1 out | sort -u | tr '\n' ' ')" = "metric,step,value,min,max,n train " ] || fail "$(cat out)"
refuses 2 'around STEP' "$hoplab" metrics last --window 5
refuses 3 'no run' "$hoplab" tail nobody
run 0 "$hoplab" run "$tiny" --detach -q -s train.max_steps=100000000 -s save.every=0 --name going
"$hoplab" plot going --follow --every 0.1 --size 60x12 >followed 2>&1 &
pid=$!
"$hoplab" tail going --follow >lines 2>&1 &
tail_pid=$!
pictures() { [ "$(grep -c train/loss followed)" -ge 3 ] && grep -q running lines; }
await 60 pictures || fail "plot --follow: $(cat followed)"
run 0 "$hoplab" ctl going stop --no-checkpoint
await 60 gone $pid || fail "plot --follow does not end with its run"
await 60 gone $tail_pid || fail "tail --follow does not end with its run"
grep -q ' S [0-9]* stopped' lines || fail "tail --follow: $(tail -3 lines)"
finish
