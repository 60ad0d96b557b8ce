"""`make quality`: the errors of cut-outs on the truth set, beside rembg's on the same weights.

`python -m tests.ml.truth --quick` measures one composite of each category, without rembg, for development.
The full run writes the table of docs/quality.md.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.ml.truth.composites import composites
from tests.ml.truth.cutters import Cutter, Rembg, ours
from tests.ml.truth.metrics import Errors, errors
from tests.ml.truth.page import write_part
from tests.ml.truth.recipes import CATEGORIES, RECIPES, Recipe

_MEASURES = {
    "SAD": ("sad", "thousands a megapixel"),
    "MSE": ("mse", "thousandths"),
    "Gradient": ("gradient", "thousands a megapixel"),
    "Foreground colour": ("color", "levels of 255"),
}
_CONFIDENCES = (0.0, 0.4, 0.6, 0.8, 1.01)
_GOOD_IOU = 0.9
# rembg's alpha matting solves for every pixel at once, which takes minutes and gigabytes beyond this.
_MATTING_MEGAPIXELS = 1.0


@dataclass(frozen=True)
class Measured:
    recipe: Recipe
    errors: Errors
    seconds: float
    confidence: float | None = None


def measure(
    cutters: dict[str, Cutter], recipes: Sequence[Recipe], limits: Mapping[str, float] | None = None
) -> dict[str, list[Measured]]:
    """Each cutter's errors; `limits` are the largest megapixels of cutters that take minutes beyond."""
    measured: dict[str, list[Measured]] = {name: [] for name in cutters}
    for composite in composites(tuple(recipes)):
        line = f"{composite.recipe.category:22}{composite.recipe.name:16}"
        for name, cut in cutters.items():
            if float(composite.recipe.megapixels) > (limits or {}).get(name, math.inf):
                continue
            start = time.perf_counter()
            cutout = cut(composite.picture)
            seconds = time.perf_counter() - start
            found = errors(composite.alpha, composite.foreground, cutout.pixels)
            measured[name].append(Measured(composite.recipe, found, seconds, cutout.confidence))
            line += f"  {name}: SAD {found.sad:6.1f}, {seconds:5.1f} s"
        print(line, flush=True)
    return measured


def tables(measured: dict[str, list[Measured]]) -> str:
    """Markdown. Rows of categories count only the pictures that every cutter was measured on."""
    names = list(measured)
    shared = set.intersection(*({one.recipe for one in measured[name]} for name in names))
    total = max(len(measured[name]) for name in names)
    groups = {name: {one for one in shared if one.category == name} for name in CATEGORIES}
    groups[f"these {len(shared)}"] = shared
    if len(shared) < total:
        groups[f"the {total - len(shared)} larger ones"] = set(RECIPES) - shared
    parts = []
    for title, (measure_name, unit) in _MEASURES.items():
        rows = [f"| {title} ({unit}) | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for group, recipes in groups.items():
            cells = [
                _mean([one for one in measured[name] if one.recipe in recipes], measure_name)
                for name in names
            ]
            if any(cells):
                rows.append(f"| {group} | " + " | ".join(cells) + " |")
        parts.append("\n".join(rows))
    found = [sum(one.errors.is_found for one in measured[name] if one.recipe in shared) for name in names]
    seconds = [_seconds(measured[name]) for name in names]
    parts.append(
        "\n".join(
            [
                "| | " + " | ".join(names) + " |",
                "|---" * (len(names) + 1) + "|",
                f"| objects found (IoU above 0.5), of {len(shared)} | " + " | ".join(map(str, found)) + " |",
                "| median seconds at 1 MP | " + " | ".join(seconds) + " |",
            ]
        )
    )
    parts.extend(_confidence(name, measured[name]) for name in names)
    return "\n\n".join(part for part in parts if part) + "\n"


def _confidence(name: str, measured: Sequence[Measured]) -> str:
    """How well sorting by confidence separates good cut-outs from bad ones; empty without confidences."""
    known = [(one.confidence, one.errors.iou) for one in measured if one.confidence is not None]
    if not known:
        return ""
    rows = [f"| Confidence of {name} | cut-outs | mean IoU | IoU below {_GOOD_IOU:g} |", "|---|---|---|---|"]
    for low, high in pairwise(_CONFIDENCES):
        ious = [iou for confidence, iou in known if low <= confidence < high]
        if ious:
            title = f"{low:g} to {min(high, 1):g}"
            bad = sum(iou < _GOOD_IOU for iou in ious)
            rows.append(f"| {title} | {len(ious)} | {sum(ious) / len(ious):.2f} | {bad} |")
    return "\n".join(rows)


def _mean(measured: Sequence[Measured], measure_name: str) -> str:
    values = [getattr(one.errors, measure_name) for one in measured]
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.2f}" if known else ""


def _seconds(measured: Sequence[Measured]) -> str:
    seconds = sorted(one.seconds for one in measured if one.recipe.megapixels == "1")
    return f"{seconds[len(seconds) // 2]:.1f}" if seconds else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ml.truth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one composite of each category, without rembg")
    parser.add_argument("--category", choices=CATEGORIES, help="only this one; the page is not written")
    parser.add_argument("--all-sizes", action="store_true", help="alpha matting of the larger pictures too")
    chosen = parser.parse_args()
    recipes = [one for one in RECIPES if chosen.category in (None, one.category)]
    if chosen.quick:
        recipes = [next(one for one in recipes if one.category == category) for category in CATEGORIES]
        print(tables(measure({"bgeraser": ours}, recipes)))
        return
    rembg, matting = Rembg(), "rembg, alpha matting"
    cutters: dict[str, Cutter] = {
        "bgeraser": ours,
        "rembg": rembg.plain,
        matting: rembg.with_matting,
    }
    limits = {} if chosen.all_sizes else {matting: _MATTING_MEGAPIXELS}
    text = tables(measure(cutters, recipes, limits))
    print(text)
    if chosen.category is None:
        write_part("cut-outs", text)


if __name__ == "__main__":
    main()
