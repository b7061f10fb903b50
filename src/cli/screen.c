#include "cli/screen.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "reactor/deadline.h"

#define KEYS_MS 100	/* keys are asked for this often */
#define ENTER "\033[?1049h\033[?25l"	/* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define REST_OF_LINE "\033[K"
#define REST_OF_SCREEN "\033[J"

struct screen {
	struct termios saved;
	bool raw;		/* standard input is a terminal, and set */
	struct deadline keys;
	void (*key)(void *arg, char key);
	void (*resized)(void *arg);
	void *arg;
	FILE *stream;
	char *text;	/* of the stream, while it is open */
	size_t text_n;
};

static void put(const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(STDOUT_FILENO, p, n);

		if (done <= 0)
			return;
		p += done;
		n -= (size_t)done;
	}
}

static void on_keys(void *arg)
{
	struct screen *s = arg;
	char c;

	deadline_set(&s->keys, KEYS_MS);
	while (s->raw && read(STDIN_FILENO, &c, 1) == 1)
		s->key(s->arg, c);
}

static void on_winch(void *arg, int signo)
{
	struct screen *s = arg;

	(void)signo;
	s->resized(s->arg);
}

struct screen *screen_open(struct loop *l, void (*key)(void *arg, char key), void (*resized)(void *arg), void *arg)
{
	struct screen *s = xcalloc(1, sizeof(*s));
	struct termios raw;

	s->key = key;
	s->resized = resized;
	s->arg = arg;
	if (tcgetattr(STDIN_FILENO, &s->saved) == 0) {
		raw = s->saved;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = raw.c_cc[VTIME] = 0;
		raw.c_cc[VSUSP] = _POSIX_VDISABLE;	/* stopped, it would leave the terminal like this */
		s->raw = tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
	}
	put(ENTER, strlen(ENTER));
	deadline_init(&s->keys, l, on_keys, s);
	deadline_set(&s->keys, KEYS_MS);
	loop_on_signal(l, SIGWINCH, on_winch, s);
	return s;
}

void screen_close(struct screen *s)
{
	if (!s)
		return;
	deadline_stop(&s->keys);
	put(LEAVE, strlen(LEAVE));
	if (s->raw)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->saved);
	free(s);
}

/* The bytes of at most <max> characters. */
static struct slice cut(struct slice s, size_t max)
{
	size_t n = 0, i = 0;

	for (; i < s.n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80 && n++ == max)
			break;
	return slice_of(s.p, i);
}

struct screen_size screen_size(const struct screen *s)
{
	struct winsize size;

	(void)s;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		return (struct screen_size){ size.ws_row, size.ws_col };
	return (struct screen_size){ 24, 80 };
}

FILE *screen_begin(struct screen *s)
{
	s->stream = open_memstream(&s->text, &s->text_n);
	return s->stream;
}

void screen_end(struct screen *s)
{
	struct screen_size size = screen_size(s);
	struct slice rest, line;
	struct buf out;

	fclose(s->stream);
	rest = slice_of(s->text, s->text_n);
	buf_init(&out, 0);
	buf_append_str(&out, HOME);
	for (size_t row = 0; row < size.rows && rest.n; row++) {
		line = slice_split(rest, '\n', &rest);
		buf_append_str(&out, row ? "\r\n" : "");
		buf_append_slice(&out, cut(line, size.columns));
		buf_append_str(&out, REST_OF_LINE);
	}
	buf_append_str(&out, REST_OF_SCREEN);
	put(out.data, out.len);
	buf_fini(&out);
	free(s->text);
	s->text = NULL;
}
