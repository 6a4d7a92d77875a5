"""What matters here of a server: a controller over a real record, in a process that can be killed.

python server_program.py DATABASE_URL ENDPOINTS_FOLDER
"""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.control.conftest import Launching

from tuneline.control.endpoints import Controller
from tuneline.record.record import Record

record = Record(sys.argv[1])
folder, launching = Path(sys.argv[2]), Launching()
Controller(record.endpoints, folder, drain_s=5.0, launching=launching, rollouts=record.rollouts).start()
threading.Event().wait()
