"""From noise to clean latents: samplers, each built from a ``contract.Sampling`` and from nothing else.

Legend
    network    what the sampler asks: a VelocityFn, or for the kind "flow_map" a FlowMapFn
    noise      standard normal (B, ...), float32 in production
    sigmas     (steps + 1,) float64, falling from the noise to 0: where the latents are
    told       (steps,) float64: what the network is told, the same or floored to whole timesteps
    generator  source of fresh noise, used by the kind "renoise" only

Kinds
    unipc      UniPC (Zhao et al., arXiv:2302.04867) as diffusers implements it, with flow prediction and flow sigmas
    wan_unipc  the same on the grid of Wan-AI's own code, .001 of u below that of diffusers
    euler      first-order steps along the velocity (Liu et al., arXiv:2209.03003)
    renoise    jump to clean, add fresh noise (multistep consistency sampling: Song et al., arXiv:2303.01469, alg. 1)
    flow_map   jumps along the mean velocity (Boffi et al., arXiv:2406.07507; Geng et al., arXiv:2505.13447)
"""

import abc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from frostline import contract, path, schedule
from frostline.errors import Refused, WrongUse

Network = Callable[..., Tensor]
Generators = torch.Generator | Sequence[torch.Generator]

SAME_SIGMA = 1e-6


@dataclass(frozen=True, kw_only=True)
class Sampler(abc.ABC):
    """One way from noise to clean latents."""

    record: contract.Sampling

    def sample(
        self,
        velocity_fn: Network,
        noise: Tensor,
        *,
        steps: int | None = None,
        shift: float | None = None,
        generator: Generators | None = None,
    ) -> Tensor:
        """Clean latents of the shape of ``noise``; steps and shift are the contract's where not given.

        ``generator`` is one for the whole batch or one per row. What the contract forbids is refused by
        ``refuse_forbidden``, which whoever takes wishes from a user calls first; checks may ask for more steps.
        """
        steps, shift = settled(self.record, steps=steps, shift=shift)
        return self._run(velocity_fn, noise, steps, shift, generator)

    @abc.abstractmethod
    def sigmas(self, steps: int, shift: float) -> Tensor:
        """Where the latents are before each step and after the last (steps + 1,)."""

    def told(self, steps: int, shift: float) -> Tensor:
        """What the network is told at each step (steps,)."""
        return self._heard(self.sigmas(steps, shift)[:-1])

    @abc.abstractmethod
    def _run(
        self, network: Network, noise: Tensor, steps: int, shift: float, generator: Generators | None, /
    ) -> Tensor: ...

    def _heard(self, sigmas: Tensor) -> Tensor:
        return schedule.floored(sigmas) if self.record.rounds_timesteps else sigmas


@final
class UniPC(Sampler):
    """diffusers' UniPC on its own grid; equals the loop of the stock Wan pipeline."""

    def sigmas(self, steps: int, shift: float) -> Tensor:
        """The grid of diffusers' ``set_timesteps(steps)``, before it is rounded to float32."""
        return schedule.unipc_grid(steps, shift)

    def _run(
        self, network: Network, noise: Tensor, steps: int, shift: float, _generator: Generators | None, /
    ) -> Tensor:
        scheduler = unipc_scheduler(solver_order=self.record.solver_order, shift=shift)
        scheduler.set_timesteps(steps)
        return _solved(scheduler, network, noise, self.told(steps, shift))


@final
class WanUniPC(Sampler):
    """diffusers' UniPC on the grid of the code that Wan-AI published; the stock pipeline visits another."""

    def sigmas(self, steps: int, shift: float) -> Tensor:
        """The published grid, before it is rounded to float32."""
        return schedule.published_grid(steps, shift)

    def _run(
        self, network: Network, noise: Tensor, steps: int, shift: float, _generator: Generators | None, /
    ) -> Tensor:
        sigmas = self.sigmas(steps, shift)
        scheduler = unipc_scheduler(solver_order=self.record.solver_order, shift=1.0)  # they are shifted already
        scheduler.set_timesteps(sigmas=sigmas[:-1].numpy())
        return _solved(scheduler, network, noise, self.told(steps, shift))


@final
class Euler(Sampler):
    """First-order steps along the velocity."""

    def sigmas(self, steps: int, shift: float) -> Tensor:
        """Equal steps in u, shifted."""
        return schedule.grid(steps, shift)

    def _run(
        self, network: Network, noise: Tensor, steps: int, shift: float, _generator: Generators | None, /
    ) -> Tensor:
        noised, sigmas = noise, self.sigmas(steps, shift)
        for told, here, there in zip(self.told(steps, shift), sigmas[:-1], sigmas[1:], strict=True):
            velocity = network(noised, _rows(told, noised))
            noised = path.moved(noised, velocity, here, there)
        return noised


@final
class Renoise(Sampler):
    """Jump to clean, add fresh noise of the next sigma, jump again."""

    def sigmas(self, steps: int, shift: float) -> Tensor:
        """The trained list where the contract holds one, else equal steps in u, shifted."""
        return _trained_sigmas(self.record, steps, shift)

    def _run(
        self, network: Network, noise: Tensor, steps: int, shift: float, generator: Generators | None, /
    ) -> Tensor:
        noised, sigmas = noise, self.sigmas(steps, shift)
        clean = noise
        for i, told in enumerate(self.told(steps, shift)):
            if i > 0:
                noised = path.noised(clean, _fresh(noise, generator), sigmas[i])
            clean = path.clean(noised, network(noised, _rows(told, noised)), sigmas[i])
        return clean


@final
class FlowMap(Sampler):
    """Jumps along the mean velocity between two sigmas; exact in any number of steps for an exact flow map."""

    def sigmas(self, steps: int, shift: float) -> Tensor:
        """The trained list where the contract holds one, else equal steps in u, shifted."""
        return _trained_sigmas(self.record, steps, shift)

    def _run(
        self, network: Network, noise: Tensor, steps: int, shift: float, _generator: Generators | None, /
    ) -> Tensor:
        noised, sigmas = noise, self.sigmas(steps, shift)
        told = self._heard(sigmas)
        for i in range(steps):
            velocity = network(noised, _rows(told[i], noised), _rows(told[i + 1], noised))
            noised = path.moved(noised, velocity, sigmas[i], sigmas[i + 1])
        return noised


KINDS: dict[str, type[Sampler]] = {
    "unipc": UniPC,
    "wan_unipc": WanUniPC,
    "euler": Euler,
    "renoise": Renoise,
    "flow_map": FlowMap,
}


def sampler(record: contract.Sampling) -> Sampler:
    """The sampler a contract describes; raises Refused if that sampler cannot visit the trained sigmas."""
    made = KINDS[record.sampler](record=record)
    _require_trained_sigmas(made)
    return made


def settled(record: contract.Sampling, *, steps: int | None, shift: float | None) -> tuple[int, float]:
    """Steps and shift, each the contract's where not given."""
    return record.steps if steps is None else steps, record.shift if shift is None else shift


def refuse_forbidden(
    record: contract.Sampling,
    *,
    steps: int | None = None,
    shift: float | None = None,
    guidance: float | None = None,
    guidance_low: float | None = None,
) -> None:
    """Raise Refused, with the reason and the allowed values, if a wish is one the contract forbids.

    None means "as the contract says". A model with guidance folded in is sampled at guidance 1 only.
    """
    folded = record.guidance_form == "folded"
    if guidance_low is not None and (folded or record.guidance_low is None):
        raise Refused(
            f"guidance {guidance_low:g} of a low-noise expert: this model is one network, there is no such expert; "
            "leave it out"
        )
    steps, shift = settled(record, steps=steps, shift=shift)
    if record.allowed_steps is not None and steps not in record.allowed_steps:
        raise Refused(
            f"steps {steps}: this model was trained for {_words(record.allowed_steps)} steps only; ask for those"
        )
    if record.allowed_shifts is not None and shift not in record.allowed_shifts:
        raise Refused(
            f"shift {shift:g}: this model was trained for shift {_words(record.allowed_shifts)} only; ask for that"
        )
    if record.sigmas is not None and shift != record.shift:
        raise Refused(f"shift {shift:g}: this model's sigmas were listed at shift {record.shift:g}; ask for that")
    if folded and guidance not in (None, 1.0):
        raise Refused(
            f"guidance {guidance:g}: guidance is folded into this model's weights and would be applied twice; "
            "ask for 1, or leave it out"
        )


def stock_scheduler(record: contract.Sampling) -> Any | None:
    """The diffusers scheduler with which the stock Wan pipeline samples as the contract says; None where none does.

    That of a flow map is for the stock AnyFlow pipeline. diffusers' Euler shifts twice in ``set_timesteps``, and the
    pipeline hands no list of sigmas to any scheduler.
    """
    if record.sampler == "flow_map" and not record.rounds_timesteps:
        return _flow_map_scheduler(record.shift)
    if record.sampler != "unipc" or not record.rounds_timesteps:
        return None
    return unipc_scheduler(solver_order=record.solver_order, shift=record.shift)


def unipc_scheduler(*, solver_order: int, shift: float) -> Any:
    """UniPC of diffusers with flow prediction and flow sigmas, as it stands in a Wan pipeline's scheduler folder."""
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    return UniPCMultistepScheduler(
        num_train_timesteps=int(path.TIMESTEP_SCALE),
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,
        solver_order=solver_order,
    )


def _flow_map_scheduler(shift: float) -> Any:
    """Diffusers' steps between two sigmas, equal in u, shifted."""
    from diffusers.schedulers.scheduling_flow_map_euler_discrete import FlowMapEulerDiscreteScheduler

    return FlowMapEulerDiscreteScheduler(num_train_timesteps=int(path.TIMESTEP_SCALE), shift=shift)


def followed(velocity_fn: Network, noise: Tensor, sigmas: Tensor) -> Iterator[Tensor]:
    """Where a velocity leads noise: the latents at each of falling sigmas (steps + 1,) after the first, by UniPC."""
    scheduler = unipc_scheduler(solver_order=2, shift=1.0)  # the sigmas are as they are
    scheduler.set_timesteps(sigmas=sigmas[:-1].numpy())
    return _steps(scheduler, velocity_fn, noise, sigmas[:-1])


def _solved(scheduler: Any, network: Network, noise: Tensor, told: Tensor) -> Tensor:
    """What a scheduler of diffusers that has its timesteps makes of noise, the network told a sigma each step."""
    *_, last = _steps(scheduler, network, noise, told)
    return last


def _steps(scheduler: Any, network: Network, noised: Tensor, told: Tensor) -> Iterator[Tensor]:
    """The latents after each step of it."""
    scheduler.set_begin_index(0)  # else the first of two equal timesteps is skipped
    for timestep, sigma in zip(scheduler.timesteps, told, strict=True):
        velocity = network(noised, _rows(sigma, noised)).to(noised.dtype)
        noised = scheduler.step(velocity, timestep, noised, return_dict=False)[0]
        yield noised


def _rows(sigma: Tensor, noised: Tensor) -> Tensor:
    """One sigma for every row (B,) float64, where the latents are."""
    return sigma.to(noised.device).expand(noised.shape[0])


def _fresh(noise: Tensor, generator: Generators | None) -> Tensor:
    """Standard normal numbers like ``noise``: from one generator, or row by row from one each."""
    if generator is None:
        raise WrongUse("the sampler 'renoise' adds fresh noise: give it a generator, or one per row")
    if isinstance(generator, torch.Generator):
        return torch.randn(noise.shape, generator=generator, dtype=noise.dtype, device=noise.device)
    if len(generator) != noise.shape[0]:
        raise WrongUse(f"{len(generator)} generators for {noise.shape[0]} rows: give one per row")
    rows = [torch.randn(noise.shape[1:], generator=g, dtype=noise.dtype, device=noise.device) for g in generator]
    return torch.stack(rows)


def _trained_sigmas(record: contract.Sampling, steps: int, shift: float) -> Tensor:
    """The contract's list, or every second, third, ... of it, with the final 0; without a list the plain grid."""
    if record.sigmas is None:
        return schedule.grid(steps, shift)
    if shift != record.shift or steps < 1 or len(record.sigmas) % steps:
        raise Refused(
            f"{steps} steps at shift {shift:g}: this model was trained at {len(record.sigmas)} sigmas listed at shift "
            f"{record.shift:g}; ask for that shift and a number of steps that divides {len(record.sigmas)}"
        )
    chosen = record.sigmas[:: len(record.sigmas) // steps]
    return torch.tensor([*chosen, 0.0], dtype=torch.float64)


def _require_trained_sigmas(made: Sampler) -> None:
    """Raise Refused unless a trained list falls from at most 1 to above 0 and is what the sampler visits."""
    listed = made.record.sigmas
    if listed is None:
        return
    if not all(a > b for a, b in zip((1.0 + SAME_SIGMA, *listed), (*listed, 0.0), strict=True)):
        raise Refused(
            f"the contract's sigmas {_words(listed)} must fall from at most 1 and stay above 0, without a final 0"
        )
    visited = made.sigmas(made.record.steps, made.record.shift)[:-1].tolist()
    if isinstance(made, (UniPC, WanUniPC, Euler)) and not _alike(listed, visited):
        raise Refused(
            f"the contract lists the sigmas {_words(listed)}, but the sampler '{made.record.sampler}' at "
            f"{made.record.steps} steps and shift {made.record.shift:g} visits {_words(visited)}: "
            "name the sampler the model was trained for"
        )


def _alike(listed: Sequence[float], visited: Sequence[float]) -> bool:
    """Whether two lists of sigmas are one, up to the stock start just below 1."""
    same_length = len(listed) == len(visited)
    return same_length and all(abs(a - b) <= 2 * SAME_SIGMA for a, b in zip(listed, visited, strict=True))


def _words(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
