#!/usr/bin/env bash
# Sweeps as job arrays of Slurm itself: munged, slurmctld and slurmd of this test alone, on this
# machine, with everything in a temporary folder. Skipped where Debian's slurm-wlm and munge are not
# installed, or do not start. The daemons end with this process, however it ends.
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
unset ${!SLURM_*} ${!SBATCH_*} ${!SQUEUE_*}
skip() {
  printf 'SKIPPED: %s\n' "$*"
  exit 77
}
for program in sbatch squeue scontrol scancel sinfo slurmctld slurmd munged setpriv; do
  [ -x "$(type -P $program)" ] || skip "there is no $program (Debian: slurm-wlm, munge)"
done

# --- a cluster of one ---
c=$work/cluster
pids=()
down() {
  if [ ${#pids[@]} -gt 0 ]; then
    scancel --user="$(id -un)" 2>/dev/null
    await 10 idle
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
      kill "${pids[i]}" 2>/dev/null
      await 5 gone "${pids[i]}" || kill -9 "${pids[i]}" 2>/dev/null
      wait "${pids[i]}" 2>/dev/null
    done
  fi
  chmod -R u+w "$work" 2>/dev/null
  rm -rf "$work"
}
trap down EXIT
trap 'exit 143' TERM INT
idle() { [ -z "$(squeue --noheader 2>/dev/null)" ]; }
daemon() {
  setpriv --pdeathsig KILL "$@" >>"$c/daemons.log" 2>&1 </dev/null &
  pids+=($!)
}
free_port() {
  local p=$((20000 + RANDOM % 10000))
  while (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do p=$((p + 1)); done
  echo $p
}
up() {
  local host me
  host=$(hostname -s) me=$(id -un)
  mkdir -p "$c/state" "$c/spool"
  chmod 755 "$work" "$c" "$c/spool"
  head -c 1024 /dev/urandom >"$c/munge.key"
  chmod 400 "$c/munge.key"
  cat >"$c/slurm.conf" <<CONF
ClusterName=hoplab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
AuthInfo=socket=$c/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$c/state
SlurmdSpoolDir=$c/spool
SlurmctldPidFile=$c/slurmctld.pid
SlurmdPidFile=$c/slurmd.pid
SlurmctldLogFile=$c/slurmctld.log
SlurmdLogFile=$c/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES State=UP
CONF
  echo CgroupAutomount=no >"$c/cgroup.conf"
  export SLURM_CONF=$c/slurm.conf
  daemon munged --foreground --force --socket="$c/munge.socket" --key-file="$c/munge.key" \
    --pid-file="$c/munged.pid" --log-file="$c/munged.log" --seed-file="$c/munge.seed"
  await 5 test -S "$c/munge.socket" || return 1
  daemon slurmctld -D
  daemon slurmd -D -N "$host"
  await 15 eval 'sinfo --noheader --format=%T | grep -q idle'
}
up || skip "Slurm does not start here: $(cat "$c"/*.log | grep -iE 'error|fatal' | tail -3)"

says() { grep -Eq -- "$1" out || { fail "no '$1' in:"; sed 's/^/    /' out | tail -12; }; }
count() { ls -d 'ru ns'/2* 2>/dev/null | wc -l; }
mkdir -p "$work/it's 100% \"odd\""
cd "$work/it's 100% \"odd\"" || exit 1
cp "$here/tiny.lua" 'my tiny.lua'
export HOPLAB_RUNS='ru ns'
quick=(sweep 'my tiny.lua' -s eval.batches=1 -s eval.every=0 -s probe.every=0)

# --- an array, one task after the other ---
grid=("${quick[@]}" -s train.max_steps=5 -s optim.lr=1e-3,1e-2 -s $'project=it\'s "one"\\, $(two)\nlines')
run 0 "$hoplab" "${grid[@]}" --slurm -j 1 --threads 1 --sbatch --time=10 --sbatch '--comment=a b'
says 'submitted 2 tasks as job 1$'
run 0 "$hoplab" "${grid[@]}" --slurm
says '2 trials: .*[12] queued'
says 'squeue --jobs=1$'
await 30 idle || fail "the tasks do not end: $(squeue)"
[ "$(count)" -eq 2 ] || { fail "$(count) runs of 2 tasks"; tail -n 3 'ru ns'/slurm/tiny/1/*.log; }
run 0 "$hoplab" "${grid[@]}" --slurm
says '2 trials: 2 done'
says '^0.01 +1 '
grep -q '"slurm_job":"1_2"' 'ru ns'/2*/run.json || fail "a run does not name its task"

# --- requeued and cancelled: each time it goes on with the same run ---
long=("${quick[@]}" --name long -s train.max_steps=20000 -s save.every=20)
job() { sed -n 's/^submitted .* as job \([0-9]*\)$/\1/p' out; }
run 0 "$hoplab" "${long[@]}" --slurm
first=$(job)
log='ru ns/slurm/long/1/task-1.log'
await 20 grep -q checkpoint "$log" || fail "the long task does not start"
scontrol requeue "${first}_1" || fail "it cannot be requeued"
await 60 grep -q 'resuming at step' "$log" || { fail "a requeued task does not go on"; tail "$log"; }
scancel "$first"
await 20 idle
run 0 "$hoplab" ls sweep:long
says interrupted
run 0 "$hoplab" "${long[@]}" --slurm
says '1 trials: 1 interrupted'
second=$(job)
await 20 grep -q 'resuming at step' 'ru ns/slurm/long/2/task-1.log' || fail "it is not resumed"
scancel "$second"
[ "$(count)" -eq 3 ] || fail "$(count) runs, not 3"

# --- what Slurm refuses ---
refuses 1 'sbatch failed with status 1: .*invalid partition' \
  "$hoplab" "${quick[@]}" --name other --slurm --sbatch --partition=nowhere
ls -d 'ru ns/slurm/other'/[0-9]* >/dev/null 2>&1 && fail "a submission that failed left its folder"
finish
