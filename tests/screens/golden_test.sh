# Golden screens: the workbench on an emulated terminal, in sizes, locales and colours.
# HOPLAB_UPDATE_GOLDEN=1 writes the files anew; look at the difference before you commit it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export HOPLAB_TEST_CLOCK=1769864400
sample runs

# shot NAME SIZE KEYS [hl_shoot option...]: what is shown after the keys
shot() {
  local name=$1 size=$2 keys=$3
  shift 3
  "$shoot" --size "$size" --keys "<wait:bert>$keys" "$@" -- "$hoplab" --runs runs >out 2>err || {
    fail "$name: $(cat err)"
    return
  }
  same_as_golden "$name"
}

# --- the views, in the size classes ---
for size in 18x4 20x5 40x10 80x24 132x43 200x60; do
  [ $size = 18x4 ] && first="20x5 needed" || first=bert
  for view in 1 2 3 4; do
    "$shoot" --size $size --keys "<wait:$first>$view<sleep:300>" -- "$hoplab" --runs runs >out 2>err ||
      fail "$size view $view: $(cat err)"
    same_as_golden "view$view-$size"
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
shot resized 80x24 "2<wait:train/loss><resize:60x16><sleep:300>"

# --- equilibrium layers ---
sample deqs deq
# deq NAME SIZE KEYS [hl_shoot option...]: the DEQ view after the keys
deq() {
  local name=$1 size=$2 keys=$3
  shift 3
  "$shoot" --size "$size" --keys "<sleep:200>$keys<sleep:300>" "$@" -- "$hoplab" --runs deqs >out 2>err || {
    fail "$name: $(cat err)"
    return
  }
  same_as_golden "$name"
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
deq deq-older 132x43 "${picard}<wait:@400>[[["
deq deq-eval 80x24 "${picard}e"
deq deq-extremes 80x24 "${picard}bY"
deq deq-odd 80x24 ":open deq-odd<Enter>4b" # samples that diverge, are not finite, stop early
deq deq-no-eval 80x24 ":open deq-odd<Enter>4e"
deq deq-unwatched 80x24 ":open deq-unwatched<Enter>4"
deq deq-none 80x24 ":open no-deq<Enter>4"
deq deq-small-histogram 60x16 "$picard<Tab>"
deq deq-help 80x24 "$picard<Tab>?<wait:in the DEQ view>"

# --- quantizations, without a terminal: nothing in them waits ---
sample quants quant
# quant NAME SIZE KEYS [LANG]: the Quant view after the keys
quant() {
  LC_ALL=${4:-C.UTF-8} "$hoplab" watch quants --dump "$2" --keys "$3" >out 2>err || fail "$1: $(cat err)"
  same_as_golden "$1"
}
oeh=":open bert-oeh-s1<Enter>5"
for size in 18x4 20x5 40x10 80x24 132x43 200x60; do
  quant quant-$size $size "$oeh"
done
quant quant-c-locale 80x24 "$oeh" C
quant quant-recipe 80x24 "${oeh}j<Enter>sR"
quant quant-histogram 80x24 "$oeh<Enter><Enter>j"
quant quant-no-histogram 80x24 "$oeh<Enter>G<Enter>"
quant quant-outliers 80x24 "$oeh<Enter>jO"
quant quant-none 80x24 ":open bert-clip-s1<Enter>5"
quant quant-damaged 80x24 ":open opt-broken-s1<Enter>5Q"
quant quant-seeds 80x24 "${oeh}]"
quant quant-help 80x24 "$oeh?"
(cd quants && LC_ALL=C.UTF-8 "$hoplab" watch . --dump 80x24 --keys "${oeh}x" >/dev/null)
[ "$(wc -l <quants/20260202-130000-000004-quantize.csv)" = 15 ] || fail "no tensors as CSV"
rm quants/*.csv

# --- runs side by side ---
sample compared compare
# beside NAME SIZE KEYS [LANG]: the Compare view of all of them after the keys
beside() {
  local all=":compare vanilla-s1 vanilla-s2 softmax1-s1 softmax1-s2 softmax1-large<Enter>"
  LC_ALL=${4:-C.UTF-8} "$hoplab" watch compared --dump "$2" --keys "$all$3" >out 2>err ||
    fail "$1: $(cat err)"
  same_as_golden "$1"
}
for size in 18x4 20x5 40x10 80x24 132x43 200x60; do
  beside compare-$size $size ""
done
beside compare-c-locale 80x24 "" C
beside compare-difference 132x43 "GrggdeR"         # less the last one's; surroundings
beside compare-script 132x43 "jeesX"             # as marked; x is what was seen
beside compare-causes 80x24 "lllw"
beside compare-at 80x24 "<Tab><Tab>hhh<Tab>aaBD"    # at the crosshair, every seed for itself, all
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
  "$shoot" --size 80x24 --keys "<wait:softmax1-large>$2<sleep:300>" -- "$hoplab" --runs compared >out 2>err ||
    fail "$1: $(cat err)"
  same_as_golden "$1"
}
clicked compare-click ":compare vanilla-s1 softmax1-s1<Enter><wait:2 of 2 runs><mouse:52,2><sleep:200><mouse:10,4><sleep:200>r"
clicked system-click "7<wait:step time><mouse:10,6><sleep:200><mouse:40,18>"

# --- what is damaged says so in its place ---
cp -r runs damaged
for f in damaged/20260131-150000-000006/events*; do
  printf 'XXXXXXXX' | dd of="$f" bs=1 seek=20000 conv=notrunc 2>/dev/null
done
"$shoot" --size 100x30 --keys "2<wait:damaged><sleep:200>" -- "$hoplab" --runs damaged >out 2>err ||
  fail "damage is not told: $(cat err)"
same_as_golden damaged
rm damaged/*/summary.json
printf '{' >damaged/20260131-100000-000001/summary.json
"$shoot" --size 100x30 --keys "<wait:bert-vanilla>" -- "$hoplab" --runs damaged >out 2>err ||
  fail "without summaries: $(cat err)"
"$shoot" --keys "<wait:no runs in>" -- "$hoplab" --runs nowhere >out 2>err || fail "an empty store: $(cat err)"

# --- the same pictures without a terminal ---
for view in 1 2 3 4; do
  LANG=C.UTF-8 LC_ALL=C.UTF-8 "$hoplab" watch runs --dump 80x24 --keys "$view" >out 2>err || fail "dump: $(cat err)"
  [ -n "${HOPLAB_UPDATE_GOLDEN:-}" ] || same_as_golden "view$view-80x24"
done
finish
