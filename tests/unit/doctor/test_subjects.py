"""A target as a network that can be asked."""

import itertools

import torch

from frostline import models, path, schedule, transformer
from frostline.doctor import of_samples, readings, subjects
from frostline.wan import loading

FEW = {
    "sampler": "flow_map",
    "rounds_timesteps": False,
    "steps": 2,
    "shift": 3.0,
    "guidance_form": "folded",
    "sigmas": schedule.grid(2, 3.0)[:-1].tolist(),
}


def test_a_flow_map_is_asked_with_the_end_its_sampler_goes_to(make_model, tmp_path):
    model = models.load(make_model(tmp_path / "few", sampling=FEW))
    process, record = model.sampled()
    subject = subjects.open_(str(model.folder))
    assert subject.parts[0].audit == loading.Audit(missing=[], unexpected=[], mismatched=[])
    noise, text = torch.randn(2, 16, 2, 4, 4), torch.randn(2, 12, subject.parts[0].config["text_dim"])
    reading = readings.declared(process)
    made = of_samples.draw(subject, reading, text, noise, None, record)

    asked, noised = transformer.flow_map_fn(model.transformer, text, process), noise
    sigmas = schedule.grid(2, 3.0)
    with torch.inference_mode():
        for here, there in itertools.pairwise(sigmas):
            noised = path.moved(noised, asked(noised, here.expand(2), there.expand(2)), here, there)
        own = asked(noise, torch.tensor([0.5, 0.5]).double())
    torch.testing.assert_close(made, noised, atol=1e-3, rtol=1e-3)
    sigma = torch.tensor([0.5, 0.5]).double()
    torch.testing.assert_close(reading.velocity_fn(subject.ask, text)(noise, sigma), own, atol=1e-4, rtol=1e-4)
