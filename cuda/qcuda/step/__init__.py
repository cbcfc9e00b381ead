"""One step of an optimiser: numbers of groups, plans, moves of lattice weights, real weights."""
