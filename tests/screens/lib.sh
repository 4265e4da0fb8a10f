# Shared by the screen suites, on top of tests/e2e/lib.sh:
#   bash <suite>.sh <hoplab> <hl_shoot> <sample_store>
shoot=$(realpath "$2")
sample_store=$(realpath "$3")
golden=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/golden/workbench
source "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
export HOME=$work XDG_STATE_HOME=$work/state TZ=UTC
unset NO_COLOR COLORFGBG HOPLAB_THEME HOPLAB_GLYPHS SSH_CONNECTION

# sample NAME [KIND]: the runs of the golden screens in ./NAME, on a machine called "host"
sample() {
  HOPLAB_TEST_CLOCK=1769860800 "$sample_store" "$@" || fail "no sample store"
  local name
  name=$(uname -n)
  sed -i "s/\"host\":\"$name\"/\"host\":\"host\"/" "$1"/*/run.json "$1"/*/summary.json
}

# same_as_golden NAME: compares ./NAME.out (without one ./out) with the golden file, or writes it
same_as_golden() {
  local file=$golden/$1.txt out=$1.out
  [ -e "$out" ] || cp out "$out"
  # the terminal's round trip is measured; on a busy machine it is no zero
  sed -i -E 's/(⌁|%) [0-9]\.[0-9]{2}s/\1 0.00s/' "$out"
  if [ -n "${HOPLAB_UPDATE_GOLDEN:-}" ]; then
    mkdir -p "$(dirname "$file")"
    cp "$out" "$file"
  elif ! diff -u "$file" "$out" >"$1.diff"; then
    fail "$1 looks different"
    sed 's/^/    /' "$1.diff" | head -40
  fi
}

# beside COMMAND...: in the background, six at a time: a picture mostly waits. Its word comes in together().
mkdir -p "$work/beside"
n_beside=0
beside() {
  while [ "$(jobs -rp | wc -l)" -ge 6 ]; do wait -n; done
  n_beside=$((n_beside + 1))
  (failures=0 && "$@" && exit $failures) >"$work/beside/$n_beside" 2>&1 || echo "a check failed" >>"$work/beside/$n_beside" &
}
together() {
  wait
  local word
  for word in "$work"/beside/*; do
    [ -s "$word" ] || continue
    cat "$word" && rm "$word"
    failures=$((failures + 1))
  done
}

# show RUNS NAME SIZE KEYS [hl_shoot option...]: the picture after the keys. With options, or keys that
# only a terminal has, on the emulated one; else without a terminal, where nothing waits for a time.
# Each begins without what another one kept, unless it was given a place for that.
show_now() {
  local runs=$1 name=$2 size=$3 keys=$4
  local -x XDG_STATE_HOME=$XDG_STATE_HOME
  [ "$XDG_STATE_HOME" = "$work/state" ] && XDG_STATE_HOME=$work/state-$name
  shift 4
  if [ $# -gt 0 ] || [[ $keys =~ \<(resize|mouse|double|right|wheel|drag|paste|kill) ]]; then
    "$shoot" --size "$size" --keys "$keys" "$@" -- "$hoplab" --runs "$runs"
  else
    keys=$(sed -E 's/<(wait|sleep):[^>]*>//g' <<<"$keys")
    LC_ALL=C.UTF-8 "$hoplab" watch "$runs" --dump "$size" --keys "$keys"
  fi >"$name.out" 2>"$name.err" || {
    fail "$name: $(cat "$name.err")"
    return
  }
  same_as_golden "$name"
}
show() { beside show_now "$@"; }
