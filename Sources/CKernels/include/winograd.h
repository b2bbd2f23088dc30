#pragma once
#include <stddef.h>
#include "elements.h"

/// Winograd's minimal filtering (Lavin and Gray, 2016, arXiv:1509.09308) with tiles of 6 × 6, for kernels of 3 × 3 and 5 × 5
/// and stride 1. A tile of 6 × 6 input pixels gives (7 − kernel)² output pixels; between the transforms there are 36
/// products of matrices, so that an output costs 36 / (7 − kernel)² multiply-adds a channel instead of kernel².
///
///     forward           Y  = Aᵀ [ (G W Gᵀ) ⊙ (Bᵀ X B) ] A
///     weight gradient   dW = A'ᵀ [ (G' dZ G'ᵀ) ⊙ (Bᵀ X B) ] A',  the primed ones with output and kernel exchanged
///
/// Transformed values lie as 36 planes (`plane` floats apart) of rows (`row` floats apart), a row a tile or a channel; rows
/// are written in whole vectors of DT_WINOGRAD_LANES elements.
enum { DT_WINOGRAD_LANES = 16, DT_WINOGRAD_PLANES = 36 };

/// What transformed values lie as. bf16 is what `dt_bf16_multiply_pairs` takes: its factors are pairs of neighbouring terms.
typedef enum {
    DT_WINOGRAD_FLOATS,         ///< fp32
    DT_WINOGRAD_HALVES,         ///< bf16: a row is a line of a factor, its elements are the terms
    DT_WINOGRAD_PAIRS,          ///< bf16: a row is a term; a pair of rows is one of 32-bit elements, the even row's bits the lower
} dt_winograd_form;

/// Bᵀ X B for `tiles` tiles next to each other, the first with its corner at (`top`, `left`) of the image; pixels outside the
/// image are zeros. The tiles become the rows of `v` from `first` on.
void dt_winograd_input(size_t kernel, dt_elements image, size_t height, size_t width, size_t channels,
                       size_t pixel_stride, ptrdiff_t top, ptrdiff_t left, size_t tiles, dt_winograd_form form,
                       size_t first, float *v, size_t row, size_t plane);

/// Aᵀ M A for `tiles` tiles next to each other, plus a bias where it is not null: sets `lines` × `width` output pixels, or
/// adds to them.
void dt_winograd_output(size_t kernel, const float *m, size_t row, size_t plane, size_t tiles, size_t channels,
                        const float *bias, int accumulate, dt_elements y, size_t pixel_stride, size_t lines, size_t width);

/// G W Gᵀ for the weights (outputs × kernel × kernel × inputs) as panels of `panel` columns: plane × panel × row × column.
/// Forward, rows are inputs and columns outputs; `turned`, for the input's gradient, rows are outputs, columns inputs, and
/// kernels are turned by 180°. Columns beyond the last are zeros. Does the rows from `first_row`, which is even, to `end_row`.
void dt_winograd_weights(size_t kernel, const float *weights, size_t outputs, size_t inputs, int turned, size_t panel,
                         size_t first_row, size_t end_row, dt_winograd_form form, float *u, size_t plane);

/// G' dZ G'ᵀ for `tiles` tiles next to each other, of `lines` × `width` pixels; what is missing to whole tiles are zeros. They
/// become the rows of `z` from `first` on.
void dt_winograd_output_gradient(size_t kernel, dt_elements dz, size_t lines, size_t width, size_t channels,
                                 size_t pixel_stride, size_t tiles, dt_winograd_form form, size_t first, float *z,
                                 size_t row, size_t plane);

/// A'ᵀ [sums] A' for some inputs of one output: sets their weights' gradient, whose positions of the kernel are `stride` floats
/// apart, or adds to it.
void dt_winograd_weight_gradient(size_t kernel, const float *sums, size_t plane, size_t inputs, size_t stride,
                                 int accumulate, float *gradient);
