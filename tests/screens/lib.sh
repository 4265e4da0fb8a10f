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

# golden NAME: compares ./out with the golden file, or writes it
same_as_golden() {
  local file=$golden/$1.txt
  # the terminal's round trip is measured; on a busy machine it is no zero
  sed -i -E 's/(⌁|%) [0-9]\.[0-9]{2}s/\1 0.00s/' out
  if [ -n "${HOPLAB_UPDATE_GOLDEN:-}" ]; then
    mkdir -p "$(dirname "$file")"
    cp out "$file"
  elif ! diff -u "$file" out >diff; then
    fail "$1 looks different"
    sed 's/^/    /' diff | head -40
  fi
}
