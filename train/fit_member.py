"""`python -m train fit MEMBER --images DIR... --labels CSV`: train one network of a recipe.

`python -m train fit --list` says what can be trained. Everything about a run but its budget stands
in the recipe, so the command is short and the result is reproducible.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: lightning needs torchvision's operators declared

# isort: split
from .age_sex.plans import members
from .command_line import says_problems
from .data.pack import fit_packed
from .fit import Options, fit
from .fit_frozen import fit_grouped
from .fit_hand import fit_hand, fit_hand_further
from .reports.speed import measure_speed


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="python -m train fit", description=__doc__)
    line.add_argument("member", nargs="?", help="the network to train; see --list")
    line.add_argument("--list", action="store_true", help="what can be trained")
    line.add_argument("--images", nargs="+", type=Path, help="folders with <rsna_id>.png or .jpg, at any depth")
    line.add_argument("--labels", type=Path, help="CSV with rsna_id, sex, bone_age_months, split")
    line.add_argument("--scale", default="small", choices=("small", "paper"), help="our settings, or the paper's")
    line.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    line.add_argument("--devices", type=int, default=1, help="processes or GPUs on this machine")
    line.add_argument("--nodes", type=int, default=1, help="machines, each started by torchrun")
    line.add_argument("--minutes", type=float, help="end cleanly inside this time budget")
    line.add_argument("--epochs", type=int, help="instead of the recipe's")
    line.add_argument("--batch-size", type=int, help="pictures a step, instead of the recipe's")
    line.add_argument("--init", help="scratch, imagenet, a member's name or a .safetensors file; else the recipe's")
    line.add_argument(
        "--further", action="store_true", help="go on with the member's own weights, gently: name them with --init"
    )
    line.add_argument("--seed", type=int, help="instead of the recipe's")
    line.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    line.add_argument("--out", type=Path, help="folder of checkpoints and weights (runs/<member>)")
    line.add_argument(
        "--annotations", type=Path, help="folder with hand_keypoints.csv and joint_boxes.csv (for hand and landmarks)"
    )
    line.add_argument("--teacher", type=Path, help="another system's readings: rsna_id and columns ending in _months")
    line.add_argument(
        "--outlines",
        type=Path,
        help="folder of train.hand.cut_outs (for hand that goes on, --init hand, and hand_redraw)",
    )
    line.add_argument("--last-side-only", action="store_true", help="with --outlines: at 512 px only")
    line.add_argument("--speed", action="store_true", help="measure the loader and the training step, and stop")
    line.add_argument("--cache", type=Path, default=Path("cache"), help="folder of decoded pictures")
    line.add_argument("--workers", type=int, help="loader processes; by default by the number of cores")
    return line


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 wrong usage or a problem that is said in one sentence."""
    line = parser()
    args = line.parse_args(arguments)
    if args.list:
        for name, (recipe, member) in members().items():
            plan = member.training
            print(
                f"{name:36} {recipe:20} {member.architecture.backbone} @{member.input.side_px} px, "
                f"{plan.epochs} epochs on {'+'.join(plan.images)}, from {plan.init}"
            )
        return 0
    if args.member not in members():
        line.print_usage(sys.stderr)
        print(f"Give one of: {', '.join(members())}", file=sys.stderr)
        return 1
    if not args.images or not args.labels:
        print("Give --images and --labels; train/README.md says where the data comes from.", file=sys.stderr)
        return 1
    member = members()[args.member][1]
    if args.scale == "paper":
        if member.paper is None:
            print(f"{member.name} is in no paper at this size. --list names the full-size networks.", file=sys.stderr)
            return 1
        own = replace(member.architecture, activation="")  # that with which the published networks learnt
        member = replace(member, training=member.paper, architecture=own)
    if args.further:
        member = replace(member, training=member.training.fine_tuning())
    given = {"epochs": args.epochs, "batch_size": args.batch_size, "init": args.init}
    changes = {k: v for k, v in given.items() if v is not None}
    member = replace(member, training=replace(member.training, **changes))
    cores = os.cpu_count() or 1
    options = Options(
        images=tuple(args.images),
        labels=args.labels,
        out=args.out or Path("runs") / member.name,
        cache=args.cache,
        device=args.device,
        devices=args.devices,
        nodes=args.nodes,
        minutes=args.minutes,
        seed=member.training.seed if args.seed is None else args.seed,
        resume=args.resume,
        annotations=args.annotations,
        teacher=args.teacher,
        outlines=args.outlines,
        last_side_only=args.last_side_only,
        workers=args.workers if args.workers is not None else (0 if cores <= 2 else min(12, cores - 1)),
    )
    if args.speed:
        print(measure_speed(member, options))
    else:
        kind = member.architecture
        of_hand = fit_hand if member.training.init == "scratch" else fit_hand_further
        of_heads = {"grouped": fit_grouped, "joints": fit_packed}
        work = of_hand if kind.task == "hand" else of_heads.get(kind.heads, fit)
        print(work(member, options))
    return 0
