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
refuses 1 "'a/b' is no name of a table or figure" "$hoplab" run small.lua -s figure=a/b
run 0 "$hoplab" check small.lua
for body in 's:table("t", { columns = { "a" }, rows = { { 1, 2 } } })' 's:log(-1, { a = 1 })' 'local x\n  print(x.y)' \
  's:figure("f", { series = { { name = "a", x = { 1, 2 }, y = { 1 } } } })'; do
  printf 'local hop = require "hop"\nreturn hop.study { name = "bad", run = function(s)\n  %b\nend }\n' "$body" >bad.lua
  refuses 1 "bad.lua:[34]:|2 numbers|1 numbers" "$hoplab" run bad.lua
done
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
run 0 "$hoplab" ctl stopped stop
wait $pid
"$hoplab" show stopped >out
grep -q stopped out || fail "a stopped study is not called so"

# --- the theory, small ---
run 0 "$hoplab" run "$exp/theory_energy.lua" -s trajectories=120 -s steps=4
grep -q '2 of 2 claims hold' out || fail "the energy rises"
finish
