// CUDA C++ on the host: everything that a kernel file sees when it is compiled without nvcc. docs/cuda.md says what is
// there and what is checked.
#pragma once

#include "kernels/simt/async_copy.h"
#include "kernels/simt/block.h"
#include "kernels/simt/matrix.h"
#include "kernels/simt/number.h"
#include "kernels/simt/observe.h"
#include "kernels/simt/runtime.h"
#include "kernels/simt/types.h"
#include "kernels/simt/warp.h"
#include "kernels/simt/wmma.h"
