# Shared by the end-to-end suites: each is `bash <suite>.sh <hoplab binary>`, in a folder of its own.
set -uo pipefail
hoplab=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/hoplab-e2e.XXXXXX")
export HOPLAB_RUNS=$work/runs NO_COLOR=1
cd "$work" || exit 1
failures=0
# Runs that were started to go on for ever end with their suite, however it ends.
clean_up() {
  local cwd
  for cwd in /proc/[0-9]*/cwd; do
    case $(readlink "$cwd" 2>/dev/null) in
      "$work" | "$work"/*) cwd=${cwd#/proc/} && [ "${cwd%/cwd}" != $$ ] && kill -9 "${cwd%/cwd}" 2>/dev/null ;;
    esac
  done
  cd / && chmod -R u+w "$work" 2>/dev/null
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' TERM INT

fail() {
  printf 'FAILED: %s\n' "$*"
  failures=$((failures + 1))
}

finish() {
  if [ "$failures" -ne 0 ]; then
    printf '%d checks failed\n' "$failures"
    exit 1
  fi
}

# run STATUS COMMAND...: its exit status must be STATUS; output in ./out and ./err
run() {
  local want=$1 got
  shift
  "$@" >out 2>err </dev/null
  got=$?
  [ "$got" -eq "$want" ] || {
    fail "exit status $got, not $want: $*"
    sed 's/^/    /' err | tail -5
  }
}

# refuses STATUS PATTERN COMMAND...: the same, and the first line of complaint has the pattern
refuses() {
  local want=$1 pattern=$2
  shift 2
  run "$want" "$@"
  grep -q 'hoplab' err || fail "no message of ours: $*"
  grep -Eq -- "$pattern" err || {
    fail "no message with '$pattern': $*"
    sed 's/^/    /' err | tail -5
  }
  ! grep -Eq 'AddressSanitizer|runtime error|Assertion' err || fail "crash: $*"
}

# await SECONDS COMMAND...: until it succeeds, or for so long
await() {
  local tries=$(($1 * 20))
  shift
  for (( ; tries > 0; tries--)); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.05
  done
  return 1
}

gone() { # PID
  ! kill -0 "$1" 2>/dev/null
}

has_checkpoints() { # N: at least so many, whole or not, in the newest run
  [ "$(ls -d "$(run_dir)"/ckpt/step-* 2>/dev/null | wc -l)" -ge "$1" ]
}

has_whole_checkpoint() {
  ls "$(run_dir)"/ckpt/step-*/DONE
}

same() {
  cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

run_dir() { # of the newest run
  "$hoplab" show last | sed -n 's/^directory  *//p'
}
