/* page.h - the report page in two halves, made of page/ by page/embed.py; the data go between. */
#ifndef LESSON_PAGE_H
#define LESSON_PAGE_H

#include <stddef.h>

extern const unsigned char page_head[], page_tail[];
extern const size_t page_head_size, page_tail_size;

#endif
