"""The catalogue's parts import each other by name, in the runner and here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
