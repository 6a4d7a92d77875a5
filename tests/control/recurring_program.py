"""What matters here of a server: a real record, its door and the loop, in a process that can be killed.

python recurring_program.py HOME SINCE SPEED

Time runs SPEED times as fast, from SINCE on, so that a kill hits many ticks. Runs end the moment they begin.
"""

import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.control.instant import Instant

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.control.recurring import RecurringLoop
from tuneline.record.record import Record

home, since, speed = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])


def clock() -> float:
    return since + (time.time() - since) * speed


record = Record(f"sqlite:///{home / 'tuneline.db'}")
server = Server("127.0.0.1", 0, 1, home, "0.0.0", since, "ann")
platform = Platform(record, Instant(record, clock), server, lambda all: None, clock)
platform.adopt()
RecurringLoop(record.recurring, platform.recurring, clock).loop.start()
sys.stdout.write("up\n")
sys.stdout.flush()
threading.Event().wait()
