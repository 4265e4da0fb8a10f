#!/usr/bin/env bash
# Equilibrium models end to end: what a script can get wrong about a step, images that are none, a
# solve that diverges, the files of a run, the same script under every solver.
. "$(dirname "$0")/lib.sh"

# script NAME STEP [LAYER OPTIONS]: an experiment with this step on generated digits
script() {
  cat >"$1.lua" <<LUA
local hop = require "hop"
local T, nn, deq = hop.T, hop.nn, hop.deq
local cell = deq.fn {
  params = function(p)
    p.W = p:normal({ 16, 16 }, { std = 0.1 })
    p.U = p:normal({ 784, 16 }, { std = 0.02 })
  end,
  prepare = function(p, x) return x:matmul(p.U) end,
  step = function(p, z, u)
    return $2
  end }
local model = nn.module { name = "m",
  params = function(p)
    p.core = deq.layer { fn = cell, state = { 16 }, ${3:-} }
    p.head = nn.linear(16, 10)
  end,
  loss = function(p, batch)
    local z, info = p.core(batch.x)
    return hop.loss.squared_error(p.head(z), batch.y), deq.metrics(info)
  end }
return hop.experiment { name = "$1", seed = 1, model = model {}, optim = hop.optim.adamw { lr = 1e-3 },
  data = hop.data.images { set = "generated", generated = 200, generated_eval = 70, batch_size = 20 },
  train = { max_steps = 6 }, probe = { every = 2 } }
LUA
}

# --- steps that are none: 3, with the line of the script ---
script good "(z:matmul(p.W) + u):tanh()"
script shape "(z:matmul(p.U:t()) + 1):tanh()"
refuses 3 "shape.lua:[0-9]+: .*shape.*\{[0-9]+, 16\}" "$hoplab" run shape.lua
script value "z * z:sum():item()"
refuses 3 "value.lua:10: .*not known here" "$hoplab" run value.lua
script still "u:tanh()"
refuses 3 "still.lua:[0-9]+: .*does not depend on the state" "$hoplab" run still.lua
script number "3"
refuses 3 "number.lua:[0-9]+: .*must return tensors; value 1 is a number" "$hoplab" run number.lua
script random "(z:matmul(p.W) + u + T.dropout(z, 0.1)):tanh()"
refuses 3 "random.lua:10: .*dropout draws random numbers" "$hoplab" run random.lua
script zero "(z:matmul(p.W) + u):tanh()" "forward = { max_iter = 0 }"
refuses 3 "zero.lua:[0-9]+: .*max_iter.* is 0; it must be at least 1" "$hoplab" run zero.lua
script misspelt "(z:matmul(p.W) + u):tanh()" "forward = { solvr = \"picard\" }"
refuses 3 "misspelt.lua:[0-9]+: .*solvr.*did you mean 'solver'" "$hoplab" run misspelt.lua
script layers "z"
cat >even.lua <<'LUA'
local hop = require "hop"
return hop.experiment { name = "even", model = hop.nn.hopfield { layers = { 784, 20, 20, 10 } },
  optim = hop.optim.madam {}, data = hop.data.images { set = "generated", generated = 200 },
  train = { max_steps = 2 } }
LUA
refuses 3 "even.lua: .*even-odd updates need an odd number of layers, not 4" "$hoplab" run even.lua

# --- images: 3 ---
mkdir broken
for part in train t10k; do
  printf 'rubbish, not an IDX file at all' >broken/$part-images-idx3-ubyte
  printf '\0\0\x08\x01\0\0\0\1\3' >broken/$part-labels-idx1-ubyte
done
refuses 3 "train-images-idx3-ubyte.*IDX" "$hoplab" run good.lua -s data.dir=broken -s data.set=mnist
head -c 4000 /dev/zero | gzip | head -c 20 >broken/train-images-idx3-ubyte.gz
rm broken/train-images-idx3-ubyte
refuses 3 "train-images-idx3-ubyte.gz" "$hoplab" run good.lua -s data.dir=broken -s data.set=mnist
refuses 3 "nowhere" "$hoplab" run good.lua -s data.dir=nowhere -s data.set=mnist
[ ! -d "$HOPLAB_RUNS" ] || fail "a run that never started left $(ls "$HOPLAB_RUNS")"

# --- every solver and gradient ---
for solver in picard anderson broyden; do
  for method in ift backprop full_adjoint unroll phantom jfb; do
    [ $method/$solver = unroll/broyden ] && continue # no gradient through Broyden iterations
    script "all" "(z:matmul(p.W) + u):tanh()" "forward = { solver = \"$solver\", max_iter = 12,
      relative = false }, backward = { method = \"$method\" }"
    run 0 "$hoplab" run all.lua -q
  done
done
script all "(z:matmul(p.W) + u):tanh()" \
  'forward = { solver = "broyden" }, backward = { method = "unroll" }'
refuses 3 "all.lua:[0-9]+: .*no gradient through broyden iterations" "$hoplab" run all.lua

# --- what a run leaves ---
run 0 "$hoplab" run good.lua --json
grep -q '"eval/deq/iterations":' out || fail "the result has no iterations"
[ -f "$(run_dir)/trajectory.json" ] || fail "no trajectory.json"
run 0 "$hoplab" export last --svg figure.svg --figure trajectory
grep -q '<svg' figure.svg || fail "no figure"
run 0 "$hoplab" fsck last

# --- divergence: the update is left out, the run says so, nothing is lost; or the state is kept ---
script diverges "z * 3 + u:tanh() + 1" 'forward = { solver = "picard", max_iter = 80 }'
refuses 1 "step 1: loss nan.*left out" "$hoplab" run diverges.lua
run 0 "$hoplab" fsck last
run 0 "$hoplab" show last
grep -q diverged out || fail "the run's state is not 'diverged'"
script keeps "z * 3 + u:tanh() + 1" 'forward = { solver = "picard", max_iter = 80, diverged = "keep" }'
run 0 "$hoplab" run keeps.lua -q -s on_nan=skip
finish
