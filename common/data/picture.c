/* Both libraries report errors by calling a function that must not return. Ours keep the message
 * and longjmp out of the library. A local variable changed after setjmp would be lost in that
 * jump, so everything that a decoder acquires lives in a struct of its caller's, which frees it.
 */
#include "common/data/picture.h"
#include "common/data/file.h"
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#include <jpeglib.h>
#include <png.h>

#include <jerror.h> /* needs jpeglib.h */

/* ---- what both formats share ---------------------------------------------------------------- */

/* The picture while it is read: the rows as the library gives them, and what went wrong. */
struct decoder {
    FILE *stream;
    bool size_only; /* the header is enough */
    struct picture *picture;
    unsigned char *rows;
    enum error_code code;
    char reason[JMSG_LENGTH_MAX];
};

static void fail(struct decoder *decoder, enum error_code code, const char *reason)
{
    decoder->code = code;
    snprintf(decoder->reason, sizeof decoder->reason, "%s", reason);
}

/* A few bytes of file can ask for any size: to be called before anything is allocated for it. */
static int set_size(struct decoder *decoder, size_t height, size_t width)
{
    decoder->picture->height = height;
    decoder->picture->width = width;
    if (height <= PICTURE_MAX_PIXELS / width)
        return 0;
    decoder->code = ERROR_FORMAT;
    snprintf(decoder->reason, sizeof decoder->reason, "%zu x %zu pixels; at most %zu are read",
             height, width, PICTURE_MAX_PIXELS);
    return -1;
}

/* The pixels, and `row_count` rows of `stride` bytes for the library. */
static int allocate(struct decoder *decoder, size_t row_count, size_t stride)
{
    const struct picture *size = decoder->picture;
    decoder->picture->pixels = malloc(size->height * size->width * sizeof(float));
    decoder->rows = malloc(row_count * stride);
    if (!decoder->picture->pixels || !decoder->rows) {
        fail(decoder, ERROR_MEMORY, "no memory for its pixels");
        return -1;
    }
    return 0;
}

/* One row of samples, 8 bits or 16 big-endian, to 0..255. The weights are whole thousandths, so
 * that equal red, green and blue give exactly that grey. */
static void row_to_grey(float *restrict grey, const unsigned char *restrict row, size_t width,
                        bool colour, bool wide)
{
    const double scale = (colour ? 1000.0 : 1.0) * (wide ? 257.0 : 1.0);
    for (size_t x = 0; x < width; x++) {
        unsigned sample[3] = {0};
        for (int i = 0; i < (colour ? 3 : 1); i++) {
            sample[i] = *row++;
            if (wide)
                sample[i] = sample[i] << 8 | *row++;
        }
        const unsigned sum =
            colour ? 299 * sample[0] + 587 * sample[1] + 114 * sample[2] : sample[0];
        grey[x] = (float)(sum / scale);
    }
}

/* ---- PNG ------------------------------------------------------------------------------------ */

struct png_reader {
    struct decoder *decoder;
    png_structp png;
    png_infop info;
};

static void png_fail(png_structp png, png_const_charp reason)
{
    fail(png_get_error_ptr(png), ERROR_FORMAT, reason);
    png_longjmp(png, 1);
}

static void png_keep_quiet(png_structp png, png_const_charp reason)
{
    (void)png;
    (void)reason;
}

static void png_read_stream(png_structp png, png_bytep bytes, size_t size)
{
    FILE *stream = png_get_io_ptr(png);
    if (fread(bytes, 1, size, stream) < size)
        png_error(png, "truncated PNG picture");
}

/* Asks for plain samples: palettes and 1, 2, 4 bits widened to 8, no alpha. An interlaced picture
 * is complete only after its last pass, so all its rows are kept; else one row will do. */
static int png_decode(struct png_reader *reader)
{
    png_struct *const png = reader->png;
    struct decoder *const decoder = reader->decoder;
    if (setjmp(png_jmpbuf(png)))
        return -1;
    png_set_read_fn(png, decoder->stream, png_read_stream);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* set_size has the limit */
    png_read_info(png, reader->info);
    const size_t height = png_get_image_height(png, reader->info);
    const size_t width = png_get_image_width(png, reader->info);
    if (set_size(decoder, height, width) < 0)
        return -1;
    if (decoder->size_only)
        return 0;
    png_set_palette_to_rgb(png);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_strip_alpha(png);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    const size_t stride = png_get_rowbytes(png, reader->info);
    const bool colour = png_get_channels(png, reader->info) == 3;
    const bool wide = png_get_bit_depth(png, reader->info) == 16;
    if (allocate(decoder, passes > 1 ? height : 1, stride) < 0)
        return -1;
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < height; y++) {
            unsigned char *row = decoder->rows + (passes > 1 ? y * stride : 0);
            png_read_row(png, row, NULL);
            if (pass == passes - 1)
                row_to_grey(decoder->picture->pixels + y * width, row, width, colour, wide);
        }
    }
    png_read_end(png, NULL); /* a file cut after its last pixel is broken too */
    return 0;
}

static int png_read_picture(struct decoder *decoder)
{
    struct png_reader reader = {.decoder = decoder};
    int status = -1;
    reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, decoder, png_fail, png_keep_quiet);
    if (reader.png)
        reader.info = png_create_info_struct(reader.png);
    if (reader.info)
        status = png_decode(&reader);
    else
        fail(decoder, ERROR_MEMORY, "no memory to decode it");
    png_destroy_read_struct(&reader.png, &reader.info, NULL);
    return status;
}

/* ---- JPEG ----------------------------------------------------------------------------------- */

struct jpeg_reader {
    struct jpeg_error_mgr errors; /* first: libjpeg's pointer to it is also one to the reader */
    struct jpeg_decompress_struct jpeg;
    struct decoder *decoder;
    jmp_buf failed;
};

static void jpeg_fail(j_common_ptr jpeg)
{
    struct jpeg_reader *reader = (struct jpeg_reader *)jpeg->err;
    char reason[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, reason);
    const bool memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
    fail(reader->decoder, memory ? ERROR_MEMORY : ERROR_FORMAT, reason);
    longjmp(reader->failed, 1);
}

/* libjpeg only warns of lost data and fills the rest of the picture with grey. Here that is an
 * error; other warnings and trace messages (level 0 and up) are passed over. */
static void jpeg_warn(j_common_ptr jpeg, int level)
{
    switch (level < 0 ? jpeg->err->msg_code : 0) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
        jpeg_fail(jpeg);
    }
}

/* A colour JPEG holds its BT.601 grey as the Y of YCbCr: it is taken as it is. */
static int jpeg_decode(struct jpeg_reader *reader)
{
    struct jpeg_decompress_struct *const jpeg = &reader->jpeg;
    struct decoder *const decoder = reader->decoder;
    if (setjmp(reader->failed))
        return -1;
    jpeg_create_decompress(jpeg);
    jpeg_stdio_src(jpeg, decoder->stream);
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK) {
        fail(decoder, ERROR_FORMAT, "a JPEG of four printing inks (CMYK); save it as RGB or grey");
        return -1;
    }
    const bool colour = jpeg->jpeg_color_space == JCS_RGB;
    jpeg->out_color_space = colour ? JCS_RGB : JCS_GRAYSCALE;
    const size_t height = jpeg->image_height, width = jpeg->image_width;
    if (set_size(decoder, height, width) < 0)
        return -1;
    if (decoder->size_only)
        return 0;
    if (allocate(decoder, 1, width * 3) < 0)
        return -1;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < height) {
        float *grey = decoder->picture->pixels + jpeg->output_scanline * width;
        jpeg_read_scanlines(jpeg, &decoder->rows, 1);
        row_to_grey(grey, decoder->rows, width, colour, false);
    }
    jpeg_finish_decompress(jpeg);
    return 0;
}

static int jpeg_read_picture(struct decoder *decoder)
{
    struct jpeg_reader reader = {.decoder = decoder};
    reader.jpeg.err = jpeg_std_error(&reader.errors);
    reader.errors.error_exit = jpeg_fail;
    reader.errors.emit_message = jpeg_warn;
    const int status = jpeg_decode(&reader);
    jpeg_destroy_decompress(&reader.jpeg);
    return status;
}

/* ---- the two directions --------------------------------------------------------------------- */

/* The first byte tells the kind and is put back; the libraries check the rest of the signature. */
static int decode(struct decoder *decoder)
{
    const int first = getc(decoder->stream);
    if (first == EOF) {
        fail(decoder, ERROR_FORMAT, "empty file");
        return -1;
    }
    ungetc(first, decoder->stream);
    if (first == 0x89)
        return png_read_picture(decoder);
    if (first == 0xff)
        return jpeg_read_picture(decoder);
    fail(decoder, ERROR_FORMAT, "neither a PNG nor a JPEG picture");
    return -1;
}

static int read_file(const char *path, struct picture *picture, bool size_only, struct error *error)
{
    *picture = (struct picture){0};
    struct decoder decoder = {
        .picture = picture, .size_only = size_only, .stream = fopen(path, "rbe")};
    if (!decoder.stream)
        return error_set_errno(error, "%s", path);
    const int status = decode(&decoder);
    if (status < 0 && ferror(decoder.stream)) /* a directory, a bad disk: not the picture's fault */
        error_set_errno(error, "%s", path);
    else if (status < 0)
        error_set(error, decoder.code, "%s: %s", path, decoder.reason);
    fclose(decoder.stream);
    free(decoder.rows);
    if (status < 0)
        picture_free(picture);
    return status;
}

int picture_read(const char *path, struct picture *picture, struct error *error)
{
    return read_file(path, picture, false, error);
}

int picture_read_size(const char *path, struct picture *picture, struct error *error)
{
    return read_file(path, picture, true, error);
}

void picture_free(struct picture *picture)
{
    free(picture->pixels);
    *picture = (struct picture){0};
}

/* The stream remembers a failed write for file_commit, which knows its cause. */
static void png_write_stream(png_structp png, png_bytep bytes, size_t size)
{
    (void)!fwrite(bytes, 1, size, png_get_io_ptr(png));
}

static void png_flush_stream(png_structp png)
{
    (void)png;
}

static png_byte to_byte(float value, float scale)
{
    const double scaled = (double)value * scale;
    if (!(scaled > 0)) /* and not a number */
        return 0;
    return scaled < 255 ? (png_byte)lround(scaled) : 255;
}

static int png_encode(png_structp png, png_infop info, FILE *stream, png_bytep row,
                      const float *pixels, size_t height, size_t width, float scale)
{
    if (setjmp(png_jmpbuf(png)))
        return -1;
    png_set_write_fn(png, stream, png_write_stream, png_flush_stream);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_GRAY,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++)
            row[x] = to_byte(pixels[y * width + x], scale);
        png_write_row(png, row);
    }
    png_write_end(png, info);
    return 0;
}

int picture_write(const char *path, const float *pixels, size_t height, size_t width, float scale,
                  struct error *error)
{
    struct decoder encoder = {.code = ERROR_MEMORY, .reason = "no memory to encode it"};
    png_structp png = NULL;
    png_infop info = NULL;
    int status = -1;
    if (height == 0 || width == 0 || height > PNG_UINT_31_MAX || width > PNG_UINT_31_MAX)
        return error_set(error, ERROR_INVALID, "%s: a PNG picture cannot be %zu x %zu", path,
                         height, width);
    struct file *file = file_create(path, error);
    if (!file)
        return -1;
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &encoder, png_fail, png_keep_quiet);
    if (png)
        info = png_create_info_struct(png);
    encoder.rows = malloc(width);
    if (info && encoder.rows)
        status =
            png_encode(png, info, file_stream(file), encoder.rows, pixels, height, width, scale);
    if (status < 0) {
        error_set(error, encoder.code, "%s: %s", path, encoder.reason);
        file_abandon(file);
    } else {
        status = file_commit(file, error);
    }
    free(encoder.rows);
    png_destroy_write_struct(&png, &info);
    return status;
}

/* ---- lists of pictures ---------------------------------------------------------------------- */

struct list {
    struct picture_file *files;
    size_t count, capacity;
};

/* Appends "directory/name", or name alone; 0, or -1 without memory. */
static int append(struct list *list, const char *directory, const char *name)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 16;
        struct picture_file *files = reallocarray(list->files, capacity, sizeof *files);
        if (!files)
            return -1;
        list->files = files;
        list->capacity = capacity;
    }
    char *path = NULL;
    const size_t length = directory ? strlen(directory) : 0;
    const bool slash = length > 0 && directory[length - 1] != '/';
    if (asprintf(&path, "%s%s%s", directory ? directory : "", slash ? "/" : "", name) < 0)
        return -1;
    list->files[list->count++] = (struct picture_file){.path = path, .found = directory != NULL};
    return 0;
}

static int is_picture_name(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && (strcasecmp(dot, ".png") == 0 || strcasecmp(dot, ".jpg") == 0 ||
                   strcasecmp(dot, ".jpeg") == 0);
}

/* By bytes: the order does not depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int append_directory(struct list *list, const char *directory, struct error *error)
{
    struct dirent **entries;
    const int count = scandir(directory, &entries, is_picture_name, by_name);
    if (count < 0)
        return error_set_errno(error, "%s", directory);
    int status = 0;
    for (int i = 0; i < count; i++) {
        if (status == 0 && append(list, directory, entries[i]->d_name) < 0)
            status = error_set(error, ERROR_MEMORY, "%s: no memory to list it", directory);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static int append_path(struct list *list, const char *path, struct error *error)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(error, "%s", path);
    if (S_ISDIR(status.st_mode))
        return append_directory(list, path, error);
    if (append(list, NULL, path) < 0)
        return error_set(error, ERROR_MEMORY, "%s: no memory to list it", path);
    return 0;
}

struct picture_file *picture_list(const char *const *paths, size_t path_count, size_t *count,
                                  struct error *error)
{
    struct list list = {0};
    int status = 0;
    for (size_t i = 0; i < path_count && status == 0; i++)
        status = append_path(&list, paths[i], error);
    if (status == 0 && list.count == 0)
        status =
            error_set(error, ERROR_INVALID, "%s: no file whose name ends in .png, .jpg or .jpeg",
                      path_count ? paths[0] : "no path given");
    if (status < 0) {
        picture_free_list(list.files, list.count);
        return NULL;
    }
    *count = list.count;
    return list.files;
}

void picture_free_list(struct picture_file *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].path);
    free(list);
}
