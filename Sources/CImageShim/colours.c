#include "image_shim.h"

void dt_inverted_cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned black = cmyk[4 * i + 3];
        // The remainder of a division by the odd 255 is never a half: this rounds exactly.
        uint8_t red = (uint8_t)((cmyk[4 * i] * black + 127) / 255);
        uint8_t green = (uint8_t)((cmyk[4 * i + 1] * black + 127) / 255);
        uint8_t blue = (uint8_t)((cmyk[4 * i + 2] * black + 127) / 255);
        rgb[3 * i] = red;
        rgb[3 * i + 1] = green;
        rgb[3 * i + 2] = blue;
    }
}

void dt_rgb_to_grey(const uint8_t *rgb, uint8_t *grey, size_t count) {
    for (size_t i = 0; i < count; i++)
        grey[i] = (uint8_t)((19595u * rgb[3 * i] + 38470u * rgb[3 * i + 1] + 7471u * rgb[3 * i + 2] + 32768u) >> 16);
}
