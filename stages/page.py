"""page: MLflow's own pages over the registry in mlruns/, on this machine only, until it is stopped."""

import argparse
import os
import sys
from pathlib import Path

import stages


def main() -> None:
    """Become MLflow's server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, default=Path("mlruns"))
    parser.add_argument("--port", type=int, default=5000)
    args = parser.parse_args()

    from frostline import tracking

    uri = tracking.open_store(args.registry).uri
    # Jobs are MLflow's scheduler of evaluations: processes that nothing here needs.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(args.port), "--workers", "1"]
    os.execv(sys.executable, command)  # noqa: S606 (a list, no shell)


if __name__ == "__main__":
    stages.run(main)
