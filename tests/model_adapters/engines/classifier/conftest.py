"""The generated images that classifiers are trained on here."""

from __future__ import annotations

from tests.harness.conftest import phantom as phantom
