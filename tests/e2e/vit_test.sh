#!/usr/bin/env bash
# Vision transformers end to end: digits are learnt, eval finds what the run found; CIFAR files good and
# bad, options that do not fit the images.
. "$(dirname "$0")/lib.sh"
exp=$here/../../scripts_lua/exp
# FILE KEY: the first number under the key
field() { grep -o "\"$2\":[-0-9.e+]*" "$1" | head -1 | cut -d: -f2; }
above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }' || fail "$3: $1, not above $2"; }

small=("$exp/vit_small.lua" -q -s model.patch=14 -s model.layers=2 -s model.width=32 -s model.init_std=0.1
  -s data.set=generated -s data.generated=2000 -s data.generated_eval=300 -s data.batch_size=32 -s optim.lr=5e-3
  -s schedule.warmup=20 -s eval.every=0)
# --- digits ---
run 0 "$hoplab" run "${small[@]}" --name digits -s model.attention.method=outeffhop -s train.epochs=4 --json
grep '"result"' out | tail -1 >run.json
above "$(field run.json eval/accuracy)" 0.5 "accuracy after 4 epochs (chance: 0.1)"
above "$(field run.json eval/top5)" 0.85 "right among five"
run 0 "$hoplab" eval digits --json
for pair in loss:eval_loss eval/accuracy:eval/accuracy max_inf_norm:max_inf_norm max_kurtosis:max_kurtosis \
  max_ffn_inf_norm:max_ffn_inf_norm max_layer_inf_norm:max_layer_inf_norm; do
  [ -n "$(field out "${pair%%:*}")" ] || fail "no ${pair%%:*}"
  [ "$(field out "${pair%%:*}")" = "$(field run.json "${pair##*:}")" ] ||
    fail "$pair: $(field out "${pair%%:*}"), the run had $(field run.json "${pair##*:}")"
done
run 0 "$hoplab" eval digits
for name in patches embed.norm layer.0/attn.norm layer.0/attn.qkv layer.0/attn.out layer.0/ffn.norm layer.0/ffn.in \
  layer.0/ffn.act layer.1/ffn.out layer.1/out final.norm logits; do
  grep -Eq "^$name +[0-9.e+-]+ +[0-9.e+-]+\$" out || fail "no activation $name"
done
refuses 3 'trained with model.attention.method = outeffhop' "$hoplab" eval digits -s model.attention.method=vanilla
refuses 3 'trained with model.patch = 14' "$hoplab" eval digits -s model.patch=7
refuses 3 'no form that other programs know' "$hoplab" export digits --hf out-vit

# --- CIFAR ---
mkdir -p pictures/cifar-10-batches-bin
records() { # LABEL...: one grey picture of each
  for label in "$@"; do
    printf "\\x$(printf %02x "$label")"
    head -c 3072 /dev/zero | tr '\0' "\\$(printf %o $((label * 20 + 50)))"
  done
}
for i in 1 2 3 4 5; do records $i $((i + 4)) >pictures/cifar-10-batches-bin/data_batch_$i.bin; done
records 0 1 2 9 >pictures/cifar-10-batches-bin/test_batch.bin
cifar=("$exp/vit_small.lua" -q -s model.patch=4 -s model.layers=1 -s model.width=16 -s data.dir=pictures -s data.set=cifar-10
  -s data.batch_size=5 -s train.max_steps=4 -s data.flip=true -s data.crop=4)
run 0 "$hoplab" run "${cifar[@]}" -s "data.mean={0.49,0.48,0.45}" -s "data.std={0.25,0.24,0.26}" --json
[ "$(field out eval_samples)" != 0 ] || fail "nothing was evaluated"
run 0 "$hoplab" eval last
grep -q 'CIFAR-10 train: 4 samples' out || fail "not the four test images: $(sed -n 2p out)"
refuses 3 'data.mean lists 2 numbers, the images have 3 channels' "$hoplab" run "${cifar[@]}" -s "data.mean={0.5,0.5}"
refuses 3 'data.std must be a number or a list of numbers' "$hoplab" run "${cifar[@]}" -s "data.std={1,x,1}"
refuses 3 'the deviation must be above 0' "$hoplab" run "${cifar[@]}" -s data.std=0
refuses 3 'a border of 32 pixels is out of range' "$hoplab" run "${cifar[@]}" -s data.crop=32
refuses 3 'model.image is 1 x 32 x 32, the data has 3 x 32 x 32' "$hoplab" run "${cifar[@]}" -s "model.image={1,32,32}"
refuses 3 'model.classes is 100, the data has 10' "$hoplab" run "${cifar[@]}" -s model.classes=100
refuses 3 '32 x 32 cannot be cut into patches of 5 x 5' "$hoplab" run "${cifar[@]}" -s model.patch=5
refuses 3 'no CIFAR-100 train in' "$hoplab" run "${cifar[@]}" -s data.set=cifar-100
printf 'x' >>pictures/cifar-10-batches-bin/test_batch.bin
refuses 3 'test_batch.bin.* has 12293 bytes; a multiple of 3073' "$hoplab" run "${cifar[@]}"
records 0 10 2 3 >pictures/cifar-10-batches-bin/test_batch.bin
refuses 3 'label 1 of image 1 is 10' "$hoplab" run "${cifar[@]}"
finish
