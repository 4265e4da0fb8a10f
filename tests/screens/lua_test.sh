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
dump 80x24 ':lua for i = 1, 3 do print(i * i) end return 6 | 1 | said.txt<Enter>'
shows "saved to said.txt"
[ "$(tr '\n' ' ' <said.txt)" = "1 4 9 7 " ] || fail ":lua into a file: $(cat said.txt)"
dump 80x24 ':lua nil + 1 | never.txt<Enter>'
shows "perform arithmetic on a nil value"
dump 80x24 ':lua 6 | 1<Enter>'
shows "7"
[ ! -e never.txt ] || fail ":lua that failed left a file"
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
live=$(HOPLAB_RUNS=live "$hoplab" run "$here/../e2e/tiny.lua" --detach -s train.max_steps=100000000 -s save.every=0)
HOPLAB_RUNS=live timeout 200 "$hoplab" lua "$here/../lua/handle_test.lua" "$live" >out 2>&1 || { fail "handle_test.lua"; cat out; }
HOPLAB_RUNS=live "$hoplab" ctl "$live" stop --now >/dev/null 2>&1
HOPLAB_RUNS=runs "$hoplab" lua "$here/../lua/runs_test.lua" "$PWD/copy" >out 2>&1 || { fail "runs_test.lua"; cat out; }
dump 100x30 '8hop.runs { filter = "status:done" }<Enter>r = hop.run "last"<Enter>r<Enter>r:best "train/loss"<Enter>r:na<Tab><Tab>'
shows "3 runs" "run bert-softmax1-s2 #0006  done  step 400/400" "{ step = 378, time = " "r:names"

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

# --- the same elements in the console, by hoplab plot, in a page, as SVG, CSV and JSON ---
dump 80x40 '8hop.ui.rows { hop.ui.bars { { "a", 3 }, { "b", 5 } }, hop.ui.line { { 1, 4, 2 }, height = 6 } }<Enter>'
shows "║a ███" "║b ██████" "║    4┤"
export HOPLAB_CONFIG=$work/kinds.lua
"$hoplab" plot --runs runs view:kinds bert-softmax1-s2 --size 80x24 >out 2>err || fail "plot: $(cat err)"
[ "$(wc -l <out)" = 24 ] || fail "not the size asked for: $(wc -l <out)"
shows "80x24 bert-softmax1-s2, 0 marked" "   1┤" "one  ██████" "40 %"
"$hoplab" plot --runs runs view:kinds bert-softmax1-s2 bert-vanilla-s1 >out 2>err || fail "plot: $(cat err)"
shows "80x24 bert-softmax1-s2, 2 marked"
"$hoplab" plot --runs runs view:kins last >out 2>err && fail "a view that is not there is drawn"
cp err out && shows "no view 'kins'; did you mean kinds"
for form in csv json svg; do
  "$hoplab" plot --runs runs view:kinds last -o kinds.$form >out 2>err || fail "$form: $(cat err)"
done
tr -d '\r' <kinds.csv >out
shows "# line: line" "b,200,1" "# hist: hist" "1,1.88888889,1" "# heat: heat" "2,3,60" "# table: table" "name,v" "b,20" \
  "# bars: bars" "none,nan" "# tree: tree" "    0" "# canvas: canvas" "2,3,text" "# gauge" "0.4,40 %" "# log" "last"
cp kinds.json out && shows '"element":"rows"'
cp kinds.svg out && shows '<svg ' '</svg>'
dump 80x24 '9:export here.csv<Enter>'
cp here.csv out && shows "# canvas: canvas" "0.4,40 %"
"$hoplab" export --runs runs --html page.html --view kinds bert-softmax1-s2 2>err || fail "page: $(cat err)"
cp page.html out && shows "<h2>Views</h2>" "<figcaption>kinds</figcaption>"
"$hoplab" export --runs runs --svg x.svg --view kinds last 2>out && fail "a view in a picture of curves"
shows "--html FILE"

# --- drawn when its inputs change, and not else; what it needs is told ---
cat >needs.lua <<'END'
local hop = require "hop"
local draws = 0
local view = hop.view { name = "needy", key = "9",
  needs = { probe = { "attn.out", "attn.probs" }, every = 5, series = "no/such" },
  keys = { m = { "more", function() end } },
  draw = function()
    draws = draws + 1
    return "drawn " .. draws .. " times"
  end }
hop.ui.map("any", "X", function() view.redraw() end, "again")
END
export HOPLAB_CONFIG=$work/needs.lua
drawn() {
  dump 80x12 "$1"
  grep -o 'drawn [0-9]*' out | cut -c7-
}
once=$(drawn 9)
[ "$(drawn 91919)" = "$once" ] || fail "drawn again, and nothing has changed"
[ "$(drawn 9m)" = $((once + 1)) ] || fail "not drawn again after a key of its own"
[ "$(drawn 91X9)" = $((once + 1)) ] || fail "not drawn again after redraw()"
dump 120x12 9
shows "not recorded: attn.probs; -s probe.attention=64" "this run has no series no/such"
"$hoplab" run "$here/tiny.lua" -s train.max_steps=3 -s probe.every=0 --runs unwatched --quiet >out 2>&1 || fail "unwatched: $(cat out)"
"$hoplab" plot --runs unwatched view:needy last --size 120x10 >out 2>&1
shows "not watched: attn.out; -s probe.every=5, or probe = { every = 5 } in the script, would have it watched"
unset HOPLAB_CONFIG

# --- what heads attend to ---
sample probes probe
cat >sinks.lua <<'END'
local hop = require "hop"
local ui = hop.ui
hop.view { name = "sinks", needs = { probe = "attn.probs" }, draw = function(_, d)
  local share = d:probe("attn.probs"):select(-1, 1):mean(-1) -- layers x heads
  return ui.rows { ui.heat { share, rows = "layer", cols = "head" },
    ui.table { d:top(share, 2), columns = { "row", "col", "value" } } }
end }
END
"$hoplab" watch probes --dump 80x24 --keys ':source sinks.lua<Enter>:view sinks<Enter>' >out 2>err || fail "sinks: $(cat err)"
shows "row" "0.9"
HOPLAB_RUNS=probes "$hoplab" lua -e 'local m = require("hop").run("probed"):curves("attention/", { step = 40 })["attention/layer.1"]
  print(m.step, m.rows, m.cols, #m.values, m.values[17])' >out 2>&1
grep -q '^40	32	16	512	0.8999' out || fail "curves: $(cat out)"
HOPLAB_RUNS=probes "$hoplab" lua -e 'local t = require("hop").run("probed"):curves("outliers/")["outliers/layer.0/out/tokens"]
  print(t.text[t.values[t.cols + 1]], "<" .. t.text[110] .. ">", t.text[120], t.text[137], t.text[135])
  print(require("hop").run("unspelled"):curves("outliers/")["outliers/layer.0/out/tokens"].text)' >out 2>&1
[ "$(cat out)" = '[CLS]	< the>	\n	nil	\"
nil' ] || fail "spellings of tokens: $(cat out)"

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

# --- what else scripts add: themes, arguments that complete ---
cat >adds.lua <<'END'
local hop = require "hop"
local ui = hop.ui
ui.theme { name = "mine", base = "light", roles = { bad = { fg = 200, bg = 17, bold = true }, text = "201", series = { 202 } } }
ui.theme { name = "light" }
ui.theme { name = "odd", roles = { badd = 1 } }
ui.theme { name = "odder", roles = { bad = "reddish" } }
ui.set { theme = "mine" }
ui.command { name = "paint", args = "COLOUR", help = "says it",
  complete = function(word, before) return before[1] and { "twice" } or { "red", "rose", "blue", "not " .. word } end,
  run = function(a, b) ui.notice("painted " .. a .. " " .. tostring(b)) end }
END
export HOPLAB_CONFIG=$work/adds.lua
dump 120x24 ':set theme?<Enter>'
shows "theme=mine  ($work/adds.lua:7)"
dump 120x24 ':theme mi<Tab><Enter>:export look.ans<Enter>'
cp look.ans out && shows '38;5;201m'
dump 120x30 '8<Esc>'
shows "adds.lua:4: the theme light is the program's" "adds.lua:5: no role 'badd'" "adds.lua:6: 'reddish' is no look"
dump 80x24 ':paint ro<Tab> <Tab><Enter>'
shows "painted rose twice"
dump 80x24 ':paint r<Tab><Tab>'
shows ":paint red" "rose"
dump 80x24 ':paint bl<Tab><Enter>'
shows "painted blue nil"
cat >columns.lua <<'END'
local ui = require("hop").ui
ui.column { name = "gap", help = "evaluation above training",
  value = function(run) return run.eval and run.eval - run.loss end }
ui.column { name = "kind", value = function(run) return run.name:match("^%a+") end }
ui.filter { name = "wide", help = "norms above 100", fits = function(run) return (run.max_inf_norm or 0) > 100 end }
ui.column { name = "wrong", value = function(run) return run.config.model.no.such end }
END
export HOPLAB_CONFIG=$work/columns.lua
dump 120x24 ':columns gap loss kind<Enter>:sort -kind<Enter>'
shows "gap" "bert-vanilla-s1" "3.428" "opt"
grep -E 'name|bert|opt' out | head -2 | tail -1 | grep -q ' opt-' || fail "not sorted by what the function says"
dump 120x24 ':filter gap<lt>4<Enter>'
shows "3 runs fit"
dump 120x24 ':filter wide<Enter>'
shows "1 runs fit" "bert-vanilla-s1"
dump 120x24 ':filter !wide kind:bert<Enter>'
shows "2 runs fit"
dump 120x24 ':filter wi<Tab><Enter>'
shows "1 runs fit"
dump 160x40 '8<Esc>z'
shows "ui.column wrong: " "columns.lua:6: attempt to index a nil value"
[ "$(grep -c 'ui.column wrong' out)" = 1 ] || fail "told for every run"
dump 80x24 '?/evaluation above'
shows "gap" "a column"
cp -r runs more
HOPLAB_TEST_CLOCK= "$hoplab" run "$here/tiny.lua" -s train.max_steps=2 --name bert-late --runs more --quiet >out 2>&1 || fail "late: $(cat out)"
"$hoplab" watch more --dump 120x24 --keys ':filter kind:bert<Enter>' >out 2>err
shows "4 runs fit" "bert-late"
echo 'require("hop").ui.column { name = "slow", value = function() while true do end end }' >columns.lua
dump 160x30 '8<Esc>z'
shows "columns and filters from scripts: took longer than 1000 ms and was stopped"
unset HOPLAB_CONFIG

# --- programs beside the screen ---
cat >job.lua <<'END'
local hop = require "hop"
local ui = hop.ui
local n, kept = 0, nil
hop.global "spawn"
spawn = {}
function spawn.lines() ui.job({ "sh", "-c", "echo one; echo two >&2; printf three; exit 3" },
  { on_line = function(l) n = n + 1 print(n, l) end, on_exit = function(status) print("exit " .. status) end }) end
function spawn.many() n = 0 ui.job({ "seq", "5000" }, { on_line = function(l) n = n + tonumber(l) end,
  on_exit = function() print("sum", n) end }) end
function spawn.sleeps() kept = ui.job({ "sh", "-c", "echo $$ >pid; echo up; sleep 100" }, { on_line = print }) end
function spawn.stop() kept:stop() end
function spawn.look() ui.job({ "sh", "-c", "kill -0 $(cat pid) 2>kill.err || echo dead" }, { on_line = print }) end
function spawn.raises() ui.job({ "seq", "100000000" }, { on_line = function() error "no more" end }) end
END
export HOPLAB_CONFIG=$work/job.lua
dump 100x30 '8spawn.lines()<Enter>spawn.many()<Enter>hop.ui.job({ "printf", "a\\377b" }, { on_line = print })<Enter><Esc>z'
shows "1       one" "2       two" "3       three" "exit 3" "sum     12502500"
dump 100x30 '8hop.ui.job { "no-such-program" }<Enter>spawn.raises()<Enter>6*7<Enter><Esc>z'
shows "there is no program no-such-program" "no more" "║42"
[ "$(grep -c 'job.lua.*no more' out)" = 1 ] || fail "a function that raised is called again"
# gone PID-FILE: its process has ended
gone() { ! kill -0 "$(cat "$1")" 2>kill.err; }
live '8<wait:Enter runs>spawn.sleeps()<Enter><wait:║up><C-d>:q<Enter>'
gone pid || fail "the program outlives the screen"
rm pid
live '8<wait:Enter runs>spawn.sleeps()<Enter><wait:║up>spawn.stop()<Enter>spawn.look()<Enter><wait:║dead>'
mkdir -p jobs/below
echo 'local ui = require("hop").ui
ui.set { jobs = "on" } ui.execute "set jobs=on" ui.job({ "touch", "made-by-project" })
ui.map("any", "X", function() ui.job { "touch", "made-by-project" } end)' >jobs/hoplab.lua
cd jobs || exit 1
"$hoplab" watch ../runs --dump 140x30 --keys 'X8spawn.lines()<Enter><Esc>z' >../out 2>&1
"$hoplab" watch ../runs --dump 100x30 --keys ':set jobs=on<Enter>8spawn.lines()<Enter><Esc>z' >../out2 2>&1
[ ! -e made-by-project ] || fail "a project's file has started a program"
cd .. || exit 1
shows "hoplab.lua:2: only you, or config.lua, can allow scripts to start programs" "hoplab.lua:2: no programs from scripts"
cp out2 out
shows "exit 3"
unset HOPLAB_CONFIG

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
echo 'require("hop").ui.set { fps = 3 }' >named.lua
HOPLAB_CONFIG=$work/named.lua dump 120x24 ':set fps?<Enter>:set theme?<Enter>'
shows "theme=default  (default)"
HOPLAB_CONFIG=$work/named.lua dump 120x24 ':set fps?<Enter>'
shows "fps=3  ($work/named.lua:1)"
echo 'require("hop").ui.set { ambiwidth = 2 }' >named.lua
HOPLAB_CONFIG=$work/named.lua dump 120x24 ':set ambiwidth?<Enter>'
shows "ambiwidth=2  ($work/named.lua:1)" "#= Runs"
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
  --keys '<wait:tiny>F<wait:as it was run>e<wait:the edited copy>r<wait:runs as><wait:x=step>1<wait:2 runs>' \
  -- "$hoplab" --runs made >out 2>err || fail "edit: $(cat err)"
shows "2 runs"
[ "$(cat made/*/config.json | grep -o '"seed":[0-9]*' | sort | tr '\n' ' ')" = '"seed":7 "seed":8 ' ] ||
  fail "the edited script was not run"
EDITOR=no-such-editor "$shoot" --size 100x50 --keys '<wait:tiny>F<wait:as it was run>e<wait:no editor>' \
  -- "$hoplab" --runs made >out 2>err || fail "no editor: $(cat err)"
dump 100x30 'F'
shows "has no stored script"

# --- its own editor: typing into the copy, undoing, saving, search, colours, the line of an error ---
"$hoplab" run tiny.lua -s train.max_steps=3 --runs typed --quiet >out 2>&1 || fail "typed: $(cat out)"
typed() { "$hoplab" watch typed --dump "$1" --keys "$2" >out 2>err || fail "$2: $(cat err)"; }
typed 80x50 'Fzi<Down><Down><Down><Down><Down><End><Backspace>, -- typed<Enter>x<C-s>'
shows "copy of tiny.lua  7:4" "   6   seed = 9, -- typed" "   7   x" "saved to $work/state/hoplab/edited/"
grep -qx '  x' state/hoplab/edited/*/tiny.lua || fail "C-s has not saved"
typed 80x50 'Fzi<Down><Down><Down><Down><Down><Down><C-k><C-_>xy<C-_><C-w><C-_><C-_><Esc>'
shows "║   7   x"
typed 80x50 'Fzi<Down><Down><Down><Down><Down><Down><C-k><Backspace><Esc>'
grep -qx '  seed = 9, -- typed' state/hoplab/edited/*/tiny.lua || fail "Esc has not saved"
grep -qx '  x' state/hoplab/edited/*/tiny.lua && fail "the line that was deleted is there"
typed 80x50 'Fzig<C-c>i<Esc>'
grep -q '^g' state/hoplab/edited/*/tiny.lua && fail "C-c has saved"
typed 80x24 'Fzixyz<Esc>d'
shows "║- -- A model" "║+ xyz-- A model"
typed 80x12 'Fz/every<Enter>nn'
shows "║  16   probe = { every = 50 }," "║   9   data"
typed 80x12 'Fz/no such<Enter>'
shows "is not in it"
typed 60x24 'Fz:export script.ans<Enter>'
cp script.ans out && shows ';1;38;5;37mlocal' '38;5;71m"hop"' '38;5;170m9'
cat >boom.lua <<'END'
local hop = require "hop"
return hop.experiment { name = "boom",
  model = hop.nn.opt { layers = 1, width = 32, heads = 2, max_len = 32 },
  data = hop.data.clm { train = "generated", tokens = "bytes", seq_len = 32, batch_size = 4 },
  optim = hop.optim.adamw { lr = 1e-3 }, train = { max_steps = 5 },
  callbacks = { hop.callback { name = "c", on_step = function(_, ev)
    if ev.step == 2 then error("boom at " .. ev.step) end
  end } } }
END
"$hoplab" run boom.lua --runs boomed --quiet >out 2>&1 && fail "the run of boom.lua has not failed"
"$hoplab" watch boomed --dump 100x16 --keys 'Fz' >out 2>err
shows "   7✗    if ev.step == 2 then error(\"boom at \" .. ev.step) end   boom at 2"

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
