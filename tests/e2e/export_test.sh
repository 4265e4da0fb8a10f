#!/usr/bin/env bash
# Export: CSV, SVG, PNG and HTML of runs; the same bytes twice; clear words where there is nothing.
. "$(dirname "$0")/lib.sh"
name='odd <name>, "q" & co'
quick=(-s train.max_steps=30 -s log.every=5 -s eval.batches=1 -s eval.every=0 -s probe.every=0 -q)
run 0 "$hoplab" run "$here/tiny.lua" "${quick[@]}" --name one
run 0 "$hoplab" run "$here/tiny.lua" "${quick[@]}" --name "$name" -s optim.lr=1e-2
one=$(basename "$("$hoplab" show one | sed -n 's/^directory  *//p')")

has() { grep -Fq -- "$2" "$1" || fail "no '$2' in $1"; }

# --- CSV ---
run 0 "$hoplab" export one --csv -
head -1 out | grep -q $'^tag,step,wall_time,value\r$' || fail "head of the CSV: $(head -1 out)"
[ "$(grep -c '^train/loss,' out)" -eq 7 ] || fail "points of train/loss: $(grep -c '^train/loss,' out)"
grep -Eq $'^train/loss,30,[0-9]+\\.[0-9]{6},[0-9.]+\r$' out || fail "form of a line"
want=$(grep -o '"train/loss":{"n":7,"last":[0-9.]*' "$(run_dir)/../$one/summary.json" | sed 's/.*://' | cut -c1-7)
grep -q "^train/loss,30,.*,$want" out || fail "the last loss is not $want"
run 0 "$hoplab" export one "$name" --csv two.csv --tag 'train/l*'
head -1 two.csv | grep -q '^run,tag,step,wall_time,value' || fail "several runs need a column"
[ "$(cut -d, -f1 two.csv | sort -u | wc -l)" -eq 3 ] || fail "runs in the CSV"
cut -d, -f2 two.csv | sort -u | grep -Evq '^(tag|train/loss|train/lr)$' && fail "--tag lets others through"

# --- SVG ---
run 0 "$hoplab" export one "$name" --svg two.svg
has two.svg '>step</text>'
has two.svg '>loss (nats)</text>'
has two.svg '>train/loss</text>'
has two.svg '>one</text>'
has two.svg '>odd &lt;name&gt;, &quot;q&quot; &amp; co</text>'
run 0 "$hoplab" export one --svg titled.svg --title 'A & B' --size 500x300 --log --tag eval/loss --tag train/grad_norm
has titled.svg 'width="500" height="300"'
has titled.svg '>A &amp; B</text>'
has titled.svg '>gradient norm</text>'

# --- PNG, where there is cairo ---
if "$hoplab" export one --png one.png --size 640x400 2>err; then
  [ "$(head -c 8 one.png | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "no PNG"
  [ "$(head -c 24 one.png | tail -c 8 | od -An -tx1 | tr -d ' \n')" = 0000028000000190 ] || fail "size of the PNG"
else
  grep -q 'built without cairo' err || fail "no PNG, and no word why: $(cat err)"
  echo "SKIPPED: PNG, built without cairo"
fi

# --- HTML ---
run 0 "$hoplab" export one "$name" --html two.html
has two.html '<title>one</title>'
has two.html 'odd &lt;name&gt;, &quot;q&quot; &amp; co</th>'
has two.html '<td>optim.lr</td><td class="differs">0.001</td><td class="differs">0.01</td>'
has two.html '<td>perplexity</td>'
has two.html '<svg '
grep -Eq '(src|href)="' two.html && fail "the page needs other files"
grep -o 'id="c[0-9]*"' two.html | sort | uniq -d | grep -q . && fail "an identifier is there twice"

# --- the figure of trajectories ---
counts='[1,1,1,1,1,1,1,1,1,0,0,0,0]'
cat >"$HOPLAB_RUNS/$one/trajectory.json" <<END
{"format":1,"iterations":3,"samples":2,"damping":0,"log10_min":-8,"log10_max":0,"n_bins":400,
"tolerances_log10":[-8,-7.5,-7,-6.5,-6,-5.5,-5,-4.5,-4,-3.5,-3,-2.5,-2],
"mean_index":[3,3,3,3,3,3,3,3,2.5,2,2,1.5,1],"did_not_converge":$counts,
"mean_iteration":[3,3,3,3,3,3,3,3,3,2,2,2,2],"not_converged":$counts,
"bins":[[380,2],[290,1,1],[180,1,0,1]]}
END
run 0 "$hoplab" export one --figure trajectory --svg heat.svg
has heat.svg '>relative residual</text>'
has heat.svg '>state trajectory density (raw counts)</text>'
has heat.svg '>1e-4</text>'
has heat.svg '>one</text>'
run 0 "$hoplab" export one one one one --figure trajectory --svg four.svg
[ "$(grep -c '>1e-4</text>' four.svg)" -eq 4 ] || fail "not four panels"
refuses 3 'no trajectory.json' "$hoplab" export "$name" --figure trajectory --svg x.svg
refuses 3 'room for 1 to 4' "$hoplab" export one one one one one --figure trajectory --svg x.svg
echo '{"format":1,"iterations":-3}' >"$HOPLAB_RUNS/$one/trajectory.json"
refuses 3 'trajectory.json' "$hoplab" export one --figure trajectory --svg x.svg

# --- the same bytes twice; whole files only ---
for kind in csv svg png html; do
  "$hoplab" export one "$name" --$kind a.$kind 2>/dev/null || continue
  run 0 "$hoplab" export one "$name" --$kind b.$kind
  same a.$kind b.$kind
done
if command -v xmllint >/dev/null; then
  xmllint --noout two.svg titled.svg heat.svg four.svg || fail "not well-formed"
fi
ls ./*.tmp* .tmp* 2>/dev/null && fail "left-overs"

# --- nothing to show, wrong words ---
mkdir -p "$HOPLAB_RUNS/empty"
printf '{"format":1,"id":"empty","name":"empty"}\n' >"$HOPLAB_RUNS/empty/run.json"
refuses 3 'there are no values' "$hoplab" export empty --csv -
refuses 3 'no loss to draw' "$hoplab" export empty --svg -
refuses 3 "no series fits 'nowhere/\*'" "$hoplab" export one --svg - --tag 'nowhere/*'
refuses 3 'no run' "$hoplab" export nosuchrun --csv -
refuses 2 'say what to write' "$hoplab" export one
refuses 2 'WIDTHxHEIGHT' "$hoplab" export one --svg - --size 10
refuses 2 'WIDTHxHEIGHT' "$hoplab" export one --svg - --size 1e9x1e9
refuses 2 'curves, trajectory or forecast' "$hoplab" export one --svg - --figure pie
refuses 3 'cannot|no such' "$hoplab" export one --csv /nowhere/x.csv

finish
