#!/usr/bin/env bash
# Studies: what they record, how they end, what is refused.
. "$(dirname "$0")/lib.sh"
exp=$here/../../scripts_lua/exp

cat >small.lua <<'LUA'
local hop = require "hop"
return hop.study { name = "small", seed = 4, tags = { "a" },
  options = { { "n", "integer", default = 3, min = 1, doc = "points" },
    { "figure", "string", default = "squares", doc = "its name" } },
  run = function(s)
    local x, y = {}, {}
    for i = 1, s.options.n do
      x[i], y[i] = i, i * i
      s:log(i, { square = y[i], draw = hop.T.randn({ 1 }):item() })
      s:tick("counting", i / s.options.n)
    end
    s:table("squares", { columns = { "i", "a, b" }, rows = { { 1, "x\"y" }, { 2, 2.5 } }, caption = "of <whole> numbers" })
    s:figure(s.options.figure, { title = "squares", x = "i", y = "i^2", log_y = true, caption = "a <line>",
      series = { { name = "own", x = x, y = y, low = x, high = y }, { name = "dots", x = x, y = y, dots = true } } })
    s:check("squares grow", true, "by themselves")
    s:check("squares shrink", false)
    s:result { last = y[#y] }
  end }
LUA
run 0 "$hoplab" run small.lua -s n=5
grep -q '1 of 2 claims hold' out || fail "the claims are not counted"
grep -Eq 'squares shrink +NO' out || fail "a claim that does not hold is not told"
dir=$(echo runs/2*)
printf 'i,"a, b"\r\n1,"x""y"\r\n2,2.5\r\n' | cmp -s - "$dir/tables/squares.csv" || fail "the table: $(cat "$dir/tables/squares.csv")"
grep -q '</svg>' "$dir/figures/squares.svg" || fail "no picture"
grep -q '"low":\[1,2,3,4,5\]' "$dir/figures/squares.json" || fail "the figure's numbers are not kept"
grep -q '"last":25' "$dir/summary.json" || fail "no result"
run 0 "$hoplab" export small --csv -
[ "$(grep -c '^square,' out)" -eq 5 ] || fail "the curve has not five points"
draw=$(grep '^draw,1,' out | cut -d, -f4)
run 0 "$hoplab" export small --html page.html
for what in '<figcaption>a &lt;line&gt;' 'of &lt;whole&gt; numbers' 'squares shrink'; do
  grep -q "$what" page.html || fail "the page has no '$what'"
done
run 0 "$hoplab" run small.lua -s n=1 --name again
run 0 "$hoplab" export again --csv -
[ "$(grep '^draw,1,' out | cut -d, -f4)" = "$draw" ] || fail "the same seed draws otherwise"

# --- what is refused ---
refuses 2 "no option 'm'" "$hoplab" run small.lua -s m=3
refuses 3 "must be at least 1" "$hoplab" run small.lua -s n=0
refuses 3 "a study, which trains nothing; hoplab run" "$hoplab" graph small.lua
refuses 3 "'a/b' is no name of a table or figure" "$hoplab" run small.lua -s figure=a/b
run 0 "$hoplab" check small.lua
study() { printf 'local hop = require "hop"\nlocal T, memory = hop.T, hop.memory
return hop.study { name = "bad", run = function(s)\n  %s\nend }\n' "$1" >bad.lua; }
mkdir -p archive
for part in 1 2 3 4 5; do printf short >archive/data_batch_$part.bin; done
while IFS='|' read -r status pattern body; do
  study "$body"
  refuses "$status" "bad.lua:4: .*$pattern" "$hoplab" run bad.lua
done <<'CASES'
3|row 1 has 2 cells|s:table("t", { columns = { "a" }, rows = { { 1, 2 } } })
3|whole number from 0|s:log(-1, { a = 1 })
3|'y' has 1 numbers, not 2|s:figure("f", { series = { { name = "a", x = { 1, 2 }, y = { 1 } } } })
3|do not fit|s:refuse("they do not fit", "take others")
3|at least one row, not .0, 2.|memory.model { memories = T.zeros { 0, 2 } }
3|argument 1 \(n\) is 0|memory.sphere(0, 2)
3|need .* GiB, .* GiB are available|memory.sphere(1000000000000, 8)
3|row 2 of the queries has NaN at position 1|memory.model { memories = memory.sphere(3, 2) }:retrieve(T.from { { 1, 0 }, { 0 / 0, 1 } })
3|row 1 has length 2;|memory.uniform_loss(T.from { { 2, 0 }, { 0, 1 } })
3|data_batch_1.bin' has 5 bytes|hop.data.take_images { set = "cifar-10", dir = "archive" }
1|attempt to index|local x; print(x.y)
4|not enough memory|T.sum(T.randn { 1000000000000, 8 }):item()
CASES
printf 'return require("hop").study { name = "x" }\n' >none.lua
refuses 3 "run" "$hoplab" run none.lua

# --- how it ends ---
printf 'local hop = require "hop"\nreturn hop.study { name = "long", run = function(s)
  s:log(1, { a = 1 })
  while true do s:tick "waiting" end end }\n' >long.lua
env --default-signal=INT "$hoplab" run long.lua >out 2>err </dev/null &
pid=$!
is_running() { grep -qs '"running"' runs/*/summary.json; }
await 20 is_running
kill -INT $pid
wait $pid
[ $? -eq 130 ] || fail "an interrupted study does not end with 130"
"$hoplab" run long.lua --name stopped >out 2>err </dev/null &
pid=$!
await 20 "$hoplab" ctl stopped status >/dev/null 2>&1
run 1 "$hoplab" ctl stopped eval
refuses 1 "a study can be" "$hoplab" ctl stopped lua 1
run 0 "$hoplab" ctl stopped stop
wait $pid
"$hoplab" show stopped >out
grep -q stopped out || fail "a stopped study is not called so"

# --- the theory, small ---
run 0 "$hoplab" run "$exp/theory_energy.lua" -s trajectories=120 -s steps=4
grep -q '2 of 2 claims hold' out || fail "the energy rises"
run 0 "$hoplab" run "$exp/theory_bounds.lua" -s sets=1 -s 'betas={5,40}'
grep -q '3 of 3 claims hold' out || fail "a bound of the theory does not hold"
finish
