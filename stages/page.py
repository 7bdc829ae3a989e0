"""page: MLflow's own pages over the registry in mlruns/, on this machine only, until it is stopped."""

import argparse
import os
import sys
from pathlib import Path

import stages


def main() -> None:
    """Become MLflow's server; or, with --runs, say where in its pages the runs of a registration are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, default=Path("mlruns"))
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--runs", type=Path, metavar="REPORT", help="of `register`: print where its runs are, and end")
    args = parser.parse_args()

    from frostline import files, tracking

    if args.runs:
        store = tracking.existing_store(args.registry)
        for name, facts in files.read_json(args.runs).items():
            version = tracking.lookup(store, f"models:/{name}@{facts['alias']}")
            run = store.client.get_run(str(version.run_id)).info
            print(f"{name} #/experiments/{run.experiment_id}/runs/{run.run_id}")
        return
    uri = tracking.open_store(args.registry).uri
    # Jobs are MLflow's scheduler of evaluations: processes that nothing here needs.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(args.port), "--workers", "1"]
    os.execv(sys.executable, command)  # noqa: S606 (a list, no shell)


if __name__ == "__main__":
    stages.run(main)
