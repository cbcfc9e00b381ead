// The only list of algorithms in this room. A rule's number is its place here.
#pragma once

#include "deterministic_rounding.h"
#include "dst.h"
#include "stochastic_rounding.h"

#define QT_ALGORITHMS(X) X(dst) X(stochastic_rounding) X(deterministic_rounding)
#define QT_OPTIMISERS_OF(X, rule) X(rule, given) X(rule, sgd) X(rule, momentum) X(rule, adam)
