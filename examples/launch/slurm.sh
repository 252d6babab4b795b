#!/usr/bin/env bash
# Trains a recipe on several nodes under Slurm, from the folder it is submitted in:
#
#   mkdir -p logs && sbatch examples/launch/slurm.sh
#   sbatch --nodes=4 examples/launch/slurm.sh --experiment=NAME trainer.max_iter=10000
#
# Fifteen minutes before its time is up the run saves, stops, and the job queues itself again;
# it then goes on by the same command. docs/many-machines.md says more.

#SBATCH --job-name=its
#SBATCH --nodes=2
# One torchrun a node; it starts a process for each GPU of its node.
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
# Goes to this script alone (B:), which passes it on as SIGTERM. Slurm may be a minute early.
#SBATCH --signal=B:USR1@900
# Lets Slurm start the job again too where a node died or another job took its place.
#SBATCH --requeue
# One file for all its parts; Slurm opens it before this script runs, so logs/ must be there.
#SBATCH --open-mode=append
#SBATCH --output=logs/%x-%j.log

set -euo pipefail

# Change these to yours, or give words of your own behind the script's name.
recipe=(--experiment=predict2_video2world_training_2b_its trainer.timeout_period=1800)
if (($#)); then
  recipe=("$@")
fi
# The environment that worldtune is installed in, on a file system that every node sees.
export PATH="${WORLDTUNE_ENV:-$PWD/.venv}/bin:$PATH"

# Threads of a process, besides its loader workers. A resumed run has the same bits only with
# the same number, so it is written here and not taken from the node.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"
export PYTHONUNBUFFERED=1
export NCCL_DEBUG="${NCCL_DEBUG:-WARN}"
# Where nodes have several networks, name the one between them, for both of the libraries:
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0

# The torchruns meet at the first node. The port follows from the job, so that two jobs that
# share a node do not meet each other.
read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export RENDEZVOUS="$first:$((20000 + SLURM_JOB_ID % 10000))"

# How long a process may take for its step and the save once it was asked to stop; torchrun's own
# limit is 30 seconds. A minute less than the signal above leaves.
export SAVE_S=840

# Evaluated on each node, so in single quotes. Node 0 hosts the meeting whatever it is called,
# and every node is known by the name that Slurm has for it.
# shellcheck disable=SC2016
on_a_node='
  exec torchrun \
    --nnodes="$SLURM_NNODES" \
    --nproc-per-node="${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$RENDEZVOUS" \
    --rdzv-conf="is_host=$((SLURM_NODEID == 0))" \
    --local-addr="$SLURMD_NODENAME" \
    --shutdown-timeout="$SAVE_S" \
    -m worldtune train "$@"'

# The first node that ends must not take the others with it: one of them may still be writing.
# After a while it does, or a node that hangs would hold the job.
srun --kill-on-bad-exit=0 --wait="$SAVE_S" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  bash -c "$on_a_node" worldtune "${recipe[@]}" &
step=$!

again=false
# shellcheck disable=SC2329 # the trap calls it
stop_and_requeue() {
  echo "$(date '+%F %T') time is nearly up: the run saves and stops" >&2
  again=true
  # srun passes it on to the torchrun of every node, which passes it on to its processes.
  kill -TERM "$step"
}
trap stop_and_requeue USR1
# Slurm tells the nodes itself where it ends a job (scancel, preemption). They need to be told
# once only: a second SIGTERM stops a run without a save. This script just has to wait.
trap 'echo "$(date "+%F %T") Slurm ends the job" >&2' TERM

# A signal ends `wait`, not the step.
status=0
wait "$step" || status=$?
while kill -0 "$step" 2>/dev/null; do
  status=0
  wait "$step" || status=$?
done

if [[ $again == true && $status -ne 0 ]]; then
  # torchrun ends with 1 whatever its processes ended with, so it is the signal that tells a run
  # that was stopped from one that failed.
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$status"
