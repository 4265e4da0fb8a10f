#!/usr/bin/env bash
# hoplab quantize: float and simulated side by side, recipes, and what is refused.
. "$(dirname "$0")/lib.sh"

field() { # FILE KEY: the first number under the key
  grep -o "\"$2\":[-0-9.e+]*" "$1" | head -1 | cut -d: -f2
}
simulated() { # KEY of out, of the simulated model
  grep -o '"simulated":{.*' out | grep -o "\"$1\":[-0-9.e+]*" | head -1 | cut -d: -f2
}
executed() { # KEY of out, of the model whose linear layers run in integers
  grep -o '"executed":{.*' out | grep -o "\"$1\":[-0-9.e+]*" | head -1 | cut -d: -f2
}
run 0 "$hoplab" run "$here/masked.lua" -q
run 0 "$hoplab" run "$here/tiny.lua" -q -s train.max_steps=30 -s data.generated_bytes=20000 -s probe.every=0

# --- the same numbers in float as eval finds; quantizers as the specification counts them ---
for model in masked tiny; do
  run 0 "$hoplab" eval $model --limit 4 --json
  cp out eval.json
  run 0 "$hoplab" quantize $model --limit 4 --json -s quantize.batches=3 --save saved_$model
  [ "$(field out eval_loss)" = "$(field eval.json loss)" ] || fail "$model in float: $(field out eval_loss)"
  [ "$(simulated eval_loss)" != "$(field out eval_loss)" ] || fail "$model: nothing was quantized"
  awk -v a="$(simulated eval_loss)" -v b="$(field out eval_loss)" 'BEGIN { d = (a - b) / b; exit !(d < 0.01 && d > -0.01) }' ||
    fail "$model: $(field out eval_loss) became $(simulated eval_loss)"
  awk -v a="$(simulated eval_loss)" -v b="$(executed eval_loss)" 'BEGIN { d = (a - b) / b; exit !(d < 1e-4 && d > -1e-4) }' ||
    fail "$model: simulated $(simulated eval_loss), executed $(executed eval_loss)"
  [ "$(grep -o '"in_integers":true' out | wc -l)" -ge 12 ] || fail "$model: few layers in integers"
  n=$(grep -o '"role":' out | wc -l)
  want=$([ $model = masked ] && echo 49 || echo 47) # 21 L + 7 and 21 L + 5
  [ "$n" = "$want" ] || fail "$model has $n quantizers, not $want"
  cp out $model.json
done
run 0 "$hoplab" quantize tiny --limit 4 --json -s quantize.batches=3
again=$(simulated eval_loss)
cp tiny.json out
[ "$again" = "$(simulated eval_loss)" ] || fail 'another result the second time'
run 0 "$hoplab" quantize tiny --limit 2
for text in 'W8A8, ranges from 16 batches of training data' 'perplexity  *[0-9.]*  *[0-9.]*  *[0-9.]*  *[-+]' \
  'worst tensor: model.decoder'; do
  grep -q "$text" out || fail "no '$text'"
done

# --- a quantized checkpoint: the same bits without the run, other commands, damage ---
for model in masked tiny; do
  for way in executed simulated; do
    run 0 "$hoplab" eval saved_$model --limit 4 --json $([ $way = simulated ] && echo --simulated)
    cp out eval.json
    cp $model.json out
    [ "$(field eval.json loss)" = "$($way eval_loss)" ] || fail "$model $way: $(field eval.json loss), was $($way eval_loss)"
    [ "$(field eval.json max_inf_norm)" = "$($way max_inf_norm)" ] || fail "$model $way: other outliers"
  done
done
refuses 3 'saved_tiny is quantized already; hoplab eval' "$hoplab" quantize saved_tiny
refuses 3 'saved_tiny is quantized; export' "$hoplab" export saved_tiny --hf out_hf
refuses 3 'saved_tiny exists and is no empty directory' "$hoplab" quantize tiny --save saved_tiny
refuses 3 'no directory' "$hoplab" quantize tiny --save no/such/place
for method in smoothquant gptq; do
  refuses 3 "what $method makes cannot be stored" "$hoplab" quantize tiny --save other -s quantize.method=$method
done
refuses 2 'table of several' "$hoplab" quantize tiny --methods --save other
refuses 2 'is not quantized' "$hoplab" eval tiny --simulated
refuses 3 'its recipe cannot be changed' "$hoplab" eval saved_tiny -s quantize.act_bits=4
refuses 3 "fc1.weight' has shape \{[0-9]+, [0-9]+\}, the model needs .*another model" \
  "$hoplab" eval saved_tiny -s model.ffn=48 --other-model
refuses 3 "no tensor 'model.decoder.layers.2.*another model" "$hoplab" eval saved_tiny -s model.layers=3 --other-model
refuses 3 "no place for the tensor 'model.decoder.layers.1" "$hoplab" eval saved_tiny -s model.layers=1 --other-model
(trap '' XFSZ && ulimit -f 40 && "$hoplab" quantize tiny --limit 1 --save cut -s quantize.batches=1 >out 2>err)
[ $? = 3 ] || fail 'saved in spite of a full disk'
[ -z "$(find . -maxdepth 1 -name 'cut*')" ] || fail "a failure left $(echo cut*)"
for file in model.safetensors quantization.json script/tiny.lua; do
  rm -rf bad && cp -r saved_tiny bad
  printf 'X' | dd of=bad/$file bs=1 seek=200 conv=notrunc 2>/dev/null
  refuses 3 "bad/$file is damaged" "$hoplab" eval bad
  head -c 300 saved_tiny/$file >bad/$file
  refuses 3 "bad/$file is damaged" "$hoplab" eval bad
  rm bad/$file
  refuses 3 "bad" "$hoplab" eval bad
done
rm -rf bad && cp -r saved_tiny bad && rm bad/DONE
refuses 3 'it has no DONE' "$hoplab" eval bad
cat >from.lua <<'LUA'
local hop = require "hop"
local T, nn = hop.T, hop.nn
local s = hop.load "saved_tiny/model.safetensors"
local width = s["model.decoder.embed_tokens.weight"]:size(2)
local function model(layers)
  return nn.opt { layers = layers, width = width, heads = 2, ffn = s["model.decoder.layers.0.fc1.weight"]:size(1),
    vocab = s["model.decoder.embed_tokens.weight"]:size(1), max_len = s["model.decoder.embed_positions.weight"]:size(1) - 2,
    dropout = 0, attention = { softmax = "softmax1" } }
end
local ids = T.from({ { 4, 5, 6, 7 }, { 1, 2, 3, 8 } }, { dtype = "i32" })
local batch = { ids = ids, labels = ids }
hop.seed(1)
local a = hop.quantize { model = model(2), from = "saved_tiny" }
hop.seed(2) -- whatever the model started from
local b = hop.quantize { model = model(2), from = "saved_tiny" }
local x, y = a:execute(batch)[1]:item(), b:execute(batch)[1]:item()
assert(x == y and x == x, "the start of the model shows")
assert(math.abs(a:run(batch)[1]:item() - x) < 1e-4 * x, "executed as simulated")
assert(not pcall(a.observe, a, batch), "observed")
local ok, why = pcall(function() return hop.quantize { model = model(3), from = "saved_tiny" }:run(batch) end)
assert(not ok and tostring(why):find "another model", why)
ok, why = pcall(function() return hop.quantize { model = model(2), from = "other_method" }:execute(batch) end)
assert(not ok and tostring(why):find "of the static method, not of smoothquant", why)
print "as saved"
LUA
cp -r saved_tiny other_method
sed -i 's/"method":"static"/"method":"smoothquant"/' other_method/quantization.json
run 0 "$hoplab" lua from.lua
grep -q 'as saved' out || fail 'hop.quantize from a quantized checkpoint'
mv "$HOPLAB_RUNS" away
run 0 "$hoplab" eval saved_tiny --limit 4
mv away "$HOPLAB_RUNS"
for recipe in 'setup=all skip={model.decoder.layers.0.fc1.weight}' 'acts=false weight_range=mse' \
  'per_channel=true weight_bits=4 percentile=99.9 setup=fp32_head+int16_all_LN'; do
  rm -rf saved
  # shellcheck disable=SC2086
  run 0 "$hoplab" quantize tiny --limit 2 --json -s quantize.batches=1 $(printf -- '-s quantize.%s ' $recipe) --save saved
  for way in executed simulated; do
    want=$($way eval_loss)
    "$hoplab" eval saved --limit 2 --json $([ $way = simulated ] && echo --simulated) >eval.json 2>err || fail "$recipe: $(cat err)"
    [ "$(field eval.json loss)" = "$want" ] || fail "$recipe $way: $(field eval.json loss), was $want"
  done
done

# --- recipes ---
run 0 "$hoplab" quantize tiny --limit 4 --json -s quantize.setup=all -s quantize.data=eval
grep -q '"name":"lm_head"' out || fail 'no quantizer of the head'
run 0 "$hoplab" quantize tiny --limit 4 --json -s quantize.weights=false -s quantize.acts=false
[ "$(simulated eval_loss)" = "$(field out eval_loss)" ] || fail 'nothing to quantize, and another loss'
loss_of() {
  run 0 "$hoplab" quantize tiny --limit 4 --json -s quantize.batches=3 "$@"
  simulated eval_loss
}
eight=$(loss_of)
two=$(loss_of -s quantize.weight_bits=2)
awk -v a="$two" -v b="$eight" 'BEGIN { exit !(a > b + 0.01) }' || fail "2 bits lose nothing: $two, $eight"
[ "$(loss_of -s quantize.per_channel=true)" != "$eight" ] || fail 'per channel as per tensor'
for range in mse current_minmax; do
  run 0 "$hoplab" quantize tiny --limit 2 --json -s quantize.batches=1 -s quantize.act_range=$range -s quantize.act_scheme=symmetric
done

# --- one tensor at a time; fewer bits ---
run 0 "$hoplab" quantize tiny --limit 2 --json --sensitivity 1 --bits -s quantize.batches=2
[ "$(grep -o '"sensitivity":.*' out | grep -o '"loss":' | wc -l)" = 47 ] || fail 'not each tensor alone'
grep -o '"sensitivity":.*' out | grep -o '"loss":[0-9.]*' | cut -d: -f2 | sort -gr -c || fail 'not by loss'
grep -q '"W8A8":[0-9.]*,"W8A6":[0-9.]*,"W6A8":[0-9.]*,"W6A6":[0-9.]*,"W4A8":[0-9.]*,"W4A6":[0-9.]*}' out || fail 'no losses by bits'
[ "$(grep -o '"W8A8":[0-9.]*' out)" = "\"W8A8\":$(simulated eval_loss)" ] || fail 'W8A8 is another'
# ranks are kept on the way; the last word has all of them
grep -aq '"sensitivity_tried":1,"sensitivity_of":[0-9]*,"sensitivity":\[{[^}]*}\],' "$(run_dir)"/events.out.tfevents.* || fail 'no partial ranks'
run 0 "$hoplab" quantize tiny --limit 2 --sensitivity 1 --bits -s quantize.batches=2
grep -q '^  W4A6 ' out || fail 'no table of bits'

# --- kept with the run: what it was over, in a segment of its own ---
tables() { # of run tiny, by name
  "$hoplab" show tiny | grep '^table quantize/'
}
"$hoplab" show tiny | sed '/^table quantize/,$d' | grep -v '^last event' >before.txt
sum=$(cksum <"$(ls "$(run_dir)"/events.out.tfevents.* | head -1)")
run 0 "$hoplab" quantize tiny --limit 3 --no-record -s quantize.batches=1
! tables | grep -q '3 batches' || fail 'kept in spite of --no-record'
run 0 "$hoplab" quantize tiny --limit 3 -s quantize.batches=1 -s 'quantize.skip={model.decoder.layers.0.fc2}' -s quantize.percentile=99
tables | grep -qx 'table quantize/W8A8 percentile 99 skip model.decoder.layers.0.fc2, 3 batches' || fail "kept as $(tables)"
[ "$(cksum <"$(ls "$(run_dir)"/events.out.tfevents.* | head -1)")" = "$sum" ] || fail 'the first segment was touched'
"$hoplab" show tiny | sed '/^table quantize/,$d' | grep -v '^last event' | diff before.txt - >diff || fail "the run became another: $(cat diff)"
run 0 "$hoplab" fsck tiny
grep -aq '"tap":"layer.0/ffn.out"' "$(run_dir)"/events.out.tfevents.* || fail 'no tap of a quantizer'
! grep -q '"tensors"' "$(run_dir)/summary.json" || fail 'lists in the summary'
run 0 "$hoplab" export tiny --hf hf
head -c 9000 "$here/quantize_test.sh" >text.txt
run 0 "$hoplab" quantize hf --limit 1 --data text.txt -s quantize.data=eval -s quantize.batches=1 # it has no run

# --- from the workbench: processes of their own, with the recipe that is looked at ---
keys=':open tiny<Enter>5<Enter>=:set sensitivity=1<Enter>S:quantize -s quantize.bits=4<Enter>'
run 0 "$hoplab" watch "$HOPLAB_RUNS" --dump 100x30 --keys "$keys"
grep -q "no option 'bits'" out || fail "a wrong recipe: $(tail -1 out)"
tables | grep -q 'W8A8 percentile 99 skip model.decoder.layers.0.fc2,.*, 3 batches' || fail "not restored: $(tables)"
grep -aq '"skip":\["model.*"sensitivity_batches":1,' "$(run_dir)"/events.out.tfevents.* || fail 'no ranks of the recipe'

run 0 "$hoplab" export tiny --html page.html
grep -q 'W8A8 per channel, 4 batches</td><td[^>]*>perplexity [0-9.]* → [0-9.]*<' page.html || fail 'no quantization on the page'

# --- on request, of a live run ---
live() { # NAME [-s ...]: starts a run that goes on
  run 0 "$hoplab" run "$here/tiny.lua" --detach --name "$@" -s train.max_steps=100000000 -s save.every=0 -s data.generated_bytes=20000
}
live going -s quantize.batches=1
run 0 "$hoplab" ctl going quantize
grep -q '^quantize: applied at step' out || fail "ctl quantize: $(cat out)"
run 3 "$hoplab" quantize going --limit 1 # there is no checkpoint yet
run 0 "$hoplab" ctl going quantize -s quantize.percentile=99 --limit 2 --sensitivity 1
grep -Eq -- 'quantized W8A8 percentile 99, 2 batches' out || fail "no 'quantized W8A8 percentile 99, 2 batches'"
refuses 1 "did you mean 'percentile'" "$hoplab" ctl going quantize -s quantize.percentil=99
refuses 1 "the recipe alone" "$hoplab" ctl going quantize -s optim.lr=1
refuses 2 "must be|number of batches" "$hoplab" ctl going quantize --limit 0
run 0 "$hoplab" ctl going set lr.scale=0.5
run 0 "$hoplab" ctl going knobs
grep -Eq -- 'lr.scale +0.5 .* held' out || fail "no 'lr.scale +0.5 .* held'"
refuses 1 "log.every must be a whole number" "$hoplab" ctl going set log.every=0.5
run 0 "$hoplab" flag going layer.0/out "from a test"
run 0 "$hoplab" ctl going pause
run 0 "$hoplab" ctl going quantize
run 0 "$hoplab" ctl going checkpoint
run 0 "$hoplab" quantize going --limit 1 -s quantize.batches=1
grep -q 'not kept with the run: .*being written' err || fail "a live run: $(cat err)"
run 0 "$hoplab" ctl going status --json
grep -q '"state":"paused"' out || fail "paused, it is $(cat out)"
run 0 "$hoplab" ctl going stop --no-checkpoint
await 20 sh -c '"$1" ls | grep going | grep -q stopped' - "$hoplab"
run 0 "$hoplab" show going --json
grep -q 'quantize/W8A8 percentile 99, 2 batches' out || fail 'the other recipe is not in the record'
grep -aq '"growth":' "$(run_dir)"/events.out.tfevents.* || fail 'no ranks in the record'
grep -q '"flag/layer.0/out"' out || fail 'no flag in the record'
await 10 grep -q '"state":"stopped"' "$(run_dir)/summary.json"
grep -aq '"cmd":"quantize".*"status":"applied"' "$(run_dir)"/events.out.tfevents.* || fail 'no history of the request'
"$hoplab" show going | grep -q '^table quantize/W8A8, 4 batches' || fail 'no table of the request'
live odd -s data.eval_batch_size=2
refuses 1 'refused: .*data.eval_batch_size the same' "$hoplab" ctl odd quantize
run 0 "$hoplab" ctl odd stop --no-checkpoint
# --- methods side by side, and one in the ordinary report ---
run 0 "$hoplab" quantize masked --limit 2 --json -s quantize.batches=2 --methods
[ "$(grep -o '"method":"[a-z0-9_]*","weight_bits"' out | wc -l)" = 9 ] || fail 'not nine methods'
float=$(field out eval_loss)
for method in static smoothquant per_token llm_int8 fp8_e4m3 fp8_e5m2 rtn gptq awq; do
  loss=$(grep -o "\"method\":\"$method\",\"weight_bits\".*" out | grep -o '"loss":[0-9.]*' | head -1 | cut -d: -f2)
  awk -v a="$loss" -v b="$float" 'BEGIN { d = (a - b) / b; exit !(d != 0 && d < 0.01 && d > -0.01) }' || fail "$method: $float became $loss"
done
[ "$(grep -o '"executed_loss"' out | wc -l)" = 2 ] || fail 'not two methods in integers'
cp out methods.json
run 0 "$hoplab" quantize masked --limit 2 --methods gptq,static -s quantize.batches=2
[ "$(grep -cE '^  (static|gptq) +[48] ' out)" = 2 ] || fail 'not two rows'
grep -qE '^  float +float float ' out || fail 'no row of the float model'
run 0 "$hoplab" quantize masked --limit 2 --json -s quantize.batches=2
[ "$(simulated eval_loss)" = "$(grep -o '"method":"static".*' methods.json | grep -o '"loss":[0-9.]*' | head -1 | cut -d: -f2)" ] ||
  fail 'static is another in the table'
run 0 "$hoplab" quantize masked --limit 2 -s quantize.method=llm_int8 -s quantize.threshold=1
for text in 'llm_int8 W8A8' 'outlier columns' '  [1-9][0-9.]* *[1-9][0-9]* of'; do
  grep -q "$text" out || fail "no '$text' of llm_int8"
done
refuses 2 "did you mean 'gptq'" "$hoplab" quantize masked --methods=gtpq
refuses 3 'unknown choice' "$hoplab" quantize masked -s quantize.method=gtpq
refuses 3 'group_bits' "$hoplab" quantize masked -s quantize.method=gptq -s quantize.group_bits=1
refuses 3 'static and smoothquant' "$hoplab" quantize masked --limit 1 --bits -s quantize.method=rtn

# --- refused ---
refuses 2 'at least 1 batch' "$hoplab" quantize tiny --sensitivity 0
refuses 3 'weight_bits' "$hoplab" quantize tiny -s quantize.weight_bits=1
refuses 3 'act_bits' "$hoplab" quantize tiny -s quantize.act_bits=17
refuses 3 'unknown choice' "$hoplab" quantize tiny -s quantize.setup=everything
refuses 2 'quantize.setups' "$hoplab" quantize tiny -s quantize.setups=all
refuses 3 'no run' "$hoplab" quantize nonesuch
refuses 2 'at least 1' "$hoplab" quantize tiny --limit 0

# --- at the end of a run, over three calibrations ---
run 0 "$hoplab" run "$here/tiny.lua" -q --json -s train.max_steps=20 -s data.generated_bytes=20000 -s probe.every=0 -s quantize.at_end=3 -s quantize.batches=2
grep -q '"quant_loss":[0-9.]*,"quant_perplexity":[0-9.]*,"quant_perplexity_executed":[0-9.]*,"quant_perplexity_std":[0-9.]*[1-9]' out ||
  fail "no quantized results: $(tail -c 600 out)"
run 0 "$hoplab" run "$here/tiny.lua" -q --json -s train.max_steps=5 -s data.generated_bytes=20000 -s quantize.at_end=1 -s data.eval_batch_size=2
grep -rq 'data.eval_batch_size the same' "$(run_dir)" || fail 'no word about other batches'

# --- equilibrium models: products inside of the solve, numbers of the solve beside the loss ---
run 0 "$hoplab" run "$here/equilibrium.lua" -q -s train.max_steps=20 -s quantize.at_end=2 -s quantize.batches=2 --json
grep -q '"quant_loss":[0-9.]*.*"quant_accuracy":[0-9.]*,"quant_accuracy_executed":[0-9.]*' out ||
  fail "no quantized results of a Hopfield network: $(tail -c 600 out)"
run 0 "$hoplab" quantize equilibrium --json --sensitivity 1 --bits -s quantize.batches=3 --save saved_equilibrium
[ "$(simulated eval_loss)" = "$(executed eval_loss)" ] || fail "simulated $(simulated eval_loss), executed $(executed eval_loss)"
[ "$(simulated eval_loss)" != "$(field out eval_loss)" ] || fail 'no layer inside of the solve was quantized'
awk -v a="$(simulated eval_loss)" -v b="$(field out eval_loss)" 'BEGIN { d = (a - b) / b; exit !(d < 0.02 && d > -0.02) }' ||
  fail "$(field out eval_loss) became $(simulated eval_loss)"
[ "$(grep -o '"name":"[^"]*"' out | sort -u | tr -d '\n')" = '"name":"U""name":"W.1""name":"W.2""name":"W.3""name":"rho.0""name":"rho.1""name":"rho.2""name":"rho.3""name":"rho.4"' ] ||
  fail "quantizers: $(grep -o '"name":"[^"]*"' out | sort -u | tr '\n' ' ')"
[ "$(grep -o '"in_integers":true' out | wc -l)" = 4 ] || fail 'not all products in integers'
[ "$(grep -o '"sensitivity":.*' out | grep -o '"loss":' | wc -l)" = 9 ] || fail 'not each tensor alone'
cp out equilibrium.json
for way in executed simulated; do
  run 0 "$hoplab" eval saved_equilibrium --json $([ $way = simulated ] && echo --simulated)
  cp out eval.json
  cp equilibrium.json out
  [ "$(field eval.json loss)" = "$($way eval_loss)" ] || fail "saved, $way: $(field eval.json loss), was $($way eval_loss)"
done
run 0 "$hoplab" quantize equilibrium --limit 1 -s quantize.batches=2
for row in accuracy deq/iterations deq/residual deq/not_converged; do
  grep -Eq "^  $row +[-0-9.e+]+ +[-0-9.e+]+ +[-0-9.e+]+ " out || fail "no row of $row"
done
refuses 3 'running_minmax' "$hoplab" quantize equilibrium -s quantize.act_range=mse
cat >constant.lua <<'LUA'
local hop = require "hop"
local ham = hop.nn.hopfield { layers = { 784, 6, 10 }, forward = { max_iter = 6 } }
local model = hop.nn.module { name = "constant", params = function(p) p.ham = ham end,
  loss = function(p, b) return p.ham:loss { x = b.x * 0, y = b.y } end,
  quantization = function() return {} end }
return hop.experiment { name = "constant", seed = 1, model = model {}, optim = hop.optim.madam {},
  data = hop.data.images { set = "generated", generated = 100, generated_eval = 20, batch_size = 20 },
  train = { max_steps = 2 } }
LUA
run 0 "$hoplab" run constant.lua -q
# --- weights of one sign, kept as U8: the steps of madam keep the sign ---
cat >positive.lua <<'LUA'
local hop = require "hop"
local T = hop.T
local two = hop.nn.module { name = "two", params = function(p) p.weight = p:full({ 10, 12 }, 0.1) end,
  forward = function(p, x) return T.linear(x, p.weight) end }
local model = hop.nn.module { name = "positive",
  params = function(p) p.one, p.two = hop.nn.linear(784, 12, { act = "relu" }), two {} end,
  loss = function(p, b)
    local d = p.two(p.one(b.x)) - b.y
    return (d * d):mean()
  end,
  quantization = function() return {} end }
return hop.experiment { name = "positive", seed = 1, model = model {}, optim = hop.optim.madam {},
  data = hop.data.images { set = "generated", generated = 100, generated_eval = 20, batch_size = 20 },
  train = { max_steps = 5 } }
LUA
run 0 "$hoplab" run positive.lua -q
run 0 "$hoplab" quantize positive --json -s quantize.batches=2 --save saved_positive
cp out positive.json
grep -aq '"two.weight":{"dtype":"U8"' saved_positive/model.safetensors || fail 'weights of one sign are not U8'
run 0 "$hoplab" eval saved_positive --json
cp out eval.json
cp positive.json out
[ "$(field eval.json loss)" = "$(executed eval_loss)" ] || fail "saved: $(field eval.json loss), was $(executed eval_loss)"
run 0 "$hoplab" quantize constant -s quantize.batches=2
grep -q "'rho.0' was 0.119203 in all of calibration" err || fail "no word of a constant: $(cat err)"

finish
