#!/usr/bin/env bash
# A real Slurm of two nodes on this machine runs the digits task on both, is told to requeue it in the middle, and ends it.
# As root, on Debian (installs slurm-wlm and munge if they are missing):
#   ./tests/integration/slurm.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
work=${WORK:-$(mktemp -d)}
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

./scripts/run_seven.sh nets/resnet_at_digits_run.py -n=2 -j=digits --device=cpu --cluster=slurm \
    "--option=--chdir=$work" "--option=--nodes=2" --learner dis-chn-pruned --log_dir "$work/logs" \
    --save_path "$work/models" --save_step 20 | tee "$work/submitted"
job=$(grep -o '[0-9]*' "$work/submitted" | tail -1)

state() { scontrol show job "$job" | grep -o 'JobState=[A-Z]*' | cut -d= -f2; }
# Once there are checkpoints the job is put back into the queue, as a preemption would do.
for _ in $(seq 600); do ls "$work"/logs/*/checkpoints/*/* >/dev/null 2>&1 && break || sleep 1; done
scontrol requeue "$job"
echo "requeued with $(ls "$work"/logs/*/checkpoints/*/* | wc -l) checkpoints"
for _ in $(seq 1800); do
    case $(state) in COMPLETED) break ;; FAILED | CANCELLED | TIMEOUT | NODE_FAIL) break ;; *) sleep 1 ;; esac
done
scontrol show job "$job" | grep -E 'JobState|NodeList|Restarts|NumNodes'
tail -n 40 "$work/digits-$job"_rank0.out
[ "$(state)" = COMPLETED ]
echo "two nodes, one requeue: the job ended well"
