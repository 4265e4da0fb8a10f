# The screen's Lua: the console, views written in Lua, configuration. What does not need a terminal
# is shown by --dump, which waits for what runs.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export HOPLAB_TEST_CLOCK=1769864400 LANG=C.UTF-8 LC_ALL=C.UTF-8
sample runs

# dump SIZE KEYS: the picture after the keys, in ./out
dump() {
  "$hoplab" watch runs --dump "$1" --keys "$2" >out 2>err || fail "$2: $(cat err)"
}

# shows WORDS...: ./out has these lines, whatever is around them
shows() {
  local words
  for words in "$@"; do
    grep -qF -- "$words" out || { fail "'$words' is not shown:"; sed 's/^/    /' out; }
  done
}

# shown NAME SIZE KEYS: a golden picture
shown() {
  dump "$2" "$3"
  same_as_golden "$1"
}

# live KEYS: the picture on a terminal, in ./out
live() {
  "$shoot" --size 80x24 --keys "<wait:bert>$1" -- "$hoplab" --runs runs >out 2>err || fail "$1: $(cat err)"
}

# --- the console ---
session='8{1,2,{a="x"},n=1.5}<Enter>for i = 1, 2 do<Enter>print(i)<Enter>end<Enter>error("by hand")<Enter>'
shown lua-80x24 80x24 "$session"
shown lua-40x10 40x10 "$session"
shown lua-under-run 80x24 "2~1 + 1<Enter><Esc>"
dump 80x30 '8help "optim.sgd"<Enter>help(hop.exit)<Enter>undeclared<Enter>T.zeros{2,2}<Enter>_:sum()<Enter>'
shows "optim.sgd(" "momentum" "Ends the script with an exit status." "the global 'undeclared' does not exist" \
  "tensor f32{2, 2} cpu" "tensor f32{} cpu"
dump 80x24 '8hop.optim.ada<Tab><Tab>w{lr=1e-3<Enter>2<C-c>nn<C-c>if<Enter><C-c>1 +<Enter>2<Enter>'
shows "> hop.optim.adamw{lr=1e-3" "adam  adamw" "> if" "> 1 +" ">> 2" "║3 "
dump 80x24 ':lua 6*7<Enter>'
shows "42"
dump 80x24 ':lua nil+1<Enter>'
shows "console:1: attempt to perform arithmetic on a nil value"
dump 80x24 '8hop.save("x", {})<Enter>io.open("x")<Enter>os.execute("touch made")<Enter>'
shows "writes no files" "'io' does not exist" "attempt to call a nil value (field 'execute')"
[ ! -e made ] || fail "the console ran a program"

# --- what loops; more of it in app/lua/scripting_threads_test.c ---
live '8<wait:Enter runs>while true do pcall(error) end<Enter><wait:running><C-c><wait:interrupted>
while true do print(1) end<Enter><wait:running><C-d><C-c><wait:interrupted><Enter>6*7<Enter><wait:42>
n = 0 t = hop.ui.timer(.1, function() n = n + 1 if n == 3 then t:stop() end print("tick", n) end)<Enter><wait:tick    3>
hop.ui.timer(.1, function() error("once") end)<Enter><wait:once><C-d>1<wait:trend>'
dump 80x24 '8x = 5<Enter><Esc>:lua reset<Enter>:lua x<Enter>'
shows "the global 'x' does not exist"

# --- reading runs ---
first=$(echo runs/*000001)
cp -r "$first" copy
HOPLAB_RUNS=runs "$hoplab" lua "$here/../lua/runs_test.lua" "$PWD/copy" >out 2>&1 || { fail "runs_test.lua"; cat out; }
dump 100x30 '8hop.runs { filter = "status:done" }<Enter>r = hop.run "last"<Enter>r<Enter>r:best "train/loss"<Enter>r:na<Tab><Tab>'
shows "3 runs" "run bert-softmax1-s2 #0006  done  step 400/400" "{ step = 378, value = 1.498" "r:names"

# --- filters in Lua ---
dump 80x24 ':filter lua(r) r.loss and r.loss > 1.61 and not r.name:find "opt"<Enter>'
shows "3 of 6" "3 runs fit" "/lua(r) r.loss and"
dump 80x24 '/lua(run) local l = run.loss return l == nil<Enter>'
shows "1 of 6" "opt-typo"
dump 80x24 ':filter lua(r) r.los > 1<Enter>'
shows "Runs  0 of 6" "filter: 6 raised: " "has no field 'los' (did you mean 'loss'?)"
dump 80x24 '/lua(r) r.loss <lt>'
shows "Runs  6 " "filter: " "unexpected symbol near <eof>"
dump 80x24 ':filter lua(r) (function() while true do pcall(error) end end)()<Enter>:filter lua(r) r.state == "failed"<Enter>'
shows "1 of 6" "opt-typo"
dump 80x24 ':filter lua(r) io.open "x"<Enter>'
shows "global 'io' does not exist"

# --- views written in Lua ---
cat >kinds.lua <<'END'
local hop = require "hop"
local ui = hop.ui
hop.view { name = "kinds", title = "Every element", key = "9", draw = function(_, d)
  local y = {}
  for i = 1, 200 do y[i] = math.exp(-i / 40) + (i == 100 and 0 / 0 or 0) end
  return ui.rows {
    ui.cols {
      ui.line { y, { x = { 1, 200 }, y = { 0.1, 1 }, name = "b" }, title = "line", yscale = "log" },
      ui.hist { { 1, 2, 2, 3, 3, 3, 4, 4, 9 }, bins = 9, title = "hist" },
      ui.heat { { { 1, 2, 3 }, { 4, 5, 60 } }, rows = "head", title = "heat", scale = "log" },
    },
    ui.cols {
      ui.table { { { name = "a", v = 1.25 }, { name = "b", v = 20 } }, columns = { "name", "v" }, title = "table" },
      ui.bars { { "one", 1 }, { "two", 2 }, { "none", 0 / 0 }, title = "bars" },
      ui.tree { { "model", "embeddings", { "layers", "0", "1" } }, title = "tree" },
      ui.canvas { height = 6, title = "canvas", paint = function(c)
        c:fill(-5, -5, 1e9, 7, "x", "heat3")
        c:line(1, 1, 12, 4, "series1")
        c:line(3, -1e9, 3, 1e9)
        c:text(2, 3, "text", "good")
      end },
      height = 7,
    },
    ui.gauge { 0.4, text = "40 %" },
    ui.log { "first", "last", look = "dim", height = 1 },
    ui.text { ("%dx%d %s, %d marked"):format(d.width, d.height, d.run.name, #d.marked) },
  }
end }
END
shown lua-kinds-80x24 80x24 ':source kinds.lua<Enter><Space>9'
shown lua-kinds-40x10 40x10 ':source kinds.lua<Enter>9'
shown lua-kinds-20x5 20x5 ':source kinds.lua<Enter>9'
shown lua-layers 80x24 ':lua require "views.layers"<Enter>9s>'
dump 80x24 ':lua require "views.seeds"<Enter>1gT'
shows "bert-softmax1  2" "8 Lua  seeds"
dump 80x24 ':lua require "views.layers"<Enter>?/fewer'
shows "in layers" "fewer rows"

# --- views that raise, loop, take memory, draw no picture, or act where they may not ---
cat >bad.lua <<'END'
local hop = require "hop"
local tries = 0
hop.view { name = "raises", draw = function(_, d)
  tries = tries + 1
  if tries < 4 then error("try " .. tries) end
  return hop.ui.text { "better now" }
end }
hop.view { name = "loops", draw = function() while true do pcall(error) end end }
hop.view { name = "grows", draw = function() local t = {} for i = 1, 9 do t[i] = ("x"):rep(1000):rep(50000) end end }
hop.view { name = "nothing", draw = function() end }
hop.view { name = "acts", draw = function() hop.ui.set { fps = 1 } end }
hop.view { name = "deep", draw = function() local e = "x" for _ = 1, 200 do e = hop.ui.rows { e } end return e end }
END
dump 80x24 ':source bad.lua<Enter>:view raises<Enter>'
shows "raises  failed" "bad.lua:5: try 3" "Enter tries it again"
dump 80x24 ':source bad.lua<Enter>:view raises<Enter><Enter>'
shows "better now"
dump 80x24 ':source bad.lua<Enter>:view loops<Enter>:lua 6*7<Enter>'
shows "took longer than 1000 ms and was stopped" " 42"
dump 80x24 ':source bad.lua<Enter>:view grows<Enter>'
shows "grows  failed" # out of memory, or of time on a busy machine
dump 80x24 ':source bad.lua<Enter>:view nothing<Enter>'
shows "must return an element of hop.ui, not nothing"
dump 80x24 ':source bad.lua<Enter>:view acts<Enter>'
shows "bad.lua:11: ui.set: draw describes only"
dump 80x24 ':source bad.lua<Enter>:view deep<Enter>'
shows "nested too deep"
dump 80x24 ':lua hop.view { name = "slow", draw = function() local t = os.clock() while os.clock() - t <lt> .05 do end return "late" end }<Enter>:view slow<Enter>'
shows "slow view," "4/s" "late"
dump 80x24 ':view kinds<Enter>'
shows "no view 'kinds'"

# --- configuration ---
mkdir -p config/hoplab/views project/below
cat >config/hoplab/config.lua <<'END'
local ui = require("hop").ui
ui.set { theme = "light", fps = 5, glyhps = "ascii" }
ui.map("any", "g+q", "quit")
ui.map("any", "g+q", "help")
ui.map("any", "U", "undoo")
ui.map("any", "j", "quit")
ui.map("any", "X", function() ui.notice "X was pressed" end, "says so")
ui.map("any", "K", function() end, "not this")
ui.map("Runs", "W", function() ui.execute "view run" end, "to the run")
ui.command { name = "hello", args = "WHO", help = "greets", run = function(who) ui.notice("hello " .. who) end }
ui.command { name = "quit", run = print }
ui.execute "run evil.lua"
END
echo 'return require("hop").view { name = "mine", key = "9", draw = function() return "from the folder" end }' \
  >config/hoplab/views/mine.lua
echo 'error("broken " .. 1)' >config/hoplab/views/zz.lua
echo 'require("hop").ui.set { fps = 7 } io.open("x")' >project/hoplab.lua
export XDG_CONFIG_HOME=$work/config
dump 120x60 '~<Esc>z'
shows "config.lua:2: no setting 'glyhps'; did you mean glyphs" \
  "config.lua:4: g+q is mapped to quit at" "config.lua:5: no action 'undoo'; did you mean undo?" \
  "config.lua:6: j moves; it cannot be bound" "config.lua:8: K belongs to stop of the screen" \
  "config.lua:11: :quit is a command of the screen" "config.lua:12: a script cannot give the command 'run'" \
  "zz.lua:1: broken 1"
dump 120x24 'X'
shows " X was pressed"
dump 80x24 'W'
shows "train/loss"
dump 80x24 ':hell<Tab> you<Enter>'
shows " hello you"
dump 80x24 '9'
shows "from the folder"
dump 120x24 ':set theme?<Enter>'
shows "theme=light  ($work/config/hoplab/config.lua:2)"
HOPLAB_THEME=mono dump 120x24 ':set theme?<Enter>'
shows "theme=mono  (HOPLAB_THEME)"
dump 120x24 ':set fps=9<Enter>:set fps?<Enter>'
shows "fps=9  (:set)"
dump 120x24 ':set mouse?<Enter>'
shows "mouse=on  (default)"
cd project/below || exit 1
"$hoplab" watch ../../runs --dump 120x24 --keys ':set fps?<Enter>' >../../out 2>&1
"$hoplab" watch ../../runs --dump 120x24 --keys '~<Esc>' >../../out2 2>&1
cd ../.. || exit 1
shows "fps=7  ($work/project/hoplab.lua:1)"
cp out2 out
shows "project/hoplab.lua:1: the global 'io' does not exist"
unset XDG_CONFIG_HOME

# --- the script of a run: as it was run, compared, edited, run again ---
cp "$here/tiny.lua" tiny.lua
"$hoplab" run tiny.lua -s train.max_steps=3 --runs made --quiet >out 2>&1 || fail "tiny: $(cat out)"
sed -i 's/seed = 7/seed = 9/; s/^  eval.*$//' tiny.lua
"$hoplab" watch made --dump 100x50 --keys 'F' >out 2>err
shows "tiny.lua, as it was run; differs from the file now" "   6   seed = 7"
"$hoplab" watch made --dump 100x50 --keys 'Fdz' >out 2>err
shows "║-   seed = 7," "║+   seed = 9," "║-   eval = {"
echo 'sed -i "s/seed = 7/seed = 8/" "$1"' >editor.sh
EDITOR="sh $work/editor.sh" "$shoot" --size 100x50 \
  --keys '<wait:tiny>F<wait:as it was run>e<wait:the edited copy>r<wait:runs as><wait:done>1<wait:2 runs>' \
  -- "$hoplab" --runs made >out 2>err || fail "edit: $(cat err)"
shows "2 runs"
[ "$(cat made/*/config.json | grep -o '"seed":[0-9]*' | sort | tr '\n' ' ')" = '"seed":7 "seed":8 ' ] ||
  fail "the edited script was not run"
EDITOR=no-such-editor "$shoot" --size 100x50 --keys '<wait:tiny>F<wait:as it was run>e<wait:no editor>' \
  -- "$hoplab" --runs made >out 2>err || fail "no editor: $(cat err)"
dump 100x30 'F'
shows "has no stored script"

# --- what the documentation shows runs ---
awk '/^```lua/ { n++; on = 1; next } /^```/ { on = 0 } on { print > ("example" n ".lua") }' "$here/../../docs/extending.md"
sources=
for example in example*.lua; do sources="$sources:source $example<Enter>"; done
[ "$(ls example*.lua | wc -l)" -ge 3 ] || fail "no examples in docs/extending.md"
dump 100x50 "$sources~<Esc>z"
if grep -q 'example[0-9]*.lua:' out; then fail "an example of docs/extending.md:"; cat out; fi
dump 100x24 "$sources:view spread<Enter>m"
shows "Loss and its spread" "last 1.62" "smoothed by 0.950"
dump 100x24 "$sources:hello you<Enter>"
shows "hello you"

# --- history ---
live '8<wait:Enter runs>unheard = 1 - 1<Enter><wait:║> unheard><C-d>:q<Enter>'
live '8<wait:Enter runs><Up><wait:unheard>'
finish
