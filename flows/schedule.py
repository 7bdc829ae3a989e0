"""Put the deployments of prefect.yaml on a Prefect server: `make schedule`, or `python -m flows.schedule`.

The work pools, the limit that counts GPUs, and the rules that end lost runs and tell failures are made with them. What
is there already is brought up to date; nothing is started.
"""

import argparse
import contextlib
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events import EventTrigger
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import Posture
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from pydantic import SecretStr

from flows import devices, process, server, ui, worker
from flows.errors import WrongUse

POOLS = ("cpu", "gpu")
LOST, FAILED = "frostline: lost runs", "frostline: failures"  # names of automations
SILENCE = timedelta(seconds=4 * worker.HEARTBEAT)  # after which a run is lost
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
BLOCK = "frostline-failures"
TOLD = (
    '{"flow_run": "{{ flow_run.name }}", "state": "{{ flow_run.state.name }}", '
    '"message": "{{ flow_run.state.message }}"}'
)


def main() -> None:
    """Deploy to the server of PREFECT_API_URL, or that of `make ui`."""
    parser = argparse.ArgumentParser(prog="python -m flows.schedule", description=__doc__)
    parser.add_argument("--gpus", type=int, help="slots of the limit that counts GPUs (default: those here, or 1)")
    parser.add_argument("--notify", metavar="URL", help="where a POST goes when a flow run fails or crashes")
    options = parser.parse_args()
    address = get_current_settings().api.url or f"{ui.address(ui.PREFECT_PORT)}/api"
    try:
        with temporary_settings({PREFECT_API_URL: address}):
            server.require_answering()
            deploy(address, options.gpus or max(1, len(devices.present())), options.notify)
    except WrongUse as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def deploy(address: str, gpus: int, notify: str | None) -> None:
    """Pools, limit, deployments, rules."""
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            with contextlib.suppress(ObjectAlreadyExists):  # a worker that starts makes its pool, too
                client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    server.make_gpu_limit(gpus)
    words = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        words, env={**process.environment(), "PREFECT_API_URL": address}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WrongUse(
            f"prefect deploy --all in {Path.cwd()} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    _rules(notify)
    print(f"deployed to {address}: {', '.join(_names())}; {gpus} GPU slots")
    print(f"see {address.removesuffix('/api')}/deployments")


def _names() -> list[str]:
    with get_client(sync_client=True) as client:
        return sorted(one.name for one in client.read_deployments())


def _rules(notify: str | None) -> None:
    """A run whose heartbeat stops is lost; failures are told to an address, if one is named."""
    lost = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in ENDS)},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=SILENCE,
    )
    crash = ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message="its worker was lost", force=True)
    _put(Automation(name=LOST, description="a flow run whose heartbeat stops", trigger=lost, actions=[crash]))
    if notify is None:
        return
    block: Any = Webhook(url=SecretStr(notify)).save(BLOCK, overwrite=True)
    failed = EventTrigger(
        posture=Posture.Reactive,
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        threshold=1,
        within=timedelta(0),
    )
    call = CallWebhook(block_document_id=block, payload=TOLD)
    _put(Automation(name=FAILED, description=f"told to {notify}", trigger=failed, actions=[call]))


def _put(automation: Automation) -> None:
    """Make it, in the place of one of the same name."""
    with get_client(sync_client=True) as client:
        for known in client.read_automations_by_name(automation.name):
            client.delete_automation(known.id)
    automation.create()


if __name__ == "__main__":
    main()
