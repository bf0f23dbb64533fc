#!/usr/bin/env bash
# A real Slurm of two nodes on this machine runs the digits task on both; it is requeued in the middle, as by a preemption,
# and once more, by its own script, when its time is up, goes on each time, and ends. A job that scancel ends stays ended.
# As root, on Debian (installs slurm-wlm and munge if they are missing):
#   ./tests/integration/slurm.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
work=${WORK:-$(mktemp -d)}
[ ! -e "$work/logs" ] || { echo "error: $work has the logs of another run; name an empty folder" >&2; exit 2; }
mkdir -p "$work"
export SLURM_CONF=$work/slurm.conf

command -v sbatch slurmctld slurmd munged >/dev/null ||
    apt-get install -y -qq --no-install-recommends slurm-wlm munge >"$work/apt.log"
grep -q "127.0.0.1 n0 n1" /etc/hosts || echo "127.0.0.1 n0 n1" >>/etc/hosts

cat >"$SLURM_CONF" <<CONF
ClusterName=two
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=16817
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmdSpoolDir=$work/slurmd.%n
StateSaveLocation=$work/state
SlurmUser=root
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
SchedulerType=sched/backfill
SelectType=select/linear
JobRequeue=1
NodeName=n0 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=16818 CPUs=1 State=UNKNOWN
NodeName=n1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=16819 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP
CONF

mkdir -p "$work/state" "$work/slurmd.n0" "$work/slurmd.n1" /run/munge
chown munge: /run/munge 2>/dev/null || true
[ -s /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none; chown munge: /etc/munge/munge.key; chmod 400 /etc/munge/munge.key; }
pgrep -x munged >/dev/null || runuser -u munge -- /usr/sbin/munged
stop() {
    scancel --full --user=root 2>/dev/null || true
    for file in "$work"/slurm*.pid; do [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null || true; done
}
trap stop EXIT
slurmctld
slurmd -N n0
slurmd -N n1
for _ in $(seq 30); do [ "$(sinfo -h -o %A | cut -d/ -f2)" = 2 ] && break || sleep 1; done
sinfo

# submit NAME FLAGS...: the number of the job.
submit() {
    local said
    said=$(./scripts/run_seven.sh nets/resnet_at_digits_run.py -n=2 "-j=$1" --device=cpu --cluster=slurm \
        "--option=--chdir=$work" "--option=--nodes=2" --learner dis-chn-pruned --log_dir "$work/logs/$1" \
        --save_path "$work/models" --save_step 20 "${@:2}")
    echo "$said" >&2
    grep -o '[0-9]*' <<<"$said" | tail -1
}
field() { scontrol show job "$1" | grep -o "$2=[A-Za-z0-9]*" | head -1 | cut -d= -f2; }
# wait_for SECONDS CONDITION...
wait_for() {
    for _ in $(seq "$1"); do "${@:2}" && return || sleep 1; done
    echo "error: waited $1 s in vain for: ${*:2}" >&2
    return 1
}
has_checkpoints() { ls "$work/logs/$1"/*/checkpoints/*/* >/dev/null 2>&1; }
restarts() { [ "$(field "$1" Restarts)" -ge "$2" ]; }
is_over() { [[ $(field "$1" JobState) =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL)$ ]]; }

job=$(submit digits)
wait_for 600 has_checkpoints digits
scontrol requeue "$job"
echo "requeued as by a preemption"
wait_for 600 restarts "$job" 1
# SIGTERM comes two minutes before the limit, so a minute after the job's next start, and the job requeues itself.
scontrol update "JobId=$job" TimeLimit=3
wait_for 1200 restarts "$job" 2
echo "requeued by itself before the end of its time"
scontrol update "JobId=$job" TimeLimit=UNLIMITED
wait_for 1800 is_over "$job"
scontrol show job "$job" | grep -E 'JobState|NodeList|Restarts|NumNodes'
sed "s|$work|WORK|" "$work/digits-$job"_rank0.out
[ "$(field "$job" JobState)" = COMPLETED ]
[ "$(field "$job" Restarts)" = 2 ]
[ "$(grep -c ": continues at step" "$work/digits-$job"_rank0.out)" -ge 1 ]

job=$(submit cancelled)
wait_for 600 has_checkpoints cancelled
scancel "$job"
wait_for 120 is_over "$job"
sleep 5
echo "after scancel: $(field "$job" JobState), restarts: $(field "$job" Restarts)"
[ "$(field "$job" JobState)/$(field "$job" Restarts)" = CANCELLED/0 ]
echo "two nodes, two requeues: the job ended well"
