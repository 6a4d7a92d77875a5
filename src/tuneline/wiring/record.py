"""The record of the one server that may write it: opened, claimed, migrated, and watched.

A SQLite file belongs to whoever has the home. A PostgreSQL database can be reached by servers of other homes
and hosts: one of them has it, by a lock that ends with its process, or with the database's own server; then
it is taken anew, unless another server was faster. The record also says who has it (host, pid, start time),
so that a second server can name the first.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psutil

from tuneline.errors import ConflictError, TransientError, TunelineError
from tuneline.record.holders import Holder
from tuneline.record.record import Record
from tuneline.settings import Settings

LOG = logging.getLogger("tuneline.server")

WATCH_S = 2.0
"""How often a server looks whether a shared record is still its own."""


def open_record(settings: Settings, locked: bool, now: float, stack: ExitStack) -> Record:
    """This home's record, at today's schema, for this process alone, until `stack` closes.

    locked: whether this process has the home. now: Unix seconds. Raises: ConflictError, naming the holder, if
    another server has the home or the record, or a newer program wrote it; SettingError, ResourceError,
    TransientError if it cannot be used.
    """
    record = Record(settings.record_url)
    stack.callback(record.close)
    name = f"home {settings.home}"
    if not locked:
        raise _taken(record, f"The home {settings.home}", name)
    if not record.claim():
        raise _taken(record, f"The record {record.place}", None)
    record.migrate()
    record.reserve()
    mine = Holder(socket.gethostname(), os.getpid(), psutil.Process().create_time(), now)
    other = record.holders.take(name, mine, alive)
    if other is not None:
        raise _refused(f"The home {settings.home}", other)
    stack.callback(_let_go, record, name, mine)
    for before, holder in record.holders.forget_others(name):
        LOG.warning(
            "This record was last served from %s on %s: what ran there starts again here.",
            before, holder.host,
        )  # fmt: skip
    return record


def watch(record: Record, stop: Callable[[], None], stack: ExitStack, every_s: float = WATCH_S) -> None:
    """Look again and again whether a shared record is still ours; call `stop` once when it is not."""
    if not record.shared:
        return
    ended = threading.Event()

    def look() -> None:
        well = True
        while not ended.wait(every_s):
            try:
                mine = record.claimed()
            except TunelineError as error:
                if well:
                    LOG.warning("%s Runs wait for it.", error.message)
                well = False
                continue
            if not mine:
                LOG.error("Another server has the record %s now: this one stops.", record.place)
                stop()
                return
            if not well:
                LOG.info("The record answers again.")
            well = True

    thread = threading.Thread(target=look, name="record", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(ended.set)


def alive(holder: Holder) -> bool:
    """Whether that very process lives on this host. One on another host has lost the home's lock, so it does
    not; nor does one that was killed and is not yet reaped, as in a container without an init."""
    if holder.host != socket.gethostname():
        return False
    try:
        process = psutil.Process(holder.pid)
        same = abs(process.create_time() - holder.pid_started) < 2.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _taken(record: Record, what: str, name: str | None) -> ConflictError:
    other: Holder | None = None
    with suppress(TunelineError):  # a record that says nothing about its holder is held all the same
        other = record.holders.holder(name) if name else record.holders.newest()
    return _refused(what, other)


def _refused(what: str, other: Holder | None) -> ConflictError:
    who = f"process {other.pid} on {other.host}" if other else "another process"
    if what.startswith("The home"):
        hint = "`tuneline status` shows it, `tuneline down` stops it; another TUNELINE_HOME has its own."
    else:
        hint = "Stop that one (`tuneline down` there), or give this one its own TUNELINE_DATABASE_URL."
    return ConflictError(f"{what} already has a server: {who}.", hint=hint)


def _let_go(record: Record, name: str, mine: Holder) -> None:
    with suppress(TransientError):  # a database that is down must not keep the server up
        record.holders.release(name, mine)
