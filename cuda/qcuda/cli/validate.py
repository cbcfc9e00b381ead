"""`qtheory validate`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from qcuda.cli.common import check_writable, common, function
from qcuda.errors import InputError

SUMMARY = "prove kernels against reference and law"


def parser() -> ArgumentParser:
    """Its options."""
    made = common("Prove the kernels of a device against reference and law.")
    add = made.add_argument
    add("--device", type=str, default="auto", help="auto, cpu or cuda; auto is all there are")
    add("--stem", type=str, nargs="+", default=[], help="algorithms to judge; default all")
    add("--deep", action="store_true", help="find a bias of 1e-4, not 1e-3; minutes, not seconds")
    add("--op", type=str | None, default=None, help="test a torch function, given as module:name")
    add("--claims", type=str | None, default=None, help="the stem that --op claims to be")
    add(
        "--calibrate",
        type=int | None,
        default=None,
        help="measure both error rates, so often",
    )
    add("--seed", type=int | None, default=None, help="64 bits; default fresh ones")
    add("--draws", type=int, default=4_000_000, help="decisions to compare, for each rule")
    return made


def run(options: Namespace) -> int:
    """Run it; returns the exit status."""
    check_writable(options.json)
    try:
        if options.calibrate is not None:
            return function("qcuda.validate.calibrate", "calibrate")(
                options.calibrate, json=options.json, seed=options.seed, deep=options.deep
            )
        return function("qcuda.validate", "validate")(
            device=options.device,
            draws=options.draws,
            json=options.json,
            stems=options.stem,
            deep=options.deep,
            op=options.op,
            claims=options.claims,
            seed=options.seed,
        )
    except ValueError as error:
        raise InputError(str(error)) from None
