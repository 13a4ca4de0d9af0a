#!/usr/bin/env bash
# cluster/local.yaml for real, on this machine: sshd on loopback, `ray up`, a study through `ray exec` and `ray submit`,
# `ray down`. Needs root, sshd, rsync and an installed project (.venv). `ray down` stops every Ray that it sees, so
# everything runs in namespaces of its own (processes, network, mounts): nothing outside is seen or touched.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
venv=$(realpath "$project/.venv")

if [[ ${1:-} != inside ]]; then
    for tool in sshd rsync unshare ssh-keygen; do
        command -v "$tool" > /dev/null || { echo "try_local.sh: $tool is missing"; exit 77; }
    done
    [[ $(id -u) == 0 ]] || { echo "try_local.sh: needs root to make namespaces"; exit 77; }
    work=$(mktemp -d -p /var/tmp binding-sweep-try.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/home"
    rsync -a --exclude .git --exclude .venv --exclude results --exclude store "$project/" "$work/project/"
    ln -s "$venv" "$work/project/.venv"
    unshare --fork --kill-child --pid --mount --mount-proc --net bash "$work/project/cluster/try_local.sh" inside
    exit
fi

work=$(dirname "$project")
sed "s#^\(root:[^:]*:[^:]*:[^:]*:[^:]*:\)[^:]*#\1$work/home#" /etc/passwd > "$work/passwd"
mount --bind "$work/passwd" /etc/passwd  # a home of its own, for those who come through SSH too
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /dev/shm
mkdir -p /run/sshd
ip link set lo up
export HOME=$work/home RAY_AUTH_MODE=token PATH=$venv/bin:$PATH
unset PYTHONPATH
cd "$project"

echo "export PATH=$venv/bin:\$PATH" > ~/.bashrc  # ray submit calls a bare python
mkdir -m 700 -p ~/.ssh ~/.ray
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
ssh-keygen -q -t ed25519 -N '' -f ~/host_key
cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys
chmod 600 ~/.ssh/authorized_keys
od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > ~/.ray/auth_token
"$(command -v sshd)" -f /dev/null -h "$HOME/host_key" -o ListenAddress=127.0.0.1 -o PermitRootLogin=yes \
    -o StrictModes=no -o AuthorizedKeysFile="$HOME/.ssh/authorized_keys" -o PidFile=none

# The cluster file as it is, but for the addresses, and for the venv that is there: no package index in here.
python - <<'PYTHON'
import yaml
config = yaml.safe_load(open("cluster/local.yaml"))
config |= {"min_workers": 0, "max_workers": 0}
config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
config["auth"]["ssh_user"] = "root"
config["setup_commands"] = [f"ln -sfn $(readlink {__import__('os').getcwd()}/.venv) ~/binding-sweep/.venv"]
yaml.safe_dump(config, open("here.yaml", "w"))
PYTHON

study='search_spaces/quickstart.yaml --address auto --limit 200 --max-cells 3 --results ~/results --store ~/store'
set -x
ray up -y here.yaml
ray exec here.yaml 'RAY_AUTH_MODE=token ~/binding-sweep/.venv/bin/ray status'
ray exec here.yaml "cd ~/binding-sweep && RAY_AUTH_MODE=token .venv/bin/python -m sweep.run $study"
printf 'import sys\nfrom sweep.run import main\nsys.exit(main(sys.argv[1:]))\n' > study.py
ray submit here.yaml study.py ~/binding-sweep/search_spaces/quickstart.yaml --plan --results ~/results
ray rsync-down here.yaml '~/results/' "$work/fetched/"
test "$(ls "$work"/fetched/quickstart/rows | wc -l)" = 3
ray down -y here.yaml
set +x
! pgrep -x raylet
echo "try_local.sh: up, exec, submit, rsync-down and down went through; 3 rows fetched"
