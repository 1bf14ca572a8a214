"""`python -m train VERB ...`: every command of training. `python -m train --help` lists the verbs.

A name that is no verb is taken for a network: `python -m train hand ...` is `python -m train fit hand ...`.
"""

from __future__ import annotations

import sys
from importlib import import_module

# verb: the module whose `main` does it, and what it does
VERBS = {
    "fit": ("fit_member", "train one network of a recipe"),
    "cut-outs": ("hand.cut_outs", "hand masks of training radiographs by the served network, for its next training"),
    "hand-store": ("data.hand_store", "the hand masks that later trainings crop by"),
    "pack": ("data.pack", "pack the prepared pictures of one network into one file"),
    "from-pack": ("from_pack", "train from such a file with torch, timm, lightning and numpy alone"),
    "calibrate": ("calibration.calibrate", "interval, bias and sex check of a recipe"),
    "outliers": ("calibration.pose_outliers", "the limits beyond which a pose is refused"),
    "check": ("reports.hand_and_stability", "hand masks, polarity, tilt and stability against annotations"),
    "robustness": ("reports.robustness", "hands made smaller, turned and framed; frames that a person can read"),
    "cuts": ("reports.cuts", "error against what the edge of the picture cuts off"),
    "results": ("reports.components", "a recipe, and the same without each of its parts"),
    "ablation": ("reports.ablation", "short trainings without masks, sex, augmentation"),
    "explanations": ("reports.explanations", "how faithful and stable the explanations are"),
    "altered": ("reports.altered_phantoms", "whether an altered region of a drawn hand is named"),
    "clustering": ("reports.clustering", "clusters of hand masks by Iglovikov's features"),
    "regions": ("reports.iglovikov_models", "errors of the region models of Iglovikov 2018"),
}


def main(arguments: list[str] | None = None) -> int:
    """Hand the command over to its module; 0 done, 1 wrong usage or a problem that is said in one sentence."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        print("\n".join(f"{verb:13} {what}" for verb, (_, what) in VERBS.items()))
        return 0 if given else 1
    verb, rest = (given[0], given[1:]) if given[0] in VERBS else ("fit", given)
    return int(import_module(f".{VERBS[verb][0]}", __package__).main(rest))


if __name__ == "__main__":
    sys.exit(main())
