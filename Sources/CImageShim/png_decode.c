#include "image_shim.h"
#include <png.h>
#include <setjmp.h>
#include <string.h>

typedef struct {
    const uint8_t *next;
    size_t left;
    char *message;
} source;

static void fail(png_structp png, png_const_charp reason) {
    source *input = png_get_error_ptr(png);
    strncpy(input->message, reason, DT_IMAGE_MESSAGE_BYTES - 1);
    input->message[DT_IMAGE_MESSAGE_BYTES - 1] = 0;
    png_longjmp(png, 1);
}

/// Warnings are about parts of a file that do not change its pixels.
static void ignore(png_structp png, png_const_charp reason) {
    (void)png;
    (void)reason;
}

static void read_bytes(png_structp png, png_bytep target, size_t count) {
    source *input = png_get_io_ptr(png);
    if (count > input->left) png_error(png, "the file ends too early");
    memcpy(target, input->next, count);
    input->next += count;
    input->left -= count;
}

int dt_png_decode(const uint8_t *file, size_t byte_count, size_t width, size_t height, int channels, uint8_t *pixels,
                  char *message) {
    source input = {file, byte_count, message};
    // Set before setjmp and not changed after it, so that no copy in a register can be stale.
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &input, fail, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        strncpy(message, "libpng cannot start", DT_IMAGE_MESSAGE_BYTES);
        return 1;
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return 1;
    }
    png_set_read_fn(png, &input, read_bytes);
    // Texts and colour profiles do not change pixels here, but could ask for memory: they are passed over.
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_user_limits(png, (png_uint_32)width, (png_uint_32)height);
    png_read_info(png, info);
    if (png_get_image_width(png, info) != width || png_get_image_height(png, info) != height)
        png_error(png, "the file has another size than it announced");

    int is_grey = !(png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR);
    if (png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (is_grey) png_set_expand_gray_1_2_4_to_8(png);
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    if (is_grey && channels == 3) png_set_gray_to_rgb(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != width * (size_t)channels) png_error(png, "its rows have an unexpected length");
    for (int pass = 0; pass < passes; pass++)
        for (size_t row = 0; row < height; row++) png_read_row(png, pixels + row * width * (size_t)channels, NULL);
    // The checksum of the last data chunk is compared here.
    png_read_end(png, NULL);
    png_destroy_read_struct(&png, &info, NULL);
    return 0;
}
