"""The run-time type checker of the tests: annotations of `qtheory` and `qreference` are held to.

Shapes included, because pyproject.toml hands this to jaxtyping. An int may stand for a float, as
Python's own type rules have it (PEP 484).
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
