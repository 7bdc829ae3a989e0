"""tests/swift_server.py with uploads in parts, and over a folder that was served before; run by a python with swift."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import swift_server

make = Path.mkdir
Path.mkdir = lambda self, *mode, **how: make(self, *mode, **how | {"exist_ok": True})
swift_server.PIPELINE = swift_server.PIPELINE.replace("tempauth", "tempauth slo")
swift_server.FILTERS["slo"] = {"use": "egg:swift#slo"}
swift_server.main(Path(sys.argv[1]), int(sys.argv[2]))
