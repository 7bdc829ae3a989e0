"""A real S3 server of one's own, which takes uploads in parts and can be killed and started again."""

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).with_name("swift_again.py")


class Swift:
    """What ``tests.servers`` starts once for all tests, here with a life of its own."""

    def __init__(self, folder: Path) -> None:
        from tests import servers  # here, because pytest must import it first

        self.folder, self.port = folder, servers._free_ports(4)
        self._command = [str(servers._python()), str(SCRIPT), str(folder), str(self.port)]
        self.environment = servers.ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}
        self.start()

    def start(self) -> None:
        with self.folder.with_suffix(".log").open("wb") as errors:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=errors)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            self.kill()
            raise AssertionError(f"swift did not start: {self.folder.with_suffix('.log').read_text()[-2000:]}")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
