"""What matters here of a server: a real record and the loop of notices, in a process that can be killed.

python notices_program.py HOME LATER

LATER: seconds by which its clock is ahead, so that no test waits for what a killed one had begun.
"""

import os
import sys
import threading
import time
from pathlib import Path

from tuneline.control.notice_sending import Addresses, Sender
from tuneline.control.notices import NoticeLoop
from tuneline.record.record import Record

home, later = Path(sys.argv[1]), float(sys.argv[2])
record = Record(f"sqlite:///{home / 'tuneline.db'}")
record.migrate()
addresses = Addresses(os.environ, home / "secrets", "")
NoticeLoop(record, addresses, Sender(addresses), clock=lambda: time.time() + later).start()
sys.stdout.write("up\n")
sys.stdout.flush()
threading.Event().wait()
