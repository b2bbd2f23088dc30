// Empty without the package trait OneDNN: nothing is then needed of the library, at compile time or later.
#ifdef DT_ONEDNN
#define _GNU_SOURCE
#if !__has_include(<oneapi/dnnl/dnnl.h>)
#error "oneDNN's header oneapi/dnnl/dnnl.h is missing: install libdnnl-dev, or build with --disable-default-traits"
#endif
#include "onednn_shim.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <oneapi/dnnl/dnnl.h>

// What differs between the two generations: descriptors of memory are structures in 2 and handles in 3, and 2 describes
// an operation before it makes a primitive of it.
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t desc_view;
#define VIEW(desc) (desc)
#define make_strided dnnl_memory_desc_create_with_strides
#define make_tagged dnnl_memory_desc_create_with_tag
#define free_desc(desc) dnnl_memory_desc_destroy(desc)
#else
typedef const dnnl_memory_desc_t *desc_view;
#define VIEW(desc) (&(desc))
#define make_strided dnnl_memory_desc_init_by_strides
#define make_tagged dnnl_memory_desc_init_by_tag
#define free_desc(desc) ((void)(desc))
#endif

enum { BLOCK, SINGLE, SIZES };

/// What one thread hands to a primitive: memory objects whose addresses are set before each run.
typedef struct {
    dnnl_memory_t input[SIZES], output[SIZES], packed, plain, bias, scratch;
    dnnl_stream_t stream;
} context;

struct dt_onednn_convolution {
    dt_onednn_description description;
    dnnl_engine_t engine;
    dnnl_primitive_t primitive[SIZES], reorder;
    const char *implementation;
    size_t weight_bytes, scratch_bytes, threads;
    context contexts[];
};

/// oneDNN runs as many OpenMP threads as the calling thread allows: one, or they would spin against the pool's. A oneDNN
/// that was built without OpenMP has no such function.
static void allow_one_thread(void) {
    static _Thread_local bool done = false;
    if (done) return;
    done = true;
    void (*set_num_threads)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (set_num_threads) set_num_threads(1);
}

static void require(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN could not %s (status %d).\n", what, (int)status);
    abort();
}

// MARK: Descriptions

static dnnl_status_t image_desc(dnnl_memory_desc_t *desc, size_t samples, size_t channels, size_t height, size_t width,
                                bool is_bf16) {
    dnnl_dims_t extents = {(dnnl_dim_t)samples, (dnnl_dim_t)channels, (dnnl_dim_t)height, (dnnl_dim_t)width};
    return make_tagged(desc, 4, extents, is_bf16 ? dnnl_bf16 : dnnl_f32, dnnl_nhwc);
}

/// Groups come first where there are any; `plain` in dtrain's order, otherwise in any.
static dnnl_status_t weight_desc(dnnl_memory_desc_t *desc, const dt_onednn_description *d, bool plain, bool is_bf16) {
    dnnl_dim_t groups = (dnnl_dim_t)d->groups, height = (dnnl_dim_t)d->kernel_height, width = (dnnl_dim_t)d->kernel_width;
    dnnl_dim_t outputs = (dnnl_dim_t)d->outputs / groups, inputs = (dnnl_dim_t)d->inputs / groups;
    dnnl_dim_t row = height * width * inputs;
    dnnl_dims_t extents = {groups, outputs, inputs, height, width};
    dnnl_dims_t strides = {outputs * row, row, 1, width * inputs, inputs};
    int skipped = groups == 1 ? 1 : 0;
    dnnl_data_type_t type = is_bf16 ? dnnl_bf16 : dnnl_f32;
    return plain ? make_strided(desc, 5 - skipped, extents + skipped, type, strides + skipped)
                 : make_tagged(desc, 5 - skipped, extents + skipped, type, dnnl_format_tag_any);
}

/// The padding on the far side for which the windows end where the last one does.
static dnnl_dim_t far_padding(size_t size, size_t output, size_t kernel, size_t stride, size_t padding, size_t dilation) {
    return (dnnl_dim_t)((output - 1) * stride + (kernel - 1) * dilation + 1) - (dnnl_dim_t)size - (dnnl_dim_t)padding;
}

/// The primitive's description for some samples, with weights as `weights` says.
static dnnl_status_t describe(dnnl_primitive_desc_t *result, dnnl_engine_t engine, const dt_onednn_description *d,
                              size_t samples, desc_view weights) {
    bool forward = d->pass == DT_ONEDNN_FORWARD, input_gradient = d->pass == DT_ONEDNN_INPUT_GRADIENT;
    dnnl_memory_desc_t input, output, bias;
    dnnl_status_t status = image_desc(&input, samples, d->inputs, d->height, d->width,
                                      d->is_bf16 && (!input_gradient || d->has_bf16_result));
    if (status != dnnl_success) return status;
    status = image_desc(&output, samples, d->outputs, d->output_height, d->output_width,
                        d->is_bf16 && (!forward || d->has_bf16_result));
    if (status != dnnl_success) return free_desc(input), status;
    dnnl_dims_t bias_extents = {(dnnl_dim_t)d->outputs};
    status = make_tagged(&bias, 1, bias_extents, dnnl_f32, dnnl_a);
    if (status != dnnl_success) return free_desc(input), free_desc(output), status;
    desc_view bias_view = d->has_bias ? VIEW(bias) : NULL;

    dnnl_dims_t strides = {(dnnl_dim_t)d->stride_height, (dnnl_dim_t)d->stride_width};
    dnnl_dims_t dilations = {(dnnl_dim_t)d->dilation_height - 1, (dnnl_dim_t)d->dilation_width - 1};
    dnnl_dims_t near = {(dnnl_dim_t)d->padding_height, (dnnl_dim_t)d->padding_width};
    dnnl_dims_t far = {
        far_padding(d->height, d->output_height, d->kernel_height, d->stride_height, d->padding_height,
                    d->dilation_height),
        far_padding(d->width, d->output_width, d->kernel_width, d->stride_width, d->padding_width, d->dilation_width)};
    dnnl_primitive_attr_t attributes;
    status = dnnl_primitive_attr_create(&attributes);
    if (status != dnnl_success) goto end;
    status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) {
#if DNNL_VERSION_MAJOR >= 3
        if (forward)
            status = dnnl_convolution_forward_primitive_desc_create(
                result, engine, dnnl_forward_training, dnnl_convolution_direct, input, weights, bias_view, output,
                strides, dilations, near, far, attributes);
        else if (input_gradient)
            status = dnnl_convolution_backward_data_primitive_desc_create(
                result, engine, dnnl_convolution_direct, input, weights, output, strides, dilations, near, far, NULL,
                attributes);
        else
            status = dnnl_convolution_backward_weights_primitive_desc_create(
                result, engine, dnnl_convolution_direct, input, weights, NULL, output, strides, dilations, near, far,
                NULL, attributes);
#else
        dnnl_convolution_desc_t convolution;
        if (forward)
            status = dnnl_dilated_convolution_forward_desc_init(
                &convolution, dnnl_forward_training, dnnl_convolution_direct, &input, weights, bias_view, &output,
                strides, dilations, near, far);
        else if (input_gradient)
            status = dnnl_dilated_convolution_backward_data_desc_init(
                &convolution, dnnl_convolution_direct, &input, weights, &output, strides, dilations, near, far);
        else
            status = dnnl_dilated_convolution_backward_weights_desc_init(
                &convolution, dnnl_convolution_direct, &input, weights, NULL, &output, strides, dilations, near, far);
        if (status == dnnl_success)
            status = dnnl_primitive_desc_create(result, &convolution, attributes, engine, NULL);
#endif
    }
    dnnl_primitive_attr_destroy(attributes);
end:
    free_desc(input);
    free_desc(output);
    free_desc(bias);
    return status;
}

// MARK: Creation

static desc_view queried(const_dnnl_primitive_desc_t desc, dnnl_query_t what) {
    return dnnl_primitive_desc_query_md(desc, what, 0);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static dnnl_memory_t object(dnnl_engine_t engine, desc_view desc) {
    dnnl_memory_t memory = NULL;
    require(dnnl_memory_create(&memory, desc, engine, DNNL_MEMORY_NONE), "make a memory object");
    return memory;
}

/// Scratch memory is handed over by its address alone: one object of the largest size serves every primitive.
static dnnl_memory_t scratch_object(dnnl_engine_t engine, size_t bytes) {
    dnnl_dims_t extents = {(dnnl_dim_t)larger(bytes, 1)};
    dnnl_memory_desc_t desc;
    require(make_tagged(&desc, 1, extents, dnnl_u8, dnnl_a), "describe scratch memory");
    dnnl_memory_t memory = object(engine, VIEW(desc));
    free_desc(desc);
    return memory;
}

static bool make_reorder(dt_onednn_convolution *c, desc_view packed, desc_view plain) {
    bool takes = c->description.pass != DT_ONEDNN_WEIGHT_GRADIENT;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t desc = NULL;
    require(dnnl_primitive_attr_create(&attributes), "make attributes");
    require(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user), "set attributes");
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(
        &desc, takes ? plain : packed, c->engine, takes ? packed : plain, c->engine, attributes);
    dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success) return false;
    c->scratch_bytes = larger(c->scratch_bytes, dnnl_memory_desc_get_size(queried(desc, dnnl_query_scratchpad_md)));
    status = dnnl_primitive_create(&c->reorder, desc);
    dnnl_primitive_desc_destroy(desc);
    return status == dnnl_success;
}

/// oneDNN 2.6 generates wrong code now and then where two threads make primitives at once.
static pthread_mutex_t creation = PTHREAD_MUTEX_INITIALIZER;

static dt_onednn_convolution *create(const dt_onednn_description *d, size_t threads) {
    allow_one_thread();
    dt_onednn_convolution *c = calloc(1, sizeof *c + threads * sizeof(context));
    if (!c) return NULL;
    c->description = *d;
    dnnl_memory_desc_t any, plain;
    bool has_any = false, has_plain = false;
    dnnl_primitive_desc_t descs[SIZES] = {NULL, NULL};
    if (dnnl_engine_create(&c->engine, dnnl_cpu, 0) != dnnl_success) goto fail;
    if (weight_desc(&any, d, false, d->is_bf16 && d->pass != DT_ONEDNN_WEIGHT_GRADIENT) != dnnl_success) goto fail;
    has_any = true;
    if (weight_desc(&plain, d, true, false) != dnnl_success) goto fail;
    has_plain = true;

    // The order of the weights that suits a block serves a single sample as well.
    if (describe(&descs[BLOCK], c->engine, d, d->block_samples, VIEW(any)) != dnnl_success) goto fail;
    desc_view packed = queried(
        descs[BLOCK], d->pass == DT_ONEDNN_WEIGHT_GRADIENT ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    if (describe(&descs[SINGLE], c->engine, d, 1, packed) != dnnl_success) goto fail;
    for (int size = 0; size < SIZES; size++) {
        c->scratch_bytes = larger(
            c->scratch_bytes, dnnl_memory_desc_get_size(queried(descs[size], dnnl_query_scratchpad_md)));
        if (dnnl_primitive_create(&c->primitive[size], descs[size]) != dnnl_success) goto fail;
    }
    if (!make_reorder(c, packed, VIEW(plain))) goto fail;
    c->weight_bytes = dnnl_memory_desc_get_size(packed);
    const_dnnl_primitive_desc_t made;
    require(dnnl_primitive_get_primitive_desc(c->primitive[BLOCK], &made), "describe a primitive");
    require(dnnl_primitive_desc_query(made, dnnl_query_impl_info_str, 0, (void *)&c->implementation),
            "name an implementation");

    bool forward = d->pass == DT_ONEDNN_FORWARD, input_gradient = d->pass == DT_ONEDNN_INPUT_GRADIENT;
    c->threads = threads;
    for (size_t thread = 0; thread < threads; thread++) {
        context *own = &c->contexts[thread];
        for (int size = 0; size < SIZES; size++) {
            own->input[size] = object(
                c->engine, queried(descs[size], input_gradient ? dnnl_query_diff_src_md : dnnl_query_src_md));
            own->output[size] = object(
                c->engine, queried(descs[size], forward ? dnnl_query_dst_md : dnnl_query_diff_dst_md));
        }
        own->packed = object(c->engine, packed);
        own->plain = object(c->engine, VIEW(plain));
        own->scratch = scratch_object(c->engine, c->scratch_bytes);
        if (d->has_bias) {
            dnnl_dims_t extents = {(dnnl_dim_t)d->outputs};
            dnnl_memory_desc_t bias;
            require(make_tagged(&bias, 1, extents, dnnl_f32, dnnl_a), "describe a bias");
            own->bias = object(c->engine, VIEW(bias));
            free_desc(bias);
        }
        require(dnnl_stream_create(&own->stream, c->engine, dnnl_stream_default_flags), "make a stream");
    }
    for (int size = 0; size < SIZES; size++) dnnl_primitive_desc_destroy(descs[size]);
    free_desc(any);
    free_desc(plain);
    return c;

fail:
    for (int size = 0; size < SIZES; size++) {
        if (descs[size]) dnnl_primitive_desc_destroy(descs[size]);
    }
    if (has_any) free_desc(any);
    if (has_plain) free_desc(plain);
    dt_onednn_free(c);
    return NULL;
}

dt_onednn_convolution *dt_onednn_create(const dt_onednn_description *d, size_t threads) {
    pthread_mutex_lock(&creation);
    dt_onednn_convolution *convolution = create(d, threads);
    pthread_mutex_unlock(&creation);
    return convolution;
}

void dt_onednn_free(dt_onednn_convolution *c) {
    for (size_t thread = 0; thread < c->threads; thread++) {
        context *own = &c->contexts[thread];
        for (int size = 0; size < SIZES; size++) {
            dnnl_memory_destroy(own->input[size]);
            dnnl_memory_destroy(own->output[size]);
        }
        dnnl_memory_destroy(own->packed);
        dnnl_memory_destroy(own->plain);
        dnnl_memory_destroy(own->scratch);
        if (own->bias) dnnl_memory_destroy(own->bias);
        dnnl_stream_destroy(own->stream);
    }
    for (int size = 0; size < SIZES; size++) {
        if (c->primitive[size]) dnnl_primitive_destroy(c->primitive[size]);
    }
    if (c->reorder) dnnl_primitive_destroy(c->reorder);
    if (c->engine) dnnl_engine_destroy(c->engine);
    free(c);
}

const char *dt_onednn_implementation(const dt_onednn_convolution *c) { return c->implementation; }
size_t dt_onednn_weight_bytes(const dt_onednn_convolution *c) { return c->weight_bytes; }
size_t dt_onednn_scratch_bytes(const dt_onednn_convolution *c) { return c->scratch_bytes; }

// MARK: Runs

static long (*allocation_count)(void) = NULL;
static _Thread_local long allocations = 0;

void dt_onednn_count_allocations(long (*count)(void)) { allocation_count = count; }
long dt_onednn_allocations(void) { return allocations; }

static long allocations_before(void) { return allocation_count ? allocation_count() : 0; }
static void add_allocations(long before) {
    if (allocation_count) allocations += allocation_count() - before;
}

/// Setting an address makes oneDNN 2 clear the padding of the memory, so one that is there already stays. Threads that share packed
/// weights may clear theirs while others read it: it is zero before.
static void point(dnnl_memory_t memory, const void *address) {
    void *current = NULL;
    require(dnnl_memory_get_data_handle(memory, &current), "read an address");
    if (current != address) require(dnnl_memory_set_data_handle(memory, (void *)address), "set an address");
}

static void execute(dnnl_primitive_t primitive, context *own, int count, const dnnl_exec_arg_t *arguments) {
    require(dnnl_primitive_execute(primitive, own->stream, count, arguments), "run a primitive");
    require(dnnl_stream_wait(own->stream), "end a primitive");
}

static void reorder(dt_onednn_convolution *c, size_t thread, const void *plain, const void *packed, void *scratch) {
    long before = allocations_before();
    allow_one_thread();
    context *own = &c->contexts[thread];
    point(own->plain, plain);
    point(own->packed, packed);
    point(own->scratch, scratch);
    bool takes = c->description.pass != DT_ONEDNN_WEIGHT_GRADIENT;
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, takes ? own->plain : own->packed},
                                   {DNNL_ARG_TO, takes ? own->packed : own->plain},
                                   {DNNL_ARG_SCRATCHPAD, own->scratch}};
    execute(c->reorder, own, 3, arguments);
    add_allocations(before);
}

void dt_onednn_take_weights(dt_onednn_convolution *c, size_t thread, const float *weights, void *packed,
                            void *scratch) {
    reorder(c, thread, weights, packed, scratch);
}

void dt_onednn_give_weights(dt_onednn_convolution *c, size_t thread, const float *packed, float *weights,
                            void *scratch) {
    reorder(c, thread, weights, packed, scratch);
}

void dt_onednn_run(dt_onednn_convolution *c, size_t thread, size_t samples, void *input, void *packed,
                   const float *bias, void *output, void *scratch) {
    long before = allocations_before();
    allow_one_thread();
    context *own = &c->contexts[thread];
    int size = samples == c->description.block_samples ? BLOCK : SINGLE;
    point(own->input[size], input);
    point(own->packed, packed);
    point(own->output[size], output);
    point(own->scratch, scratch);
    if (own->bias) point(own->bias, bias);
    static const int roles[][3] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
                                   {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
                                   {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
    const int *role = roles[c->description.pass];
    dnnl_exec_arg_t arguments[] = {{role[0], own->input[size]},
                                   {role[1], own->packed},
                                   {role[2], own->output[size]},
                                   {DNNL_ARG_SCRATCHPAD, own->scratch},
                                   {DNNL_ARG_BIAS, own->bias}};
    execute(c->primitive[size], own, own->bias ? 5 : 4, arguments);
    add_allocations(before);
}

// MARK: The library and the processor

void dt_onednn_version(int *major, int *minor, int *patch) {
    const dnnl_version_t *version = dnnl_version();
    *major = version->major;
    *minor = version->minor;
    *patch = version->patch;
}

bool dt_onednn_has_bf16(void) {
    // Its instruction sets are sets of bits: each has those of the ones before it.
    const unsigned wanted = dnnl_cpu_isa_avx512_core_bf16;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

#endif
