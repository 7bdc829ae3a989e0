"""Run the stages of a DVC project as Prefect tasks: plan once, then one task and one DVC process per stage.

`dvc repro` gives the same result without Prefect. DVC stays the judge of what runs: Prefect caches nothing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.futures import PrefectFuture

from flows import graph, ordering, running, verify
from flows.running import Step

Work = Callable[[Step], State]


class DvcOrchestrator:
    """Plans and runs one DVC project. Its running processes end with it, and are asked to save when it is stopped."""

    def __init__(
        self,
        root: str | Path = ".",
        place: Callable[[running.Runner, Step], State] | None = None,
        jobs: int = 1,
    ) -> None:
        """``jobs``: stages at a time on this host.

        ``place`` runs the steps that belong on other hosts (flows.placing); None: every step runs here.
        """
        self.root = Path(root).resolve()
        self.runner = running.Runner(self.root, jobs)
        self._place = place

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self.runner.stopped

    def plan(self, target: str | None = None, *, force: bool = False, pull: bool = False) -> tuple[Step, ...]:
        """What has to be done, upstream first; nothing is started but the stages' own ``verify`` commands.

        ``target``: one stage and all that it needs. ``force``: what did not change runs too. ``pull``: what is missing
        here comes from the DVC remote. Raises WrongUse for a project that could not be run to its end.
        """
        stages = graph.read(self.root, target, pull=pull)
        return tuple(self._step(stage, force=force, pull=pull) for stage in stages)

    def run(self, plan: Sequence[Step]) -> dict[str, State]:
        """Run a plan inside a flow and wait for its end: the final state of every stage's task.

        Completed ("Cached" if unchanged, "Restored" if DVC had the result), Failed, or NotReady when something
        upstream failed. SIGTERM and Ctrl-C reach the stages, which save their work.
        """
        futures: dict[str, PrefectFuture[State]] = {}
        ordering.begin(self.root)
        with self.runner.signals_forwarded():
            for step in plan:
                upstream = [futures[address] for address in step.stage.upstream]
                futures[step.stage.address] = self._task(step, upstream)
            for future in futures.values():
                future.wait()
        states = {address: future.state for address, future in futures.items()}
        ordering.end(self.root, list(futures))
        create_markdown_artifact(key="stages", markdown=summary(plan, states), description="what each stage did")
        return states

    def stop(self) -> None:
        """Ask every running stage to save and end; nothing new is started."""
        self.runner.stop()

    def _step(self, stage: graph.Stage, *, force: bool, pull: bool) -> Step:
        if force:
            return Step(stage=stage, run=True, force=True, reason="forced")
        if stage.changed:
            return Step(stage=stage, run=True, pull=pull, reason="changed, or something upstream of it")
        if not verify.stands(stage, self.root):
            return Step(stage=stage, run=True, force=True, reason="what it made outside DVC is gone")
        return Step(stage=stage, run=False, reason="unchanged since dvc.lock")

    def _task(self, step: Step, upstream: list[PrefectFuture[State]]) -> PrefectFuture[State]:
        elsewhere = self._place is not None and step.run and step.stage.hints.pool is not None

        @task(
            name=step.stage.address,
            task_run_name=step.stage.address,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=step.stage.hints.retries,
            retry_delay_seconds=1,
            # A stage that ends because the flow ends has not failed: once more would hold the end up.
            retry_condition_fn=lambda *_: not self.stopped,
        )
        def stage() -> State:
            if self._place is not None and elsewhere:
                return self._place(self.runner, step)
            return self.runner.run(step)

        return stage.submit(return_state=False, wait_for=upstream)


def summary(plan: Sequence[Step], states: dict[str, State]) -> str:
    """A markdown table: stage, state, reason."""
    rows = [f"| {step.stage.address} | {states[step.stage.address].name} | {step.reason} |" for step in plan]
    return "\n".join(["| stage | state | why |", "|---|---|---|", *rows])
