#!/usr/bin/env bash
# Models for other programs and from them: export, eval, and what is refused.
. "$(dirname "$0")/lib.sh"
golden=$here/../golden/hf

field() { # FILE KEY: the first number under the key
  grep -o "\"$2\":[-0-9.e+]*" "$1" | head -1 | cut -d: -f2
}
same_field() { # FILE FILE KEY
  [ -n "$(field "$1" "$3")" ] || fail "no $3 in $1"
  [ "$(field "$1" "$3")" = "$(field "$2" "$3")" ] || fail "$3: $(field "$1" "$3") and $(field "$2" "$3")"
}
fields='loss loss_token perplexity bits_per_byte max_inf_norm max_ffn_inf_norm max_layer_inf_norm
  avg_kurtosis max_kurtosis max_kurtosis_layers'

run 0 "$hoplab" run "$here/masked.lua" -q -s model.layers=3 --json
grep '"result"' out | tail -1 >masked.json
run 0 "$hoplab" run "$here/tiny.lua" -q -s train.max_steps=30 -s data.generated_bytes=20000 -s probe.every=0
clm=$(basename "$(run_dir)")
clm_dir=$HOPLAB_RUNS/$clm

# --- eval of a run: what the run itself found last ---
run 0 "$hoplab" eval masked --limit 5 --json
cp out eval.json
for pair in loss:eval_loss loss_token:eval_loss_token perplexity:perplexity max_inf_norm:max_inf_norm \
  avg_kurtosis:avg_kurtosis max_kurtosis_layers:max_kurtosis_layers; do
  [ "$(field eval.json "${pair%%:*}")" = "$(field masked.json "${pair##*:}")" ] ||
    fail "$pair: $(field eval.json "${pair%%:*}"), the run had $(field masked.json "${pair##*:}")"
done
for name in max_ffn_out_inf_norm max_LN_inp_inf_norm max_LN_out_inf_norm perplexity_token; do
  [ -n "$(field eval.json $name)" ] || fail "no $name"
done
[ "$(field eval.json sequences)" = 20 ] || fail "5 batches of 4: $(field eval.json sequences)"
run 0 "$hoplab" eval masked --limit 2 --json
cp out two.json
run 0 "$hoplab" eval masked --limit 5 -s eval.kurtosis_batches=2 --json
[ "$(field out avg_kurtosis)" = "$(field two.json avg_kurtosis)" ] || fail "kurtosis of two batches"
[ "$(field out max_inf_norm)" = "$(field eval.json max_inf_norm)" ] || fail "inf norm of all batches"
run 0 "$hoplab" eval masked
grep -q '^layer.2/norm.in  *[0-9.]*  *[0-9.]*$' out || fail "no table of activations"
grep -q 'max_LN_inp_inf_norm' out || fail "no BERT names"
run 0 "$hoplab" eval "$clm" --limit 4 --json
grep -q '"bert"' out && fail "an OPT has no metrics of BERT"
run 0 "$hoplab" eval "$clm_dir/ckpt/step-0000000020" --json
[ "$(field out step)" = 20 ] || fail "step of a checkpoint"
run 0 "$hoplab" eval "$clm" --checkpoint step-0000000010 --data "$here/lib.sh"
grep -q 'lib.sh: ' out || fail "--data"

# --- export and back ---
run 0 "$hoplab" export masked --hf out-bert
grep -q 'no tokenizer files' err || fail "no word about the tokenizer"
run 0 "$hoplab" export "$clm_dir/ckpt/step-0000000020" --hf out-opt
grep -q 'plain softmax' err || fail "no word about softmax1"
grep -q '"hoplab":{' out-opt/config.json || fail "no hoplab object"
ls | grep -q '\.tmp-' && fail "left-overs"
for pair in "masked out-bert" "$clm_dir/ckpt/step-0000000020 out-opt"; do
  set -- $pair
  run 0 "$hoplab" eval "$1" --data "$here/tiny.lua" --seed 3 --json
  cp out ours.json
  run 0 "$hoplab" eval "$2" --data "$here/tiny.lua" --seed 3 --json
  for f in $fields; do same_field ours.json out "$f"; done
done
# --- with a tokenizer that other programs have ---
cat "$here"/*.lua "$here"/*.sh >words.txt
for kind in wordpiece bpe; do
  script=$([ $kind = wordpiece ] && echo masked || echo tiny)
  run 0 "$hoplab" data tokenize words.txt --train $kind --vocab 400 -o tok-$kind
  run 0 "$hoplab" run "$here/$script.lua" -q --name with-$kind --steps 6 -s data.train=words.txt \
    -s data.tokens="$PWD/tok-$kind" -s eval.batches=2
  run 0 "$hoplab" export with-$kind --hf out-$kind
  grep -q 'no tokenizer files' err && fail "$kind: said to be lost"
  run 0 "$hoplab" eval with-$kind --data "$here/lib.sh" --seed 3 --json
  cp out ours.json
  run 0 "$hoplab" eval out-$kind --data "$here/lib.sh" --seed 3 --json
  for f in $fields; do same_field ours.json out "$f"; done
done
cmp -s tok-wordpiece/vocab.txt out-wordpiece/vocab.txt || fail "another vocab.txt"
cmp -s tok-bpe/merges.txt out-bpe/merges.txt || fail "other merges"

cat >again.lua <<'END'
local hop = require "hop"
hop.save_hf(arg[2], hop.nn.from_hf(arg[1]))
hop.save("sorted.safetensors", hop.load(arg[3]))
END
run 0 "$hoplab" lua again.lua out-opt again "$clm_dir/ckpt/step-0000000020/model.safetensors"
same out-opt/model.safetensors again/model.safetensors
same out-opt/model.safetensors sorted.safetensors
checkpoint=$clm_dir/ckpt/step-0000000020/model.safetensors

# --- methods by name, with gates ---
run 0 "$hoplab" run "$here/masked.lua" -q -s model.attention.method=gated_outeffhop -s name=gated --json
grep '"result"' out | tail -1 >gated.json
run 0 "$hoplab" eval gated --limit 5 --json
[ "$(field out loss)" = "$(field gated.json eval_loss)" ] || fail "loss of a gated model: $(field out loss)"
run 0 "$hoplab" eval gated -s model.attention.method=gated_outeffhop --limit 5
refuses 3 'model.attention.method = gated_outeffhop; -s makes it outeffhop' \
  "$hoplab" eval gated -s model.attention.method=outeffhop
refuses 3 'model.attention.softmax = softmax1; -s makes it vanilla' \
  "$hoplab" eval gated -s model.attention.softmax=vanilla
run 0 "$hoplab" eval gated -s model.attention.softmax=vanilla --other-model
refuses 3 'belongs to another model' "$hoplab" eval gated -s model.attention.gate=none --other-model
run 0 "$hoplab" export gated --hf out-gated
run 0 "$hoplab" eval gated --data "$here/tiny.lua" --seed 3 --json
cp out ours.json
run 0 "$hoplab" eval out-gated --data "$here/tiny.lua" --seed 3 --json
for f in $fields; do same_field ours.json out "$f"; done
cat >ungated.lua <<'END'
local hop = require "hop"
local kind = arg[2]
hop.nn.from_hf(arg[1], { attention = kind ~= "" and { method = kind } or { gate = "none" } }):parameters()
END
refuses 3 'alpha.*has no place in the model' "$hoplab" lua ungated.lua out-gated ''
refuses 3 'alpha.*has no place in the model' "$hoplab" lua ungated.lua out-gated outeffhop
run 0 "$hoplab" lua ungated.lua out-gated gated_attention
run 0 "$hoplab" lua ungated.lua "$golden/bert" gated_attention # gates of one's own start as they do

# --- fine-tuning starts from it ---
cat >tune.lua <<'END'
local hop = require "hop"
return hop.experiment { name = "tuned", model = hop.nn.from_hf("out-bert", { dropout = 0 }),
  data = hop.data.mlm { train = "generated", seq_len = 24, batch_size = 4, generated_bytes = 20000 },
  optim = hop.optim.sgd { lr = 0 }, train = { max_steps = 1 }, eval = { batches = 1 } }
END
run 0 "$hoplab" run tune.lua -q
run 0 "$hoplab" export tuned --hf out-tuned
cmp -s <(tail -c 1000 out-tuned/model.safetensors) <(tail -c 1000 out-bert/model.safetensors) ||
  fail "a rate of 0 changed the weights"
run 0 "$hoplab" eval tuned --limit 1 --json

# --- refused ---
refuses 3 'trained with model.attention.softmax = softmax1; -s makes it vanilla' \
  "$hoplab" eval "$clm" -s model.attention.softmax=vanilla
run 0 "$hoplab" eval "$clm" -s model.attention.softmax=vanilla --other-model
refuses 3 'trained with model.heads = 2' "$hoplab" eval "$clm" -s model.heads=4
refuses 3 'trained with model.attention.softmax = softmax1' \
  "$hoplab" eval out-opt --data "$here/tiny.lua" -s model.attention.softmax=vanilla
refuses 3 "vocabulary does not match the checkpoint: it was trained on 'bytes' with 256" \
  "$hoplab" eval "$clm" -s data.tokens=words -s data.vocab=64
refuses 3 'table has 256 rows' "$hoplab" eval "$clm" -s data.tokens=words
refuses 3 'longer than max_len = 32' "$hoplab" eval "$clm" -s data.seq_len=33
refuses 3 'has shape' "$hoplab" eval "$clm" -s model.ffn=96 --other-model
refuses 3 'not a multiple of' "$hoplab" eval "$clm" -s model.heads=3 --other-model
refuses 2 "no option 'sofmax'" "$hoplab" eval "$clm" -s model.attention.sofmax=vanilla
refuses 2 'limit must be' "$hoplab" eval "$clm" --limit 0
refuses 3 'no text to evaluate on' "$hoplab" eval out-bert
refuses 3 "vocabulary does not match the checkpoint's 60 entries" \
  "$hoplab" eval "$golden/bert" --data "$here/tiny.lua"
refuses 3 'no run' "$hoplab" eval nosuchrun
refuses 3 'no complete checkpoint' "$hoplab" eval "$clm" --checkpoint step-0000000011
refuses 3 'no complete checkpoint' "$hoplab" eval "$clm" --checkpoint ../../x
refuses 3 'no empty directory' "$hoplab" export masked --hf out-bert
refuses 3 'no directory' "$hoplab" export masked --hf nowhere/at/all
refuses 3 'such a directory already' "$hoplab" export out-bert --hf again2
refuses 2 'one run' "$hoplab" export masked "$clm" --hf again2
run 0 "$hoplab" run "$here/digits.lua" -q -s train.max_steps=2 -s data.set=generated -s data.generated=200 \
  -s data.generated_eval=50 -s data.batch_size=20
refuses 3 'no form that other programs know' "$hoplab" export last --hf again2
run 0 "$hoplab" eval last
[ -e again2 ] && fail "a refused export left something"

# --- damaged ---
damage() { # NAME: a fresh copy of out-opt
  rm -rf "$1"
  cp -r out-opt "$1"
}
damage cut
head -c 5000 out-opt/model.safetensors >cut/model.safetensors
refuses 3 'model.safetensors' "$hoplab" eval cut --data "$here/tiny.lua"
printf '\377\377\377\377\377\377\377\177' >cut/model.safetensors
refuses 3 'header says' "$hoplab" eval cut --data "$here/tiny.lua"
rm cut/model.safetensors
refuses 3 'neither model.safetensors nor' "$hoplab" eval cut --data "$here/tiny.lua"
rm cut/config.json
refuses 3 'no run|run' "$hoplab" eval cut --data "$here/tiny.lua"
cp -r "$golden/opt_sharded" shards
rm shards/model-00002-of-00004.safetensors
cat >load.lua <<'END'
require("hop").nn.from_hf(arg[1]):parameters()
END
refuses 3 'model-00002-of-00004.safetensors' "$hoplab" lua load.lua shards
sed -i 's|model-00003|../model-00003|' shards/model.safetensors.index.json
refuses 3 'file of this directory|which is not there' "$hoplab" lua load.lua shards
damage odd
sed -i 's/"model_type":"opt"/"model_type":"llama"/' odd/config.json
refuses 3 "'llama' is not supported" "$hoplab" eval odd --data "$here/tiny.lua"
damage odd
sed -i 's/"num_attention_heads":2/"num_attention_heads":5/' odd/config.json
refuses 3 'not a multiple of num_attention_heads 5' "$hoplab" eval odd --data "$here/tiny.lua"
printf 'x' | dd of="$checkpoint" bs=1 seek=4000 conv=notrunc 2>/dev/null
refuses 3 'is damaged' "$hoplab" eval "$clm_dir/ckpt/step-0000000020"
refuses 3 'is damaged' "$hoplab" export "$clm_dir/ckpt/step-0000000020" --hf again2
mv "$clm_dir/ckpt/step-0000000010" loose
refuses 3 'outside of its run' "$hoplab" eval loose
run 0 "$hoplab" export loose --hf from-loose

finish
