"""Speaks as the render script does and copies images instead of rendering; for tests of what is around Blender.

The environment says what goes wrong: PRETENDED_TROUBLE is JSON, image names and `error`, `die`, `once` (an error
the first time), `refuse` or `hang`; PRETENDED_SECONDS is how long an image takes; PRETENDED_IMAGES is the folder of
finished images.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path


def answer(folder: Path, name: str) -> dict[str, str]:
    trouble = json.loads(os.environ.get("PRETENDED_TROUBLE", "{}")).get(name)
    first_time = folder / f".{name}.tried"
    if trouble == "die":
        print("out of memory", file=sys.stderr)
        os._exit(11)
    if trouble == "hang":
        time.sleep(600)
    if trouble == "refuse":
        return {"refused": "only 3 pixels of the small red rubber cube can be seen"}
    if trouble == "error" or (trouble == "once" and not first_time.exists()):
        first_time.touch()
        return {"error": "RuntimeError: no light"}
    time.sleep(float(os.environ.get("PRETENDED_SECONDS", "0")))
    done = Path(os.environ["PRETENDED_IMAGES"])
    for part, file in (("scenes", name.replace(".png", ".json")), ("images", name)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(done / part / file, folder / part / file)
    return {"done": name}


def main() -> None:
    folder = Path(sys.argv[sys.argv.index("--folder") + 1])
    print("Blender 0.0 (pretended)", flush=True)
    print(json.dumps({"blender": "pretended", "device": "CPU", "arguments": sys.argv[1:]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(folder, json.loads(line)["image_filename"])), flush=True)


if __name__ == "__main__":
    main()
