"""Mapped task groups, made without a function: a loop's body is known as an outline, not as code."""

from typing import Any

from airflow.sdk import TaskGroup
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup


def MappedGroup(over: Any, id: str, parent: TaskGroup | None) -> MappedTaskGroup:
    """A task group whose tasks are mapped over a task's output."""
    given = {"parent_group": parent} if parent is not None else {}
    over_all = DictOfListsExpandInput({"frame": over})
    return MappedTaskGroup(group_id=id, prefix_group_id=False, expand_input=over_all, **given)
