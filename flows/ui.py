"""The pages of Prefect and MLflow on this machine: `make ui`, or `python -m flows.ui`. Ctrl-C ends both."""

import argparse
import contextlib
import signal
import time

from flows import server


def main() -> None:
    """Start both servers, print their addresses once they answer, wait for Ctrl-C, end them."""
    parser = argparse.ArgumentParser(prog="python -m flows.ui", description=__doc__)
    parser.add_argument("--prefect-port", type=int, default=4200)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve(options.prefect_port, options.mlflow_port)
    print("ended")


def serve(prefect_port: int, mlflow_port: int) -> None:
    """Run both servers until interrupted; raises ServerFailed if one of them ends by itself."""
    prefect, mlflow = f"http://127.0.0.1:{prefect_port}", f"http://127.0.0.1:{mlflow_port}"
    print("starting the pages of Prefect and MLflow (half a minute) ...", flush=True)
    with contextlib.ExitStack() as stack:
        servers = [server.prefect(prefect_port)]
        stack.callback(servers[0].end)
        servers.append(server.Server("stages.page", ["--port", str(mlflow_port)], f"{mlflow}/health"))
        stack.callback(servers[1].end)
        for one in servers:
            one.wait()
        print(f"Prefect: {prefect}   (PREFECT_API_URL={prefect}/api python -m flows.pipeline shows up as it runs)")
        print(f"MLflow:  {mlflow}\nCtrl-C ends both.", flush=True)
        while True:
            time.sleep(1)
            for one in servers:
                one.require_running()


if __name__ == "__main__":
    main()
