"""Mistakes in the Python around the kernels, in the plain reference and in the laws, as data.

Each is made in a copy of the packages, which the checks of package_checks.py then import.
"""

from __future__ import annotations

from catalogue import Mutant

OPTIMIZER, OPS, STORAGE = "cuda/qcuda/optimizer.py", "cuda/qcuda/ops.py", "cuda/qcuda/storage.py"
NN, WORDS = "cuda/qcuda/nn.py", "cuda/qcuda/_words.py"
SCALARS, LAW = "qtheory/optimisers.py", "qtheory/algorithms"
PLAIN = "reference/qreference"

MUTANTS = [
    # The optimiser of torch
    Mutant("tensors numbered in each launch", OPTIMIZER, "[places[id(s)] for s in slots]",
           "list(range(len(slots)))"),
    Mutant("iteration stands still", OPTIMIZER, 'group["iteration"] += 1',
           'group["iteration"] = 1'),
    Mutant("iteration of the first group", OPTIMIZER, 'torch.tensor([group["iteration"]]',
           'torch.tensor([self.param_groups[0]["iteration"]]'),
    Mutant("Adam counts from 2", OPTIMIZER, "base.scalars(iteration + 1)",
           "base.scalars(iteration + 2)"),
    Mutant("seed forgotten", OPTIMIZER, "seed if seed < 2**63 else seed - 2**64", "0"),
    Mutant("gradients through half precision", OPTIMIZER, "slot.grad.contiguous()",
           "slot.grad.half().to(slot.grad.dtype).contiguous()"),
    Mutant("moments forgotten", OPTIMIZER, "if name not in self.state[slot]:", "if True:"),
    Mutant("counters at other slots", OPTIMIZER, "where = torch.tensor(places)",
           "where = torch.arange(len(places))"),
    Mutant("knobs of groups ignored", OPTIMIZER,
           "spec = dataclasses.replace(self.spec, **knobs)", "spec = self.spec"),
    Mutant("learning rate of the first group", OPTIMIZER,
           "base = _base_of(self.base, group)\n        knobs",
           "base = _base_of(self.base, self.param_groups[0])\n        knobs"),
    Mutant("bfloat16 moments widened on resuming", OPTIMIZER,
           "self.state[param][name] = value.detach().clone().to(device)",
           "self.state[param][name] = value.detach().clone().to(device).float()"),
    Mutant("stale iteration after resuming", OPTIMIZER, "super().load_state_dict(state_dict)",
           "kept = [g['iteration'] for g in self.param_groups]\n"
           "        super().load_state_dict(state_dict)\n"
           "        for g, k in zip(self.param_groups, kept, strict=True): g['iteration'] = k"),
    Mutant("stale moments after resuming", OPTIMIZER,
           "self.state[param][name] = value.detach().clone().to(device)",
           "self.state[param][name] = torch.zeros_like(value)"),
    Mutant("resumed state shared with its checkpoint", OPTIMIZER,
           "value.detach().clone().to(device)", "value.detach().to(device)"),
    Mutant("increments without the second moment's scale", OPTIMIZER,
           "np.sqrt(second) * s.second_scale", "np.sqrt(second)"),
    # The operators, layers and storage
    Mutant("element offset local", OPS, "                offsets[i],\n", "                0,\n"),
    Mutant("tensor number local", OPS, "                tensors[i],\n", "                i,\n"),
    Mutant("half a seed", OPS, "seed=seed & (2**64 - 1)", "seed=seed & (2**32 - 1)"),
    Mutant("one buffer for both moments", OPS, "second[i].data_ptr() if len",
           "first[i].data_ptr() if len"),
    Mutant("sign code swapped on storing", STORAGE, "index.detach().reshape(-1).to(torch.int64)",
           "(lattice.size - 1 - index.detach().reshape(-1).to(torch.int64))"),
    Mutant("words of another stream", WORDS, "tensor, int(stream), offset", "tensor, 0, offset"),
    # Base optimisers, which all rooms share
    Mutant("first bias correction missing", SCALARS,
           "self.learning_rate / (1.0 - power(beta1, iteration))", "self.learning_rate"),
    Mutant("second bias correction missing", SCALARS,
           "1.0 / math.sqrt(1.0 - power(beta2, iteration))", "1.0"),
    Mutant("bias correction off by one", SCALARS, "power(beta2, iteration)",
           "power(beta2, iteration + 1)"),
    Mutant("gains swapped", SCALARS, "1.0 - beta2,\n", "1.0 - beta1,\n"),
    # The plain reference
    Mutant("reference: <= for <", f"{PLAIN}/dst.py", "more = words < threshold",
           "more = words <= threshold"),
    Mutant("reference: 24-bit words", f"{PLAIN}/stochastic_rounding.py",
           "np.floor(fraction.astype(np.float64) * 2.0**32)",
           "(np.floor(fraction.astype(np.float64) * 2.0**24) * 2.0**8)"),
    Mutant("reference: no upper end", f"{PLAIN}/walker.py", "0, lattice.size - 1)\n\n\ndef check",
           "0, lattice.size)\n\n\ndef check"),
    Mutant("reference: sign flipped", f"{PLAIN}/walker.py", "sign = np.where(x < 0, -1, 1)",
           "sign = np.where(x < 0, 1, -1)"),
    Mutant("reference: moments take each other's bits", f"{PLAIN}/optimisers.py",
           "round_stochastically(second, bits)", "round_stochastically(second, bits >> 16)"),
    # The laws
    Mutant("law: tanh off by 1e-3", f"{LAW}/dst.py", "np.tanh(spec.nonlinearity * parts.fraction)",
           "np.tanh(1.001 * spec.nonlinearity * parts.fraction)"),
    Mutant("law: p and 1 - p swapped", f"{LAW}/stochastic_rounding.py", "parts, parts.fraction",
           "parts, 1 - parts.fraction"),
    Mutant("law: ties inward", f"{LAW}/deterministic_rounding.py",
           "parts.sign > 0, parts.sign < 0", "parts.sign < 0, parts.sign > 0"),
    Mutant("law: one level more is always upwards", f"{LAW}/walker.py", "(near + sign, p)",
           "(near + 1, p)"),
]  # fmt: skip

EQUIVALENT = [
    Mutant("seed by another formula", OPTIMIZER, "seed if seed < 2**63 else seed - 2**64",
           "(seed + 2**63) % 2**64 - 2**63"),
    Mutant("law: the same mass by another name", f"{LAW}/walker.py", "((near, 1.0 - p)",
           "((near, 1.0 - 1.0 * p)"),
]  # fmt: skip
