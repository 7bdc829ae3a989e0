"""A real S3 server of one's own, which can be killed and started again over the same disk."""

import subprocess
from pathlib import Path

AGAIN = (
    "import pathlib, sys; sys.path.insert(0, sys.argv[3]); import swift_server; make = pathlib.Path.mkdir\n"
    "pathlib.Path.mkdir = lambda self, *mode, **how: make(self, *mode, **how | {'exist_ok': True})\n"
    "swift_server.main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"
)


class Swift:
    """What ``tests.servers`` starts once for all tests, here with a life of its own."""

    def __init__(self, folder: Path) -> None:
        from tests import servers  # here, because pytest must import it first

        self.folder, self.port = folder, servers._free_ports(4)
        self._command = [str(servers._python()), "-c", AGAIN, str(folder), str(self.port)]
        self._command.append(str(Path(servers.__file__).parent))
        self.environment = servers.ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
