"""A TCP relay in front of a real server: connections that are late, slow, cut, stalled, damaged or refused."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

HEAD = re.compile(rb"(GET|PUT|POST|HEAD|DELETE) [^\r\n]* HTTP/1\.1\r\n")
CHUNK = 1 << 16
FOREVER = 1 << 60


class Relay:
    """Leads from ``port`` to a server; what is set here holds for what comes after."""

    def __init__(self, server: int) -> None:
        self.latency = 0.0  # seconds before a request is passed on
        self.rate = float("inf")  # bytes a second of an answer
        self.cuts: list[int] = []  # after how many bytes of answers each next connection is cut
        self.stalls: list[int] = []  # ... goes quiet
        self.lost: list[bytes] = []  # patterns: the next request whose first line has one gets no answer but a cut
        self._held: re.Pattern[bytes] | None = None  # requests whose first line has this are not passed on yet
        self.allowed = FOREVER  # requests that are passed on; those after them are cut
        self.refused = 0  # requests
        self.flips = 0  # of so many next requests, a bit of the body is flipped
        self.requests: list[str] = []  # first lines
        self.answered = 0  # bytes
        self.most_waiting = 0  # requests that waited for an answer at the same time
        self._waiting = 0
        self._server, self._listener = server, None
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.up()

    def said(self, *methods: str) -> list[str]:
        """Method and key of the requests so far, of these methods."""
        found = [line.split()[:2] for line in self.requests if line.split()[0] in methods]
        return [f"{method} {address.partition('?')[0].split('/', 2)[2]}" for method, address in found]

    @contextlib.contextmanager
    def holding(self, pattern: bytes = b"") -> Iterator[None]:
        """Requests whose first line has the pattern are passed on when this ends, not before."""
        self._held = re.compile(pattern)
        try:
            yield
        finally:
            self._held = None

    def holds(self, line: bytes) -> bool:
        return (held := self._held) is not None and held.search(line) is not None

    def up(self) -> None:
        """Listen, at the same port as before."""
        self._do(self._up)

    def down(self) -> None:
        """Cut all connections and refuse new ones."""
        self._do(self._down)

    def close(self) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    async def _up(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None
        while self._connections:
            for task in self._connections:
                task.cancel()
            await asyncio.wait(self._connections)

    def _accept(self, *caller: Any) -> None:
        task = asyncio.ensure_future(self._serve(*caller))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, asked: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        passing, answered = answers, None
        try:
            answered, passing = await asyncio.open_connection("127.0.0.1", self._server)
            link = _Link(
                self, self.cuts.pop(0) if self.cuts else FOREVER, self.stalls.pop(0) if self.stalls else FOREVER
            )
            ways = [asyncio.ensure_future(link.up(asked, passing)), asyncio.ensure_future(link.down(answered, answers))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                link.answered()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for writer in (answers, passing):
                writer.transport.abort()

    def waits(self, change: int) -> None:
        self._waiting += change
        self.most_waiting = max(self.most_waiting, self._waiting)


class _Link:
    def __init__(self, relay: Relay, cut: int, stall: int) -> None:
        self._relay, self._cut, self._stall = relay, cut, stall
        self._waits = self._loses = False

    async def up(self, asked: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        flips = False
        while data := await asked.read(CHUNK):
            if head := HEAD.match(data):
                if self._relay.allowed == 0:
                    self._relay.refused += 1
                    return
                self._relay.allowed -= 1
                self._begins(head[0])
                flips = head[1] == b"PUT"
                await asyncio.sleep(self._relay.latency)
                while self._relay.holds(head[0]):
                    await asyncio.sleep(0.01)
            if flips and self._relay.flips > 0 and len(data) == CHUNK:
                self._relay.flips, flips = self._relay.flips - 1, False
                data = data[:-1] + bytes([data[-1] ^ 1])
            server.write(data)
            await server.drain()

    def _begins(self, line: bytes) -> None:
        self._relay.requests.append(line.decode().strip())
        self.answered()
        self._waits = True
        self._relay.waits(1)
        for part in self._relay.lost:
            if re.search(part, line):
                self._loses = True
                self._relay.lost.remove(part)
                return

    def answered(self) -> None:
        if self._waits:
            self._waits = False
            self._relay.waits(-1)

    async def down(self, server: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        while self._cut > 0 and (data := await server.read(min(CHUNK, self._cut))):
            self.answered()
            if self._loses:
                return
            self._cut -= len(data)
            self._stall -= len(data)
            if self._stall < 0:
                await asyncio.sleep(3600)
            if self._relay.rate != float("inf"):
                await asyncio.sleep(len(data) / self._relay.rate)
            self._relay.answered += len(data)
            answers.write(data)
            await answers.drain()
