"""Makes what cluster.yaml needs on AWS, once: a security group, an EFS file system, Ray's token.

Run again, it finds what it made. It writes the names in place of CHANGEME in the cluster file and prints how to
remove them. Needs boto3 and credentials in the usual places (`aws configure`).
"""

from __future__ import annotations

import argparse
import ipaddress
import secrets
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

NAME = "binding-sweep"
SSH, NFS = 22, 2049


def main() -> int:
    """Make everything; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cluster", type=Path, default=Path("cluster.yaml"), help="cluster file to complete")
    parser.add_argument("--region", default="us-east-1", help="region, the same as in the cluster file")
    parser.add_argument("--ssh-from", type=ipaddress.ip_network, metavar="CIDR", help="by default this address")
    arguments = parser.parse_args()
    import boto3

    session = boto3.Session(region_name=arguments.region)
    allowed = arguments.ssh_from or ipaddress.ip_network(_own_address())
    token = make_token(Path("~/.ray/auth_token").expanduser())
    ec2: Any = session.client("ec2")
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    group = security_group(ec2, vpc, str(allowed))
    share = file_system(session.client("efs"), ec2, vpc, group)
    complete(arguments.cluster, group, share)
    print(f"SSH from {allowed} only: security group {group}; results and store: {share}; token: {token}")
    print(f"to remove them after `ray down`: delete {share} (and with it all results on it), then {group}")
    return 0


def make_token(path: Path) -> Path:
    """A random token for Ray, readable by its owner alone; one that is there stays."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path


def security_group(ec2: Any, vpc: str, ssh_from: str) -> str:
    """A group whose members talk to each other, and that lets in SSH from one network."""
    named = [{"Name": "group-name", "Values": [NAME]}, {"Name": "vpc-id", "Values": [vpc]}]
    if found := ec2.describe_security_groups(Filters=named)["SecurityGroups"]:
        return found[0]["GroupId"]
    group = ec2.create_security_group(GroupName=NAME, Description="Ray cluster of binding-sweep", VpcId=vpc)[
        "GroupId"
    ]
    ssh = {"IpProtocol": "tcp", "FromPort": SSH, "ToPort": SSH, "IpRanges": [{"CidrIp": ssh_from}]}
    members = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh, members])
    return group


def file_system(efs: Any, ec2: Any, vpc: str, group: str) -> str:
    """An encrypted EFS with a mount target in every zone of the network."""
    share = efs.create_file_system(CreationToken=NAME, Encrypted=True) if not _shares(efs) else _shares(efs)[0]
    identifier = share["FileSystemId"]
    while _shares(efs)[0]["LifeCycleState"] != "available":
        time.sleep(2)
    there = {target["SubnetId"] for target in efs.describe_mount_targets(FileSystemId=identifier)["MountTargets"]}
    for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]:
        if subnet["DefaultForAz"] and subnet["SubnetId"] not in there:
            efs.create_mount_target(FileSystemId=identifier, SubnetId=subnet["SubnetId"], SecurityGroups=[group])
    return identifier


def _shares(efs: Any) -> list[dict[str, Any]]:
    return efs.describe_file_systems(CreationToken=NAME)["FileSystems"]


def complete(cluster: Path, group: str, share: str) -> None:
    """Write the names into the cluster file."""
    text = cluster.read_text().replace("sg-CHANGEME", group).replace("fs-CHANGEME", share)
    cluster.write_text(text)


def _own_address() -> str:
    with urllib.request.urlopen("https://checkip.amazonaws.com", timeout=10) as answer:
        return answer.read().decode().strip()


if __name__ == "__main__":
    sys.exit(main())
