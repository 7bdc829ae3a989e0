"""When and where stages run: Prefect flows over the graph of dvc.yaml. Nothing here knows what a stage computes."""

import os
from pathlib import Path

SETTINGS = {
    "PREFECT_HOME": str(Path.cwd() / ".prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # In memory, a holder that was killed and a server that was started again would keep a GPU slot for good.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
}


def settle() -> None:
    """Keep Prefect's files inside the project, and every tool quiet and at home. A variable that is set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


settle()
