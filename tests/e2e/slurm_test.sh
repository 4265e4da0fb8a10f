#!/usr/bin/env bash
# Sweeps as job arrays, with stand-ins for sbatch and squeue: what is submitted, what tasks do, what
# is not submitted twice. slurm_real_test.sh does the same with Slurm itself.
. "$(dirname "$0")/lib.sh"
unset ${!SLURM_*} # of a job that this suite may be part of
stub=$work/stub
mkdir -p "$stub/bin" "$work/it's 100% \"odd\""
cd "$work/it's 100% \"odd\"" || exit 1
cp "$here/tiny.lua" 'my tiny.lua'
export HOPLAB_RUNS='ru ns' stub PATH=$stub/bin:$PATH
quick=(sweep 'my tiny.lua' -s eval.batches=1 -s eval.every=0 -s probe.every=0)
says() { grep -Eq -- "$1" out || { fail "no '$1' in:"; sed 's/^/    /' out | tail -12; }; }
count() { ls -d 'ru ns'/2* 2>/dev/null | wc -l; }

cat >"$stub/bin/sbatch" <<'STUB'
#!/usr/bin/env bash
# Queues the tasks of an array in $stub/queue: "<job>_<task>", and keeps its words.
printf '%s\n' "$@" >"$stub/words"
[ ! -e "$stub/kills" ] || { kill -9 $PPID; exit 1; }
[ ! -e "$stub/refuses" ] || { echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1; }
job=$(($(cat "$stub/last" 2>/dev/null || echo 40) + 1))
echo $job >"$stub/last"
for word; do
  case $word in
  --array=*) n=${word#--array=1-} n=${n%\%*} ;;
  --output=*) printf '%s' "${word#--output=}" >"$stub/output.$job" ;;
  esac
done
printf '%s' "${!#}" >"$stub/script.$job"
for k in $(seq "$n"); do echo "${job}_$k"; done >>"$stub/queue"
echo "$job$(cat "$stub/cluster" 2>/dev/null)"
STUB
cat >"$stub/bin/squeue" <<'STUB'
#!/usr/bin/env bash
printf '%s\n' "$@" >>"$stub/asked"
[ ! -e "$stub/deaf" ] || { echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1; }
for word; do case $word in --jobs=*) job=${word#--jobs=} ;; esac; done
[ ! -e "$stub/forgotten.$job" ] || { echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1; }
grep "^${job}_" "$stub/queue"
exit 0
STUB
chmod +x "$stub"/bin/*

# task JOB TASK [VARIABLE=VALUE...]: becomes that task of the array
task() {
  local output
  output=$(sed "s/%a/$2/; s/%%/%/g" "$stub/output.$1")
  exec env SLURM_JOB_ID=900 SLURM_ARRAY_JOB_ID="$1" SLURM_ARRAY_TASK_ID="$2" "${@:3}" \
    bash "$(cat "$stub/script.$1")" >>"$output" 2>&1 </dev/null
}
# drain: runs all tasks that are queued, from another folder
drain() {
  local id
  while read -r id; do
    (cd / && task "${id%_*}" "${id#*_}")
  done <"$stub/queue"
  : >"$stub/queue"
}

# --- what is submitted ---
grid=("${quick[@]}" -s train.max_steps=3 -s optim.lr=1e-3,1e-2 -s 'model.attention.softmax=clipped(-.025:1)'
  -s $'project=it\'s "one"\\, $(two)\nlines')
run 0 "$hoplab" "${grid[@]}" --slurm --dry-run
says 'array.sh would be'
says '^# sbatch --parsable .*--array=1-2 '
[ ! -e 'ru ns' ] && [ ! -e "$stub/words" ] || fail "--dry-run wrote or submitted something"
run 0 "$hoplab" "${grid[@]}" --slurm -j 2 --threads 1 --sbatch --partition=gpu --sbatch '--comment=a b'
says 'submitted 2 tasks as job 41'
says 'squeue --jobs=41'
dir="$PWD/ru ns/slurm/tiny/1"
tail -6 "$stub/words" >words
printf '%s\n' '--array=1-2%2' --cpus-per-task=1 "--output=${dir//%/%%}/task-%a.log" --partition=gpu \
  '--comment=a b' "$dir/array.sh" >wanted
same words wanted
[ "$(wc -l <"$dir/tasks")" -eq 2 ] || fail "not one line for each trial"

run 0 "$hoplab" ls --json # lists show what waits
[ "$(grep -o '"state":"queued"' out | wc -l)" -eq 2 ] && grep -q '"41_2"' out ||
  fail "tasks that wait are not listed: $(cat out)"

# --- queued: nothing is submitted or trained twice ---
rm "$stub/words"
run 0 "$hoplab" "${grid[@]}" --slurm
says '2 trials: 2 queued'
says 'Slurm still has 2 of them: squeue --jobs=41$'
run 0 "$hoplab" "${grid[@]}"
says '2 trials: 2 queued'
run 0 "$hoplab" "${grid[@]}" --slurm --json
grep -q '"state":"queued","job":"41_2"' out || fail "--json does not name the task"
run 0 "$hoplab" "${grid[@]}" --repeat 1 --slurm --dry-run # other names: other trials
says '2 new'
touch "$stub/deaf"
refuses 1 'job 41 .*Unable to contact.*--ignore-queue' "$hoplab" "${grid[@]}" --slurm
refuses 1 'no program squeue.*--ignore-queue' env PATH=/nowhere "$hoplab" "${grid[@]}" --slurm
run 0 "$hoplab" "${grid[@]}" --slurm --dry-run --ignore-queue
says 'lr=0.01 +to run'
rm "$stub/deaf"
[ ! -e "$stub/words" ] && [ "$(count)" -eq 0 ] || fail "what is queued was submitted or trained again"

# --- the tasks, and the table of the same line ---
drain
[ "$(count)" -eq 2 ] || { fail "$(count) runs of 2 tasks"; tail -3 "$dir"/*.log; }
grep -q '"slurm_job":"41_1"' 'ru ns'/2*/run.json || fail "a run does not name its task"
run 0 "$hoplab" ls --json
grep -q '"state":"queued"' out && fail "tasks that are done wait: $(cat out)"
run 0 "$hoplab" "${grid[@]}" --slurm
says '2 trials: 2 done'
says '^0.01 +1 '
[ ! -e "$stub/words" ] || fail "done, and submitted again"
: >"$stub/asked"
run 0 "$hoplab" "${grid[@]}"
says '2 trials: 2 done'
[ ! -s "$stub/asked" ] || fail "squeue was asked about trials that are done"
# only what is missing; another cluster; Slurm forgets jobs after a while
echo ';north' >"$stub/cluster"
touch "$stub/forgotten.41"
run 0 "$hoplab" "${grid[@]/1e-2/1e-2,1e-1}" --slurm
says 'submitted 1 task as job 42 on cluster north'
grep -q -- '--threads "..SLURM_CPUS_PER_TASK:-1.")' 'ru ns/slurm/tiny/2/array.sh' || fail "no threads"
: >"$stub/asked"
run 0 "$hoplab" "${grid[@]/1e-2/1e-2,1e-1}" --slurm
grep -q -- '--clusters=north' "$stub/asked" || fail "the wrong cluster was asked"
rm "$stub/cluster"
: >"$stub/queue"
run 0 "$hoplab" ls --json
[ "$(grep -o '"42_1"' out | wc -l)" -eq 1 ] || fail "job 42 does not wait: $(cat out)"
run 0 "$hoplab" "${grid[@]/1e-2/1e-2,1e-1}" --slurm --dry-run # asks Slurm, which no longer has it
run 0 "$hoplab" ls --json
grep -q '"42_1"' out && fail "a task that was cancelled waits for ever"

# --- interrupted: a requeued task goes on with its run, and so does the next submission ---
long=("${quick[@]}" --name long -s train.max_steps=1000000 -s save.every=20)
before=$(count)
# interrupt LOG [VARIABLE=VALUE...]: starts the only task of the newest job, and sends it SIGTERM when
# it has come so far that its log says so
interrupt() {
  (cd / && task "$(cat "$stub/last")" 1 "${@:2}") &
  local pid=$! got
  await 20 grep -q 'resuming at step\|checkpoint' "$1" || fail "nothing in $1"
  kill -TERM $pid
  wait $pid
  got=$?
  [ $got -eq 143 ] || { fail "SIGTERM ended the task with $got"; tail -2 "$1"; }
  mv "$1" "$1.seen"
}
run 0 "$hoplab" "${long[@]}" --slurm
interrupt 'ru ns/slurm/long/1/task-1.log'
interrupt 'ru ns/slurm/long/1/task-1.log' SLURM_RESTART_COUNT=1
grep -q 'resuming at step' 'ru ns/slurm/long/1/task-1.log.seen' || fail "a requeued task did not resume"
: >"$stub/queue"
run 0 "$hoplab" "${long[@]}" --slurm
says '1 trials: 1 interrupted'
grep -Eq -- '--resume 2[0-9]+-' 'ru ns/slurm/long/2/tasks' || fail "the interrupted run is not named"
interrupt 'ru ns/slurm/long/2/task-1.log'
: >"$stub/queue"
[ "$(count)" -eq $((before + 1)) ] || fail "a task that goes on made another run"

# --- what goes wrong ---
other=("${quick[@]}" --name other -s train.max_steps=3)
refuses 1 'no program sbatch' env PATH=/nowhere "$hoplab" "${other[@]}" --slurm
touch "$stub/refuses"
refuses 1 'sbatch failed with status 1: .*invalid partition' "$hoplab" "${other[@]}" --slurm
ls -d 'ru ns/slurm/other'/[0-9]* >/dev/null 2>&1 && fail "a submission that failed left its folder"
rm "$stub/refuses"
touch "$stub/kills"
("$hoplab" "${other[@]}" --slurm; true) >out 2>err </dev/null
rm "$stub/kills"
refuses 1 'killed while it submitted .*/other/1,' "$hoplab" "${other[@]}" --slurm
rm -r 'ru ns/slurm/other/1'
lost=("${quick[@]}" --name lost -s data.train=nowhere.txt)
run 0 "$hoplab" "${lost[@]}" --slurm
drain
run 0 "$hoplab" "${lost[@]}" --slurm
says 'lost was submitted before, but its task left no run; see .*/lost/1/task-1.log'
grep -q nowhere.txt 'ru ns/slurm/lost/1/task-1.log' || fail "its log does not tell why"
refuses 2 'goes with --slurm' "$hoplab" "${other[@]}" --sbatch --time=1
refuses 2 'as one word' "$hoplab" "${other[@]}" --slurm --sbatch gpu
refuses 2 'makes the array itself' "$hoplab" "${other[@]}" --slurm --sbatch --array=1-3
finish
