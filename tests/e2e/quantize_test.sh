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
print "as saved"
LUA
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
run 0 "$hoplab" quantize tiny --limit 2 --sensitivity 1 --bits -s quantize.batches=2
grep -q '^  W4A6 ' out || fail 'no table of bits'

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

finish
