/* page.h - --report: one page that needs nothing else; private to common/lesson.
 *
 * page/page.html, .css and the scripts are the page; page/embed.py joins them when the program is
 * compiled, in two halves, so that the program carries them. What was measured goes between the
 * halves as one block of JSON, {"chapters": [...]}: each is what --json writes and more, and
 * page.js shows them. `./run report` joins the blocks of several pages into one.
 */
#ifndef LESSON_PAGE_H
#define LESSON_PAGE_H

#include <stddef.h>

struct lesson;

void page_check(struct lesson *lesson);   /* dies if the page could not be written later */
void page_prepare(struct lesson *lesson); /* makes its directory */
void page_write(struct lesson *lesson);

/* The halves. */
extern const unsigned char page_head[], page_tail[];
extern const size_t page_head_size, page_tail_size;

#endif
