"""Every query of the Grafana dashboard finds series in a real Prometheus that reads a real run's metrics."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.sweep.conftest import Project

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.starts_ray,
    pytest.mark.skipif(PROMETHEUS is None, reason="needs the Debian package prometheus"),
]
DASHBOARD = json.loads((Path(__file__).parents[3] / "monitoring" / "grafana.json").read_text())
QUERIES = {
    f"{panel['title']}: {target['expr']}": target["expr"].replace("$study", "small")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
LONG_ENOUGH = ["--set", "fit.epochs=60", "--set", "seeds=3"]
"""So that cells end while others still train, and Prometheus reads it: Ray exports every 10 s."""
CONFIGURATION = """\
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: ray
    file_sd_configs: [{{files: [{folder}/ray/prom_metrics_service_discovery.json], refresh_interval: 1s}}]
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """Address of a Prometheus that reads the Ray whose files lie in a folder."""
    assert PROMETHEUS is not None
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(folder=folder))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([PROMETHEUS, *options, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            yield f"http://{address}/api/v1"
        finally:
            process.terminate()
            process.wait(timeout=60)


def asked(address: str, **parameters: str) -> list:
    """What a query finds; nothing while Prometheus starts."""
    path = "query" if "query" in parameters else "label/study/values"
    try:
        with urlopen(f"{address}/{path}?{urlencode(parameters)}", timeout=10) as answer:
            data = json.load(answer)["data"]
    except HTTPError:
        raise  # a query that Prometheus refuses
    except URLError:
        return []
    return data["result"] if isinstance(data, dict) else data


def test_every_query_finds_series_of_a_running_study(project: Project) -> None:
    unanswered, studies = dict(QUERIES), set()
    # the names of Ray's sockets must be short
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        run = project.start(*LONG_ENOUGH, environment={**os.environ, "RAY_TMPDIR": folder})
        try:
            with prometheus(Path(folder)) as address:
                while run.poll() is None and (unanswered or not studies):
                    studies |= set(asked(address, **{"match[]": "ray_sweep_cells"}))
                    unanswered = {name: of for name, of in unanswered.items() if not asked(address, query=of)}
                    time.sleep(1)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGTERM)
            output, _ = run.communicate(timeout=120)
    assert studies == {"small"}, output
    assert unanswered == {}, output
