"""tuneline: release engineering for fine-tuned language models.

spec (what was asked) -> plan (what will happen) -> execute (make it happen) -> record (what happened)
-> serve (use it). `docs/architecture.md` is the map.
"""

__version__ = "0.1.0"
