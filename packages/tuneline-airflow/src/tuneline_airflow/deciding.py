"""What an operator decides before it does anything: whether its turn comes, and what a loop goes over.
Pure."""

from tuneline_airflow.outline import Place
from tuneline_airflow.seen import Seen, Sight
from tuneline_ir import path_of


def held_back(place: Place, sight: Sight) -> str:
    """Why a task's turn does not come; empty: it comes.

    Where Airflow's trigger rule has seen to it that what it needs went well, nobody is asked.
    Raises: ValueError if its condition cannot be decided.
    """
    if (place.alone or place.whatever_happened) and not sight.goes():
        return "What it needs did not succeed, or the graph that it stands in was not gone into."
    return "" if sight.holds() else f"Its condition does not hold: {sight.task.condition}"


def iterations(seen: Seen, place: Place) -> tuple[list[str], dict[str, str]]:
    """The iterations of a loop in all iterations of the loops around it. place: its `items`.

    Returns: their paths, and the loops that are not gone into, each with its fault, empty if it is skipped.
    """
    paths: list[str] = []
    fates: dict[str, str] = {}
    outer = seen.run.outline.graphs[place.path].loops[-2]
    for frame in seen.frames(outer):
        sight = seen[path_of(frame, place.path.removeprefix(outer).strip("/"))]
        try:
            if held_back(place, sight):
                fates[sight.path] = ""
                continue
            paths += frames_of(sight)
        except ValueError as error:
            fates[sight.path] = str(error)
    return paths, fates


def frames_of(loop: Sight) -> list[str]:
    """The paths of a loop's iterations. Raises: ValueError if what it goes over is no list."""
    return [path_of(loop.path, number) for number in range(len(loop.items))]
