#pragma once
// The kernels that C is needed for: each family declares itself in a header of its own.
#include "activation.h"
#include "batch_norm.h"
#include "elementwise.h"
#include "loss.h"
#include "optimizers.h"
#include "threads.h"
#include "tile.h"
#include "window.h"
