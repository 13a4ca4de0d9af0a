"""The cluster files, checked offline by Ray's own loader, and against what a cluster must not do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RAY_FILES = ("cluster.yaml", "cluster/gcp.yaml", "cluster/local.yaml")
CLOUDS = RAY_FILES[:2]
RAY_VERSION = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]  # pyright: ignore


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RAY_FILES)
def test_ray_accepts_the_file(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(load(name))
    validate_config(config)
    commands = str([config[key] for key in config if key.endswith("_commands")])
    assert "wheel" not in commands  # Ray's defaults, which install a nightly build, are all replaced
    assert config["max_workers"] >= 1


@pytest.mark.parametrize("name", RAY_FILES)
def test_a_misspelt_key_is_found(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(Exception, match="idle_timeout_minuts"):
        validate_config(prepare_config(load(name) | {"idle_timeout_minuts": 5}))


@pytest.mark.parametrize("name", RAY_FILES)
def test_every_start_of_ray_asks_for_the_token_and_the_dashboard_stays_on_its_machine(name: str) -> None:
    config = load(name)
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert any(target.endswith(".ray/auth_token") for target in config["file_mounts"])
    assert any("constraints.txt" in command and "--editable" in command for command in config["setup_commands"])


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_are_spot_gpus_that_come_and_go(name: str) -> None:
    config = load(name)
    types = config["available_node_types"]
    head, worker = types[config["head_node_type"]], types["gpu_spot"]
    assert head["resources"] == {"CPU": 0}
    assert (worker["min_workers"], worker["resources"]["GPU"]) == (0, 1)
    assert re.search("spot|preemptible': True", str(worker["node_config"]))
    assert config["idle_timeout_minutes"] <= 10
    assert config["docker"]["image"] == f"rayproject/ray:{RAY_VERSION}-py311-gpu"


def test_aws_machines_are_in_the_group_that_lets_in_ssh_from_one_address() -> None:
    types = load("cluster.yaml")["available_node_types"].values()
    assert [kind["node_config"]["SecurityGroupIds"] for kind in types] == [["sg-CHANGEME"]] * 2


def test_local_machines_use_the_autoscaler_that_starts_them() -> None:
    assert "RAY_enable_autoscaler_v2=0" in load("cluster/local.yaml")["head_start_ray_commands"][1]


# The fields of a RayJob that the file uses, with their types, after the API reference of KubeRay
# (ray.io/v1: RayJobSpec, RayClusterSpec, HeadGroupSpec, WorkerGroupSpec, AutoscalerOptions). `dict` stands for what
# Kubernetes itself checks (pod templates).
AUTOSCALER = {"idleTimeoutSeconds": int, "upscalingMode": {"Default", "Aggressive", "Conservative"}}
HEAD = {"rayStartParams": dict, "serviceType": {"ClusterIP", "NodePort", "LoadBalancer"}, "template": dict}
WORKER = {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "rayStartParams": dict}
CLUSTER = {
    "rayVersion": str,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": AUTOSCALER,
    "headGroupSpec": HEAD,
    "workerGroupSpecs": [WORKER | {"template": dict}],
}
JOB = {
    "entrypoint": str,
    "entrypointNumCpus": int,
    "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
    "backoffLimit": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "rayClusterSpec": CLUSTER,
}


def fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return set(value) <= set(shape) and all(fits(item, shape[name]) for name, item in value.items())
    return value in shape if isinstance(shape, set) else type(value) is shape


def test_the_rayjob_has_the_fields_of_its_definition() -> None:
    job = load("cluster/kuberay_rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert fits(job["spec"], JOB)
    assert not fits(job["spec"] | {"ttlSecondsAfterFinish": 60}, JOB)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == RAY_VERSION
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(type(value) is str for value in group["rayStartParams"].values())
        [container] = group["template"]["spec"]["containers"]
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_rayjob_runs_a_command_that_exists() -> None:
    from sweep.run import parser

    _, _, command = load("cluster/kuberay_rayjob.yaml")["spec"]["entrypoint"].partition("sweep.run ")
    arguments = parser().parse_args(command.split())
    assert (arguments.address, str(arguments.results)) == ("auto", "/data/results")
    assert (ROOT / arguments.study.relative_to("/project")).exists()


SBATCH = ROOT / "cluster" / "slurm.sbatch"


def test_the_slurm_job_is_a_script_that_bash_reads_and_slurm_may_put_back() -> None:
    for script in (SBATCH, ROOT / "cluster" / "try_slurm.sh", ROOT / "cluster" / "try_local.sh"):
        subprocess.run(["bash", "-n", script], check=True)
    options = re.findall(r"^#SBATCH (--[a-z-]+)", SBATCH.read_text(), re.MULTILINE)
    assert {"--requeue", "--nodes", "--ntasks-per-node", "--time"} <= set(options)
    first_command = SBATCH.read_text().index("\nset -uo")
    assert SBATCH.read_text().rindex("#SBATCH") < first_command  # Slurm reads none behind it


def test_the_slurm_job_goes_on_after_the_exit_code_that_says_so() -> None:
    from sweep.run import TIME_IS_UP

    text = SBATCH.read_text()
    assert f"\nSTOPPED_EARLY={TIME_IS_UP} " in text
    assert "RAY_AUTH_MODE=token" in text


def test_the_slurm_job_s_example_is_a_command_that_exists() -> None:
    from sweep.run import parser

    [command] = re.findall(r"^#     sbatch cluster/slurm.sbatch (.*)$", SBATCH.read_text(), re.MULTILINE)
    assert (ROOT / parser().parse_args(command.split()).study).exists()
