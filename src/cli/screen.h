/* The whole terminal, drawn anew every now and then. It is as before when the screen is closed. */
#ifndef TEMPS_CLI_SCREEN_H
#define TEMPS_CLI_SCREEN_H

#include <stdio.h>

#include "reactor/loop.h"

struct screen;

struct screen_size {
	size_t rows, columns;
};

/* Standard output is a terminal. <key> gets what is typed, <resized> is called when it has another size. */
struct screen *screen_open(struct loop *l, void (*key)(void *arg, char key), void (*resized)(void *arg), void *arg);
void screen_close(struct screen *s);	/* NULL is fine */
struct screen_size screen_size(const struct screen *s);
/* Lines written to the stream take the place of what is shown, those that do not fit are left out; NULL: no memory. */
FILE *screen_begin(struct screen *s);
void screen_end(struct screen *s);

#endif
