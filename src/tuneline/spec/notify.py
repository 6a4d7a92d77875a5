"""The `notify` of a project's text alone: what the server needs of it long after the run began."""

import yaml

from tuneline.errors import SpecError
from tuneline.spec.faults import Faults
from tuneline.spec.sections import KEYS
from tuneline.spec.targets import Target
from tuneline.spec.values import targets


def targets_in(text: str) -> tuple[Target, ...]:
    """The targets of a project's text; none if it has none. Raises: SpecError, which quotes nothing."""
    if "notify" not in text:
        return ()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # whose words quote the text
        raise SpecError("The project's text is no YAML, so who is told cannot be read.") from None
    found = root.value if isinstance(root, yaml.MappingNode) else []
    faults = Faults("tuneline.yaml")
    read: tuple[Target, ...] = ()
    for key, node in found:
        if isinstance(key, yaml.ScalarNode) and key.value == "notify":
            read = targets(KEYS["notify"], node, faults) or ()
    if faults.found:
        raise SpecError("The project's `notify` cannot be kept.", details=faults.lines)
    return read
