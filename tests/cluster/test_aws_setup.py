"""What must be there before `ray up` on AWS, made in moto's imitation of it."""

from __future__ import annotations

import importlib.util
import stat
from pathlib import Path

import pytest

moto = pytest.importorskip("moto", reason="moto is not installed; its botocore does not go with constraints.txt")
boto3 = pytest.importorskip("boto3")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    specification = importlib.util.spec_from_file_location("aws_setup", ROOT / "cluster" / "aws_setup.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_everything_is_made_once_and_written_into_the_cluster_file(
    setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text((ROOT / "cluster.yaml").read_text())
    arguments = ["aws_setup.py", "--cluster", str(cluster), "--ssh-from", "198.51.100.7/32"]
    monkeypatch.setattr("sys.argv", arguments)
    with moto.mock_aws():
        assert setup.main() == 0
        once = cluster.read_text()
        assert setup.main() == 0
        [group] = boto3.client("ec2", "us-east-1").describe_security_groups(
            Filters=[{"Name": "group-name", "Values": ["binding-sweep"]}]
        )["SecurityGroups"]
        [share] = boto3.client("efs", "us-east-1").describe_file_systems()["FileSystems"]
        targets = boto3.client("efs", "us-east-1").describe_mount_targets(FileSystemId=share["FileSystemId"])
    assert cluster.read_text() == once
    assert "-CHANGEME" not in once
    assert once.count(group["GroupId"]) == 2
    assert share["FileSystemId"] in once
    assert share["Encrypted"]
    assert len(targets["MountTargets"]) >= 2
    assert [rule["IpRanges"] for rule in group["IpPermissions"] if rule["IpRanges"]] == [
        [{"CidrIp": "198.51.100.7/32"}]
    ]
    token = tmp_path / ".ray" / "auth_token"
    assert len(token.read_text()) == 64
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
