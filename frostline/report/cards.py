"""The models in short: what stands above the pictures."""

from collections.abc import Sequence

from frostline import evaluation
from frostline.evaluation import Bucket, Evaluated, HeldOut, Numbers
from frostline.pages import words
from frostline.pages.parts import Card, Fact
from frostline.report.measures import MEASURES


def summary(evaluated: Sequence[Evaluated], held_out: Sequence[HeldOut]) -> str:
    """What was asked of whom."""
    prompts = " and ".join(f"{len(one.prompts)} captions for {words.of_bucket(one.bucket)}" for one in held_out)
    who = "Every model was" if len(evaluated) > 1 else f"{evaluated[0].name} was"
    return (
        f"{who} asked for {prompts}, taken from the held-out split, and sampled as its contract says. "
        "A picture in the same place grew from the same noise, so what differs is the model alone."
    )


def verdicts(evaluated: Sequence[Evaluated]) -> list[str]:
    """A sentence per student that can be set beside its teacher."""
    by_name = {one.name: one for one in evaluated}
    return [_verdict(one, by_name[one.teacher]) for one in evaluated if one.teacher is not None]


def _verdict(student: Evaluated, teacher: Evaluated) -> str:
    cost, full = (evaluation.evaluations(one.model, one.model.sampled()[1].steps) for one in (student, teacher))
    blocks, all_blocks = (len(one.model.transformer.blocks) for one in (student, teacher))
    sentence = (
        f"{student.name} learned from {teacher.name}: {blocks} blocks for its {all_blocks}, and {cost} network "
        f"evaluations a sample for its {full}."
    )
    shared = [b for b in student.numbers if b in teacher.numbers and "accuracy" in student.numbers[b]]
    if not shared:
        return sentence
    ours, theirs = (one.numbers[shared[0]]["accuracy"] for one in (student, teacher))
    found = f"The judge finds the digit asked for in {ours:.1%} of its {words.in_short(shared[0])}"
    return f"{sentence} {found}, and in {theirs:.1%} of {teacher.name}'s."


def card(one: Evaluated) -> Card:
    """What a model is, costs and reaches."""
    process, sampling = one.model.sampled()
    blocks = len(one.model.transformer.blocks)
    count = sum(parameter.numel() for network in one.model.networks for parameter in network.parameters())
    size = f"{count:,} parameters in {blocks} blocks"
    scales = " and ".join(f"{scale:g}" for scale in sampling.scales)
    guidance = f"guidance {scales} {'folded in' if sampling.guidance_form == 'folded' else 'from outside'}"
    role = f"{size}; {one.model.training.objective.replace('_', ' ')}; {guidance}"
    cost = evaluation.evaluations(one.model, sampling.steps)
    facts = [Fact(f"network evaluations a sample, {sampling.steps} steps of {sampling.sampler}", str(cost), "")]
    for bucket, numbers in one.numbers.items():
        facts += [_fact(numbers, name, bucket) for name in ("accuracy", "direction") if name in numbers]
    return Card(one.name, f"{role}; shift {process.shift:g}", facts)


def _fact(numbers: Numbers, name: str, bucket: Bucket) -> Fact:
    label = f"{MEASURES[name][0]}, {words.in_short(bucket)}"
    return Fact(label, f"{numbers[name]:.1%}", f"{numbers[f'{name}_error']:.1%}")
