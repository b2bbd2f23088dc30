#pragma once
#include <stdbool.h>
#include <stddef.h>

/// One of a convolution's three products in oneDNN 2 or 3, for channels-last images: created when a plan is made, then
/// run by several threads at once, each with a context of its own and single-threaded inside.
///
/// Pixels lie together: for a slice of wider pixels oneDNN has its reference implementation alone.
///
/// Weights lie in an order that oneDNN chooses; `dt_onednn_take_weights` and `dt_onednn_give_weights` change from and to
/// outputs × height × width × inputs / groups. No function allocates after creation, but oneDNN itself does.
typedef struct dt_onednn_convolution dt_onednn_convolution;

typedef enum { DT_ONEDNN_FORWARD, DT_ONEDNN_INPUT_GRADIENT, DT_ONEDNN_WEIGHT_GRADIENT } dt_onednn_pass;

typedef struct {
    dt_onednn_pass pass;
    /// Factors in bf16; otherwise everything in fp32.
    bool is_bf16;
    bool has_bf16_result;                     ///< with factors in bf16; weight gradients are fp32 in any case
    bool has_bias;                            ///< forward alone
    size_t block_samples;                     ///< samples of a whole block; rests are run one by one
    size_t groups, inputs, outputs;           ///< channels of all groups together
    size_t height, width;                     ///< of the input, in pixels
    size_t output_height, output_width;
    size_t kernel_height, kernel_width;
    size_t stride_height, stride_width;
    size_t padding_height, padding_width;
    size_t dilation_height, dilation_width;
} dt_onednn_description;

/// NULL where oneDNN cannot compute it.
dt_onednn_convolution *dt_onednn_create(const dt_onednn_description *description, size_t threads);
void dt_onednn_free(dt_onednn_convolution *convolution);

/// oneDNN's name for the way it chose, such as `brgconv:avx512_core_bf16`; those that begin with `ref` are slow.
const char *dt_onednn_implementation(const dt_onednn_convolution *convolution);
/// Bytes of the weights, or their gradient, in oneDNN's order.
size_t dt_onednn_weight_bytes(const dt_onednn_convolution *convolution);
/// Bytes of scratch memory that a thread lends to each call; they begin on 64 bytes.
size_t dt_onednn_scratch_bytes(const dt_onednn_convolution *convolution);

/// fp32 weights in dtrain's order to the product's type and order.
void dt_onednn_take_weights(dt_onednn_convolution *convolution, size_t thread, const float *weights, void *packed,
                            void *scratch);
/// The weight gradient in oneDNN's order to dtrain's.
void dt_onednn_give_weights(dt_onednn_convolution *convolution, size_t thread, const float *packed, float *weights,
                            void *scratch);

/// Runs the product for `samples` samples: a whole block, or one. `input` is the image or its gradient, `output` the
/// convolution's output or its gradient, `bias` may be NULL unless the description has one. What the pass computes is set.
void dt_onednn_run(dt_onednn_convolution *convolution, size_t thread, size_t samples, void *input, void *packed,
                   const float *bias, void *output, void *scratch);

/// `count` tells how often the calling thread has allocated; from then on `dt_onednn_allocations` tells how many of these
/// were oneDNN's, whose calls allocate their lists of arguments.
void dt_onednn_count_allocations(long (*count)(void));
long dt_onednn_allocations(void);

/// The library's version.
void dt_onednn_version(int *major, int *minor, int *patch);
/// Whether it multiplies bf16 by instructions of this processor, as far as ONEDNN_MAX_CPU_ISA lets it.
bool dt_onednn_has_bf16(void);
