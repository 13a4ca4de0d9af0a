#!/usr/bin/env bash
# cluster/slurm.sbatch for real, on this machine: munged, slurmctld and two slurmd, each of those with a network, a host
# name, processes and a /tmp of its own. The job is made too short for its study, so it has to go back into the queue.
# Needs root, slurmctld, slurmd, slurm-client, munge and iproute2 (Debian's packages), rsync and an installed project
# (.venv). Everything runs in namespaces: nothing outside is seen or touched.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
venv=$(realpath "$project/.venv")
nodes=(node1 node2)

if [[ ${1:-} == node ]]; then  # one machine: a slurmd that has a network of its own
    hostname "$2"
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /dev/shm
    until ip link show eth0 > /dev/null 2>&1; do sleep 0.1; done
    ip link set lo up
    ip addr add "$3/24" dev eth0
    ip link set eth0 up
    exec slurmd -D
fi
if [[ ${1:-} != inside ]]; then
    for tool in slurmctld slurmd sbatch munged ip rsync unshare; do
        command -v "$tool" > /dev/null || { echo "try_slurm.sh: $tool is missing"; exit 77; }
    done
    [[ $(id -u) == 0 ]] || { echo "try_slurm.sh: needs root to make namespaces"; exit 77; }
    work=$(mktemp -d -p /var/tmp binding-sweep-try.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' TERM INT
    mkdir "$work/home"
    rsync -a --exclude .git --exclude .venv --exclude results --exclude store "$project/" "$work/project/"
    ln -s "$venv" "$work/project/.venv"
    unshare --fork --kill-child --pid --mount --mount-proc --net --uts bash "$work/project/cluster/try_slurm.sh" inside &
    wait $!
    exit
fi

work=$(dirname "$project")
sed "s#^\(root:[^:]*:[^:]*:[^:]*:[^:]*:\)[^:]*#\1$work/home#" /etc/passwd > "$work/passwd"
printf '%s\n' '127.0.0.1 localhost' '10.77.0.254 login' '10.77.0.1 node1' '10.77.0.2 node2' > "$work/hosts"
mount --bind "$work/passwd" /etc/passwd
mount --bind "$work/hosts" /etc/hosts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /dev/shm
hostname login
ip link set lo up
ip link add switch type bridge
ip addr add 10.77.0.254/24 dev switch
ip link set switch up
unset PYTHONPATH
export HOME=$work/home SLURM_CONF=$work/slurm.conf

# Slurm gives a job that was put back the same two minutes that its credentials live; here they live for seconds.
mkdir "$work/munge" "$work/state" "$work/spool"
chmod 755 "$work"
cat > "$work/slurm.conf" <<CONF
ClusterName=try
SlurmctldHost=login
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket,cred_expire=5
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool/%n
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/%n.log
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
InactiveLimit=0
KillWait=10
SlurmdParameters=config_overrides
NodeName=node[1-2] CPUs=4 RealMemory=6000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE OverTimeLimit=0
CONF
(umask 077 && head -c 128 /dev/urandom > "$work/munge/key")
munged --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
    --log-file="$work/munge/log" --seed-file="$work/munge/seed"
slurmctld
for number in "${!nodes[@]}"; do
    name=${nodes[$number]}
    unshare --fork --kill-child --pid --mount --mount-proc --net --uts \
        bash "$project/cluster/try_slurm.sh" node "$name" "10.77.0.$(( number + 1 ))" > "$work/$name.out" 2>&1 &
    until [[ $(readlink "/proc/$!/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.1; done
    ip link add "$name" type veth peer name eth0 netns $!
    ip link set "$name" master switch up
done
until [[ $(sinfo --noheader --states=idle --format=%D) == 2 ]]; do sleep 0.5; done

cd "$project"
study=(search_spaces/quickstart.yaml --limit 200 --set fit.epochs=2 --results "$HOME/results" --store "$HOME/store")
job=$(MARGIN_S=${MARGIN_S:-120} sbatch --parsable --nodes=2 --cpus-per-task=2 --mem=4000 --time=3 cluster/slurm.sbatch "${study[@]}")
until [[ $(squeue --noheader --jobs="$job" --states=all --format=%T) =~ COMPLETED|FAILED|TIMEOUT|CANCELLED|NODE_FAIL ]]; do
    sleep 2
    squeue --noheader --jobs="$job" --format='%T %r %M'
done
cat "slurm-$job.out"
[[ $(squeue --noheader --jobs="$job" --states=all --format=%T) == COMPLETED ]]
scontrol show job "$job" | grep -o 'Restarts=[0-9]*\|ExitCode=[0-9:]*'
rows=("$HOME"/results/quickstart/rows/*.json)
test ${#rows[@]} = 30
grep -q 'Ray has 2 nodes, 4 CPUs' "slurm-$job.out"  # half of what the nodes have
grep -q 'start number 2' "slurm-$job.out"
if pgrep -x raylet; then exit 1; fi
echo "try_slurm.sh: two nodes, $(grep -c 'goes back' "slurm-$job.out") times back in the queue; 30 rows"
