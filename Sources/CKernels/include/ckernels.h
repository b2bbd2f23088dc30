#pragma once
// The kernels that C is needed for: each family declares itself in a header of its own.
#include <stddef.h>
#include <stdint.h>
#include "threads.h"
#include "optimizers.h"
