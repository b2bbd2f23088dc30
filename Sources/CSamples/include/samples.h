#pragma once
#include <stddef.h>

// The data sets inside the program; see data/LICENSE.md for authors and licences.

/// One embedded file.
typedef struct {
    const unsigned char *bytes;
    size_t byte_count;
} dt_sample_file;

dt_sample_file dt_sample_mnist_train_images(void);
dt_sample_file dt_sample_mnist_train_labels(void);
dt_sample_file dt_sample_mnist_test_images(void);
dt_sample_file dt_sample_mnist_test_labels(void);
/// Surnames in UTF-8, one a line; before those of each language a line `[LANGUAGE]`.
dt_sample_file dt_sample_names(void);
/// Text in UTF-8.
dt_sample_file dt_sample_text(void);
