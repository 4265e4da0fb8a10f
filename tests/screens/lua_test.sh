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

# --- what loops, hides in pcall, or takes all memory ---
live '8<wait:Enter runs>while true do pcall(error) end<Enter><wait:running><C-c><wait:interrupted>
while true do print(1) end<Enter><wait:running><C-c><wait:interrupted>6*7<Enter><wait:42><C-d>1<wait:trend>'
dump 80x24 '8all = {} for i = 1, 9 do all[i] = ("x"):rep(1000):rep(50000) end<Enter>6*7<Enter>'
shows "memory is at its limit of 256.0 MiB" "║42"
dump 80x24 '8x = 5<Enter><Esc>:lua reset<Enter>:lua x<Enter>'
shows "the global 'x' does not exist"

# --- reading runs ---
first=$(echo runs/*000001)
cp -r "$first" copy
HOPLAB_RUNS=runs "$hoplab" lua "$here/../lua/runs_test.lua" "$PWD/copy" >out 2>&1 || { fail "runs_test.lua"; cat out; }
dump 100x30 '8hop.runs { filter = "status:done" }<Enter>r = hop.run "last"<Enter>r<Enter>r:best "train/loss"<Enter>r:na<Tab><Tab>'
shows "3 runs" "run bert-softmax1-s2 #0006  done  step 400/400" "{ step = 378, value = 1.498" "r:names"

# --- history ---
live '8<wait:Enter runs>unheard = 1 - 1<Enter><wait:║> unheard><C-d>:q<Enter>'
live '8<wait:Enter runs><Up><wait:unheard>'
finish
