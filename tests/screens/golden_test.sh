# Golden screens: the workbench on an emulated terminal, in sizes, locales and colours.
# HOPLAB_UPDATE_GOLDEN=1 writes the files anew; look at the difference before you commit it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export HOPLAB_TEST_CLOCK=1769864400
sample runs
printf '# what a user keeps in a file\n:set fps=5\nview run\nset smoth=.9\nview deq\n' >commands

# shot NAME SIZE KEYS [hl_shoot option...]: what is shown after the keys
shot() {
  local name=$1 size=$2 keys=$3
  shift 3
  show runs "$name" "$size" "<wait:bert>$keys" "$@"
}

# --- the views, in the size classes ---
for size in 18x4 20x5 40x10 80x24 132x43 200x60; do
  [ $size = 18x4 ] && first="20x5 needed" || first=bert
  for view in 1 2 3 4; do
    show runs "view$view-$size" $size "<wait:$first>$view<sleep:300>" --term xterm-256color
  done
done

# --- characters and colours ---
overlay="<Space>jjjj<Space>2<wait:train/loss><sleep:300>"
shot overlay-80x24 80x24 "$overlay"
shot overlay-looks 80x24 "$overlay" --looks
shot overlay-mono 80x24 "$overlay" --looks --term vt100
shot overlay-c-locale 80x24 "$overlay" --lang C
shot runs-c-locale 80x24 "<sleep:200>" --lang C
shot outliers-c-locale 80x24 "3<sleep:300>" --lang C
shot runs-linux 80x24 "<sleep:200>" --term linux
NO_COLOR=1 shot overlay-no-color 80x24 "$overlay" --looks
for glyphs in block half ascii; do
  shot "glyphs-$glyphs" 80x24 "2:set glyphs=$glyphs<Enter><sleep:300>"
done
for theme in light high-contrast colorblind; do
  shot "theme-$theme" 80x24 "$overlay:theme $theme<Enter><sleep:300>" --looks
done

# --- what keys and commands do ---
shot help 80x24 "?<wait:everywhere>"
shot help-search 80x24 "?/pause<wait:pause>"
shot filter 100x30 "/loss<lt>3 !diverged<sleep:200>"
shot filter-half 80x24 "/softmax1 loss<lt><sleep:200>"
shot sorted 100x30 ":sort max<Enter><sleep:200>"
shot completion 80x24 ":set <Tab><Tab><sleep:200>"
shot wrong-command 80x24 ":puase<Enter><wait:did you mean>"
shot wrong-word 80x24 ":set smoth=1<Enter><wait:did you mean>" --looks
shot wrong-setting 80x24 ":set smoth=1<Enter><wait:did you mean>"
shot completed 80x24 ":set th<Tab>hi<Tab><Enter><wait:theme=high>"
shot control-refused 80x24 "P<wait:refused>"
shot stop-popup 80x24 "K<wait:do not stop>"
shot crosshair 80x24 "2<wait:train/loss>hhh<sleep:200>"
shot log-scale 80x24 "2<wait:train/loss>Yss<sleep:300>"
shot grid 132x43 "2:set grid=2x3<Enter><sleep:300>"
shot zoomed 80x24 "3<Tab>z<sleep:300>"
shot diverged 80x24 ":open opt-vanilla-s1<Enter><wait:nan><sleep:300>"
shot failed 80x24 ":open opt-typo<Enter><wait:did you mean>"
shot kurtosis 80x24 "3jjsel<sleep:300>"
shot other-run 80x24 ":open bert-vanilla-s1<Enter><sleep:200>]:open bert-softmax1-s1<Enter><sleep:300>"
shot log-top 80x24 "2<wait:train/loss><Tab>gg<sleep:200>"
shot log-filter 80x24 "2<wait:train/loss><Tab>gg/done<Enter><sleep:200>"
shot undo 80x24 "ooRuu<sleep:200>"
shot hidden 80x24 "s<sleep:200>K<sleep:200>"
shot panes-moved 100x30 "2<C-w>><C-w>>.<C-w>-<C-w>-"
shot pane-large 132x43 "3<Tab>Z"
shot layout-reset 80x24 "2<C-w>-.Z:layout reset<Enter>"
XDG_STATE_HOME=$work/dragged shot border-dragged 100x30 "2<wait:train/loss><sleep:200><drag:33,12,50,12><sleep:300>"
shot colors-never 80x24 "2:set color=never<Enter><wait:color=never><sleep:200>" --looks
shot messages 80x24 ":set fps=5<Enter>:set smoth=1<Enter><Esc>:messages<Enter>"
shot theme-preview 80x24 ":theme <Tab><Tab><Tab><Tab><Tab><sleep:300>" --looks
shot theme-back 80x24 ":theme mono<Esc><sleep:300>" --looks
shot sourced 80x24 ":source commands<Enter>"
shot resized 80x24 "2<wait:train/loss><resize:60x16><sleep:300>"

# --- the mouse ---
XDG_STATE_HOME=$work/dragged-columns shot columns-dragged 80x24 "<drag:24,2,21,2><sleep:200><drag:62,2,40,2><sleep:200>"
shot click-header 80x24 "<mouse:55,2><sleep:200>"
shot double-click 80x24 "<double:10,7><wait:train/loss><sleep:300>"
shot chart-wheel 80x24 "2<wait:train/loss><sleep:200><wheel-up:20,10><sleep:200><wheel-up:20,10><sleep:300>"
shot chart-dragged 80x24 "2<wait:train/loss><sleep:200><drag:20,10,40,10><sleep:300>"
shot chart-read 80x24 "2<wait:train/loss><sleep:200><right-drag:20,10,40,5><sleep:300>"

# --- the list of runs, without a terminal: nothing in it waits ---
# list NAME SIZE KEYS [LANG]
list() {
  LC_ALL=${4:-C.UTF-8} "$hoplab" watch runs --dump "$2" --keys "$3" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "$1"
}
list filter-or 80x24 "/(opt or softmax1) not status:done"
list filter-config 80x24 ":filter attention.softmax=vanilla eval/ppl.min<lt>6<Enter>"
list filter-wrong 80x24 ":filter eval/pppl<lt>6<Enter>"
list filter-tab 80x24 "/eval/<Tab><Tab>"
for size in 40x10 80x24 200x60; do
  list groups-$size $size "BG<Enter>"
done
list groups-c-locale 80x24 "B" C
list groups-by 80x24 ":group attn model<Enter>"
list columns 80x24 ":columns status eval/ppl.best:9 train/loss.min.step lr trend<Enter>hh"
list columns-moved 80x24 "hhh<lt>))o"
list columns-wrong 80x24 ":columns +optim.rl<Enter>"
deep=":columns train/loss@100 train/loss.below@2 train/loss.ema@.9:14<Enter>:sort -train/loss.ema@.9<Enter>"
list columns-deep 80x24 "$deep:filter train/loss.below@2<lt>100<Enter>"
for size in 40x10 80x24; do
  list differ-$size $size "<Space>GVD"
done
list hidden-runs 80x24 "jHHu"
list help-states 80x24 "?G"

# --- what is done to runs ---
cp -r runs edited
edited() {
  LC_ALL=C.UTF-8 "$hoplab" watch edited --dump 80x24 --keys "$2" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "$1"
}
edited edited ':tag good,table1<Enter>:note "seen it"<Enter>:rename best<Enter>jj:archive<Enter>j:pin<Enter>:filter tag:good or pinned<Enter>gg'
"$hoplab" --runs edited ls --all --filter pinned | grep -q softmax1-s1 || fail "nothing is pinned"
edited edited-delete ':delete<Enter>'
edited edited-kept ':delete<Enter><Enter>'
edited edited-deleted ':delete<Enter>y'
[ "$("$hoplab" --runs edited ls | wc -l)" = 5 ] || fail "archived or deleted runs are listed: $("$hoplab" --runs edited ls)"
"$hoplab" --runs edited restore "$(ls edited/.trash)" >out || fail "restore"
[ "$("$hoplab" --runs edited ls --all | wc -l)" = 7 ] || fail "a restored run is not back"
"$hoplab" --runs edited delete last >out && "$hoplab" --runs edited gc | grep -q "1 deleted" || fail "gc"
[ ! -e edited/.trash ] || fail "gc left something"

# --- lost, silent, interrupted, failed, stopped, diverged: six signs; another machine's run only by its word ---
cp -r runs states
for n in 1 2; do sed -i 's/"state":"done"/"state":"running"/' states/*00000$n/summary.json; done
sed -i 's/"state":"done"/"state":"interrupted"/' states/*000006/summary.json
echo '{"pid":7,"start":1,"boot":"b","space":"s","host":"elsewhere"}' >states/20260131-100000-000001/lock
states() {
  HOPLAB_TEST_CLOCK=$2 LC_ALL=C.UTF-8 "$hoplab" watch states --dump 80x24 --keys "G" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "$1"
}
states states 1769861200      # 275 s later than it announced
states states-late 1769864400 # an hour later it counts as lost

# --- columns stay as they were left, for this store ---
(
  failures=0
  export XDG_STATE_HOME=$work/kept
  "$shoot" --size 80x24 --keys "<wait:bert>:columns lr trend<Enter><wait:columns lr>q" -- "$hoplab" --runs runs >out 2>err
  "$shoot" --size 80x24 --keys "<wait:bert>" -- "$hoplab" --runs runs >out 2>err
  grep -q "name *lr trend" out || fail "columns are not kept: $(cat out)"
  sample other many 1
  "$shoot" --size 80x24 --keys "<wait:sweep>" -- "$hoplab" --runs other >out 2>err
  grep -q "name *attention" out || fail "columns of another store: $(cat out)"
  exit "$failures"
) || fail "columns that are kept"

# --- a run keeps its colour and letter from session to session ---
(
  failures=0
  export XDG_STATE_HOME=$work/colored
  "$shoot" --size 80x24 --keys "<wait:bert><Space><Space><wait:b ■>q" -- "$hoplab" --runs runs >out 2>err || fail "colours: $(cat err)"
  "$shoot" --size 80x24 --keys "<wait:bert>jj<Space><sleep:200>" -- "$hoplab" --runs runs >out 2>err
  grep -q " c ✗ opt-typo" out || fail "a run that was never marked takes a letter: $(cat out)"
  "$shoot" --size 80x24 --keys "<wait:bert>j<Space><sleep:200>" -- "$hoplab" --runs runs >out 2>err
  grep -q " b ■ " out || fail "a letter is not kept: $(cat out)"
  exit "$failures"
) || fail "colours that are kept"

# --- outliers, without a terminal: nothing in them waits ---
cp -r runs flagged
"$hoplab" --runs flagged flag --step 300 bert-softmax1-s2 layer.2/out "spikes here" >/dev/null || fail "no flag"
"$hoplab" --runs flagged flag bert-softmax1-s2 layer.0/out >/dev/null || fail "no flag"
"$hoplab" --runs flagged flag --remove bert-softmax1-s2 layer.0/out >/dev/null || fail "a flag stays"
# outliers NAME SIZE KEYS: view 3 after the keys
outliers() {
  LC_ALL=C.UTF-8 "$hoplab" watch flagged --dump "$2" --keys ":open bert-softmax1-s2<Enter>3$3" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "$1"
}
for size in 40x10 80x24 200x60; do
  outliers outliers-flag-$size $size "*"
done
outliers outliers-p999 80x24 "ss**"
outliers outliers-beyond 80x24 "sss#"
outliers outliers-linear 80x24 "<Tab>Y"
outliers outliers-no-grid 80x24 "ssss"
for size in 40x10 80x24 200x60; do
  outliers outliers-places-$size $size "t"
done
outliers outliers-place-opened 80x24 "tsj<Enter>"
outliers outliers-help 80x24 "?"
vanilla=":mark bert-vanilla-s1<Enter>:open bert-softmax1-s2<Enter>3"
outliers outliers-next-run 80x24 "${vanilla}jo" # the same layer of the marked run, on one scale
outliers outliers-beside-100x30 100x30 "${vanilla}bjj"
outliers outliers-beside-40x16 40x16 "${vanilla}bb"
outliers outliers-beside-off 80x24 "${vanilla}bbb"
(cd flagged && LC_ALL=C.UTF-8 "$hoplab" watch . --dump 100x30 --keys \
  ":open bert-softmax1-s2<Enter>3bjj:export strip.svg<Enter><Tab>:export hist.svg<Enter>Y:export linear.svg<Enter>" >/dev/null &&
  LC_ALL=C.UTF-8 "$hoplab" watch . --dump 100x30 --keys "${vanilla}b:export both.svg<Enter>" >/dev/null)
grep -qF '>infinity norm</text>' flagged/strip.svg && grep -qF '>L2' flagged/strip.svg || fail "no strip as a figure"
[ "$(grep -c '<text' flagged/both.svg)" -gt "$(grep -c '<text' flagged/strip.svg)" ] || fail "no two strips as a figure"
grep -qF '>+6 sd</text>' flagged/hist.svg && grep -qF 'log |x|' flagged/hist.svg || fail "no histogram as a figure"
grep -qF 'x, linear' flagged/linear.svg || fail "no linear histogram as a figure"
rm flagged/*.svg

# what a run probes in depth
sample probes probe
# probed NAME SIZE KEYS [hl_shoot option...]
probed() {
  local name=$1 size=$2 keys=$3
  shift 3
  show probes "$name" "$size" "<sleep:200>:open probed<Enter>3<wait:L2>$keys<sleep:200>" "$@"
}
probed outliers-channels 80x24 "jc"
probed outliers-tokens 80x24 "T"
probed outliers-tokens-small 40x10 "T"
probed outliers-tokens-c-locale 80x24 "T" --lang C
show probes outliers-tokens-ids 80x24 "<sleep:200>:open unspelled<Enter>3<wait:L0>T<wait:position of>"
probed outliers-attention 80x24 "<Enter>"
probed outliers-attention-head 40x16 "<Enter><wait:head 0>j<wait:head 1>" --lang C
probed outliers-heads 80x24 "ej"
probed outliers-top-channels 80x24 "sssss"
"$hoplab" export --runs probes probed unspelled --tokens tokens.csv 2>err || fail "export --tokens: $(cat err)"
[ "$(wc -l <tokens.csv)" = 761 ] || fail "$(wc -l <tokens.csv) lines of tokens" # 6 steps of 3 layers, and one
row() { grep -cxF "$1"$'\r' tokens.csv >/dev/null || fail "no row $1"; }
row 20260203-100000-000001,layer.2/out,0,0,30,2,[CLS]
row "20260203-100000-000001,layer.0/out,100,10,7,110, the"
row '20260203-100000-000001,layer.0/out,100,20,6,120,\n'
row '20260203-100000-000001,layer.0/out,100,35,1.35000002,135,"\"""'
row 20260203-100000-000001,layer.0/out,100,37,1.37,137,
row 20260203-090000-000002,layer.0/out,100,0,130,2,
"$hoplab" export --runs runs bert-softmax1-s2 --tokens - >out 2>err && fail "tokens of a run without any"
grep -qF 'no token positions are recorded' err || fail "tokens: $(cat err)"
show probes quant-ranking 132x43 "<sleep:200>:open probed<Enter>5<wait:of 5 tensors>"
outliers outliers-not-probed 80x24 "c"

# --- equilibrium layers ---
sample deqs deq
# deq NAME SIZE KEYS [hl_shoot option...]: the DEQ view after the keys
deq() {
  local name=$1 size=$2 keys=$3
  shift 3
  show deqs "$name" "$size" "<sleep:200>$keys<sleep:300>" "$@"
}
picard=":open deq-picard<Enter>4"
both=":open deq-picard<Enter><Space>:open deq-anderson<Enter><Space>:view deq<Enter>"
for size in 20x5 40x10 80x24 132x43 200x60; do
  deq deq-$size $size "$picard"
done
deq deq-two-80x24 80x24 "$both"
deq deq-two-200x60 200x60 "$both<Tab>"
deq deq-looks 80x24 "$both" --looks
deq deq-mono 80x24 "$both" --looks --term vt100
deq deq-c-locale 132x43 "$both" --lang C
for glyphs in block half; do
  deq deq-$glyphs 80x24 "$both:set glyphs=$glyphs<Enter><sleep:200><Esc>4"
done
deq deq-backward 80x24 "${picard}d"
deq deq-backward-absolute 80x24 "${picard}dr" # not recorded there
deq deq-absolute 80x24 "${picard}r"
deq deq-inside 80x24 "$picard<Enter>"
deq deq-inside-c-locale 132x43 "${picard}i" --lang C
deq deq-layers 132x43 ":open deq-anderson<Enter>4"
deq deq-layer-two 80x24 ":open deq-anderson<Enter>4oc"
deq deq-older 132x43 "${picard}<wait:@400>[[["
deq deq-eval 80x24 "${picard}e"
deq deq-mean 80x24 "${picard}a"
deq deq-extremes 80x24 "${picard}bY"
deq deq-odd 80x24 ":open deq-odd<Enter>4b" # samples that diverge, are not finite, stop early
deq deq-no-eval 80x24 ":open deq-odd<Enter>4e"
deq deq-unwatched 80x24 ":open deq-unwatched<Enter>4"
deq deq-none 80x24 ":open no-deq<Enter>4"
deq deq-small-histogram 60x16 "$picard<Tab>"
deq deq-help 80x24 "$picard<Tab>?<wait:in the DEQ view>"

# --- charts: seeds of a method, one of them resumed, without a terminal ---
sample charts chart
# chart NAME SIZE KEYS [LANG]: the Run view after the keys
chart() {
  LC_ALL=${4:-C.UTF-8} "$hoplab" watch charts --dump "$2" --keys ":open oeh-s1<Enter>$3" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "chart-$1"
}
marked=":mark oeh-s1<Enter>:mark vanilla-s1<Enter>"
chart time 80x24 ":set xaxis=time<Enter>:set show.superseded=on<Enter>##"
chart clock 80x24 ":set xaxis=clock<Enter>"
chart epoch-log 80x24 ":set xaxis=epoch<Enter>:set xscale=log<Enter>Y"
chart tokens-small 40x10 ":set xaxis=tokens<Enter>{{"
chart metric 80x24 ":set xaxis=probe/shift<Enter>" C
chart superseded 80x24 ":set show.superseded=on<Enter>#"
chart symlog 80x24 ":grid shift<Enter>YY"
chart symlog-c-locale 80x24 ":grid shift<Enter>YY" C
chart robust 80x24 "a"
chart ylim 80x24 ":set ylim=2,3<Enter>ss"
chart median 80x24 ":set smooth=median:31<Enter>"
chart zoomed 80x24 "{{{v{{<Enter>"
chart selecting 80x24 "{{{v{{"
chart zoom-keys 80x24 "{{{{++)>"
chart extremes 80x24 "**"
chart unlinked 80x24 ":set grid=2x1<Enter>{{="
chart tail 80x24 ":set tail=100<Enter>"
chart band 80x24 "b{{{"
chart bands 132x43 "${marked}:mark oeh-s2<Enter>:mark oeh-s3<Enter>:set band=minmax<Enter>:set grid=2x2<Enter>{{"
chart versus 80x24 "${marked}d{{"
chart table 80x24 "${marked}s{{ijjj"
chart table-c-locale 80x24 "${marked}s{{i" C
chart x-menu 80x24 "Xjjj"
chart note 80x24 "{{m""the spike<Enter>"
chart picked 132x43 ":grid loss train/*<Enter>p"
chart pages 80x24 ":set grid=2x1<Enter>]<A-Left>"
chart large 132x43 ":set grid=2x2<Enter>j<Enter>"
chart nothing 80x24 ":grid nonsense<Enter>"
chart formula 80x24 "${marked}:chart train/loss - eval/loss<Enter>hh"
chart formula-wrong 80x24 ":chart train/los - 1<Enter>"
chart describe 80x24 "${marked}:describe<Enter>"
chart aligned 80x24 "${marked}:set align=train/loss<lt>4<Enter>{{"
chart aligned-never 80x24 ":set align=train/loss<lt>0<Enter>"
chart updates 80x24 ":set xaxis=updates<Enter>{{"
chart unit 80x24 "${marked}:grid shift<Enter>{{"
chart folded 132x43 ":set grid=2x2<Enter>c"
chart unfolded 132x43 ":set grid=2x2<Enter>cc"
chart folded-alone 80x24 "c"
chart steps 80x24 "{{{v{<Enter><Enter>jj"
chart steps-not-recorded 40x12 ":open vanilla-s1<Enter>{{{v{<Enter><Enter>"

# --- the log pane ---
chart log-line 80x24 "<Tab>kk<Enter>"
chart log-wrap 80x24 "<Tab>kkkwt"
chart log-levels 80x24 "<Tab>ss"
chart log-search 80x24 "<Tab>NN"
chart log-alone 100x30 "3L<S-Tab>z/long<Enter>"
chart log-c-locale 60x16 "<Tab>wk" C
chart log-go-to 80x24 "<Tab>:line 5<Enter>"
chart log-no-such-line 80x24 "<Tab>:line 300<Enter>"

# --- everything on the screen can leave it ---
# saved KEYS: presses them in the Run view, writes what the last line says to ./said
saved() {
  LC_ALL=C.UTF-8 "$hoplab" watch charts --dump 100x30 --keys ":open oeh-s1<Enter>$1" 2>err >shown || fail "$1: $(cat err)"
  tail -1 shown >said
}
has() { grep -qF -- "$2" "$1" || fail "$1 has no $2: $(head -c 300 "$1")"; }
saved "${marked}s:export curve.csv<Enter>"
has said "saved to curve.csv"
[ "$(wc -l <curve.csv)" = 302 ] || fail "300 points are $(wc -l <curve.csv) lines"
has curve.csv "step,oeh-s1,oeh-s1 smoothed,vanilla-s1,vanilla-s1 smoothed"
[ "$(grep -c '^150,nan,' curve.csv)" = 1 ] || fail "a NaN is not kept"
# the line that made it makes the same picture again
again=$(head -1 curve.csv | tr -d '\r#')
LC_ALL=C.UTF-8 "$hoplab" ${again# hoplab } --size 80x20 >out 2>err || fail "$again: $(cat err)"
same_as_golden chart-plot
saved "bb:export json curve.json<Enter>"
has curve.json '"name":"softmax1 n=3"'
has curve.json '"low":['
for way in csv json svg png; do # equal runs give equal bytes
  saved "${marked}s:export a.$way<Enter>"
  grep -qF cairo said && continue # built without it
  saved "${marked}s:export b.$way<Enter>"
  cmp a.$way b.$way || fail "two exports as $way differ"
done
has a.svg "<desc>hoplab plot 20260203-100000-000001 20260203-130000-000004 --tag train/loss --smooth 0.6"
[ "$(grep -c '<polyline' a.svg)" -ge 4 ] || fail "lines are missing in a.svg"
saved ":grid shift<Enter>YY:export symmetric.svg<Enter>"
has symmetric.svg ">-10k<"
has symmetric.svg ">0<"
has symmetric.svg ">100<"
has symmetric.svg ">mV<"
saved ":grid shift<Enter>s:export shift.csv<Enter>"
has shift.csv "step,oeh-s1 (mV),oeh-s1 smoothed (mV)"
saved ":set align=train/loss<lt>4<Enter>:export aligned.csv<Enter>"
has aligned.csv "--align 'train/loss<4'"
saved ":export pane.text<Enter>"
has pane.text "train/loss"
saved "3:export pane.ans<Enter>"
has pane.ans "$(printf '\033[0;1;38;5;37m')"
saved "3:export pane.svg<Enter>"
has pane.svg "</svg>"
saved "1:export runs.csv<Enter>"
[ "$(wc -l <runs.csv)" = 5 ] || fail "four runs are $(wc -l <runs.csv) lines"
saved "<Tab>:export log.csv<Enter>"
has log.csv ",W,the step takes long"
saved "x"
has said ":export oeh-s1-train_loss.csv"
saved "${marked}:export page.html<Enter>"
has said "page.html: done"
has page.html "vanilla-s1"
XDG_RUNTIME_DIR=$work/runtime saved "yv"
has said "copied to the file"
has "$work/runtime/hoplab/copied" "hoplab plot 20260203-100000-000001 --tag train/loss --runs charts"
saved ":export curve.doc<Enter>"
has shown "export writes csv"
XDG_RUNTIME_DIR=$work/runtime saved ":yank path<Enter>"
grep -qx "$work/charts/20260203-100000-000001" "$work/runtime/hoplab/copied" || fail "yank path: $(cat "$work/runtime/hoplab/copied")"
XDG_RUNTIME_DIR=$work/runtime saved ":yank view<Enter>"
has "$work/runtime/hoplab/copied" "hoplab plot 20260203-100000-000001 --tag train/loss --runs charts"
XDG_RUNTIME_DIR=$work/runtime saved "2:yank screen<Enter>"
has "$work/runtime/hoplab/copied" "─ Runs  4  by age"
saved ":yank paht<Enter>"
has shown "did you mean path"
saved "2:save-screen picture.txt<Enter>"
has said "saved to picture.txt"
cmp <(head -22 picture.txt) <(head -22 shown) || fail "the saved screen is another one"
saved "1:mark vanilla-s1<Enter>:mark oeh-s2<Enter>:tag both %marked<Enter>"
"$hoplab" --runs charts ls --filter tag:both --csv | wc -l | grep -qx 3 || fail "%marked: $("$hoplab" --runs charts ls --filter tag:both)"
rm charts/*/notes.json
saved ":export nowhere/curve.csv<Enter>"
has shown "nowhere"
saved "3:export strip.json<Enter>"
has shown "charts have csv and json too"
"$hoplab" plot oeh-s1 --runs charts --describe >out 2>err || fail "describe: $(cat err)"
has out "1 not finite, the first at 150."
"$hoplab" plot oeh-s1 --runs charts -t "= exp(eval/loss)" --describe >out 2>err || fail "a formula: $(cat err)"
has out "= exp(eval/loss) over step."
"$hoplab" plot nobody --runs charts >out 2>err && fail "plotted nobody"
has err "no run 'nobody'"
"$hoplab" plot oeh-s1 --runs charts --yscale cubic >out 2>err && fail "plotted on a cubic scale"
has err "linear, log or symlog"
"$hoplab" plot oeh-s1 --runs charts --size 5x5 >out 2>err
[ $? = 2 ] || fail "a size of 5x5"

# --- quantizations ---
sample quants quant
# quant NAME SIZE KEYS [LANG]: the Quant view after the keys
quant() { show quants "$1" "$2" "$3" ${4:+--lang "$4"}; }
oeh=":open bert-oeh-s1<Enter>5"
for size in 18x4 20x5 40x10 80x24 132x43 200x60; do
  quant quant-$size $size "$oeh"
done
quant quant-c-locale 80x24 "$oeh" C
quant quant-recipe 80x24 "${oeh}j<Enter>sR"
quant quant-histogram 80x24 "$oeh<Enter><Enter>j"
quant quant-histogram-linear 80x24 "$oeh<Enter><Enter>jY"
quant quant-no-histogram 80x24 "$oeh<Enter>G<Enter>"
quant quant-outliers 80x24 "$oeh<Enter>jO"
quant quant-none 80x24 ":open bert-clip-s1<Enter>5"
quant quant-damaged 80x24 ":open opt-broken-s1<Enter>5Q"
quant quant-seeds 80x24 "${oeh}]"
quant quant-diff 132x43 ":open bert-vanilla-s1<Enter>:mark bert-oeh-s1<Enter>5D"
quant quant-diff-none 80x24 "${oeh}D"
quant quant-help 80x24 "$oeh?"
(cd quants && LC_ALL=C.UTF-8 "$hoplab" watch . --dump 80x24 --keys "${oeh}x" >/dev/null)
[ "$(wc -l <quants/20260202-130000-000004-quantize.csv)" = 15 ] || fail "no tensors as CSV"
rm quants/*.csv
"$hoplab" export --runs quants 20260202-130000-000004 20260202-140000-000005 --quant quant.csv 2>err || fail "export --quant: $(cat err)"
[ "$(wc -l <quant.csv)" = 43 ] || fail "$(wc -l <quant.csv) lines of tensors"
"$hoplab" export --runs quants 20260202-150000-000006 --quant - >out 2>err && fail "tensors of a run without any"

# --- forecasts of series, likewise ---
sample forecasts forecast
# forecast NAME SIZE KEYS [LANG]: the Forecast view after the keys
forecast() {
  LC_ALL=${4:-C.UTF-8} "$hoplab" watch forecasts --dump "$2" --keys "$3" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "$1"
}
etth1=":open etth1-softmax1<Enter>f"
for size in 20x5 40x10 80x24 132x43 200x60; do
  forecast forecast-$size $size "$etth1"
done
forecast forecast-c-locale 80x24 "$etth1" C
forecast forecast-c-locale-small 40x10 "${etth1}<Tab>" C
forecast forecast-stepped 80x24 "${etth1}jwwyy" # second channel, third window; nowhere to copy to
(cd forecasts && LC_ALL=C.UTF-8 "$hoplab" watch . --dump 80x24 --keys "${etth1}x" >/dev/null &&
  "$hoplab" export etth1-softmax1 --runs . --figure forecast --csv exported.csv)
cmp forecasts/20260203-100000-000001-forecast.csv forecasts/exported.csv || fail "x writes another table"
rm forecasts/*.csv
forecast forecast-older 80x24 "${etth1}e[["   # of the validation part, the first one
forecast forecast-running 80x24 ":open etth1-running<Enter>2f<Tab>z"
forecast forecast-gaps 132x43 ":open gaps-diverged<Enter>:view forecast<Enter>c"
forecast forecast-damaged 80x24 ":open etth1-damaged<Enter>f"
forecast forecast-none 80x24 ":open no-series<Enter>f<Tab>"

# --- runs side by side ---
sample compared compare
# compared NAME SIZE KEYS [LANG]: the Compare view of all of them after the keys
compared() {
  local all=":compare vanilla-s1 vanilla-s2 softmax1-s1 softmax1-s2 softmax1-large<Enter>"
  LC_ALL=${4:-C.UTF-8} "$hoplab" watch compared --dump "$2" --keys "$all$3" >out 2>err ||
    fail "$1: $(cat err)"
  same_as_golden "$1"
}
for size in 18x4 20x5 40x10 80x24 132x43 200x60; do
  compared compare-$size $size ""
done
compared compare-c-locale 80x24 "" C
compared compare-difference 132x43 "GrggdeR"         # less the last one's; surroundings
compared compare-script 132x43 "jeesX"             # as marked; x is what was seen
compared compare-causes 80x24 "lllw"
compared compare-band 132x43 "b<Tab><Tab>hh" # seeds as mean and band
compared compare-crossing 132x43 ":compare --align train/loss<lt>2.5<Enter>"
compared compare-knobs 132x43 "<Tab>eeell"
compared compare-at 80x24 "<Tab><Tab>hhh<Tab>aaBD"    # at the crosshair, every seed for itself, all
LC_ALL=C.UTF-8 "$hoplab" watch compared --dump 80x24 --keys "6" >out || fail "compare: nothing marked"
same_as_golden compare-nothing
(cd compared && LC_ALL=C.UTF-8 "$hoplab" watch . --dump 80x24 \
  --keys ":compare vanilla-s1 softmax1-s1 --best --markdown best.md<Enter>x" >/dev/null)
grep -q '^| softmax1-s1 | softmax1 | .*\*\*' compared/best.md || fail "no table of the best"
grep -q '^vanilla-s1,vanilla,' compared/compare.csv || fail "no table as CSV"

# machine NAME SIZE KEYS [LANG]: the System view after the keys
machine() {
  LC_ALL=${4:-C.UTF-8} "$hoplab" watch compared --dump "$2" --keys "$3" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "$1"
}
for size in 18x4 20x5 40x10 80x24 132x43 200x60; do
  machine system-$size $size "7"
done
machine system-c-locale 80x24 ":open vanilla-s1<Enter>7" C   # no card
machine system-hour 80x24 "7jjjj<Tab>$(printf 'h%.0s' {1..30})" # the crosshair in the bad hour
machine system-overlay 132x43 ":compare vanilla-s1 softmax1-s1<Enter>7jjj"
machine system-none 80x24 ":open vanilla-s2<Enter>7"         # nothing was recorded

# clicked NAME KEYS: the same store, with a mouse
clicked() {
  XDG_STATE_HOME=$work/state-$1 "$shoot" --size 80x24 --keys "<wait:softmax1-large>$2<sleep:300>" -- "$hoplab" --runs compared >out 2>err ||
    fail "$1: $(cat err)"
  same_as_golden "$1"
}
clicked compare-click ":compare vanilla-s1 softmax1-s1<Enter><wait:2 of 2 runs><mouse:52,2><sleep:200><mouse:10,4><sleep:200>r"
clicked system-click "7<wait:step time><mouse:10,6><sleep:200><mouse:40,18>"

# --- where ambiguous characters take two columns, none of them is the screen's own ---
ambiguous=$(sed -nE 's/HL_AMBIGUOUS\(0x(\w+), 0x(\w+)\) ?/\\x{\1}-\\x{\2}/gp' "$golden/../../../../views/ambiguous.def" | tr -d '\n')
# has_ambiguous FILE: prints its lines that have one; "café" is text of a run, a token
has_ambiguous() { LC_ALL=C.UTF-8 sed 's/"café"//' "$1" | LC_ALL=C.UTF-8 grep -nP "[$ambiguous]"; }
# narrow RUNS SIZE KEYS
narrow() {
  local out=narrow-$1-$3.out
  out=${out//[^a-z0-9.-]/_}
  LC_ALL=C.UTF-8 "$hoplab" watch "$1" --dump "$2" --keys ":set ambiwidth=2<Enter>$3" >"$out" 2>&1 || fail "$(cat "$out")"
  if has_ambiguous "$out"; then fail "$1 after $3: ambiguous characters"; fi
}
for keys in BG '?G' '2<Space>j<Space>' 3 8 ':set glyphs=block<Enter>2' ':set glyphs=half<Enter>2'; do
  beside narrow runs 132x43 "$keys"
done
beside narrow probes 132x43 3T
beside narrow deqs 132x43 4
beside narrow quants 132x43 5
beside narrow forecasts 132x43 'f<Tab>'
beside narrow compared 132x43 ':compare vanilla-s1 vanilla-s2 softmax1-s1<Enter>'
beside narrow compared 132x43 7
together
has_ambiguous compare-132x43.out >/dev/null || fail "no ambiguous character is found where many are"
show runs ambiwidth 80x24 "2:set ambiwidth=2<Enter>"
cp -r runs named
for width in 1 2; do # names of others are kept: café ±1, Модель, 中文 and one that is cut
  show named ambiwidth-names-$width 80x24 ":set ambiwidth=$width<Enter>:rename café±1<Enter>j:rename Модель<Enter>j:rename 中文<Enter>j:rename Большая-модель-с-длинным-именем<Enter>:set ambiwidth?<Enter>"
  together
done
LC_ALL=C.UTF-8 "$hoplab" watch runs --dump 80x24 --keys ":set ambiwidth=3<Enter>" >out
grep -q "ambiwidth is 1 or 2" out || fail "ambiwidth=3: $(cat out)"

# --- what is damaged says so in its place ---
cp -r runs damaged
for f in damaged/20260131-150000-000006/events*; do
  printf 'XXXXXXXX' | dd of="$f" bs=1 seek=20000 conv=notrunc 2>/dev/null
done
show_now damaged damaged 100x30 "2<wait:damaged><sleep:200>" --limit 10000
rm damaged/*/summary.json
printf '{' >damaged/20260131-100000-000001/summary.json
"$shoot" --size 100x30 --keys "<wait:bert-vanilla>" -- "$hoplab" --runs damaged >out 2>err ||
  fail "without summaries: $(cat err)"
"$shoot" --keys "<wait:no runs in>" -- "$hoplab" --runs nowhere >out 2>err || fail "an empty store: $(cat err)"

# --- the same pictures without a terminal ---
together
if [ -z "${HOPLAB_UPDATE_GOLDEN:-}" ]; then
  for view in 1 2 3 4; do show runs "view$view-80x24" 80x24 $view; done
  together
  # by the mouse; Esc goes back a level, from the pane that is alone and from the view
  show runs view3-80x24 80x24 "<wait:bert><mouse:18,22><sleep:300>" --term xterm-256color
  show runs view1-80x24 80x24 "3z<Esc><Esc>"
  show runs undo 80x24 "ooRuu<C-r>u"
  show runs sorted 100x30 ":sort max<Enter>uu<C-r>"
  # the border that was dragged stays where it was left
  XDG_STATE_HOME=$work/dragged show runs border-dragged 100x30 "2<wait:train/loss><mouse:5,3>" --term xterm-256color
  together
  show runs view2-80x24 80x24 ":open %<Enter>"
  together
fi

# --- a copy that no terminal takes ---
XDG_RUNTIME_DIR=$work/runtime "$hoplab" watch runs --dump 160x24 --keys yy >out 2>err || fail "copying: $(cat err)"
grep -q "copied to the file $work/runtime/hoplab/copied" out || fail "no word of the copy's file: $(tail -1 out)"
grep -q 20260131 "$work/runtime/hoplab/copied" || fail "nothing was copied: $(cat "$work/runtime/hoplab/copied")"

# --- what somebody said about the font of a terminal is remembered ---
export XDG_STATE_HOME=$work/told
run 2 "$hoplab" doctor --glyphs # no answer
for answer in 1 3; do
  TERM=xterm-256color "$hoplab" doctor --glyphs <<<$answer >out || fail "doctor --glyphs"
done
grep -q 'uses half on xterm-256color' out || fail "doctor --glyphs: $(cat out)"
grep -q '^     ±±±±|' out || fail "doctor --glyphs: no pattern for widths"
"$shoot" --keys "<wait:bert>:set glyphs?<Enter><wait:glyphs=half>" -- "$hoplab" --runs runs >out 2>err ||
  fail "the answer is not kept: $(cat err)"
"$shoot" --term tmux-256color --keys "<wait:bert>:set glyphs?<Enter><wait:glyphs=braille>" -- "$hoplab" --runs runs >out 2>err ||
  fail "an answer about another terminal is used: $(cat err)"
finish
