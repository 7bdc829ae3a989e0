"""Prefect's and MLflow's pages on this machine, and a worker: `make ui`, or `python -m flows.ui`. Ctrl-C ends all."""

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import artifacts, server, worker

PREFECT_PORT, MLFLOW_PORT = 4200, 5000
AT_A_TIME = 5  # flow runs of the worker here: a pipeline, and experiments


def main() -> None:
    """Start all three, print their addresses once they answer, wait for Ctrl-C, end them."""
    parser = argparse.ArgumentParser(prog="python -m flows.ui", description=__doc__)
    parser.add_argument("--prefect-port", type=int, default=PREFECT_PORT)
    parser.add_argument("--mlflow-port", type=int, default=MLFLOW_PORT)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        serve(options.prefect_port, options.mlflow_port)
    except KeyboardInterrupt:
        print("ended")
    except server.ServerFailed as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def address(port: int) -> str:
    """Of a server on this machine."""
    return f"http://127.0.0.1:{port}"


def serve(prefect_port: int, mlflow_port: int) -> None:
    """Run both servers and a worker until interrupted; raises ServerFailed if one of them ends by itself."""
    prefect, mlflow = address(prefect_port), address(mlflow_port)
    server.require_free(prefect_port, "--prefect-port")
    server.require_free(mlflow_port, "--mlflow-port")
    print("starting the pages of Prefect and MLflow (half a minute) ...", flush=True)
    with contextlib.ExitStack() as stack:
        servers = [server.prefect(prefect_port)]
        stack.callback(servers[0].end)
        servers.append(server.Server("stages.page", ["--port", str(mlflow_port)], f"{mlflow}/health"))
        stack.callback(servers[1].end)
        for one in servers:
            one.wait()
        with temporary_settings({PREFECT_API_URL: f"{prefect}/api"}):
            worker.mend(Path.cwd())
        told = {"PREFECT_API_URL": f"{prefect}/api", artifacts.MLFLOW_PAGES: mlflow}
        local = worker.Worker("cpu", Path.cwd(), AT_A_TIME, told)
        stack.callback(local.end)
        print(f"Prefect: {prefect}   (PREFECT_API_URL={prefect}/api python -m flows.pipeline shows up as it runs)")
        print(f"MLflow:  {mlflow}\nWorker:  takes runs of the pool cpu; `make schedule` deploys what it can run")
        print("Ctrl-C ends all three.", flush=True)
        while not local.ended.wait(1):
            for one in servers:
                one.require_running()
        raise server.ServerFailed("the worker ended by itself; what it said stands above")


if __name__ == "__main__":
    main()
