#include "samples.h"

#if !defined(__has_embed)
#error "dtrain embeds its sample data with C23's #embed: compile with clang 19 or newer"
#endif

static const unsigned char train_images[] = {
#embed "data/train-images-idx3-ubyte.gz"
};
static const unsigned char train_labels[] = {
#embed "data/train-labels-idx1-ubyte.gz"
};
static const unsigned char test_images[] = {
#embed "data/t10k-images-idx3-ubyte.gz"
};
static const unsigned char test_labels[] = {
#embed "data/t10k-labels-idx1-ubyte.gz"
};
static const unsigned char names[] = {
#embed "data/names.txt"
};
static const unsigned char text[] = {
#embed "data/text.txt"
};

dt_sample_file dt_sample_mnist_train_images(void) { return (dt_sample_file){train_images, sizeof train_images}; }
dt_sample_file dt_sample_mnist_train_labels(void) { return (dt_sample_file){train_labels, sizeof train_labels}; }
dt_sample_file dt_sample_mnist_test_images(void) { return (dt_sample_file){test_images, sizeof test_images}; }
dt_sample_file dt_sample_mnist_test_labels(void) { return (dt_sample_file){test_labels, sizeof test_labels}; }
dt_sample_file dt_sample_names(void) { return (dt_sample_file){names, sizeof names}; }
dt_sample_file dt_sample_text(void) { return (dt_sample_file){text, sizeof text}; }
