"""The coarse gradient of a layer of thresholds: formulas, landscape, surrogates, dynamics."""
