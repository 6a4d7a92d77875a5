"""Where one run's artifacts go, and how its tasks get at them: all that an attempt knows of stores."""

from dataclasses import dataclass
from pathlib import Path

from tuneline.execute import downloads
from tuneline.execute.stores import Stores, attempt_uri, check_root
from tuneline.plan.events import Artifacts, Outputs


@dataclass(frozen=True)
class Keeping:
    """One run's."""

    stores: Stores
    root: str = ""
    """Checked; empty: what tasks put out stays where they left it, in the run's folder."""

    def at(self, root: str) -> "Keeping":
        """The same with another root, unless that is empty. Raises: SettingError, MissingPartError."""
        return Keeping(self.stores, check_root(root)) if root else self

    def before(self, folder: Path, inputs: Artifacts) -> list[list[str]]:
        """What the shim of the attempt in `folder` runs first, to bring inputs here. Raises: OSError."""
        absent = self.stores.absent([ref for refs in inputs.values() for ref in refs])
        return downloads.before(folder, self.stores.folder, absent)

    def given(self, inputs: Artifacts) -> Artifacts:
        """Inputs as the task is given them."""
        return self.stores.reading(inputs)

    def kept(
        self, outputs: Outputs, pipeline: str, run: str, task: str, attempt: int, folder: Path
    ) -> Outputs:
        """Outputs of the attempt in `folder`, put where they belong. Slow.

        Raises: see `Stores.stored`; OSError.
        """
        if not self.root:
            return outputs
        return self.stores.outputs(outputs, attempt_uri(self.root, pipeline, run, task, attempt), folder)
