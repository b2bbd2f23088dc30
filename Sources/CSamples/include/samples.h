#pragma once
#include <stddef.h>

// The data sets inside the program: gzip IDX files, see data/LICENSE.md for authors and licence.

/// One embedded file.
typedef struct {
    const unsigned char *bytes;
    size_t byte_count;
} dt_sample_file;

dt_sample_file dt_sample_mnist_train_images(void);
dt_sample_file dt_sample_mnist_train_labels(void);
dt_sample_file dt_sample_mnist_test_images(void);
dt_sample_file dt_sample_mnist_test_labels(void);
