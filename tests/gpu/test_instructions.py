"""Instructions of the real step kernels for a weight: what was recorded, and 10 % more at most."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNTING = runpy.run_path(str(ROOT / "cuda" / "csrc" / "gpu" / "instructions.py"))
RECORD = json.loads((ROOT / "cuda" / "benchmarks" / "instructions.json").read_text())
CHOSEN = [name for name in RECORD["instructions_a_weight"] if name.startswith("dst_momentum_trits")]

LISTING = """
	.section	.text.qt_step_dst_sgd_trits_bfloat16,"ax",@progbits
.L_x_0:
        /*0000*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0010*/              @!P0 BRA `(.L_x_1) ;
        /*0020*/                   CALL.REL.NOINC `(slow) ;
        /*0030*/                   LDG.E.U8 R9, desc[UR4][R2.64] ;
.L_x_1:
        /*0040*/                   LDG.E.U16 R8, desc[UR4][R6.64] ;
        /*0050*/               @P1 BRA `(.L_x_2) ;
        /*0060*/                   FADD R1, R1, R1 ;
.L_x_2:
        /*0070*/                   STG.E.U16 desc[UR4][R6.64], R8 ;
        /*0080*/              @!P2 BRA `(.L_x_0) ;
        /*0090*/                   EXIT ;
"""


def test_the_shortest_way_leaves_out_what_is_rare():
    assert COUNTING["shortest_way"](LISTING, "dst_sgd_trits_bfloat16") == 6
    wider = LISTING.replace("LDG.E.U16", "LDG.E.64")
    assert COUNTING["shortest_way"](wider, "dst_sgd_trits_bfloat16") is None


@pytest.mark.parametrize("kernel", CHOSEN)
def test_no_more_instructions_than_recorded(kernel):
    nvcc, nvdisasm = shutil.which("nvcc"), COUNTING["find_nvdisasm"]()
    if nvcc is None or nvdisasm is None:
        pytest.skip("needs nvcc and nvdisasm (nvidia-cuda-nvdisasm)")
    found = COUNTING["count"](kernel, RECORD["machine"], nvcc, nvdisasm)
    assert found <= 1.1 * RECORD["instructions_a_weight"][kernel]
    assert found <= (100 if "_int8" in kernel else 90)
