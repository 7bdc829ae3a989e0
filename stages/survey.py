"""survey: what the sources hold, what stands out, what was left out and what it will cost, as one page."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stages

if TYPE_CHECKING:
    from frostline.codec import Codec


def main() -> None:
    """Read manifests, contact sheets, params and the base's configuration; write the page and its numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--manifests", type=Path, required=True)
    parser.add_argument("--sheets", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True, help="folder of index.html and data.json")
    args = parser.parse_args()

    from frostline import codec as codecs
    from frostline import params, survey, workspace

    settings = params.load(args.params)
    codec = codecs.of_params(settings)
    sources = survey.read(list(settings.sources), args.manifests, args.sheets)
    found = survey.survey(sources, settings, codec.latent_space, lambda captions: _tokens(codec, captions))
    page, numbers = survey.render(survey.compose(found)), survey.numbers(found)
    with workspace.lock(args.page):
        _write(args.page, page, numbers)
    for finding in found.findings:
        print(f"{'mend' if finding.weight == 'wrong' else 'look'}: {finding.subject}: {finding.text}")
    print(f"look at {args.page / 'index.html'}")


def _write(folder: Path, page: str, numbers: dict[str, Any]) -> None:
    """Both files, or neither of them."""
    from frostline import files

    with files.replacing(folder / "index.html") as first, files.replacing(folder / "data.json") as second:
        files.write_text(first, page)
        files.write_json(second, numbers)


def _tokens(codec: "Codec", captions: Sequence[str]) -> list[int]:
    """How many tokens each caption has, however many a transformer sees."""
    from frostline import codec as codecs

    cleaned = [codecs.clean(caption) for caption in captions]
    return [len(ids) for ids in codec.tokenizer(cleaned, verbose=False)["input_ids"]]


if __name__ == "__main__":
    stages.run(main)
