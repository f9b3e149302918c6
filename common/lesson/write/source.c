/* The text of a mode's function, for the report page: the program's own table of symbols has the
 * name, the source file the definition, which is found as a reader finds it. See write.h.
 */
#include "common/lesson/write/write.h"
#include <ctype.h>
#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The program's own symbols --------------------------------------------------------------- */

struct symbol {
    char name[128];
    char file[128]; /* "pool_map.c"; "" if the function is not static */
};

static int keep_base(struct dl_phdr_info *info, size_t size, void *base)
{
    (void)size;
    *(uintptr_t *)base = info->dlpi_addr;
    return 1; /* the first is the program itself; no more of them */
}

/* So many things of this size at an offset: are they in the file? */
static bool is_inside(size_t file, size_t offset, size_t count, size_t size)
{
    return offset % sizeof(size_t) == 0 && offset <= file && count <= (file - offset) / size;
}

/* Does the section hold strings, the last of them with its end? */
static bool has_names(const char *image, size_t size, const ElfW(Shdr) * section)
{
    return section->sh_size > 0 && section->sh_offset <= size &&
           section->sh_size <= size - section->sh_offset &&
           image[section->sh_offset + section->sh_size - 1] == '\0';
}

/* The kernel has loaded this very file, but did not look at its sections, which other programs make
 * smaller or wrong. */
static bool find_symbol(const char *image, size_t size, uintptr_t address, struct symbol *symbol)
{
    const ElfW(Ehdr) *const header = (const void *)image;
    if (!header->e_shoff || !is_inside(size, header->e_shoff, header->e_shnum, sizeof(ElfW(Shdr))))
        return false;
    const ElfW(Shdr) *const sections = (const void *)(image + header->e_shoff);
    for (int s = 0; s < header->e_shnum; s++) {
        if (sections[s].sh_type != SHT_SYMTAB || sections[s].sh_link >= header->e_shnum ||
            !is_inside(size, sections[s].sh_offset, sections[s].sh_size, 1) ||
            !has_names(image, size, &sections[sections[s].sh_link]))
            continue;
        const size_t most = sections[sections[s].sh_link].sh_size;
        const ElfW(Sym) *const symbols = (const void *)(image + sections[s].sh_offset);
        const char *const names = image + sections[sections[s].sh_link].sh_offset, *file = "";
        for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; i++) {
            const int type = symbols[i].st_info & 0xf;
            if (symbols[i].st_name >= most)
                continue;
            if (type == STT_FILE) /* static symbols follow the name of their file */
                file = names + symbols[i].st_name;
            if (type != STT_FUNC || symbols[i].st_value != address)
                continue;
            snprintf(symbol->name, sizeof symbol->name, "%s", names + symbols[i].st_name);
            snprintf(symbol->file, sizeof symbol->file, "%s", i < sections[s].sh_info ? file : "");
            return true;
        }
    }
    return false;
}

static int look_up(lesson_function *function, struct symbol *symbol, struct error *error)
{
    uintptr_t base = 0;
    struct stat status;
    int result = -1;
    const int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (program < 0 || fstat(program, &status) != 0) {
        error_set_errno(error, "the program's own file");
        goto cleanup;
    }
    char *image = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, program, 0);
    if (image == MAP_FAILED) {
        error_set_errno(error, "the program's own file");
        goto cleanup;
    }
    dl_iterate_phdr(keep_base, &base);
    if (find_symbol(image, (size_t)status.st_size, (uintptr_t)function - base, symbol))
        result = 0;
    else
        error_set(error, ERROR_FORMAT, "the program has no table of its functions' names");
    munmap(image, (size_t)status.st_size);

cleanup:
    if (program >= 0)
        close(program);
    return result;
}

/* ---- A file's lines -------------------------------------------------------------------------- */

struct text {
    char *bytes;
    char **lines; /* [count], without their ends */
    size_t count;
};

static void free_text(struct text *text)
{
    free(text->bytes);
    free(text->lines);
    *text = (struct text){0};
}

static int read_text(struct text *text, const char *path, struct error *error)
{
    size_t size = 0;
    FILE *file = fopen(path, "re");
    *text = (struct text){0};
    if (!file)
        return error_set_errno(error, "%s", path);
    const ssize_t length = getdelim(&text->bytes, &size, '\0', file);
    fclose(file);
    for (char *line = length > 0 ? text->bytes : NULL, *end; line && *line; line = end) {
        char **lines = reallocarray(text->lines, text->count + 1, sizeof *lines);
        if (!lines) {
            free_text(text);
            return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
        }
        text->lines = lines;
        lines[text->count++] = line;
        end = strchrnul(line, '\n');
        if (*end)
            *end++ = '\0';
    }
    return 0;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

static bool ends(const char *line, const char *with)
{
    const size_t length = strlen(line), wanted = strlen(with);
    return length >= wanted && strcmp(line + length - wanted, with) == 0;
}

/* ---- A function's lines ---------------------------------------------------------------------- */

struct lines {
    size_t first, head, last; /* the comment above, the line with the name, the closing brace */
};

/* Does the line declare this function, "static void name(..."? */
static bool declares(const char *line, const char *name)
{
    const size_t length = strlen(name);
    if (!isalpha((unsigned char)*line) && *line != '_')
        return false;
    for (const char *at = line; (at = strstr(at, name)); at++)
        if ((at == line || !is_word(at[-1])) && at[length] == '(')
            return true;
    return false;
}

static bool find_definition(const struct text *text, const char *name, struct lines *found)
{
    for (size_t i = 0; i < text->count; i++) {
        if (!declares(text->lines[i], name))
            continue;
        size_t brace = i + 1;
        while (brace < text->count && strcmp(text->lines[brace], "{") != 0 &&
               !ends(text->lines[brace - 1], ";"))
            brace++;
        if (brace == text->count || strcmp(text->lines[brace], "{") != 0)
            continue; /* a prototype, or a POOL_TASK */
        *found = (struct lines){i, i, brace};
        while (found->last + 1 < text->count && strcmp(text->lines[found->last], "}") != 0)
            found->last++;
        if (found->last + 1 < text->count && begins(text->lines[found->last + 1], "POOL_TASK("))
            found->last++;
        if (i > 0 && ends(text->lines[i - 1], "*/"))
            do
                found->first--;
            while (found->first > 0 && !strstr(text->lines[found->first], "/*"));
        return true;
    }
    return false;
}

/* The lines as they stand in the file. */
static json_t *lines_value(const struct text *text, size_t first, size_t last)
{
    char *joined = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&joined, &size);
    if (!stream)
        return NULL;
    for (size_t i = first; i <= last; i++)
        fprintf(stream, "%s\n", text->lines[i]);
    json_t *value = fclose(stream) == 0 ? json_string(joined) : NULL;
    free(joined);
    return value;
}

static json_t *definition_value(const struct text *text, const char *name,
                                const struct lines *lines)
{
    return json_pack("{s:s, s:I, s:o}", "function", name, "line", (json_int_t)lines->head + 1,
                     "text", lines_value(text, lines->first, lines->last));
}

static bool is_listed(const json_t *list, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i,
                       entry) if (strcmp(json_string_value(json_object_get(entry, "function")),
                                         name) == 0) return true;
    return false;
}

/* The length of the word that begins here and is used as a function, "f(" or "f,"; else 0. */
static size_t used_word(const char *line, const char *at)
{
    size_t length = 0;
    while (is_word(at[length]))
        length++;
    const bool member = at > line && (at[-1] == '.' || at[-1] == '>');
    return length > 0 && !member && !begins(at, "__") && strchr("(,);}", at[length]) ? length : 0;
}

/* Adds to the list the functions of this file that the lines name: those that they call, and the
 * tasks that they give to a pool. */
static void add_named(json_t *list, const struct text *text, const struct lines *lines)
{
    for (size_t i = lines->head; i <= lines->last; i++)
        for (const char *line = text->lines[i], *c = line; *c; c++) {
            char name[128];
            struct lines definition;
            if (c > line && is_word(c[-1]))
                continue;
            snprintf(name, sizeof name, "%.*s", (int)used_word(line, c), c);
            if (*name && !is_listed(list, name) && find_definition(text, name, &definition))
                json_array_append_new(list, definition_value(text, name, &definition));
        }
}

/* The function, then what it names, then what those name, and so on. */
static json_t *definitions(const struct text *text, const char *name, const struct lines *lines)
{
    json_t *list = json_array();
    json_array_append_new(list, definition_value(text, name, lines));
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct lines of;
        const json_t *function = json_object_get(json_array_get(list, i), "function");
        if (find_definition(text, json_string_value(function), &of))
            add_named(list, text, &of);
    }
    return list;
}

/* ---- All together ---------------------------------------------------------------------------- */

/* {"function", "file", "line", "text", "names"} if the file defines it, else NULL. */
static json_t *defined_in(const char *path, const struct symbol *symbol)
{
    struct text text;
    struct lines lines;
    json_t *source = NULL;
    if (read_text(&text, path, NULL) != 0)
        return NULL;
    if (find_definition(&text, symbol->name, &lines)) {
        json_t *list = definitions(&text, symbol->name, &lines);
        source = json_incref(json_array_get(list, 0));
        json_array_remove(list, 0);
        json_object_set_new(source, "names", list);
    }
    free_text(&text);
    return source;
}

/* The pattern of all C files beside this one, whatever characters are in the directory's name. */
static void all_files(const char *path, char pattern[2 * PATH_MAX + 8])
{
    const char *const end = strrchr(path, '/');
    for (; path < end; path++) {
        if (strchr("*?[\\", *path))
            *pattern++ = '\\';
        *pattern++ = *path;
    }
    memcpy(pattern, "/*.c", sizeof "/*.c");
}

/* Looks into all files beside this one, "chapters/01_pool_map/pool_map.c". (Not into a directory of
 * that name: the build directory has one as well.) */
static json_t *search(const char *beside, const struct symbol *symbol)
{
    char path[PATH_MAX], pattern[2 * PATH_MAX + 8];
    glob_t files;
    json_t *source = NULL;
    if (source_path(beside, path, NULL) != 0)
        return NULL;
    all_files(path, pattern);
    if (glob(pattern, 0, NULL, &files) != 0)
        return NULL;
    for (size_t i = 0; !source && i < files.gl_pathc; i++) {
        const char *const file = strrchr(files.gl_pathv[i], '/') + 1;
        if (*symbol->file && strcmp(symbol->file, file) != 0)
            continue;
        source = defined_in(files.gl_pathv[i], symbol);
        if (source)
            json_object_set_new(
                source, "file",
                json_sprintf("%.*s/%s", (int)(strrchr(beside, '/') - beside), beside, file));
    }
    globfree(&files);
    return source;
}

/* "chapters/01_pool_map/pool_map.c" */
static void chapter_file(const struct lesson *lesson, char file[256])
{
    const char *const name = lesson->chapter->name, *const word = strchr(name, '_');
    snprintf(file, 256, "chapters/%s/%s.c", name, word ? word + 1 : name);
}

json_t *source_of(const struct lesson *lesson, lesson_function *function)
{
    struct symbol symbol;
    struct error error;
    char chapter[256];
    if (look_up(function, &symbol, &error) != 0)
        return json_pack("{s:s}", "error", error.message);
    chapter_file(lesson, chapter);
    json_t *source = search(chapter, &symbol);
    if (!source)
        source = search("common/lesson/study/study.c", &symbol);
    if (!source)
        source = json_pack("{s:s, s:o}", "function", symbol.name, "error",
                           json_sprintf("%s was found neither beside %s nor in common/lesson/study",
                                        symbol.name, chapter));
    return source;
}

/* A comment's line without its margin, "/" "* " or " * ". */
static char *without_margin(char *line)
{
    for (const char *c = " /* "; *c; c++)
        if (*line == *c)
            line++;
    return line;
}

json_t *source_introduction(const struct lesson *lesson)
{
    char file[256], path[PATH_MAX];
    struct text text;
    size_t end = 0;
    chapter_file(lesson, file);
    if (source_path(file, path, NULL) != 0 || read_text(&text, path, NULL) != 0)
        return json_null();
    for (; end < text.count && !ends(text.lines[end], "*/"); end++)
        text.lines[end] = without_margin(text.lines[end]);
    json_t *value = end > 0 && end < text.count ? lines_value(&text, 0, end - 1) : json_null();
    free_text(&text);
    return value;
}
