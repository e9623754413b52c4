"""The tutorial runs as it is."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_tutorial_runs() -> None:
    end = runpy.run_path(str(EXAMPLES / "tutorial.py"))
    assert len(end["best"]) == 5 and not end["con"].in_transaction
    assert all(price < 30 for price in end["cheap"].price)
