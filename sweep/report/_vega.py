"""The plotting library of the page: Vega and Vega-Lite, as one script without dependencies."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from frozen.whole_files import write_whole

_NAMES = "window.vegaEmbed = vegaEmbed;"


@cache
def vega_script() -> str:
    """The library as the text of a module script, about 0.9 MB.

    Bundling takes seconds, so the bundle is kept in the user's cache folder by version.
    """
    path = _cache_folder() / f"vega-{version('vl-convert-python')}.js"
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        script = _bundled()
    with suppress(OSError):  # a home that cannot be written to only costs the time of bundling
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, script)
    return script


def _bundled() -> str:
    import vl_convert  # loads a JavaScript engine

    script = vl_convert.javascript_bundle(_NAMES)
    # inside strings and regular expressions, the only places where these occur, a backslash changes nothing
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "binding-sweep"
