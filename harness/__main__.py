"""`python -m harness`, the same as the `harness` command."""

import sys
from pathlib import Path

# Python puts the working folder first, where a user's own `tasks/` or `tests/` would hide ours.
if Path(sys.path[0] or ".").resolve() == Path.cwd() != Path(__file__).resolve().parent.parent:
    del sys.path[0]

from harness.cli import main

main()
