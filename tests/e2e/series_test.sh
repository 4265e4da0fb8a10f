#!/usr/bin/env bash
# Time series end to end: training, the test part with the best weights, files of forecasts, resuming,
# missing values, and data that are refused.
. "$(dirname "$0")/lib.sh"
exp=$here/../../scripts_lua/exp
# FILE KEY: the first number under the key
field() { grep -o "\"$2\":[-0-9.e+]*" "$1" | head -1 | cut -d: -f2; }
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }' || fail "$3: $1, not below $2"; }
equals() { [ -n "$1" ] && [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

linear=("$exp/series_linear.lua" -q -s data.set=generated -s data.in_len=48 -s data.out_len=12)
small=("${linear[@]}" -s data.generated=900 -s data.channels=3)

# --- a run, its test, and eval ---
run 0 "$hoplab" run "${small[@]}" -s train.epochs=4 -s optim.lr=0.01 --name linear --json
grep '"result"' out | tail -1 | sed 's/.*"test":/{"test":/' >test.json
run 0 "$hoplab" lua -e 'local x = require("hop").run("linear"):series("train/loss", { x = "epoch" }) print(x[#x])'
grep -Eq '^4(\.0)?$' out || fail "the last epoch of four: $(cat out)"
run=$(run_dir)
[ "$(head -c 6 "$run/prediction.npy" | tail -c 5)" = NUMPY ] || fail "no prediction.npy"
# 180 rows of test less 12, plus one, windows of 12 x 3 numbers behind a header of 128 bytes
for file in prediction truth; do equals "$(stat -c %s "$run/$file.npy")" $((128 + 169 * 12 * 3 * 4)) "$file.npy"; done
LC_ALL=C "$hoplab" watch "$HOPLAB_RUNS" --dump 80x24 --keys fw >view
grep -q 'forecast  test @.* window 2/6  channel 1/3 ' view || fail "no forecast on the screen: $(head -3 view)"
grep -q '"forecast/test":{[^}]*"mse_seasonal"' "$run/summary.json" || fail "no forecasts in the summary"
grep -q '"windows":\[' "$run/summary.json" && fail "the summary keeps windows"
naive=$(sed 's/.*"seasonal"://' test.json | grep -o '"mse":[0-9.e+-]*' | cut -d: -f2)
below "$(field test.json mse)" "$naive" "a linear model against the day before"
run 0 "$hoplab" eval linear --checkpoint best --part test --json --save-pred again
for key in mse mae rmse mape mspe batch_loss loss; do
  equals "$(field out $key)" "$(field test.json $key)" "test $key of eval"
done
equals "$(field out sequences)" 169 "test windows"
same "$run/prediction.npy" again/prediction.npy
run 0 "$hoplab" eval linear
grep -Eq '^ *24 steps earlier +[0-9.]+ ' out || fail "no naive forecast in the table"
run 0 "$hoplab" quantize linear --checkpoint best --part test
grep -Eq "^ *mse +$(printf %.4f "$(field test.json mse)" | cut -c1-5)" out || fail "no measures of the quantized model: $(grep mse out)"
[ "$(grep -o '"channel":"c[0-2]","mean":[-0-9.e]*,"std":[0-9.e]*' "$run/scale.json" | wc -l)" -eq 3 ] || fail "no scale.json of three channels"
refuses 3 "data names a text" "$hoplab" eval linear --data "$run/run.json"
refuses 2 "part is eval or test, not 'tset'" "$hoplab" eval linear --part tset

# --- the forecast figure: 3 channels, windows 2 of them laid over each other; its numbers are those of the files ---
run 0 "$hoplab" export linear --figure forecast --svg - --csv linear.csv
equals "$(grep -c '>truth</text>' out)" 3 "charts of channels"
equals "$(grep -c '>forecast - truth</text>' out)" 6 "charts of residuals (label and legend)"
head -1 linear.csv | grep -q $'^part,step,channel,what,window,row,x,value\r$' || fail "head of the CSV: $(head -1 linear.csv)"
csv_value() { awk -F, -v what="$1" '$3 == "c1" && $4 == what && $5 == 70 && $7 == 5 { printf "%.3f", $8 }' linear.csv; }
npy_value() { od -An -t f4 -j $((128 + 4 * ((70 * 12 + 4) * 3 + 1))) -N 4 "$run/$1.npy" | awk '{ printf "%.3f", $1 }'; }
equals "$(csv_value truth)" "$(npy_value truth)" "truth of window 70, step 5, channel 2"
equals "$(csv_value forecast)" "$(npy_value prediction)" "forecast of window 70, step 5, channel 2"
equals "$(awk -F, '$3 == "c0" && $4 == "residuals" { n += $8 } END { print n }' linear.csv)" $((169 * 12)) "residuals"
run 0 "$hoplab" export linear --html -
grep -q '<h2>Forecast: linear</h2>' out || fail "no forecast in the page"
refuses 3 "there is no window 7" "$hoplab" export linear --figure forecast --svg - --window 7
run 0 "$hoplab" run "${small[@]}" -s train.epochs=1 --name second
run 0 "$hoplab" export linear second --figure forecast --svg - --window 6
equals "$(grep -c '>second</text>' out)" 6 "both runs in one figure"
run 0 "$hoplab" run "${linear[@]}" -s data.generated=600 -s data.channels=2 -s train.epochs=1 --name other
refuses 3 "linear and other recorded forecasts of different windows" "$hoplab" export linear other --figure forecast --csv -

# --- STanHop-Net, quantized by its specification where nothing else is said: the head too, ranges from validation ---
run 0 "$hoplab" run "$exp/stanhop_small.lua" -q -s data.set=generated -s data.generated=400 -s data.channels=2 -s data.in_len=24 \
  -s data.out_len=6 -s model.width=8 -s model.heads=2 -s model.layers=1 -s train.epochs=1 --name net
run 0 "$hoplab" eval net --part test
grep -Eq '^ *max_inf_norm +[0-9.]+$' out || fail "no outlier metrics of a forecast"
run 0 "$hoplab" quantize net --no-record
grep -q '^W8A8 with head, ranges from 16 batches of evaluation data' out || fail "not as specified: $(sed -n 2p out)"
grep -Eq '^decoder.decode_layers.1.linear_pred.weight +8 ' out || fail "the head stays in float"
equals "$(grep -Ec '^ *(mse|mae|rmse|mape|mspe|max_inf_norm) +[-0-9.e+]+ +[-0-9.e+]+ +[-0-9.e+]+ ' out)" 6 "measures, each once"
run 0 "$hoplab" quantize net --no-record -s quantize.setup=fp32_head -s quantize.data=train
grep -q '^W8A8, ranges from [0-9]* batches of training data' out || fail "not as asked for: $(sed -n 2p out)"

# --- a sweep ends with a table by horizon; hoplab compare has it, too ---
run 0 "$hoplab" sweep "$exp/series_linear.lua" -s data.set=generated -s data.in_len=48 -s data.generated=600 -s data.channels=2 \
  -s train.epochs=1 -s data.out_len=6,12 -s seed=1,2
of_seed() { # SEED: the test's MSE for 12 steps
  "$hoplab" show "series-linear:out_len=12,seed=$1" | sed -n 's/^ *test\.mse = //p'
}
want=$(awk -v a="$(of_seed 1)" -v b="$(of_seed 2)" \
  'BEGIN { d = a - b; printf "%.4g (%.2g, n 2)", (a + b) / 2, sqrt(d * d / 2) }')
sed -n '/^test part by horizon/,$p' out >horizons
[ "$(grep -c '^generated' horizons)" -eq 2 ] || fail "not two horizons: $(cat horizons)"
grep '48 to 12  MSE' horizons | grep -Fq "$want" || fail "no $want in $(cat horizons)"
sed -n 2p horizons | grep -Eq 'steps +dlinear +season before +last value +mean$' || fail "head: $(sed -n 2p horizons)"
run 0 "$hoplab" compare "series-linear:out_len=12,seed=1" "series-linear:out_len=12,seed=2"
grep '48 to 12  MSE' out | grep -Fq "$want" || fail "compare has another table"
run 0 "$hoplab" compare linear net "series-linear:out_len=12,seed=1" --json
grep -q '"in_len":24,"out_len":6,"units":"standardised","methods":{"softmax1":{"n":1,"mse":{"mean":[0-9.]*,"std":null}' out ||
  fail "no horizons in JSON: $(cat out)"
equals "$(grep -o '"dlinear[ 2]*":{"n":1' out | wc -l)" 2 "two configurations of one name"

# --- early stopping by the recipe's rule, and by ours ---
for rule in "true 9 4" "false 7 2"; do
  read -r ties last best <<<"$rule"
  run 0 "$hoplab" run "$here/patience.lua" -q -s train.tie_is_best="$ties" --json
  grep '"result"' out | tail -1 >result.json
  equals "$(field result.json step)" "$last" "last step (ties: $ties)"
  equals "$(field result.json inf_norm)" "$last" "activation of the last evaluation, which a test leaves alone"
  sed 's/.*"test":/{"test":/' result.json >test.json
  equals "$(field test.json max_inf_norm)" "$best" "activation of the test"
  equals "$(field test.json step)" "$best" "step of the tested weights (ties: $ties)"
  below 0.3999 "$(field test.json loss)" "loss of the tested weights"
  below "$(field test.json loss)" 0.4001 "loss of the tested weights"
done

# a test is of the whole part, however short evaluations are
run 0 "$hoplab" run "${small[@]}" -s train.epochs=1 -s eval.batches=1 --name short
equals "$(stat -c %s "$(run_dir)/truth.npy")" $((128 + 169 * 12 * 3 * 4)) "truth.npy"

# --- killed and resumed: the same to the last bit ---
long=("${small[@]}" -s train.epochs=8 -s data.generated=1800 -s data.missing=mask -s data.gaps=0.05 -s train.tie_is_best=false)
run 0 "$hoplab" run "${long[@]}"
whole=$(run_dir)
export HOPLAB_RUNS=$work/killed
"$hoplab" run "${long[@]}" >log 2>&1 &
pid=$!
disown
await 60 has_whole_checkpoint
kill -9 $pid 2>/dev/null
await 10 gone $pid
"$hoplab" show last | grep '^state' | grep -q done || run 0 "$hoplab" run "${long[@]}" --resume
again=$(run_dir)
same "$whole/prediction.npy" "$again/prediction.npy"
same "$whole/truth.npy" "$again/truth.npy"
scalar() { grep -o "\"$2\":{[^}]*}" "$1/summary.json"; }
for tag in eval/mse test/mse test/mae train/loss; do
  equals "$(scalar "$whole" $tag)" "$(scalar "$again" $tag)" "$tag"
done

# --- refused: 3, and no run begins ---
export HOPLAB_RUNS=$work/none
csv() { # NAME [AWK PROGRAM]: 300 hours of two channels, with damage
  awk 'BEGIN { print "date,up,down"; for (i = 0; i < 300; i++)
    printf "2020-01-%02d %02d:00:00,%d,%.2f\n", i / 24 + 1, i % 24, i % 24, -i / 7 }' | awk "${2:-1}" >"$1"
}
mine=("$exp/series_linear.lua" -q -s data.in_len=24 -s data.out_len=6 -s train.epochs=1 -s data.file=mine.csv)
csv mine.csv 'NR == 7 { sub(/,[0-9]+,/, ",n/x,") } 1'
refuses 3 "'mine.csv' line 7, column 2 \('up'\): 'n/x' is no number" "$hoplab" run "${mine[@]}"
refuses 3 "line 7, column 2" "$hoplab" data info mine.csv
csv mine.csv 'NR == 9 { $0 = $0 ",1" } 1'
refuses 3 "line 9 has 4 cells; the header has 3" "$hoplab" run "${mine[@]}"
csv mine.csv 'NR == 11 { sub(/,[0-9]+,/, ",,") } 1'
refuses 3 "mine.csv: row 10 has no value of channel 'up'.*missing = \"mask\"" "$hoplab" run "${mine[@]}"
csv mine.csv 'NR < 60'
refuses 3 "validation part has 7 rows and the history before it; a window needs 24 \+ 8" \
  "$hoplab" run "${mine[@]}" -s data.out_len=8
refuses 3 "split.*add up to 1" "$hoplab" run "${mine[@]}" -s "data.split={0.5,0.1,0.2}"
refuses 3 "asks for 90" "$hoplab" run "${mine[@]}" -s "data.split={30,30,30}"
refuses 3 "three numbers" "$hoplab" run "${mine[@]}" -s "data.split={30,30}"
refuses 3 "no set of series is called 'ETTh' \(did you mean 'ETTh1'\?\)" \
  "$hoplab" run "${small[@]}" -s data.set=ETTh
HOPLAB_DATA=$work refuses 3 "no traffic.csv.*hoplab data fetch Traffic" "$hoplab" run "${small[@]}" -s data.set=Traffic
HOPLAB_DATA=$work refuses 3 "no ETTm2.csv.*\); name it with data.file" "$hoplab" run "${small[@]}" -s data.set=ETTm2
refuses 3 "no-such.csv" "$hoplab" run "${small[@]}" -s data.file=no-such.csv
: >empty.csv
refuses 3 "'empty.csv' is empty" "$hoplab" run "${small[@]}" -s data.file=empty.csv
refuses 3 "model.in_len is 12, the data has 48" "$hoplab" run "${small[@]}" -s model.in_len=12
[ ! -d "$HOPLAB_RUNS" ] || fail "a run that never started left $(ls "$HOPLAB_RUNS")"

# --- odd, and fine ---
csv mine.csv 'NR > 1 { $0 = substr($0, 1, 20) "5,7" } 1'
run 0 "$hoplab" run "${mine[@]}" --json
grep -q "channel 'up' is 5 in all training rows" err || fail "no warning of a constant channel"
csv mine.csv '{ sub(/^[^,]*,/, NR == 1 ? "t," : NR ",") } 1'
run 0 "$hoplab" run "${mine[@]}" --json
grep -q "first column holds numbers" err || fail "no warning of a column taken for times"
run 0 "$hoplab" run "${mine[@]}" -s data.dates=false
csv mine.csv 'NR == 11 { sub(/,[0-9]+,/, ",,") } { printf "%s%s\r\n", NR == 20 ? "# here it rained\r\n" : "", $0 } END { printf "2020-01-13 12:0" }'
run 0 "$hoplab" run "${mine[@]}" -s data.missing=mask
grep -q "last line is cut off" err || fail "no warning of a cut line"
run 0 "$hoplab" data info mine.csv
grep -q '^rows *300 of 2 channels' out || fail "not 300 rows: $(sed -n 3p out)"
grep -q '^step *3600 s; 0 rows' out || fail "no step of an hour"
finish
